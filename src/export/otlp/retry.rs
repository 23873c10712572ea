//! How long to wait between two tries of a request: exponentially longer, with jitter so that daemons
//! which failed together do not return together, at least as long as the collector asks for, and no
//! longer than it takes to begin shutting down.

use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::logs::ShutdownDeadlines;

/// The longest delay that a collector is granted. A wrong clock can ask for years.
const MAX_SERVER_DELAY: Duration = Duration::from_secs(300);

/// The bounds of the delays.
#[derive(Debug, Clone, Copy)]
pub(in crate::export::otlp) struct RetryPolicy {
    /// The shortest delay.
    pub(in crate::export::otlp) initial_backoff: Duration,
    /// The longest delay.
    pub(in crate::export::otlp) max_backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy { initial_backoff: Duration::from_secs(1), max_backoff: Duration::from_secs(30) }
    }
}

/// While shutting down there is little time left, and nothing else to do.
const SHUTDOWN_POLICY: RetryPolicy =
    RetryPolicy { initial_backoff: Duration::from_millis(50), max_backoff: Duration::from_secs(1) };

impl RetryPolicy {
    /// A delay after so many failures before: `initial_backoff` to twice that, then doubling up to
    /// `max_backoff`, of which the upper half is random; more if the collector asks for more.
    pub(in crate::export::otlp) fn delay(&self, failures: u32, retry_after: Option<Duration>) -> Duration {
        match retry_after {
            // The collector knows better, except that asking for nothing must not make a busy loop.
            Some(retry_after) => retry_after.min(MAX_SERVER_DELAY) + self.jittered(0),
            None => self.jittered(failures),
        }
    }

    fn jittered(&self, failures: u32) -> Duration {
        let longest = self
            .initial_backoff
            .saturating_mul(2u32.saturating_pow(failures.saturating_add(1)))
            .min(self.max_backoff);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// The waits of one worker.
    pub(in crate::export::otlp) fn state(self) -> RetryState {
        RetryState { policy: self, failures: 0 }
    }
}

/// The waits of one worker between a failure and the next try.
#[derive(Debug)]
pub(in crate::export::otlp) struct RetryState {
    policy: RetryPolicy,
    failures: u32,
}

impl RetryState {
    /// A try has succeeded.
    pub(in crate::export::otlp) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next try. It is at once when shutdown begins meanwhile, or when another worker
    /// got through, unless the collector has asked for time.
    pub(in crate::export::otlp) async fn wait(
        &mut self,
        retry_after: Option<Duration>,
        recovered: &Notify,
        shutdown: &mut watch::Receiver<Option<ShutdownDeadlines>>,
    ) {
        let shutting_down = shutdown.borrow().is_some();
        let retry_policy = if shutting_down { SHUTDOWN_POLICY } else { self.policy };
        let sleep = tokio::time::sleep(retry_policy.delay(self.failures, retry_after));
        self.failures = self.failures.saturating_add(1);
        if shutting_down {
            sleep.await;
            return;
        }
        tokio::select! {
            () = sleep => {}
            () = recovered.notified(), if retry_after.is_none() => {}
            _ = shutdown.changed() => self.failures = 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_from_one_second_to_thirty() {
        let retry_policy = RetryPolicy::default();
        for (failures, longest) in [(0, 2), (1, 4), (2, 8), (3, 16), (4, 30), (5, 30), (u32::MAX, 30)] {
            for _ in 0..100 {
                let delay = retry_policy.delay(failures, None).as_secs_f64();
                let longest = f64::from(longest);
                assert!((longest / 2.0..=longest).contains(&delay), "{failures}: {delay}");
            }
        }
    }

    #[test]
    fn the_collectors_delay_is_kept_and_bounded() {
        let seconds =
            |retry_after| RetryPolicy::default().delay(9, Some(Duration::from_secs(retry_after))).as_secs();
        assert!((6..=7).contains(&seconds(5)));
        assert!((1..=2).contains(&seconds(0)));
        assert!(seconds(u64::MAX) <= 302);
    }
}
