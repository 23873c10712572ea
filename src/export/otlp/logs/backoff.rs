//! How long to wait between two tries of a request: exponentially longer, with jitter so that daemons
//! which failed together do not return together, at least as long as the collector asks for, and no
//! longer than it takes to begin shutting down.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// The longest delay that a collector is granted. A wrong clock can ask for years.
const MAX_SERVER_DELAY: Duration = Duration::from_secs(300);

/// The bounds of the delays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backoff {
    /// The shortest delay.
    pub(super) base: Duration,
    /// The longest delay.
    pub(super) cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(30) }
    }
}

/// While shutting down there is little time left, and nothing else to do.
const STOPPING: Backoff = Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(1) };

impl Backoff {
    /// The waits of one request.
    pub(super) fn waits(self) -> Waits {
        Waits { running: self, failures: 0 }
    }

    /// A delay after so many failures before: `base` to twice that, then doubling up to `cap`, of
    /// which the upper half is random.
    fn delay(&self, failures: u32) -> Duration {
        let longest = self.base.saturating_mul(2u32.saturating_pow(failures.saturating_add(1))).min(self.cap);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// The waits between the tries of one request.
#[derive(Debug)]
pub(super) struct Waits {
    running: Backoff,
    failures: u32,
}

impl Waits {
    /// Waits before the next try. When shutdown begins meanwhile, the next try is at once.
    pub(super) async fn wait(
        &mut self,
        asked: Option<Duration>,
        stop: &mut watch::Receiver<Option<Instant>>,
    ) {
        let stopping = stop.borrow().is_some();
        let backoff = if stopping { STOPPING } else { self.running };
        let sleep = tokio::time::sleep(self.next(backoff, asked));
        if stopping {
            sleep.await;
        } else {
            tokio::select! {
                () = sleep => {}
                _ = stop.changed() => self.failures = 0,
            }
        }
    }

    fn next(&mut self, backoff: Backoff, asked: Option<Duration>) -> Duration {
        let delay = match asked {
            // The collector knows better, except that asking for nothing must not make a busy loop.
            Some(asked) => asked.min(MAX_SERVER_DELAY) + backoff.delay(0),
            None => backoff.delay(self.failures),
        };
        self.failures = self.failures.saturating_add(1);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_from_one_second_to_thirty() {
        let backoff = Backoff::default();
        for (failures, longest) in [(0, 2), (1, 4), (2, 8), (3, 16), (4, 30), (5, 30), (u32::MAX, 30)] {
            for _ in 0..100 {
                let delay = backoff.delay(failures).as_secs_f64();
                let longest = f64::from(longest);
                assert!((longest / 2.0..=longest).contains(&delay), "{failures}: {delay}");
            }
        }
    }

    #[test]
    fn the_collectors_delay_is_kept_and_bounded() {
        let mut waits = Backoff::default().waits();
        let mut seconds = |asked| waits.next(Backoff::default(), Some(Duration::from_secs(asked))).as_secs();
        assert!((6..=7).contains(&seconds(5)));
        assert!((1..=2).contains(&seconds(0)));
        assert!(seconds(u64::MAX) <= 302);
    }
}
