//! Warnings are needed most when they would come thousands of times a minute, at anybody's will. A
//! throttle lets one line through per interval and adds up what the lines in between would have said.
//! What is still unsaid when it goes, at the end of the process, it says then.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets one log line through per interval.
#[derive(Debug)]
pub struct Throttle {
    interval: Duration,
    say_rest: fn(u64),
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_line: Option<Instant>,
    unsaid: u64,
}

impl Throttle {
    /// A throttle that has not let anything through yet. `say_rest` writes the line about what is left
    /// at the end; why it happened is not known then.
    pub fn new(interval: Duration, say_rest: fn(u64)) -> Self {
        Throttle { interval, say_rest, state: Mutex::default() }
    }

    /// Adds `amount` to what is unsaid, and gives all of it, once per interval, to the caller to say.
    pub fn admit(&self, amount: u64) -> Option<u64> {
        let mut state = self.state.lock();
        state.unsaid += amount;
        if state.last_line.is_some_and(|last| last.elapsed() < self.interval) {
            return None;
        }
        state.last_line = Some(Instant::now());
        Some(std::mem::take(&mut state.unsaid))
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        match self.state.get_mut().unsaid {
            0 => {}
            unsaid => (self.say_rest)(unsaid),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_is_held_back_is_said_with_the_next_line() {
        let throttle = Throttle::new(Duration::from_secs(3600), |_| {});
        assert_eq!(throttle.admit(2), Some(2));
        assert_eq!(throttle.admit(3), None);
        throttle.state.lock().last_line = None;
        assert_eq!(throttle.admit(4), Some(7));
    }

    #[test]
    fn what_is_unsaid_at_the_end_is_said_then() {
        static SAID: AtomicU64 = AtomicU64::new(0);
        let say_rest = |unsaid| _ = SAID.fetch_add(unsaid + 1000, Ordering::Relaxed);
        let throttle = Throttle::new(Duration::from_secs(3600), say_rest);
        assert_eq!(throttle.admit(2), Some(2));
        drop(throttle);
        assert_eq!(SAID.load(Ordering::Relaxed), 0, "everything was said");
        let throttle = Throttle::new(Duration::from_secs(3600), say_rest);
        (0..4).for_each(|_| _ = throttle.admit(1));
        drop(throttle);
        assert_eq!(SAID.load(Ordering::Relaxed), 1003, "three were not, and are said once");
    }
}
