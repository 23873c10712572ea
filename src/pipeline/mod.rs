//! The path of one upload, in order: decode → normalize → classify → evaluate → record → encode. It
//! neither waits nor does I/O, and holds a lock only for an addition, so that a test, a fuzz target and
//! a benchmark run the same code as the daemon.

mod event_limit;
mod fold;
mod sample;

use std::borrow::Cow;
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::value::RawValue;

use crate::classify::{MatchedRule, Rules, SiteIndex, classify};
use crate::clock;
use crate::config::{Config, Privacy, SiteConfig, UnknownSites};
use crate::decode::decode;
use crate::encode::{write_folded_line, write_folded_record, write_json_line, write_log_record};
use crate::findings::{Arrival, Client, Findings, MAX_SAMPLE};
use crate::kinds::REPORTS;
use crate::metrics::Registry;
use crate::model::{
    ABSENT, Classification, Envelope, Event, EventOutcome, EventSink, ExporterId, Finding, Increment, Label,
    LabelEnum, Names, Observation, PendingState, RejectReason, Report, SiteLabel, UploadContext,
    UploadOutcome, escape_hidden,
};
use crate::normalize::{Mode, SentTexts, normalize};
use crate::recent::{CountedSeries, Details, MAX_LINE, Recent, RecentEvent, TokenBucket};
use event_limit::EventLimiter;
use fold::{Admission, Fold, Pending, SHARDS};
use sample::sample;

/// Why no reload can put other settings into effect.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe the variants
pub enum ReloadError {
    #[error("sites: more than {} names have been configured since the start; restart lookoutd", Names::MAX)]
    Names,
    #[error("sites: metrics.max_series is too small to keep {0} sites apart; raise it and restart lookoutd")]
    Series(usize),
}

/// What the path derives from the settings, replaced as a whole by a reload.
pub struct PathSettings {
    /// The configured sites.
    pub sites: SiteIndex,
    rules: Rules,
    privacy: Privacy,
    max_reports: usize,
    unknown_sites: UnknownSites,
    /// The fractions that are kept of the events of each configured site, by kind.
    samples: Vec<BTreeMap<String, f64>>,
    /// Length of the windows of folding in seconds, if events are folded.
    fold_window: Option<u32>,
    event_limit: EventLimiter,
    /// The largest weight of a report of each configured site, by id.
    max_weights: Vec<f64>,
}

impl PathSettings {
    /// Derives them from the configuration. Sites keep the ids that they have in `earlier` ones.
    pub fn new(config: &Config, earlier: Option<&PathSettings>) -> PathSettings {
        let sites = earlier.map_or(&SiteIndex::default(), |earlier| &earlier.sites).change(&config.sites);
        let (mut samples, mut max_weights) =
            (vec![BTreeMap::new(); sites.names.total()], vec![1.0; sites.names.total()]);
        for (id, site) in sites.names.configured().iter().zip(&config.sites) {
            samples[*id].clone_from(&site.sample);
            max_weights[*id] = 1.0 / site.min_sampling_fraction;
        }
        PathSettings {
            event_limit: EventLimiter::new(config, &sites.names, earlier.map(|earlier| &earlier.event_limit)),
            sites,
            rules: Rules::new(&config.rules),
            privacy: config.privacy,
            max_reports: config.intake.max_reports,
            unknown_sites: config.intake.unknown_sites,
            samples,
            // One more, so that no window is shorter than its setting, whatever the fraction of its first second.
            fold_window: config.events.fold.map(|window| window.as_secs() as u32 + 1),
            max_weights,
        }
    }

    /// Returns the probability with which an event is kept, if its kind is sampled. That of a new finding is 1, so
    /// that the sum of 1 / rate estimates the reports without bias.
    fn sample_rate(
        &self,
        classification: &Classification<'_>,
        report: &Report<'_>,
        is_new: bool,
    ) -> Option<f64> {
        let rates = self.samples.get(classification.configured?)?;
        let rate = rates.get(report.kind.name).or_else(|| rates.get("*"))?;
        Some(if is_new { 1.0 } else { *rate })
    }

    /// Returns the observation with the largest weight of the site, if its own is larger: otherwise a few
    /// forged reports could outweigh all others.
    fn limit_weight<'o>(
        &self,
        observation: &Observation<'o>,
        site: SiteLabel<'_>,
    ) -> Option<Observation<'o>> {
        let Increment::Sum(weight) = observation.amount else { return None };
        let max = site.configured.and_then(|site| self.max_weights.get(site).copied());
        let max = max.unwrap_or(1.0 / SiteConfig::MIN_SAMPLING_FRACTION);
        (weight > max).then_some(Observation { amount: Increment::Sum(max), ..*observation })
    }
}

/// The path's settings and destinations.
pub struct Pipeline {
    /// Those in effect, loaded once per upload.
    pub settings: ArcSwap<PathSettings>,
    mode: Mode,
    fold: Fold,
    /// Working space at the end of windows, and the lock by which one thread at a time ends them.
    ended: Mutex<EncodeBuffers>,
    /// The findings, unless they are off.
    pub findings: Option<Arc<Findings>>,
    /// The windows of the live page, if it is on.
    pub recent: Option<Arc<Recent>>,
    /// The registry in which every report is counted.
    pub registry: Arc<Registry>,
    console: Option<Arc<dyn EventSink>>,
    otlp: Option<Arc<dyn EventSink>>,
    /// What uploads have beyond their own [`Allowance`].
    more: TokenBucket,
}

/// The largest number of bytes that are flushed at once, except for those of the last event.
const MAX_ENCODED: usize = 64 * 1024;
/// The largest number of events that are flushed at once.
const MAX_ENDS: usize = 512;

/// What an upload may still have, by its bytes: a report of a few bytes costs what many bytes of a normal one do, of which
/// the shortest that browsers send has 290. Beyond it there is something for all uploads together, so that only a flood of
/// short reports loses any.
#[derive(Default)]
struct Allowance {
    reports: usize,
    /// Findings that it makes or gives their details.
    findings: usize,
    /// Series with a host or an origin that it makes.
    series: Cell<usize>,
}

impl Allowance {
    /// How often all uploads together have [`Allowance::MORE`]: at once, and a second. That is 1 or 2 % of a core.
    const BURST: (u32, u32) = (1000, 100);
    /// Reports, findings and series.
    const MORE: (usize, usize, usize) = (32, 32, 128);
    /// Series that one report may make, except for those about many hosts.
    const SERIES: usize = 8;

    fn new(bytes: usize) -> Allowance {
        let (reports, findings, series) = (16 + bytes / 128, 16 + bytes / 256, 32 + bytes / 128);
        Allowance { reports, findings, series: Cell::new(series) }
    }

    /// Takes a report.
    fn take_report(&mut self, more: &TokenBucket, uptime: u32) -> Result<(), RejectReason> {
        let is_used_up = self.reports == 0 || self.findings == 0 || self.series.get() < Allowance::SERIES;
        if is_used_up && more.take(uptime) {
            let (reports, findings, series) = Allowance::MORE;
            self.reports += reports;
            self.findings += findings;
            self.series.set(self.series.get() + series);
        }
        self.reports = self.reports.checked_sub(1).ok_or(RejectReason::OverLimit)?;
        Ok(())
    }
}

/// Encoded events of one upload, and working space. One per thread, so that an upload does not allocate
/// here.
#[derive(Default)]
struct EncodeBuffers {
    console: Events,
    otlp: Events,
    scratch: Vec<u8>,
    allowance: Allowance,
    /// Reports of the upload that the live page does not show.
    skipped: u64,
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

    /// Removes the last event.
    fn pop(&mut self) -> Box<[u8]> {
        self.ends.pop();
        let start = self.ends.last().map_or(0, |end| *end as usize);
        self.bytes.drain(start..).collect()
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= MAX_ENCODED || self.ends.len() >= MAX_ENDS
    }
}

thread_local! {
    static BUFFERS: RefCell<EncodeBuffers> = RefCell::default();
}

impl Pipeline {
    /// Returns a path that ends in the registry and in these sinks.
    pub fn new(
        config: &Config,
        registry: Arc<Registry>,
        console: Option<Arc<dyn EventSink>>,
        otlp: Option<Arc<dyn EventSink>>,
    ) -> Pipeline {
        let settings = PathSettings::new(config, None);
        let findings = Findings::new(&config.findings, &settings.sites, registry.clone());
        Pipeline {
            settings: ArcSwap::from_pointee(settings),
            mode: if console.is_some() || otlp.is_some() { Mode::Full } else { Mode::MetricsOnly },
            fold: Fold::default(),
            ended: Mutex::default(),
            findings: findings.map(Arc::new),
            recent: None,
            registry,
            console,
            otlp,
            more: TokenBucket::new(Allowance::BURST.0, Allowance::BURST.1),
        }
    }

    /// Derives settings from another configuration, for [`Pipeline::replace`].
    ///
    /// # Errors
    /// Returns an error if there are too many sites.
    pub fn prepare(&self, config: &Config) -> Result<PathSettings, ReloadError> {
        let (earlier, sites) = (self.settings.load(), config.sites.len());
        if self.registry.isolates_sites() && !self.registry.can_isolate(sites) {
            return Err(ReloadError::Series(sites));
        }
        let settings = PathSettings::new(config, Some(&earlier));
        let names =
            |settings: &PathSettings| settings.sites.names.total() + settings.sites.page_names.total();
        if names(&settings) > Names::MAX.max(names(&earlier)) {
            return Err(ReloadError::Names);
        }
        Ok(settings)
    }

    /// Puts settings into effect.
    pub fn replace(&self, settings: PathSettings) {
        // Before the first report of a site, which needs its quotas.
        if settings.sites.names.configured() != self.settings.load().sites.names.configured() {
            self.registry.set_sites(&settings.sites.names);
            if let Some(findings) = &self.findings {
                findings.set_sites(&settings.sites, clock::now());
            }
        }
        self.settings.store(Arc::new(settings));
    }

    /// Processes a body: counts every item of it exactly once, as a report or as a rejection, and
    /// pushes one event per report to each sink. Passes the position and the reason of each rejected item to
    /// `rejected`.
    pub fn process(
        &self,
        body: &[u8],
        context: &UploadContext<'_>,
        mut rejected: impl FnMut(usize, RejectReason),
    ) -> UploadOutcome {
        let settings = &**self.settings.load();
        let client = self.findings.as_ref().map(|findings| findings.client(context));
        BUFFERS.with_borrow_mut(|buffers| {
            buffers.allowance = Allowance::new(body.len());
            let (mut items, mut accepted, mut of_unknown_site) = (0, 0, 0);
            let decoded = decode(body, settings.max_reports, |item| {
                let processed = item.and_then(|it| {
                    buffers.allowance.take_report(&self.more, context.uptime)?;
                    self.process_report(settings, it, context, client, buffers)
                });
                match processed {
                    Ok(()) => accepted += 1,
                    Err(reason) => {
                        rejected(items, reason);
                        of_unknown_site +=
                            usize::from(matches!(reason, RejectReason::UnknownSite | RejectReason::BadKey));
                        self.registry.self_metrics.intake.rejected[reason].inc();
                    }
                }
                items += 1;
            });
            self.flush(buffers);
            let skipped = std::mem::take(&mut buffers.skipped);
            if let Some(recent) = self.recent.as_ref().filter(|_| skipped > 0) {
                recent.skip(skipped);
            }
            match decoded {
                Err(outcome) => outcome,
                Ok(()) if accepted > 0 => UploadOutcome::Accepted,
                Ok(()) if of_unknown_site > 0 => UploadOutcome::ReportsUnknownSite,
                Ok(()) => UploadOutcome::NoReports,
            }
        })
    }

    fn process_report(
        &self,
        settings: &PathSettings,
        envelope: Envelope<'_>,
        context: &UploadContext<'_>,
        client: Option<Client>,
        buffers: &mut EncodeBuffers,
    ) -> Result<(), RejectReason> {
        let recent = self.recent.as_deref();
        let shown = recent.filter(|recent| recent.admit(context.uptime));
        let sent = shown.map(|_| SentTexts::new(&envelope, context));
        let mode = if shown.is_some() { Mode::Full } else { self.mode };
        let report = normalize(envelope, context, settings.privacy, mode);
        let classification = classify(&report, context, &settings.sites, &settings.rules);
        if !settings.sites.accepts_key(classification.configured, context.key) {
            return Err(RejectReason::BadKey);
        }
        let rejects_unknown = settings.sites.configured() && settings.unknown_sites == UnknownSites::Reject;
        if rejects_unknown && classification.configured.is_none() {
            return Err(RejectReason::UnknownSite);
        }
        let finding = Finding::new(&report, &classification);
        let evaluation = report.evaluate(&classification);
        let mut series = shown.map(|_| Vec::new());
        let observations = &evaluation.observations;
        let may_make = &buffers.allowance.series;
        let upload = (context, may_make);
        self.record(settings, &report, &classification, observations, upload, series.as_mut());
        let summary = OnceCell::new();
        let event = |is_new| Event {
            report: &report,
            classification,
            finding,
            is_new,
            severity: evaluation.severity,
            // Also what a kind adds to redacted fields.
            summary: summary.get_or_init(|| escape_hidden(Cow::Owned((report.kind.summary)(&report)), false)),
            query: context.query,
            client_address: context.client_address,
            span: context.span,
            sample_rate: None,
        };
        let is_new = self.findings.as_ref().zip(client).is_some_and(|(findings, client)| {
            let (report, classification) = (&report, &classification);
            let Allowance { findings: left, series, .. } = &mut buffers.allowance;
            let (may_describe, may_make) = (*left > 0, &*series);
            let arrival =
                Arrival { report, classification, finding, client, context, may_describe, may_make };
            findings.record(&arrival, || {
                *left -= 1;
                sample(&Event { client_address: None, ..event(true) }, MAX_SAMPLE)
            })
        });
        if let (Some(recent), Some(sent), Some(series)) = (shown, sent, series) {
            let rule = classification.rule.map(MatchedRule::new);
            let details = Details { series, redacted: sent.redactions(&report), rule };
            show(&event(is_new), details, recent);
        } else {
            buffers.skipped += 1;
        }
        if self.mode == Mode::MetricsOnly {
            return Ok(());
        }
        if classification.drops_event {
            self.record_outcome(EventOutcome::Filtered);
            return Ok(());
        }
        let sample_rate = settings.sample_rate(&classification, &report, is_new);
        if sample_rate.is_some_and(|rate| fastrand::f64() >= rate) {
            self.record_outcome(EventOutcome::Sampled);
            return Ok(());
        }
        let event = || Event { sample_rate, ..event(is_new) };
        let limit = EventLimiter::index(&classification);
        let admission = settings.fold_window.map_or(Admission::Sent, |window| {
            let ends = context.uptime.saturating_add(window);
            self.fold.admit(finding.fingerprint, is_new, ends, || {
                self.encode(&event(), buffers);
                Pending { limit, count: 1, console: buffers.console.pop(), otlp: buffers.otlp.pop() }
            })
        });
        match admission {
            Admission::Pending => self.add_folding(1),
            Admission::Folded => self.record_outcome(EventOutcome::Folded),
            Admission::Sent if settings.event_limit.allow(limit, context.uptime) => {
                self.encode(&event(), buffers)
            }
            Admission::Sent => self.record_outcome(EventOutcome::Capped),
        }
        Ok(())
    }

    /// Sends the events of the windows that end by this second of uptime, or of all windows.
    pub fn end_windows(&self, uptime: u32, all: bool) {
        let settings = self.settings.load();
        let buffers = &mut *self.ended.lock();
        for shard in 0..SHARDS {
            while let Some(ended) = self.fold.take_ended(shard, if all { u32::MAX } else { uptime }) {
                for Pending { limit, count, console, otlp } in &ended {
                    if !settings.event_limit.allow(*limit, uptime) {
                        self.record_outcome(EventOutcome::Capped);
                        continue;
                    }
                    if self.console.is_some() {
                        buffers.console.push(|out| write_folded_line(console, *count, out));
                    }
                    if self.otlp.is_some() {
                        buffers.otlp.push(|out| write_folded_record(otlp, *count, out));
                    }
                }
                self.flush(buffers);
                self.add_folding(-(ended.len() as i64));
            }
        }
    }

    fn record(
        &self,
        settings: &PathSettings,
        report: &Report<'_>,
        classification: &Classification<'_>,
        observations: &[Observation<'_>],
        (context, may_make): (&UploadContext<'_>, &Cell<usize>),
        mut series: Option<&mut Vec<CountedSeries>>,
    ) {
        let site = SiteLabel { label: classification.site, configured: classification.configured };
        let labels = [Label::bounded(report.kind.name), classification.browser.label()];
        for observation in std::iter::once(&Observation::increment(&REPORTS, labels)).chain(observations) {
            let own_site = observation.host.map(|host| settings.sites.resolve_host(host, context.site));
            let is_open = |site: &SiteLabel<'_>| settings.sites.accepts_key(site.configured, context.key);
            let own_site = own_site.map(|site| if is_open(&site) { site } else { SiteLabel::UNKNOWN });
            let site = own_site.unwrap_or(site);
            let limited = settings.limit_weight(observation, site);
            let observation = limited.as_ref().unwrap_or(observation);
            let labels = self.registry.add(site, observation, context.received, context.uptime, may_make);
            if let Some(series) = &mut series {
                let labels = observation.family.labels.iter().zip(&labels);
                let labels = labels.filter(|(_, label)| **label != ABSENT);
                let labels = labels.map(|(name, label)| (*name, label.as_str().into())).collect();
                series.push(CountedSeries { name: observation.family.name, labels });
            }
        }
    }

    fn encode(&self, event: &Event<'_>, buffers: &mut EncodeBuffers) {
        if buffers.console.is_full() || buffers.otlp.is_full() {
            self.flush(buffers);
        }
        let EncodeBuffers { console, otlp, scratch, .. } = buffers;
        if self.console.is_some() {
            console.push(|out| write_json_line(event, out));
        }
        if self.otlp.is_some() {
            otlp.push(|out| write_log_record(event, out, scratch));
        }
    }

    fn flush(&self, buffers: &mut EncodeBuffers) {
        buffers.console.flush_to(self.console.as_deref());
        buffers.otlp.flush_to(self.otlp.as_deref());
        buffers.scratch.clear();
        buffers.scratch.shrink_to(MAX_ENCODED);
    }

    /// Returns the exporters that are on.
    fn exporters(&self) -> impl Iterator<Item = ExporterId> {
        let console = self.console.as_ref().map(|_| ExporterId::Console);
        console.into_iter().chain(self.otlp.as_ref().map(|_| ExporterId::Otlp))
    }

    /// Counts an event that is not sent.
    fn record_outcome(&self, outcome: EventOutcome) {
        self.exporters().for_each(|exporter| self.registry.self_metrics.event(exporter, outcome, 1));
    }

    fn add_folding(&self, events: i64) {
        let add = |exporter| self.registry.self_metrics.add_pending(exporter, PendingState::Folding, events);
        self.exporters().for_each(add);
    }
}

/// Adds an event to the window.
fn show(event: &Event<'_>, details: Details, recent: &Recent) {
    let Classification { site, noise, .. } = event.classification;
    let line = String::from_utf8(sample(event, MAX_LINE)).ok();
    let Some(line) = line.and_then(|line| RawValue::from_string(line).ok()) else { return recent.skip(1) };
    let (kind, received) = (event.report.kind.name, event.report.received);
    recent.push(RecentEvent { id: 0, received, site: site.as_str().into(), kind, noise, line, details });
}
