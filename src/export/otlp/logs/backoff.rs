//! How long to wait between two tries of a request: exponentially longer, with jitter so that daemons
//! which failed together do not return together, at least as long as the collector asks for, and no
//! longer than it takes to begin shutting down.

use std::time::Duration;

use tokio::sync::{Notify, watch};

use super::Stop;

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
    /// A delay after so many failures before: `base` to twice that, then doubling up to `cap`, of
    /// which the upper half is random; more if the collector asks for more.
    pub(super) fn delay(&self, failures: u32, asked: Option<Duration>) -> Duration {
        match asked {
            // The collector knows better, except that asking for nothing must not make a busy loop.
            Some(asked) => asked.min(MAX_SERVER_DELAY) + self.jittered(0),
            None => self.jittered(failures),
        }
    }

    fn jittered(&self, failures: u32) -> Duration {
        let longest = self.base.saturating_mul(2u32.saturating_pow(failures.saturating_add(1))).min(self.cap);
        longest.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// The waits of one sender.
    pub(super) fn waits(self) -> Waits {
        Waits { running: self, failures: 0 }
    }
}

/// The waits of one sender between a failure and the next try.
#[derive(Debug)]
pub(super) struct Waits {
    running: Backoff,
    failures: u32,
}

impl Waits {
    /// A try has succeeded.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits before the next try. It is at once when shutdown begins meanwhile, or when another sender
    /// got through, unless the collector has asked for time.
    pub(super) async fn wait(
        &mut self,
        asked: Option<Duration>,
        healed: &Notify,
        stop: &mut watch::Receiver<Option<Stop>>,
    ) {
        let stopping = stop.borrow().is_some();
        let backoff = if stopping { STOPPING } else { self.running };
        let sleep = tokio::time::sleep(backoff.delay(self.failures, asked));
        self.failures = self.failures.saturating_add(1);
        if stopping {
            sleep.await;
            return;
        }
        tokio::select! {
            () = sleep => {}
            () = healed.notified(), if asked.is_none() => {}
            _ = stop.changed() => self.failures = 0,
        }
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
                let delay = backoff.delay(failures, None).as_secs_f64();
                let longest = f64::from(longest);
                assert!((longest / 2.0..=longest).contains(&delay), "{failures}: {delay}");
            }
        }
    }

    #[test]
    fn the_collectors_delay_is_kept_and_bounded() {
        let seconds = |asked| Backoff::default().delay(9, Some(Duration::from_secs(asked))).as_secs();
        assert!((6..=7).contains(&seconds(5)));
        assert!((1..=2).contains(&seconds(0)));
        assert!(seconds(u64::MAX) <= 302);
    }
}
