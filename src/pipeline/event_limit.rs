//! The limit `sites[].events_per_second`. Events above it are dropped and counted as capped; metrics
//! stay exact.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::SiteConfig;

/// The limits of the configured sites, by index.
#[derive(Debug)]
pub(super) struct SiteEventLimiter {
    sites: Vec<Option<SecondWindow>>,
}

#[derive(Debug)]
struct SecondWindow {
    per_second: u32,
    /// The second (upper half) and the events in it (lower half), as one word.
    window: AtomicU64,
}

impl SiteEventLimiter {
    pub(super) fn new(sites: &[SiteConfig]) -> SiteEventLimiter {
        let window = |site: &SiteConfig| {
            site.events_per_second.map(|per_second| SecondWindow { per_second, window: AtomicU64::new(0) })
        };
        SiteEventLimiter { sites: sites.iter().map(window).collect() }
    }

    /// Counts one more event of this site, and returns whether it is within the limit of this second of
    /// uptime.
    pub(super) fn allow(&self, site: Option<usize>, uptime: u32) -> bool {
        match site.and_then(|site| self.sites.get(site)) {
            Some(Some(window)) => window.allow(uptime),
            _ => true,
        }
    }
}

impl SecondWindow {
    fn allow(&self, uptime: u32) -> bool {
        let next = |window: u64| {
            let counted = (window >> 32, window & 0xffff_ffff);
            // A late thread counts in the current second: reopening the previous one would reset the
            // count whenever two threads alternate.
            let (second, events) = if counted.0 < uptime.into() { (uptime.into(), 0) } else { counted };
            (events < self.per_second.into()).then_some(second << 32 | (events + 1))
        };
        self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limiter() -> SiteEventLimiter {
        let site = |name: &str, events_per_second| SiteConfig {
            name: name.into(),
            hosts: vec![],
            events_per_second,
        };
        SiteEventLimiter::new(&[site("shop", Some(2)), site("blog", Some(1)), site("free", None)])
    }

    #[test]
    fn allow_in_each_second_admits_the_limit() {
        let limiter = limiter();
        let allowed = |site, second| (0..5).filter(|_| limiter.allow(site, second)).count();
        for second in [0, 1, 7, u32::MAX] {
            assert_eq!(allowed(Some(0), second), 2, "{second}");
            assert_eq!(allowed(Some(1), second), 1, "{second}");
            assert_eq!((allowed(Some(2), second), allowed(None, second)), (5, 5), "no limit");
        }
    }

    #[test]
    fn allow_from_a_late_thread_counts_in_the_current_second() {
        let limiter = limiter();
        assert!(limiter.allow(Some(0), 9));
        let allowed = (0..100).filter(|late| limiter.allow(Some(0), 10 - late % 2)).count();
        assert_eq!(allowed, 2);
    }
}
