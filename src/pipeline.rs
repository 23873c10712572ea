//! The path of one upload, in order: decode → normalise → classify → record → encode. No waiting, no
//! I/O, no lock held longer than an addition, so the whole of it runs in a test, a fuzz target and a
//! benchmark just as it runs in the daemon.

use std::cell::RefCell;

use crate::classify::{Rules, Sites, classify};
use crate::config::settings::{Privacy, Settings, UnknownSites};
use crate::decode::{NotJson, decode};
use crate::event::{Event, console, otlp};
use crate::kind::REPORTS;
use crate::metric::{Label, Observation, Site};
use crate::normalise::{Detail, normalise};
use crate::outcome::{Exporter, Fate, Rejection, Upload};
use crate::report::{Class, Context, Envelope, Report};
use crate::table::Table;

/// Takes encoded events. Called once for an upload, and more often for a large one; never waits.
pub trait EventSink: Send + Sync {
    /// `ends[i]` is where the i-th event ends in `events`.
    fn push(&self, events: &[u8], ends: &[u32]);
}

/// What the path needs to know, and where it leads.
pub struct Pipeline {
    /// The configured sites.
    pub sites: Sites,
    rules: Rules,
    privacy: Privacy,
    detail: Detail,
    max_reports: usize,
    unknown_sites: UnknownSites,
    caps: caps::EventCaps,
    /// Where every report is counted.
    pub table: std::sync::Arc<Table>,
    console: Option<Box<dyn EventSink>>,
    otlp: Option<Box<dyn EventSink>>,
}

/// Bytes of encoded events that are handed over at once, beside those of the last event.
const MAX_ENCODED: usize = 64 * 1024;
/// Events that are handed over at once.
const MAX_ENDS: usize = 512;

/// Encoded events of one upload, and working space. Kept per thread: an upload allocates nothing here.
#[derive(Default)]
struct Encoded {
    console: Events,
    otlp: Events,
    scratch: Vec<u8>,
}

#[derive(Default)]
struct Events {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Events {
    fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    fn hand_to(&mut self, sink: Option<&dyn EventSink>) {
        if let Some(sink) = sink
            && !self.ends.is_empty()
        {
            sink.push(&self.bytes, &self.ends);
        }
        self.bytes.clear();
        self.ends.clear();
        // A large event must not stay in the memory of every thread.
        self.bytes.shrink_to(2 * MAX_ENCODED);
        self.ends.shrink_to(MAX_ENDS);
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= MAX_ENCODED || self.ends.len() >= MAX_ENDS
    }
}

thread_local! {
    static ENCODED: RefCell<Encoded> = RefCell::default();
}

impl Pipeline {
    /// A path that ends in the table and in these sinks.
    pub fn new(
        settings: &Settings,
        table: std::sync::Arc<Table>,
        console: Option<Box<dyn EventSink>>,
        otlp: Option<Box<dyn EventSink>>,
    ) -> Pipeline {
        Pipeline {
            sites: Sites::new(&settings.sites),
            rules: Rules::new(&settings.noise.rules),
            privacy: settings.privacy,
            detail: if console.is_some() || otlp.is_some() { Detail::Event } else { Detail::Counters },
            max_reports: settings.intake.max_reports,
            unknown_sites: settings.intake.unknown_sites,
            caps: caps::EventCaps::new(&settings.sites),
            table,
            console,
            otlp,
        }
    }

    /// Takes a body: counts every item of it exactly once, as a report or as a rejection, and hands
    /// one event per report to each sink.
    pub fn take(&self, body: &[u8], context: &Context<'_>) -> Upload {
        ENCODED.with_borrow_mut(|encoded| {
            let (mut taken, mut foreign) = (0, 0);
            let decoded = decode(body, self.max_reports, |item| {
                match item.and_then(|envelope| self.take_one(envelope, context, encoded)) {
                    Ok(()) => taken += 1,
                    Err(reason) => {
                        foreign += usize::from(reason == Rejection::UnknownSite);
                        self.table.own.reject(reason, 1);
                    }
                }
            });
            self.hand_over(encoded);
            match decoded {
                Err(NotJson) => Upload::NotJson,
                Ok(()) if taken > 0 => Upload::Accepted,
                Ok(()) if foreign > 0 => Upload::UnknownSites,
                Ok(()) => Upload::NoReport,
            }
        })
    }

    fn take_one(
        &self,
        envelope: Envelope<'_>,
        context: &Context<'_>,
        encoded: &mut Encoded,
    ) -> Result<(), Rejection> {
        let report = normalise(envelope, context, self.privacy, self.detail);
        let class = classify(&report, context, &self.sites, &self.rules);
        if class.configured.is_none() && self.sites.configured() && self.unknown_sites == UnknownSites::Reject
        {
            return Err(Rejection::UnknownSite);
        }
        let assessment = (report.kind.assess)(&report, &class);
        self.record(&report, &class, &assessment.observations, context);
        if self.detail == Detail::Counters {
            return Ok(());
        }
        if self.caps.allow(class.configured, context.uptime) {
            let event = Event {
                report: &report,
                class,
                severity: assessment.severity,
                summary: &(report.kind.summary)(&report),
                query: context.query,
                client_address: context.client_address,
            };
            self.encode(&event, encoded);
        } else {
            self.count_capped();
        }
        Ok(())
    }

    fn record(&self, report: &Report<'_>, class: &Class<'_>, own: &[Observation<'_>], context: &Context<'_>) {
        let site = Site { label: class.site, configured: class.configured };
        let labels = [Label::closed(report.kind.token), Label::closed(class.browser.as_str())];
        for observation in std::iter::once(&Observation::one(&REPORTS, labels)).chain(own) {
            let own = observation.host.map(|host| self.sites.of_host(host, context.site));
            self.table.add(own.unwrap_or(site), observation, context.received, context.uptime);
        }
    }

    fn encode(&self, event: &Event<'_>, encoded: &mut Encoded) {
        let Encoded { console, otlp, scratch } = encoded;
        if self.console.is_some() {
            console.push(|out| console::write(event, out));
        }
        if self.otlp.is_some() {
            otlp.push(|out| otlp::write(event, out, scratch));
        }
        if console.is_full() || otlp.is_full() {
            self.hand_over(encoded);
        }
    }

    fn hand_over(&self, encoded: &mut Encoded) {
        encoded.console.hand_to(self.console.as_deref());
        encoded.otlp.hand_to(self.otlp.as_deref());
        encoded.scratch.clear();
        encoded.scratch.shrink_to(MAX_ENCODED);
    }

    fn count_capped(&self) {
        let active = [(Exporter::Console, self.console.is_some()), (Exporter::Otlp, self.otlp.is_some())];
        for (exporter, _) in active.into_iter().filter(|(_, active)| *active) {
            self.table.own.event(exporter, Fate::Capped, 1);
        }
    }
}

mod caps;
