//! Limits of events per second: of a site, of the site `unknown`, and of all together. Events above one are
//! dropped and counted as capped; metrics stay exact.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::Config;
use crate::model::{Classification, Names, SiteLabel};

/// The configured limits.
#[derive(Debug)]
pub(super) struct EventLimiter {
    /// That of the site `unknown`, and those of the configured sites by their id.
    sites: Vec<Option<SecondWindow>>,
    all: Option<SecondWindow>,
}

#[derive(Debug)]
struct SecondWindow {
    per_second: u32,
    /// The second (upper half) and the events in it (lower half), as one word.
    window: AtomicU64,
}

impl EventLimiter {
    /// Returns the limits of `config`, with what `earlier` ones have counted in this second.
    pub(super) fn new(config: &Config, names: &Names, earlier: Option<&EventLimiter>) -> EventLimiter {
        let window = |limit: Option<u32>, earlier: Option<&SecondWindow>| {
            let counted = earlier.map_or(0, |earlier| earlier.window.load(Ordering::Relaxed));
            limit.map(|per_second| SecondWindow { per_second, window: AtomicU64::new(counted) })
        };
        let mut limits = vec![None; 1 + names.total()];
        limits[0] = config.events.max_unknown_per_second;
        for (id, site) in names.configured().iter().zip(&config.sites) {
            limits[1 + id] = site.events_per_second;
        }
        let of_site = |(index, limit): (usize, _)| {
            window(limit, earlier.and_then(|earlier| earlier.sites.get(index)?.as_ref()))
        };
        EventLimiter {
            sites: limits.into_iter().enumerate().map(of_site).collect(),
            all: window(config.events.max_per_second, earlier.and_then(|earlier| earlier.all.as_ref())),
        }
    }

    /// Returns the index of the limit of a report's site, if the site can have one.
    pub(super) fn index(report: &Classification<'_>) -> Option<usize> {
        let unknown = || (report.site == SiteLabel::UNKNOWN.label).then_some(0);
        report.configured.map(|site| site + 1).or_else(unknown)
    }

    /// Counts one more event under the limit of this index, and returns whether it is within the limits of this
    /// second of uptime. The limit of all comes last, so that what another one drops takes no part in it.
    pub(super) fn allow(&self, index: Option<usize>, uptime: u32) -> bool {
        let own = index.and_then(|index| self.sites.get(index)?.as_ref());
        [own, self.all.as_ref()].into_iter().flatten().all(|window| window.allow(uptime))
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
    use crate::config::{Events, SiteConfig, defaults};
    use crate::model::{Browser, Label, Noise, Versions};

    const SHOP: (&str, Option<usize>) = ("shop", Some(0));
    const BLOG: (&str, Option<usize>) = ("blog", Some(1));
    const FREE: (&str, Option<usize>) = ("free", Some(2));
    const UNKNOWN: (&str, Option<usize>) = ("unknown", None);
    const HOST: (&str, Option<usize>) = ("shop.example", None);

    fn limiter(max_per_second: Option<u32>) -> EventLimiter {
        let mut config = defaults();
        let site = |(name, _): (&str, _), events_per_second| SiteConfig {
            name: name.to_owned(),
            events_per_second,
            ..SiteConfig::default()
        };
        config.sites = vec![site(SHOP, Some(2)), site(BLOG, Some(1)), site(FREE, None)];
        config.events = Events { max_per_second, max_unknown_per_second: Some(3), ..Events::default() };
        let names = Names::default().change(config.sites.iter().map(|site| &*site.name));
        EventLimiter::new(&config, &names, None)
    }

    impl EventLimiter {
        fn allows(&self, (site, configured): (&'static str, Option<usize>), uptime: u32) -> bool {
            let site = Label::bounded(site);
            let (noise, browser) = (Noise::None, Browser::Other);
            let (page, severity, drops_event, rule) = (None, None, false, None);
            let versions = Versions::default();
            let report = Classification {
                site,
                configured,
                page,
                noise,
                severity,
                drops_event,
                rule,
                browser,
                versions,
            };
            self.allow(Self::index(&report), uptime)
        }
    }

    #[test]
    fn allow_in_each_second_admits_the_limit() {
        let limiter = limiter(None);
        let allowed = |site, second| (0..5).filter(|_| limiter.allows(site, second)).count();
        for second in [0, 1, 7, u32::MAX] {
            assert_eq!([SHOP, BLOG, UNKNOWN].map(|site| allowed(site, second)), [2, 1, 3], "{second}");
            assert_eq!((allowed(FREE, second), allowed(HOST, second)), (5, 5), "no limit");
        }
    }

    #[test]
    fn allow_of_all_sites_together_admits_the_limit_of_all() {
        let limiter = limiter(Some(6));
        let allowed = |site, second| (0..5).filter(|_| limiter.allows(site, second)).count();
        for second in [0, 1, 7] {
            // What the site's own limit drops does not count.
            assert_eq!([SHOP, UNKNOWN, HOST, FREE].map(|site| allowed(site, second)), [2, 3, 1, 0]);
        }
    }

    #[test]
    fn allow_from_a_late_thread_counts_in_the_current_second() {
        let limiter = limiter(None);
        assert!(limiter.allows(SHOP, 9));
        let allowed = (0..100).filter(|late| limiter.allows(SHOP, 10 - late % 2)).count();
        assert_eq!(allowed, 2);
    }
}
