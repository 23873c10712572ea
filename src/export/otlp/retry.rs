//! Delays between two attempts of a request. They grow exponentially, with jitter so that daemons that failed
//! together do not retry together. The delay that a collector requests is respected, and the start of
//! shutdown ends every delay. Which failures are retried is decided by the protocols of `client`.

use std::time::Duration;

use http::header::{HeaderMap, RETRY_AFTER};
use jiff::Timestamp;
use jiff::fmt::rfc2822;
use tokio::sync::Notify;

use crate::export::otlp::shutdown::ShutdownReceiver;

/// Longest delay that a collector may request. One with a wrong clock may request years.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy)]
pub(crate) struct RetryPolicy {
    pub(crate) initial_backoff: Duration,
    pub(crate) max_backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { initial_backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(30) }
    }
}

/// The policy during shutdown, when little time is left.
const SHUTDOWN_POLICY: RetryPolicy =
    RetryPolicy { initial_backoff: Duration::from_millis(50), max_backoff: Duration::from_secs(1) };

impl RetryPolicy {
    /// Returns the delay after this number of earlier failures: first `initial_backoff` to twice that,
    /// then doubling up to `max_backoff`. The upper half of each is random.
    pub(crate) fn delay(&self, failures: u32, retry_after: Option<Duration>) -> Duration {
        match retry_after {
            // The shortest backoff is added, so that a requested delay of zero makes no busy loop.
            Some(retry_after) => retry_after.min(MAX_RETRY_AFTER) + self.jittered(0),
            None => self.jittered(failures),
        }
    }

    fn jittered(&self, failures: u32) -> Duration {
        let factor = 2u32.saturating_pow(failures.saturating_add(1));
        let longest = self.initial_backoff.saturating_mul(factor).min(self.max_backoff);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// Adds a failure to those since the last success, and waits before the next attempt: until shutdown begins or,
    /// unless the collector requested the delay, another worker succeeds (`recovered`), at the longest.
    pub(crate) async fn wait(
        &self,
        failures: &mut u32,
        retry_after: Option<Duration>,
        recovered: &Notify,
        shutdown: &mut ShutdownReceiver,
    ) {
        let shutting_down = shutdown.borrow().is_some();
        let policy = if shutting_down { &SHUTDOWN_POLICY } else { self };
        let sleep = tokio::time::sleep(policy.delay(*failures, retry_after));
        *failures = failures.saturating_add(1);
        tokio::select! {
            () = sleep => {}
            () = recovered.notified(), if !shutting_down && retry_after.is_none() => {}
            _ = shutdown.changed(), if !shutting_down => *failures = 0,
        }
    }
}

/// Parses Retry-After, seconds or a date: <https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3>.
pub(crate) fn parse_retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(value).ok()?;
    // A date that has passed allows the next attempt at once.
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delay_without_retry_after_grows_from_one_second_to_thirty() {
        let policy = RetryPolicy::default();
        for (failures, longest) in [(0, 2), (1, 4), (2, 8), (3, 16), (4, 30), (5, 30), (u32::MAX, 30)] {
            for _ in 0..100 {
                let delay = policy.delay(failures, None).as_secs_f64();
                let longest = f64::from(longest);
                assert!((longest / 2.0..=longest).contains(&delay), "{failures}: {delay}");
            }
        }
    }

    #[test]
    fn delay_of_the_collector_is_kept_and_bounded() {
        let seconds =
            |retry_after| RetryPolicy::default().delay(9, Some(Duration::from_secs(retry_after))).as_secs();
        assert!((6..=7).contains(&seconds(5)));
        assert!((1..=2).contains(&seconds(0)));
        assert!(seconds(u64::MAX) <= 302);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let after = |value: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            parse_retry_after(&headers, "1994-11-06T08:49:30Z".parse().unwrap()).map(|after| after.as_secs())
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:07 GMT"), Some(0));
        assert_eq!(after("soon"), None);
        assert_eq!(after("-1"), None);
        assert_eq!(parse_retry_after(&HeaderMap::new(), Timestamp::UNIX_EPOCH), None);
    }
}
