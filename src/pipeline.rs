//! The path of one upload, in order: decode → normalize → classify → record → encode. No waiting, no
//! I/O, no lock held longer than an addition, so the whole of it runs in a test, a fuzz target and a
//! benchmark just as it runs in the daemon.

use std::cell::RefCell;

use crate::classify::{Rules, SiteIndex, classify};
use crate::config::settings::{Config, Privacy, UnknownSites};
use crate::decode::{DecodeError, decode};
use crate::encode::{console, otlp};
use crate::kinds::REPORTS;
use crate::metrics::Registry;
use crate::model::{
    Classification, Envelope, Event, EventOutcome, EventSink, ExporterId, Label, Observation, RejectReason,
    Report, SiteLabel, UploadContext, UploadOutcome,
};
use crate::normalize::{Mode, normalize};

/// What the path needs to know, and where it leads.
pub struct Pipeline {
    /// The configured sites.
    pub sites: SiteIndex,
    rules: Rules,
    privacy: Privacy,
    mode: Mode,
    max_reports: usize,
    unknown_sites: UnknownSites,
    event_limit: event_limit::SiteEventLimiter,
    /// Where every report is counted.
    pub registry: std::sync::Arc<Registry>,
    console: Option<Box<dyn EventSink>>,
    otlp: Option<Box<dyn EventSink>>,
}

/// Bytes of encoded events that are handed over at once, beside those of the last event.
const MAX_ENCODED: usize = 64 * 1024;
/// Events that are handed over at once.
const MAX_ENDS: usize = 512;

/// Encoded events of one upload, and working space. Kept per thread: an upload allocates nothing here.
#[derive(Default)]
struct EncodeBuffers {
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

    fn flush_to(&mut self, sink: Option<&dyn EventSink>) {
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
    static BUFFERS: RefCell<EncodeBuffers> = RefCell::default();
}

impl Pipeline {
    /// A path that ends in the registry and in these sinks.
    pub fn new(
        config: &Config,
        registry: std::sync::Arc<Registry>,
        console: Option<Box<dyn EventSink>>,
        otlp: Option<Box<dyn EventSink>>,
    ) -> Pipeline {
        Pipeline {
            sites: SiteIndex::new(&config.sites),
            rules: Rules::new(&config.noise.rules),
            privacy: config.privacy,
            mode: if console.is_some() || otlp.is_some() { Mode::Full } else { Mode::MetricsOnly },
            max_reports: config.intake.max_reports,
            unknown_sites: config.intake.unknown_sites,
            event_limit: event_limit::SiteEventLimiter::new(&config.sites),
            registry,
            console,
            otlp,
        }
    }

    /// Takes a body: counts every item of it exactly once, as a report or as a rejection, and hands
    /// one event per report to each sink.
    pub fn process(&self, body: &[u8], context: &UploadContext<'_>) -> UploadOutcome {
        BUFFERS.with_borrow_mut(|buffers| {
            let (mut taken, mut foreign) = (0, 0);
            let decoded = decode(body, self.max_reports, |item| {
                match item.and_then(|envelope| self.process_report(envelope, context, buffers)) {
                    Ok(()) => taken += 1,
                    Err(reason) => {
                        foreign += usize::from(reason == RejectReason::UnknownSite);
                        self.registry.self_metrics.reject(reason, 1);
                    }
                }
            });
            self.hand_over(buffers);
            match decoded {
                Err(DecodeError::InvalidJson) => UploadOutcome::InvalidJson,
                Ok(()) if taken > 0 => UploadOutcome::Accepted,
                Ok(()) if foreign > 0 => UploadOutcome::ReportsUnknownSite,
                Ok(()) => UploadOutcome::NoReports,
            }
        })
    }

    fn process_report(
        &self,
        envelope: Envelope<'_>,
        context: &UploadContext<'_>,
        buffers: &mut EncodeBuffers,
    ) -> Result<(), RejectReason> {
        let report = normalize(envelope, context, self.privacy, self.mode);
        let class = classify(&report, context, &self.sites, &self.rules);
        if class.configured.is_none() && self.sites.configured() && self.unknown_sites == UnknownSites::Reject
        {
            return Err(RejectReason::UnknownSite);
        }
        let evaluation = (report.kind.evaluate)(&report, &class);
        self.record(&report, &class, &evaluation.observations, context);
        if self.mode == Mode::MetricsOnly {
            return Ok(());
        }
        if self.event_limit.allow(class.configured, context.uptime) {
            let event = Event {
                report: &report,
                class,
                severity: evaluation.severity,
                summary: &(report.kind.summary)(&report),
                query: context.query,
                client_address: context.client_address,
            };
            self.encode(&event, buffers);
        } else {
            self.record_capped();
        }
        Ok(())
    }

    fn record(
        &self,
        report: &Report<'_>,
        class: &Classification<'_>,
        own: &[Observation<'_>],
        context: &UploadContext<'_>,
    ) {
        let site = SiteLabel { label: class.site, configured: class.configured };
        let labels = [Label::bounded(report.kind.name), Label::bounded(class.browser.as_str())];
        for observation in std::iter::once(&Observation::increment(&REPORTS, labels)).chain(own) {
            let own = observation.host.map(|host| self.sites.resolve_host(host, context.site));
            self.registry.add(own.unwrap_or(site), observation, context.received, context.uptime);
        }
    }

    fn encode(&self, event: &Event<'_>, buffers: &mut EncodeBuffers) {
        let EncodeBuffers { console, otlp, scratch } = buffers;
        if self.console.is_some() {
            console.push(|out| console::write(event, out));
        }
        if self.otlp.is_some() {
            otlp.push(|out| otlp::write(event, out, scratch));
        }
        if console.is_full() || otlp.is_full() {
            self.hand_over(buffers);
        }
    }

    fn hand_over(&self, buffers: &mut EncodeBuffers) {
        buffers.console.flush_to(self.console.as_deref());
        buffers.otlp.flush_to(self.otlp.as_deref());
        buffers.scratch.clear();
        buffers.scratch.shrink_to(MAX_ENCODED);
    }

    fn record_capped(&self) {
        let active = [(ExporterId::Console, self.console.is_some()), (ExporterId::Otlp, self.otlp.is_some())];
        for (exporter, _) in active.into_iter().filter(|(_, active)| *active) {
            self.registry.self_metrics.event(exporter, EventOutcome::Capped, 1);
        }
    }
}

mod event_limit;
