//! Which sites have been seen for less than a day, so that what is found there is new to lookoutd and not to the site.

use parking_lot::Mutex;
use prometheus::IntGaugeVec;

use crate::findings::table::site_hash;
use crate::metrics::Registry;

/// Milliseconds for which a site is learned.
const LEARNING: i64 = 24 * 60 * 60 * 1000;

#[derive(Debug)]
pub(super) struct Learning {
    gauge: IntGaugeVec,
    max: usize,
    sites: Mutex<Vec<Site>>,
}

#[derive(Debug)]
struct Site {
    hash: u64,
    /// Unix milliseconds.
    since: i64,
    /// `None`: only the state file has it.
    name: Option<Box<str>>,
}

impl Learning {
    pub(super) fn new(registry: &Registry) -> Learning {
        let gauge = registry.self_metrics.findings.learning.clone();
        Learning { gauge, max: registry.max_learning, sites: Mutex::default() }
    }

    /// Begins to learn a site, unless it is known or there are too many.
    pub(super) fn start(&self, name: &str, now: i64) {
        self.add(site_hash(name), now, Some(name));
        self.update(now);
    }

    /// Adds a site that is known since this moment, or takes over since when an earlier process knew it.
    pub(super) fn add(&self, hash: u64, since: i64, name: Option<&str>) {
        let mut sites = self.sites.lock();
        let has_space = sites.len() < self.max;
        let name = name.map(Into::into);
        match sites.iter_mut().find(|site| site.hash == hash) {
            Some(site) => {
                site.since = site.since.min(since);
                site.name = name.or(site.name.take());
            }
            None if has_space => sites.push(Site { hash, since, name }),
            None => {}
        }
    }

    /// Returns the hash of each site, and since when it is known.
    pub(super) fn known(&self) -> Vec<(u64, i64)> {
        self.sites.lock().iter().map(|site| (site.hash, site.since)).collect()
    }

    pub(super) fn names(&self, now: i64) -> Vec<String> {
        let sites = self.sites.lock();
        let learned = sites.iter().filter(|site| now.saturating_sub(site.since) < LEARNING);
        learned.filter_map(|site| site.name.as_deref().map(str::to_owned)).collect()
    }

    pub(super) fn update(&self, now: i64) {
        for Site { since, name, .. } in &*self.sites.lock() {
            if let Some(name) = name {
                let learning = now.saturating_sub(*since) < LEARNING;
                self.gauge.with_label_values(&[name]).set(learning.into());
            }
        }
    }
}
