//! The clients that something happened to, and the findings: distinct problems, each with its count and its clients.
//! Only an index without content outlives the process: fingerprints, counts, times, and what was reached.

mod arrival;
mod clients;
mod distinct;
mod evicted;
mod learning;
mod state;
mod table;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::sync::Arc;

use jiff::Timestamp;

use crate::classify::SiteIndex;
use crate::config;
use crate::kinds::{AFFECTED_CLIENTS, AFFECTED_CLIENTS_OVERFLOW, NEW_FINDINGS};
use crate::metrics::Registry;
use crate::model::{Label, LabelEnum, Noise, Observation, SiteLabel, UploadContext, What};
pub use arrival::Arrival;
pub use clients::Client;
use clients::{ClientWindow, Inserted, WINDOW_SECONDS};
use learning::Learning;
pub use state::{State, StateFile, StateFileError};
use table::Table;
pub use table::{Details, Entry, MAX_SAMPLE};

/// The findings, and the clients of the present window.
#[derive(Debug)]
pub struct Findings {
    registry: Arc<Registry>,
    /// Seeded per process, so that no client can choose a place.
    hasher: foldhash::quality::RandomState,
    clients: ClientWindow,
    table: Table,
    learning: Learning,
}

impl Findings {
    /// Creates the findings, and the series of the configured sites. `None` if findings are
    /// off.
    pub fn new(settings: &config::Findings, sites: &SiteIndex, registry: Arc<Registry>) -> Option<Findings> {
        if settings.max == 0 {
            return None;
        }
        let now = registry.started;
        let findings = Findings {
            hasher: foldhash::quality::RandomState::default(),
            clients: ClientWindow::new(settings.max_clients),
            table: Table::new(settings, registry.clone()),
            learning: Learning::new(&registry),
            registry,
        };
        findings.set_sites(sites, now);
        findings.table.publish();
        Some(findings)
    }

    /// Replaces the configured sites, and creates the series of those that are new.
    pub fn set_sites(&self, sites: &SiteIndex, now: Timestamp) {
        self.table.set_sites(&sites.names);
        for site in sites.labels() {
            for what in What::ALL {
                self.registry.pin(site, &affected(*what, Noise::None), now);
            }
            self.registry.pin(site, &Observation::increment(&AFFECTED_CLIENTS_OVERFLOW, []), now);
        }
        let unknown = SiteLabel::UNKNOWN;
        self.learning
            .set_sites(sites.labels().chain([unknown]).map(|site| site.label.as_str()), now.as_millisecond());
    }

    /// Returns the client of an upload.
    pub fn client(&self, context: &UploadContext<'_>) -> Client {
        let window = u32::try_from(context.received.as_second() / WINDOW_SECONDS).unwrap_or(0);
        Client { hash: self.clients.hash(context.client, window), window }
    }

    /// Counts a report. `sample` returns its event as text of at most [`MAX_SAMPLE`] bytes. Returns whether it made a
    /// finding.
    pub fn record(&self, arrival: &Arrival<'_>, sample: impl FnOnce() -> Vec<u8>) -> bool {
        let Arrival { report, classification, finding, client, context, may_make, .. } = arrival;
        let noise = classification.noise;
        let site = SiteLabel { label: classification.site, configured: classification.configured };
        let add = |observation| {
            _ = self.registry.add(site, &observation, context.received, context.uptime, may_make);
        };
        let key =
            |hash: u64| self.hasher.hash_one((hash, site.label.as_str(), finding.what as u8, noise as u8));
        match client.hash.map_or(Inserted::Overflow, |hash| self.clients.insert(key(hash), client.window)) {
            Inserted::New => add(affected(finding.what, noise)),
            Inserted::Overflow => add(Observation::increment(&AFFECTED_CLIENTS_OVERFLOW, [])),
            Inserted::Known => {}
        }
        // A request that succeeded is counted among the clients, but is no problem.
        if finding.what == What::NetworkOk {
            return false;
        }
        let recorded = self.table.record(arrival, sample);
        if recorded.is_first && site.configured.is_none() {
            self.learning.start(site.label.as_str(), context.received.as_millisecond());
        }
        if let Some(reached) = recorded.reached {
            let kind = Label::bounded(report.kind.name);
            let [disposition, class] = [finding.disposition.label(), finding.class.label()];
            let labels = [kind, disposition, class, noise.label(), Label::bounded(reached)];
            add(Observation::increment(&NEW_FINDINGS, labels));
        }
        recorded.is_new
    }

    /// Returns the state to save.
    pub fn state(&self) -> State {
        let mut findings = Vec::new();
        self.visit(|finding| findings.push(finding.saved()));
        let evicted = self.table.evicted.lock().entries().collect();
        State::new(self.learning.known(), findings, evicted)
    }

    /// Takes over what an earlier process saved; if there is less space, then what the most clients share.
    pub fn restore(&self, state: State, now: Timestamp) {
        let now = now.as_millisecond();
        for (site, since) in state.sites {
            self.learning.add(site, since.min(now), None);
        }
        self.learning.update(now);
        state.evicted.into_iter().for_each(|evicted| self.table.evicted.lock().insert(evicted));
        self.table.reserve(state.findings.len());
        for finding in state.findings {
            self.table.restore(finding, now);
        }
        self.table.evicted.lock().expire(self.table.expired_before(now));
        self.table.publish();
    }

    /// Returns the names of the sites that are being learned.
    pub fn learning(&self, now: Timestamp) -> Vec<String> {
        self.learning.names(now.as_millisecond())
    }

    /// Passes every finding to `visitor`, which must not record any.
    pub fn visit(&self, visitor: impl FnMut(&Entry)) {
        self.table.visit(visitor);
    }

    /// Evicts findings for others that are reported often.
    pub fn evict_for_demand(&self) {
        self.table.evict_for_demand();
        self.table.publish();
    }

    /// Removes what had no report for `findings.ttl`, and ends the learning of sites.
    pub fn expire(&self, now: Timestamp) {
        self.table.expire(now.as_millisecond());
        self.learning.update(now.as_millisecond());
    }
}

fn affected(what: What, noise: Noise) -> Observation<'static> {
    Observation::increment(&AFFECTED_CLIENTS, [what.label(), noise.label()])
}
