//! `sites[].events_per_second`: above it a site's events are capped, and counted as capped. Its
//! counters stay exact.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::config::settings::Site;

/// One budget of events per configured site and second.
#[derive(Debug)]
pub(super) struct EventCaps {
    sites: Vec<Option<Cap>>,
}

#[derive(Debug)]
struct Cap {
    per_second: u32,
    /// The second (upper half) and the events in it (lower half), as one word.
    window: AtomicU64,
}

impl EventCaps {
    pub(super) fn new(sites: &[Site]) -> EventCaps {
        let cap = |site: &Site| {
            site.events_per_second.map(|per_second| Cap { per_second, window: AtomicU64::new(0) })
        };
        EventCaps { sites: sites.iter().map(cap).collect() }
    }

    /// Whether one more event of this site may go out in this second.
    pub(super) fn allow(&self, site: Option<usize>, now: Timestamp) -> bool {
        match site.and_then(|site| self.sites.get(site)) {
            Some(Some(cap)) => cap.allow(now),
            _ => true,
        }
    }
}

impl Cap {
    fn allow(&self, now: Timestamp) -> bool {
        // Only whether two moments are of the same second matters, so the upper bits may go.
        let second = (now.as_second().cast_unsigned() & 0xffff_ffff) << 32;
        let next = |window: u64| {
            let events = if window & !0xffff_ffff == second { window & 0xffff_ffff } else { 0 };
            (events < self.per_second.into()).then_some(second | (events + 1))
        };
        self.window.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_budget() {
        let site = Site { name: "shop".into(), hosts: vec![], events_per_second: Some(2) };
        let caps = EventCaps::new(&[site]);
        let at = |second| Timestamp::from_second(second).unwrap();
        let allowed = |site, second| (0..5).filter(|_| caps.allow(site, at(second))).count();
        assert_eq!(allowed(Some(0), 1_800_000_000), 2);
        assert_eq!(allowed(Some(0), 1_800_000_001), 2);
        assert_eq!(allowed(None, 1_800_000_001), 5);
    }
}
