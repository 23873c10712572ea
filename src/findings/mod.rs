//! The clients that something happened to, and the findings: distinct problems, each with its count and its clients.
//! Without content that outlives the process, except for an index of fingerprints.

mod clients;

use std::hash::BuildHasher;
use std::sync::Arc;

use crate::classify::SiteIndex;
use crate::config;
use crate::kinds::{AFFECTED_CLIENTS, AFFECTED_CLIENTS_OVERFLOW};
use crate::metrics::Registry;
use crate::model::{Classification, Finding, LabelEnum, Noise, Observation, SiteLabel, UploadContext, What};
use clients::{ClientHash, ClientWindow, Inserted, WINDOW_SECONDS};

/// The findings, and the clients of the present window.
#[derive(Debug)]
pub struct Findings {
    registry: Arc<Registry>,
    /// Seeded per process, so that no client can choose a place.
    hasher: foldhash::quality::RandomState,
    clients: ClientWindow,
}

/// The client of an upload, as it is counted.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// `None`: there is no space to distinguish it.
    hash: Option<ClientHash>,
    window: u32,
}

impl Findings {
    /// Allocates the memory of the clients, and creates the series of the configured sites. `None` if findings are
    /// off.
    pub fn new(settings: &config::Findings, sites: &SiteIndex, registry: Arc<Registry>) -> Option<Findings> {
        if settings.max == 0 {
            return None;
        }
        for site in sites.labels() {
            for what in What::ALL {
                registry.pin(site, &affected(*what, Noise::None));
            }
            registry.pin(site, &Observation::increment(&AFFECTED_CLIENTS_OVERFLOW, []));
        }
        let clients = ClientWindow::new(settings.max_clients);
        Some(Findings { registry, hasher: Default::default(), clients })
    }

    /// Returns the client of an upload.
    pub fn client(&self, context: &UploadContext<'_>) -> Client {
        let window = u32::try_from(context.received.as_second() / WINDOW_SECONDS).unwrap_or(0);
        Client { hash: self.clients.hash(context.client, window), window }
    }

    /// Counts a report of this client.
    pub fn record(
        &self,
        finding: Finding,
        classification: &Classification<'_>,
        client: Client,
        context: &UploadContext<'_>,
    ) {
        let site = SiteLabel { label: classification.site, configured: classification.configured };
        let key =
            |ClientHash(hash)| (hash, site.label.as_str(), finding.what as u8, classification.noise as u8);
        let inserted = client.hash.map_or(Inserted::Overflow, |hash| {
            self.clients.insert(self.hasher.hash_one(key(hash)), client.window)
        });
        let observation = match inserted {
            Inserted::New => affected(finding.what, classification.noise),
            Inserted::Overflow => Observation::increment(&AFFECTED_CLIENTS_OVERFLOW, []),
            Inserted::Known => return,
        };
        self.registry.add(site, &observation, context.received, context.uptime);
    }
}

fn affected(what: What, noise: Noise) -> Observation<'static> {
    Observation::increment(&AFFECTED_CLIENTS, [what.label(), noise.label()])
}
