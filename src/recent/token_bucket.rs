//! A token bucket that threads share without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// A rate limit with a burst.
#[derive(Debug)]
pub struct TokenBucket {
    burst: u32,
    per_second: u32,
    /// The last second (upper half) and the tokens (lower half), as one word.
    state: AtomicU64,
}

impl TokenBucket {
    /// Returns a full bucket, which gets `per_second` tokens a second, up to `burst`.
    pub fn new(burst: u32, per_second: u32) -> TokenBucket {
        TokenBucket { burst, per_second, state: AtomicU64::new(burst.into()) }
    }

    /// Takes a token in this second of uptime. An empty bucket is only read.
    pub fn take(&self, uptime: u32) -> bool {
        let next = |state: u64| {
            let (last, tokens) = (state >> 32, state & 0xffff_ffff);
            let now = u64::from(uptime).max(last);
            let refilled = tokens + (now - last) * u64::from(self.per_second);
            refilled.min(self.burst.into()).checked_sub(1).map(|left| now << 32 | left)
        };
        self.state.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_holds_a_burst_and_is_refilled_each_second() {
        let bucket = TokenBucket::new(5, 2);
        let taken = |uptime| (0..20).filter(|_| bucket.take(uptime)).count();
        assert_eq!([0, 0, 1, 2, 1, 3, 100, u32::MAX].map(taken), [5, 0, 2, 2, 0, 2, 5, 5]);
    }
}
