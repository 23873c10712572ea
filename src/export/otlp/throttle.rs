//! Warnings about exports are needed most when they would come thousands of times a minute. A
//! throttle lets one line through per interval and adds up what the lines in between would have said.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Lets one log line through per interval.
#[derive(Debug)]
pub struct Throttle {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_line: Option<Instant>,
    unsaid: u64,
}

impl Throttle {
    /// A throttle that has not let anything through yet.
    pub fn new(interval: Duration) -> Self {
        Throttle { interval, state: Mutex::default() }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_back_is_said_with_the_next_line() {
        let throttle = Throttle::new(Duration::from_secs(3600));
        assert_eq!(throttle.admit(2), Some(2));
        assert_eq!(throttle.admit(3), None);
        throttle.state.lock().last_line = None;
        assert_eq!(throttle.admit(4), Some(7));
    }
}
