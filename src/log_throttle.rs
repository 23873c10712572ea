//! Rate limit of log messages that a client or a collector can cause many times a minute.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

pub(crate) const INTERVAL: Duration = Duration::from_secs(60);

/// Rate-limits a log message to one per minute; the suppressed remainder is logged on drop.
#[derive(Debug)]
pub struct LogThrottle {
    on_drop: fn(u64),
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_emitted: Option<Instant>,
    suppressed: u64,
}

impl LogThrottle {
    /// Returns a throttle whose first message is not suppressed. `on_drop` logs the suppressed remainder.
    pub fn new(on_drop: fn(u64)) -> Self {
        LogThrottle { on_drop, state: Mutex::default() }
    }

    /// Adds `count` to the suppressed number. Returns the sum, once per minute, for the caller to log.
    pub fn record(&self, count: u64) -> Option<u64> {
        let mut state = self.state.lock();
        state.suppressed += count;
        if state.last_emitted.is_some_and(|last| last.elapsed() < INTERVAL) {
            return None;
        }
        state.last_emitted = Some(Instant::now());
        Some(std::mem::take(&mut state.suppressed))
    }
}

impl Drop for LogThrottle {
    fn drop(&mut self) {
        let suppressed = self.state.get_mut().suppressed;
        if suppressed > 0 {
            (self.on_drop)(suppressed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn suppressed_count_is_returned_after_the_interval() {
        let throttle = LogThrottle::new(|_| {});
        assert_eq!(throttle.record(2), Some(2));
        assert_eq!(throttle.record(3), None);
        throttle.state.lock().last_emitted = None;
        assert_eq!(throttle.record(4), Some(7));
    }

    #[test]
    fn suppressed_count_is_logged_once_on_drop() {
        static LOGGED: AtomicU64 = AtomicU64::new(0);
        let on_drop = |suppressed| _ = LOGGED.fetch_add(suppressed + 1000, Ordering::Relaxed);
        let throttle = LogThrottle::new(on_drop);
        assert_eq!(throttle.record(2), Some(2));
        drop(throttle);
        assert_eq!(LOGGED.load(Ordering::Relaxed), 0, "nothing was suppressed");
        let throttle = LogThrottle::new(on_drop);
        for _ in 0..4 {
            throttle.record(1);
        }
        drop(throttle);
        assert_eq!(LOGGED.load(Ordering::Relaxed), 1003, "three were suppressed");
    }
}
