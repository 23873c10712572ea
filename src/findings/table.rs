//! The table of findings, bounded in number and in bytes.
//!
//! # Design
//!
//! Each finding is charged with its bytes, but not less than the limit of bytes divided by that of findings, so that
//! one capacity keeps both limits. A quarter of it is for noise. Sites share it like series, and what is not frequent
//! is not admitted to the last quarter of it. Evictions take the findings that the fewest clients share, so that one
//! client, or twenty, can only evict what as few have seen. Their fingerprints stay in a filter.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use foldhash::quality::RandomState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use parking_lot::{Mutex, RwLock};

use crate::config;
use crate::findings::arrival::Arrival;
use crate::findings::distinct::DistinctClients;
use crate::findings::evicted::{Evicted, EvictedFilter};
use crate::metrics::{Allocation, Owner, Priority, Registry, SiteQuotas};
use crate::model::{
    Browser, Class, Disposition, Fingerprint, LabelEnum, Names, Noise, ReportKind, SiteLabel,
};

const SHARDS: usize = 64;
/// Part of the capacity that is for noise.
const NOISE_PART: usize = 4;
/// Bytes of a finding besides what it owns: its place in a table that is half full, and what the allocator adds.
const OVERHEAD: usize = size_of::<Entry>() + size_of::<Details>() + 96;
/// Most bytes of a sample.
pub const MAX_SAMPLE: usize = 2048;
const MAX_PAGES: usize = 5;
const MAX_PAGE: usize = 256;
const PAGE_OVERHEAD: usize = 2 * size_of::<(Box<str>, u32)>();
/// Numbers of clients at which a finding is counted.
const REACHED: [(u64, &str); 4] = [(1, "1"), (2, "2"), (5, "5"), (50, "50")];

/// One distinct problem.
#[derive(Debug)]
pub struct Entry {
    /// Identifies it.
    pub fingerprint: Fingerprint,
    /// Number of reports.
    pub count: u64,
    /// When the first report was received, in Unix milliseconds.
    pub first_seen: i64,
    /// When the last report was received, in Unix milliseconds.
    pub last_seen: i64,
    /// Its content, if a report came in this process and there was space. Apart, because a start waits for the memory
    /// of those that an earlier process had.
    pub details: Option<Box<Details>>,
    clients: DistinctClients,
    /// The clients of earlier processes.
    restored_clients: u64,
    /// The entries of [`REACHED`] that were reached, as bits.
    reached: u8,
    /// Hash of the site's name.
    site: u64,
    is_noise: bool,
    allocation: Allocation,
    charged: usize,
}

/// What only memory has of a finding.
#[derive(Debug)]
#[allow(missing_docs)] // the labels of its first report
pub struct Details {
    pub site: Box<str>,
    pub kind: &'static ReportKind,
    pub disposition: Disposition,
    pub class: Class,
    pub noise: Noise,
    /// Reports by browser, in the order of [`Browser`].
    pub browsers: [u32; Browser::ALL.len()],
    /// Up to five pages, each with its reports.
    pub pages: Vec<(Box<str>, u32)>,
    /// Hash of the URL of each of these, so that pages, which are elsewhere in memory, are only read to be counted.
    page_hashes: [u32; MAX_PAGES],
    /// The console line of one event; empty if it is too long.
    pub sample: Box<[u8]>,
}

#[derive(Debug, Default)]
pub(super) struct Recorded {
    pub(super) is_new: bool,
    /// Whether it is the first one of the finding that this process has details of.
    pub(super) is_first: bool,
    /// The number of clients that the finding reached by it.
    pub(super) reached: Option<&'static str>,
}

#[derive(Debug)]
pub(super) struct Table {
    settings: config::Findings,
    registry: Arc<Registry>,
    hasher: RandomState,
    shards: Box<[Mutex<HashTable<Box<Entry>>>]>,
    /// Of findings, and of noise.
    quotas: [SiteQuotas; 2],
    /// Hash of the name of no site.
    unknown_site: u64,
    /// Id of each site by the hash of its name, if any are configured.
    sites: RwLock<HashMap<u64, usize>>,
    /// Bytes of findings and noise.
    capacity: usize,
    /// Least charge of a finding.
    unit: usize,
    pub(super) evicted: Mutex<EvictedFilter>,
}

/// A finding as the state file has it: fingerprint, site, count, first and last seen, clients, what was reached, and
/// whether it is noise.
pub(super) type Saved = (Fingerprint, u64, u64, i64, i64, u64, u8, bool);

/// Returns the hash of a site's name, which is the same in every process.
pub(super) fn site_hash(name: &str) -> u64 {
    twox_hash::XxHash64::oneshot(0, name.as_bytes())
}

impl Entry {
    fn new(fingerprint: Fingerprint, now: i64, allocation: Allocation, charged: usize) -> Entry {
        Entry {
            fingerprint,
            count: 0,
            first_seen: now,
            last_seen: now,
            details: None,
            clients: DistinctClients::Exact(Vec::new()),
            restored_clients: 0,
            reached: 0,
            site: 0,
            is_noise: false,
            allocation,
            charged,
        }
    }

    fn evicted(&self) -> Evicted {
        Evicted::new(self.fingerprint, self.first_seen, self.last_seen, self.reached)
    }

    pub(super) fn saved(&self) -> Saved {
        let Entry { fingerprint, site, count, first_seen, last_seen, reached, is_noise, .. } = *self;
        (fingerprint, site, count, first_seen, last_seen, self.clients(), reached, is_noise)
    }

    /// Returns the number of distinct clients.
    pub fn clients(&self) -> u64 {
        self.clients.count().0.max(self.restored_clients)
    }

    fn bytes(&self) -> usize {
        let pages = |details: &Details| -> usize {
            details.pages.iter().map(|(url, _)| url.len() + PAGE_OVERHEAD).sum()
        };
        let details = self.details.as_ref().map_or(0, |it| it.site.len() + it.sample.len() + pages(it));
        OVERHEAD + self.clients.bytes(false) + details
    }

    /// Charges more bytes. Returns whether there is space.
    fn charge(&mut self, quotas: &SiteQuotas, priority: Priority, more: usize) -> bool {
        let missing = (self.bytes() + more).saturating_sub(self.charged);
        let has_space = missing == 0 || quotas.grow(self.allocation, priority, missing);
        self.charged += if has_space { missing } else { 0 };
        has_space
    }

    fn describe(&mut self, arrival: &Arrival<'_>, quotas: &SiteQuotas, sample: impl FnOnce() -> Vec<u8>) {
        let classification = arrival.classification;
        let site: Box<str> = classification.site.as_str().into();
        if !self.charge(quotas, Priority::Frequent, site.len() + MAX_SAMPLE) {
            return;
        }
        self.details = Some(Box::new(Details {
            site,
            kind: arrival.report.kind,
            disposition: arrival.finding.disposition,
            class: arrival.finding.class,
            noise: classification.noise,
            browsers: [0; Browser::ALL.len()],
            pages: Vec::new(),
            page_hashes: [0; MAX_PAGES],
            sample: sample().into(),
        }));
    }

    fn add_page(&mut self, url: &str, quotas: &SiteQuotas) {
        let url = &url[..url.floor_char_boundary(MAX_PAGE)];
        let Some(details) = &mut self.details else { return };
        let hash = FixedState::default().hash_one(url) as u32;
        let mut pages = details.page_hashes.iter().zip(&mut details.pages);
        if let Some((_, (_, count))) = pages.find(|(known, (page, _))| **known == hash && **page == *url) {
            *count = count.saturating_add(1);
        } else if details.pages.len() < MAX_PAGES
            && !url.is_empty()
            && self.charge(quotas, Priority::Frequent, url.len() + PAGE_OVERHEAD)
            && let Some(details) = &mut self.details
        {
            details.page_hashes[details.pages.len()] = hash;
            details.pages.push((url.into(), 1));
        }
    }

    /// Returns the number of clients that the finding reaches by this one, if it had not before.
    fn add_client(&mut self, hash: u32, quotas: &SiteQuotas) -> Option<&'static str> {
        if self.clients.contains(hash) {
            return None;
        }
        let more = self.clients.bytes(true).saturating_sub(self.clients.bytes(false));
        if !self.charge(quotas, Priority::Bounded, more) {
            return None;
        }
        self.clients.insert(hash);
        let (clients, true) = self.clients.count() else { return None };
        let position = REACHED.iter().position(|(reached, _)| *reached == clients)?;
        let known = self.reached & (1 << position) != 0;
        self.reached |= 1 << position;
        (!known).then_some(REACHED[position].1)
    }
}

impl Table {
    /// Creates a table without capacity for any site.
    pub(super) fn new(settings: &config::Findings, registry: Arc<Registry>) -> Table {
        let evicted = EvictedFilter::new(settings.max.min(settings.max_bytes / 8 / size_of::<Evicted>()));
        let capacity = settings.max_bytes - evicted.bytes();
        let unit = (capacity / settings.max).max(1);
        Table {
            settings: settings.clone(),
            registry,
            hasher: RandomState::default(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            quotas: [(); 2].map(|()| SiteQuotas::new(unit)),
            unknown_site: site_hash(SiteLabel::UNKNOWN.label.as_str()),
            sites: RwLock::default(),
            capacity,
            unit,
            evicted: Mutex::new(evicted),
        }
    }

    /// Replaces the configured sites, and charges every finding anew.
    pub(super) fn set_sites(&self, sites: &Names) {
        let mut shards: Vec<_> = self.shards.iter().map(Mutex::lock).collect();
        let ids = if sites.configured().is_empty() { 0 } else { sites.total() };
        *self.sites.write() = (0..ids).map(|id| (site_hash(sites.name(id)), id)).collect();
        let of_noise = self.capacity / NOISE_PART;
        for (quotas, capacity) in self.quotas.iter().zip([self.capacity - of_noise, of_noise]) {
            quotas.partition(capacity, &sites.is_configured());
        }
        for finding in shards.iter_mut().flat_map(|shard| shard.iter_mut()) {
            let quotas = &self.quotas[usize::from(finding.is_noise)];
            finding.allocation = quotas.recharge(self.owner(finding.site), finding.charged);
        }
    }

    fn hash(&self, fingerprint: Fingerprint) -> u64 {
        self.hasher.hash_one(fingerprint)
    }

    fn shard(&self, hash: u64) -> &Mutex<HashTable<Box<Entry>>> {
        &self.shards[(hash >> 58) as usize % SHARDS]
    }

    pub(super) fn record(&self, arrival: &Arrival<'_>, sample: impl FnOnce() -> Vec<u8>) -> Recorded {
        let Arrival { report, classification, finding: of, client, context, .. } = arrival;
        let now = context.received.as_millisecond();
        let hash = self.hash(of.fingerprint);
        let mut recorded = Recorded::default();
        let mut shard = self.shard(hash).lock();
        let slot = shard.entry(hash, |it| it.fingerprint == of.fingerprint, |it| self.hash(it.fingerprint));
        let finding = match slot {
            Slot::Occupied(found) => found.into_mut(),
            Slot::Vacant(_) if !arrival.may_describe => return recorded,
            Slot::Vacant(free) => {
                let is_noise = classification.noise != Noise::None;
                let site = site_hash(classification.site.as_str());
                let Some((allocation, charged)) = self.admit(self.owner(site), is_noise, hash) else {
                    return recorded;
                };
                let mut finding = Entry::new(of.fingerprint, now, allocation, charged);
                (finding.site, finding.is_noise) = (site, is_noise);
                match self.evicted.lock().find(of.fingerprint) {
                    Some(evicted) => (finding.first_seen, finding.reached) = evicted.first_seen_and_reached(),
                    None => recorded.is_new = true,
                }
                free.insert(Box::new(finding)).into_mut()
            }
        };
        let quotas = &self.quotas[usize::from(finding.is_noise)];
        finding.count = finding.count.saturating_add(1);
        finding.last_seen = finding.last_seen.max(now);
        if finding.details.is_none() && arrival.may_describe {
            finding.describe(arrival, quotas, sample);
            recorded.is_first = finding.details.is_some();
        }
        if let Some(details) = &mut finding.details {
            let browser = &mut details.browsers[classification.browser as usize];
            *browser = browser.saturating_add(1);
        }
        finding.add_page(&report.url, quotas);
        let new_for = i64::try_from(self.settings.new_for.as_millis()).unwrap_or(i64::MAX);
        if let Some(hash) = client.hash {
            let reached = finding.add_client(hash as u32, quotas);
            recorded.reached = reached.filter(|_| now.saturating_sub(finding.first_seen) < new_for);
        }
        if recorded.is_first || finding.count == 1 {
            self.settle(finding);
        }
        recorded
    }

    /// Allocates space for findings that are to be restored.
    pub(super) fn reserve(&self, findings: usize) {
        for shard in &self.shards {
            shard.lock().reserve(findings.min(self.settings.max) / SHARDS, |it| self.hash(it.fingerprint));
        }
    }

    /// Adds a finding of an earlier process, unless it has expired. What finds no space counts as evicted. Times are not
    /// after `now`, whatever the state has.
    pub(super) fn restore(&self, saved: Saved, now: i64) {
        let (fingerprint, site, count, first_seen, last_seen, restored_clients, reached, is_noise) = saved;
        let charged = OVERHEAD.max(self.unit);
        let quotas = &self.quotas[usize::from(is_noise)];
        let (last_seen, reached) = (last_seen.clamp(0, now), reached % (1 << REACHED.len()));
        let first_seen = first_seen.clamp(0, last_seen);
        if last_seen < self.expired_before(now) {
            return;
        }
        let Some(allocation) = quotas.reserve(self.owner(site), Priority::Frequent, charged) else {
            return self.evicted.lock().insert(Evicted::new(fingerprint, first_seen, last_seen, reached));
        };
        let new = Entry::new(fingerprint, now, allocation, charged);
        let entry = Entry { site, count, first_seen, last_seen, restored_clients, reached, is_noise, ..new };
        let hash = self.hash(fingerprint);
        let mut shard = self.shard(hash).lock();
        match shard.entry(hash, |it| it.fingerprint == fingerprint, |it| self.hash(it.fingerprint)) {
            Slot::Occupied(_) => quotas.release(allocation, charged),
            Slot::Vacant(free) => drop(free.insert(Box::new(entry))),
        }
    }

    /// Returns the owner of the quota of a site, by the hash of its name.
    fn owner(&self, site: u64) -> Owner {
        let sites = self.sites.read();
        match sites.get(&site) {
            Some(id) => Owner::Configured(*id),
            None if sites.is_empty() && site != self.unknown_site => Owner::Host(self.hasher.hash_one(site)),
            None => Owner::Others,
        }
    }

    /// Reserves space for a finding with a sample.
    fn admit(&self, owner: Owner, is_noise: bool, hash: u64) -> Option<(Allocation, usize)> {
        let quotas = &self.quotas[usize::from(is_noise)];
        let bytes = (OVERHEAD + MAX_SAMPLE + MAX_PAGE).max(self.unit);
        let is_frequent = || self.registry.is_frequent(hash);
        Some((quotas.admit(owner, Priority::New, bytes, is_frequent)?, bytes))
    }

    /// Releases what was charged but is not used.
    fn settle(&self, finding: &mut Entry) {
        let unused = finding.charged.saturating_sub(finding.bytes().max(self.unit));
        if unused > 0 {
            self.quotas[usize::from(finding.is_noise)].release(finding.allocation, unused);
            finding.charged -= unused;
        }
    }

    /// Passes every finding to `visitor`. A shard is locked meanwhile.
    pub(super) fn visit(&self, mut visitor: impl FnMut(&Entry)) {
        for shard in &self.shards {
            shard.lock().iter().for_each(|finding| visitor(finding));
        }
    }

    /// Publishes how many findings there are, and how much of their capacity those that are not noise are charged.
    pub(super) fn publish(&self) {
        let metrics = &self.registry.self_metrics.findings;
        let as_gauge = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        metrics.count.set(as_gauge(self.shards.iter().map(|shard| shard.lock().len()).sum()));
        let (used, limit) = self.quotas[0].used_and_limit();
        metrics.bytes.set(as_gauge(used));
        metrics.limit.set(as_gauge(limit));
    }

    /// Evicts findings for the demand since the last call: first those that the fewest clients share, of these those
    /// without a report for the longest time.
    pub(super) fn evict_for_demand(&self) {
        for (is_noise, quotas) in [false, true].into_iter().zip(&self.quotas) {
            let Some(mut demand) = quotas.take_demand() else { continue };
            let mut candidates = Vec::new();
            self.visit(|finding| {
                if finding.is_noise == is_noise && demand.beneficiary(finding.allocation).is_some() {
                    let clients = finding.reached.trailing_ones();
                    candidates.push((clients, finding.last_seen, finding.fingerprint, finding.allocation));
                }
            });
            candidates.sort_unstable_by_key(|(clients, last_seen, ..)| (*clients, *last_seen));
            for (.., fingerprint, allocation) in candidates {
                if let Some(site) = demand.beneficiary(allocation) {
                    self.evict(fingerprint);
                    demand.record_eviction(allocation, site);
                }
            }
        }
    }

    fn evict(&self, fingerprint: Fingerprint) {
        let hash = self.hash(fingerprint);
        let mut shard = self.shard(hash).lock();
        let Ok(found) = shard.find_entry(hash, |finding| finding.fingerprint == fingerprint) else { return };
        let (finding, _) = found.remove();
        self.quotas[usize::from(finding.is_noise)].release(finding.allocation, finding.charged);
        self.evicted.lock().insert(finding.evicted());
    }

    /// Returns the moment before which what was last seen has expired.
    pub(super) fn expired_before(&self, now: i64) -> i64 {
        now.saturating_sub(i64::try_from(self.settings.ttl.as_millis()).unwrap_or(i64::MAX))
    }

    /// Removes what had no report for `findings.ttl`, as of this moment in Unix milliseconds.
    pub(super) fn expire(&self, now: i64) {
        let before = self.expired_before(now);
        for shard in &self.shards {
            for finding in shard.lock().extract_if(|finding| finding.last_seen < before) {
                self.quotas[usize::from(finding.is_noise)].release(finding.allocation, finding.charged);
            }
        }
        self.evicted.lock().expire(before);
    }
}

#[cfg(test)]
impl Table {
    pub(super) fn settings(&self) -> &config::Findings {
        &self.settings
    }

    /// Returns the number of findings, their bytes, what they are charged, and what the quotas have reserved.
    pub(super) fn usage(&self) -> (usize, usize, usize, usize) {
        let (mut findings, mut bytes, mut charged) = (0, 0, 0);
        self.visit(|finding| {
            (findings, bytes, charged) = (findings + 1, bytes + finding.bytes(), charged + finding.charged);
        });
        (findings, bytes, charged, self.quotas.iter().map(|quotas| quotas.used_and_limit().0).sum())
    }
}
