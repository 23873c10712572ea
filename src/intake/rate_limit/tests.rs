//! Tests of the rate limit. Each passes the time as an argument, so that none waits.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::intake::client_ip::client_key;

fn limiter(per_second: u32, burst: u32) -> RateLimiter {
    RateLimiter::new(RateLimit { per_second: Some(per_second), burst: Some(burst) }).unwrap()
}

fn key(number: u32) -> ClientKey {
    client_key(IpAddr::V4(Ipv4Addr::from_bits(number)))
}

/// Returns how many of `tries` at one moment are allowed.
fn allowed(limiter: &RateLimiter, client: ClientKey, now: Instant, tries: u32) -> u32 {
    (0..tries).map(|_| u32::from(limiter.allow(client, now))).sum()
}

#[test]
fn burst_allows_its_size_and_no_more() {
    let limiter = limiter(50, 500);
    assert_eq!(allowed(&limiter, key(1), limiter.start, 1000), 500);
}

#[test]
fn tokens_return_at_the_rate_up_to_the_burst() {
    let limiter = limiter(50, 500);
    let after = |millis| limiter.start + Duration::from_millis(millis);
    allowed(&limiter, key(1), limiter.start, 500);
    assert_eq!(allowed(&limiter, key(1), after(19), 9), 0);
    assert_eq!(allowed(&limiter, key(1), after(20), 9), 1);
    assert_eq!(allowed(&limiter, key(1), after(1020), 1000), 50);
    assert_eq!(allowed(&limiter, key(1), after(3_600_000), 1000), 500);
}

#[test]
fn rejections_cost_no_token() {
    let limiter = limiter(10, 1);
    let allowed: u32 =
        (0..10_000).map(|ms| allowed(&limiter, key(1), limiter.start + Duration::from_millis(ms), 3)).sum();
    assert_eq!(allowed, 100);
}

#[test]
fn clients_have_independent_buckets() {
    let limiter = limiter(1, 3);
    assert_eq!(allowed(&limiter, key(1), limiter.start, 9), 3);
    assert_eq!(allowed(&limiter, key(2), limiter.start, 9), 3);
    assert_eq!(allowed(&limiter, ClientKey::default(), limiter.start, 9), 3);
}

#[test]
fn time_that_runs_backwards_returns_no_token() {
    let limiter = limiter(1, 5);
    let late = limiter.start + Duration::from_secs(60);
    assert_eq!(allowed(&limiter, key(1), late, 9), 5);
    assert_eq!(allowed(&limiter, key(1), limiter.start, 9), 0);
    assert_eq!(allowed(&limiter, key(2), limiter.start - Duration::from_secs(60), 9), 5);
}

#[test]
fn extreme_settings_limit_without_overflow() {
    let none = limiter(0, 0);
    assert_eq!(allowed(&none, key(1), none.start, 9), 1);
    let all = limiter(u32::MAX, u32::MAX);
    assert_eq!(allowed(&all, key(1), all.start, 1000), 1000);
    let slow = limiter(1, u32::MAX);
    assert_eq!(allowed(&slow, key(1), slow.start, 1000), 1000);
}

#[test]
fn million_new_clients_are_allowed_and_evict_no_busy_one() {
    let limiter = limiter(1, 10);
    let mut now = limiter.start;
    assert_eq!(allowed(&limiter, key(0), now, 99), 10);
    for number in 1..=1_000_000 {
        assert!(limiter.allow(key(number), now), "a new client is allowed");
        now += Duration::from_nanos(100);
    }
    assert_eq!(allowed(&limiter, key(0), now, 99), 0);
    assert_eq!(limiter.sets.len() * size_of::<Mutex<Set>>(), MEMORY_BYTES);
}

#[test]
fn threads_share_the_bucket_of_a_client() {
    let limiter = limiter(1, 1000);
    let total = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                total.fetch_add(allowed(&limiter, key(1), limiter.start, 1000), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(total.into_inner(), 1000);
}
