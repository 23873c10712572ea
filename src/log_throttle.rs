//! Warnings are needed most when they would come thousands of times a minute, at anybody's will. A
//! throttle lets one line through per interval and adds up what the lines in between would have said.
//! What is still unsaid when it goes, at the end of the process, it says then.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets one log line through per interval.
#[derive(Debug)]
pub struct LogThrottle {
    interval: Duration,
    on_drop: fn(u64),
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_emitted: Option<Instant>,
    suppressed: u64,
}

impl LogThrottle {
    /// A throttle that has not let anything through yet. `on_drop` writes the line about what is left
    /// at the end; why it happened is not known then.
    pub fn new(interval: Duration, on_drop: fn(u64)) -> Self {
        LogThrottle { interval, on_drop, state: Mutex::default() }
    }

    /// Adds `count` to the suppressed ones; returns them all, once per interval, for the caller to log.
    pub fn record(&self, count: u64) -> Option<u64> {
        let mut state = self.state.lock();
        state.suppressed += count;
        if state.last_emitted.is_some_and(|last| last.elapsed() < self.interval) {
            return None;
        }
        state.last_emitted = Some(Instant::now());
        Some(std::mem::take(&mut state.suppressed))
    }
}

impl Drop for LogThrottle {
    fn drop(&mut self) {
        match self.state.get_mut().suppressed {
            0 => {}
            suppressed => (self.on_drop)(suppressed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_is_held_back_is_said_with_the_next_line() {
        let throttle = LogThrottle::new(Duration::from_secs(3600), |_| {});
        assert_eq!(throttle.record(2), Some(2));
        assert_eq!(throttle.record(3), None);
        throttle.state.lock().last_emitted = None;
        assert_eq!(throttle.record(4), Some(7));
    }

    #[test]
    fn what_is_unsaid_at_the_end_is_said_then() {
        static SAID: AtomicU64 = AtomicU64::new(0);
        let on_drop = |suppressed| _ = SAID.fetch_add(suppressed + 1000, Ordering::Relaxed);
        let throttle = LogThrottle::new(Duration::from_secs(3600), on_drop);
        assert_eq!(throttle.record(2), Some(2));
        drop(throttle);
        assert_eq!(SAID.load(Ordering::Relaxed), 0, "everything was said");
        let throttle = LogThrottle::new(Duration::from_secs(3600), on_drop);
        (0..4).for_each(|_| _ = throttle.record(1));
        drop(throttle);
        assert_eq!(SAID.load(Ordering::Relaxed), 1003, "three were not, and are said once");
    }
}
