//! Time is handed in, so no test waits.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::intake::client_ip::client_key;

fn limiter(per_second: u32, burst: u32) -> RateLimiter {
    RateLimiter::new(RateLimit { per_second, burst })
}

fn key(number: u32) -> ClientKey {
    client_key(IpAddr::V4(Ipv4Addr::from_bits(number)))
}

/// How many of `tries` at one moment are let through.
fn allowed(limiter: &RateLimiter, client: ClientKey, now: Instant, tries: u32) -> u32 {
    (0..tries).map(|_| u32::from(limiter.allow(client, now))).sum()
}

#[test]
fn a_burst_and_not_one_more() {
    let limiter = limiter(50, 500);
    assert_eq!(allowed(&limiter, key(1), limiter.start, 1000), 500);
}

#[test]
fn tokens_come_back_at_the_rate_and_no_further_than_the_burst() {
    let limiter = limiter(50, 500);
    let after = |millis| limiter.start + Duration::from_millis(millis);
    allowed(&limiter, key(1), limiter.start, 500);
    assert_eq!(allowed(&limiter, key(1), after(19), 9), 0);
    assert_eq!(allowed(&limiter, key(1), after(20), 9), 1);
    assert_eq!(allowed(&limiter, key(1), after(1020), 1000), 50);
    assert_eq!(allowed(&limiter, key(1), after(3_600_000), 1000), 500);
}

#[test]
fn refusals_cost_nothing() {
    let limiter = limiter(10, 1);
    let allowed: u32 =
        (0..10_000).map(|ms| allowed(&limiter, key(1), limiter.start + Duration::from_millis(ms), 3)).sum();
    assert_eq!(allowed, 100);
}

#[test]
fn clients_are_independent() {
    let limiter = limiter(1, 3);
    assert_eq!(allowed(&limiter, key(1), limiter.start, 9), 3);
    assert_eq!(allowed(&limiter, key(2), limiter.start, 9), 3);
    assert_eq!(allowed(&limiter, ClientKey::default(), limiter.start, 9), 3);
}

#[test]
fn time_that_runs_backwards_gives_nothing_away() {
    let limiter = limiter(1, 5);
    let late = limiter.start + Duration::from_secs(60);
    assert_eq!(allowed(&limiter, key(1), late, 9), 5);
    assert_eq!(allowed(&limiter, key(1), limiter.start, 9), 0);
    assert_eq!(allowed(&limiter, key(2), limiter.start - Duration::from_secs(60), 9), 5);
}

#[test]
fn extreme_settings_are_sound() {
    let none = limiter(0, 0);
    assert_eq!(allowed(&none, key(1), none.start, 9), 1);
    let all = limiter(u32::MAX, u32::MAX);
    assert_eq!(allowed(&all, key(1), all.start, 1000), 1000);
    let slow = limiter(1, u32::MAX);
    assert_eq!(allowed(&slow, key(1), slow.start, 1000), 1000);
}

#[test]
fn a_million_addresses_find_room_and_do_not_wash_a_busy_client_clean() {
    let limiter = limiter(1, 10);
    let mut now = limiter.start;
    assert_eq!(allowed(&limiter, key(0), now, 99), 10);
    for number in 1..=1_000_000 {
        assert!(limiter.allow(key(number), now), "a newcomer is let in");
        now += Duration::from_nanos(100);
    }
    assert_eq!(allowed(&limiter, key(0), now, 99), 0);
    assert_eq!(limiter.sets.len() * size_of::<Mutex<Set>>(), MEMORY_BYTES);
}

#[test]
fn threads_share_one_bucket() {
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
