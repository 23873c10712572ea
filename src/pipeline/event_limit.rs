//! `sites[].events_per_second`: above it a site's events are capped, and counted as capped. Its
//! counters stay exact.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::settings::SiteConfig;

/// One budget of events per configured site and second.
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
        let cap = |site: &SiteConfig| {
            site.events_per_second.map(|per_second| SecondWindow { per_second, window: AtomicU64::new(0) })
        };
        SiteEventLimiter { sites: sites.iter().map(cap).collect() }
    }

    /// Whether one more event of this site may go out in this second of the process' life.
    pub(super) fn allow(&self, site: Option<usize>, uptime: u32) -> bool {
        match site.and_then(|site| self.sites.get(site)) {
            Some(Some(cap)) => cap.allow(uptime),
            _ => true,
        }
    }
}

impl SecondWindow {
    fn allow(&self, uptime: u32) -> bool {
        let next = |window: u64| {
            let (second, events) = (window >> 32, window & 0xffff_ffff);
            // A thread that was late takes from the second that has begun. If it reopened the one before,
            // each would begin anew for as long as two threads take turns.
            let (second, events) = if second < uptime.into() { (uptime.into(), 0) } else { (second, events) };
            (events < self.per_second.into()).then_some(second << 32 | (events + 1))
        };
        self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps() -> SiteEventLimiter {
        let site = |name: &str, events_per_second| SiteConfig {
            name: name.into(),
            hosts: vec![],
            events_per_second,
        };
        SiteEventLimiter::new(&[site("shop", Some(2)), site("blog", Some(1)), site("free", None)])
    }

    #[test]
    fn each_second_has_its_budget() {
        let caps = caps();
        let allowed = |site, second| (0..5).filter(|_| caps.allow(site, second)).count();
        for second in [0, 1, 7, u32::MAX] {
            assert_eq!(allowed(Some(0), second), 2, "{second}");
            assert_eq!(allowed(Some(1), second), 1, "{second}");
            assert_eq!((allowed(Some(2), second), allowed(None, second)), (5, 5), "no cap is no cap");
        }
    }

    #[test]
    fn threads_that_are_a_second_apart_share_a_budget() {
        let caps = caps();
        assert!(caps.allow(Some(0), 9));
        let allowed = (0..100).filter(|late| caps.allow(Some(0), 10 - late % 2)).count();
        assert_eq!(allowed, 2);
    }
}
