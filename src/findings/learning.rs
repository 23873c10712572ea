//! Which sites have been seen for less than a day, so that what is found there is new to lookoutd and not to the site.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::IntGaugeVec;

use crate::findings::table::site_hash;
use crate::metrics::Registry;

/// Milliseconds for which a site is learned.
const LEARNING: i64 = 24 * 60 * 60 * 1000;

#[derive(Debug)]
pub(super) struct Learning {
    registry: Arc<Registry>,
    sites: Mutex<Vec<Site>>,
}

#[derive(Debug)]
struct Site {
    hash: u64,
    /// Unix milliseconds.
    since: i64,
    /// `None`: only the state file has it, or it was removed.
    name: Option<Box<str>>,
}

impl Learning {
    pub(super) fn new(registry: &Arc<Registry>) -> Learning {
        Learning { registry: registry.clone(), sites: Mutex::default() }
    }

    fn gauge(&self) -> &IntGaugeVec {
        &self.registry.self_metrics.findings.learning
    }

    /// Replaces the sites. Since when the others are known is kept.
    pub(super) fn set_sites<'n>(&self, names: impl Iterator<Item = &'n str>, now: i64) {
        let names: HashSet<&str> = names.collect();
        for site in &mut *self.sites.lock() {
            if let Some(name) = site.name.take_if(|name| !names.contains(&**name)) {
                // Fails only if there is no such series.
                let _ = self.gauge().remove_label_values(&[&name]);
            }
        }
        names.into_iter().for_each(|name| _ = self.add(site_hash(name), now, Some(name)));
        self.update(now);
    }

    /// Begins to learn a site, unless it is known or there are too many.
    pub(super) fn start(&self, name: &str, now: i64) {
        if self.add(site_hash(name), now, Some(name)) {
            self.update(now);
        }
    }

    /// Adds a site that is known since this moment, or takes over since when an earlier process knew it. Returns
    /// whether it has its name only now.
    pub(super) fn add(&self, hash: u64, since: i64, name: Option<&str>) -> bool {
        let mut sites = self.sites.lock();
        // Those without a name have no series.
        let like = sites.iter().filter(|site| site.name.is_some() == name.is_some()).count();
        let has_space = like < self.registry.max_learning();
        match sites.iter_mut().find(|site| site.hash == hash) {
            Some(site) => {
                site.since = site.since.min(since);
                let is_named = site.name.is_none() && name.is_some() && has_space;
                if is_named {
                    site.name = name.map(Into::into);
                }
                is_named
            }
            None if has_space => {
                sites.push(Site { hash, since, name: name.map(Into::into) });
                name.is_some()
            }
            None => false,
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
                self.gauge().with_label_values(&[name]).set(learning.into());
            }
        }
    }
}
