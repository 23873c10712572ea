//! The daemon's own metrics, in one registry of the `prometheus` crate, which the scrape and OTLP gather.
//!
//! # Design
//!
//! `self_metrics!` declares a metric in one place: its field, whose doc comment is the help text, its name and
//! its labels. The children of every label value are resolved at the start, so that each series exists, at 0,
//! from then on, and counting is an atomic addition without a lookup.

use std::convert::identity;
use std::marker::PhantomData;
use std::ops::Index;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{
    Error, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    PullingGauge, Registry,
};

use crate::logging;
use crate::metrics::process::ProcessMetrics;
use crate::metrics::sample::{BOUNDS, SAMPLES};
use crate::metrics::uploads::Uploads;
use crate::model::{
    CertificateOwner, ConnectionError, EventOutcome, ExportSignal, ExportStatus, ExporterId, LabelEnum,
    PendingState, QuarantineReason, RejectReason, SpoolOperation,
};

macro_rules! self_metrics {
    ($($(#[$about:meta])* $group_vis:vis struct $group:ident { $(
        $(#[doc = $help:literal])+ $vis:vis $field:ident: $metric:ty = $name:literal $labels:expr,
    )+ })+) => { $(
        $(#[$about])*
        #[derive(Debug)]
        $group_vis struct $group { $($(#[doc = $help])+ $vis $field: $metric,)+ }

        impl $group {
            fn register(registry: &Registry) -> Result<$group, Error> {
                Ok($group { $($field: SelfMetric::register(
                    registry,
                    Opts::new($name, concat!($($help),+).trim()),
                    &$labels,
                )?,)+ })
            }
        }
    )+ };
}

self_metrics! {
    /// Metrics of intake.
    pub struct IntakeMetrics {
        /// Open connections of intake.
        pub connections: IntGauge = "lookout_connections" [],
        /// Connections of intake that were closed without a response, by reason.
        pub connection_errors: Children<ConnectionError, IntCounter> =
            "lookout_connection_errors_total" ["reason"],
        /// Clients that sent reports to a path that intake does not serve, each counted once an hour.
        pub unknown_path_clients: IntCounter = "lookout_unknown_path_clients_total" [],
        /// When the certificate of this listener or client expires, in Unix seconds; absent without one.
        pub certificate_not_after: IntGaugeVec =
            "lookout_tls_certificate_not_after_timestamp_seconds" ["listener"],
        /// Attempts to load changed certificates that failed; the current ones stay in use. One every 5 seconds
        /// until the files can be used.
        pub reload_failures: Children<CertificateOwner, IntCounter> =
            "lookout_tls_reload_failures_total" ["listener"],
        /// Items of uploads that were rejected, by reason.
        pub rejected: Children<RejectReason, IntCounter> = "lookout_reports_rejected_total" ["reason"],
    }

    /// Metrics of events and of OTLP requests.
    pub struct ExportMetrics {
        /// Events, one for each accepted report and each exporter that is on, by outcome.
        pub events: Children<ExporterId, Children<EventOutcome, IntCounter>> =
            "lookout_events_total" ["exporter", "outcome"],
        /// Events without an outcome yet, by where they wait.
        pub pending: Children<ExporterId, Children<PendingState, IntGauge>> =
            "lookout_events_pending" ["exporter", "state"],
        /// Attempts to send OTLP requests, by result.
        requests: Children<ExportSignal, Children<ExportStatus, IntCounter>> =
            "lookout_export_requests_total" ["signal", "code"],
        /// Duration of OTLP requests.
        duration: Children<ExportSignal, Histogram> = "lookout_export_duration_seconds" ["signal"],
    }

    /// Metrics of the spool; all 0 without one.
    pub struct SpoolMetrics {
        /// Bytes of the spool files that hold events; 0 without a spool.
        pub bytes: IntGauge = "lookout_spool_bytes" [],
        /// Most bytes of spool files: delivery.spool.max_bytes; 0 without a spool.
        pub limit: IntGauge = "lookout_spool_limit_bytes" [],
        /// Events of an earlier process, found in the spool at start; their outcomes are those of otlp_recovered.
        pub recovered: IntCounter = "lookout_spool_recovered_events_total" [],
        /// Files of the spool's directory that are no whole requests, moved to its folder quarantine.
        pub quarantined: Children<QuarantineReason, IntCounter> =
            "lookout_spool_quarantined_files_total" ["reason"],
        /// Failed operations on the spool's disk.
        pub errors: Children<SpoolOperation, IntCounter> = "lookout_spool_errors_total" ["operation"],
    }

    /// Metrics of the settings.
    pub struct ConfigMetrics {
        /// Whether the last reload of the settings succeeded, or the start if there was none; 1: it did.
        pub last_reload_successful: IntGauge = "lookout_config_last_reload_successful" [],
        /// When settings were last put into effect, in Unix seconds.
        pub last_reload_success: IntGauge = "lookout_config_last_reload_success_timestamp_seconds" [],
    }

    /// Metrics of the findings.
    pub struct FindingsMetrics {
        /// Whether the site has been known for less than 24 hours, so that its findings may be old; 1: it has.
        pub learning: IntGaugeVec = "lookout_findings_learning" ["site"],
        /// Findings that are kept.
        pub count: IntGauge = "lookout_findings" [],
        /// Bytes that findings without noise are charged; each at least its part of findings.max.
        pub bytes: IntGauge = "lookout_findings_bytes" [],
        /// Most of these bytes; above three quarters of them, only problems that are reported often are admitted.
        pub limit: IntGauge = "lookout_findings_limit_bytes" [],
    }

    /// Metrics of the quotas; each family resolves its own children.
    pub(super) struct SeriesMetrics {
        /// Samples that the family holds; a histogram counts with all its samples.
        pub(super) used: IntGaugeVec = "lookout_series" ["family"],
        /// Samples that the family may hold: its quota of metrics.max_series.
        pub(super) limit: IntGaugeVec = "lookout_series_limit" ["family"],
        /// Evicted series: idle for metrics.series_ttl, or idle for minutes while others needed the capacity.
        pub(super) expired: IntCounterVec = "lookout_series_expired_total" ["family"],
        /// Observations whose label became other because the family's quota was used up; all: every label but
        /// a configured site did.
        pub(super) overflow: IntCounterVec = "lookout_series_overflow_total" ["family", "label"],
    }
}

/// The self-metrics.
#[derive(Debug)]
#[allow(missing_docs)] // the types are the documentation
pub struct SelfMetrics {
    registry: Registry,
    /// Not in the registry, because a start counts what that has, and reading `/proc` takes long.
    process: ProcessMetrics,
    pub intake: IntakeMetrics,
    pub uploads: Uploads,
    /// Not an `IntGauge`, because the limit on uploads in flight depends on the result of each addition.
    uploads_in_flight: Arc<AtomicI64>,
    /// Metrics of events and of OTLP requests.
    pub export: ExportMetrics,
    pub spool: SpoolMetrics,
    pub findings: FindingsMetrics,
    /// Metrics of the settings.
    pub config: ConfigMetrics,
    pub(super) series: SeriesMetrics,
}

impl SelfMetrics {
    /// Registers all metrics.
    ///
    /// # Errors
    /// Returns an error if two metrics collide or a name is invalid, which tests rule out.
    pub fn new() -> Result<SelfMetrics, Error> {
        let registry = Registry::new();
        let uploads_in_flight = Arc::<AtomicI64>::default();
        let in_flight = uploads_in_flight.clone();
        registry.register(Box::new(PullingGauge::new(
            "lookout_uploads_in_flight",
            "Uploads in flight.",
            Box::new(move || in_flight.load(Ordering::Relaxed) as f64),
        )?))?;
        let opts = Opts::new("lookout_build_info", "Version, revision and compiler of this build; always 1.")
            .const_label("version", env!("CARGO_PKG_VERSION"))
            .const_label("revision", env!("LOOKOUTD_REVISION"))
            .const_label("rustc", env!("LOOKOUTD_RUSTC"));
        IntGauge::register(&registry, opts, &[])?.set(1);
        registry.register(Box::new(logging::dropped_lines()?))?;
        let uploads = Uploads::new()?;
        registry.register(Box::new(uploads.clone()))?;
        Ok(SelfMetrics {
            intake: IntakeMetrics::register(&registry)?,
            uploads,
            uploads_in_flight,
            export: ExportMetrics::register(&registry)?,
            spool: SpoolMetrics::register(&registry)?,
            findings: FindingsMetrics::register(&registry)?,
            config: ConfigMetrics::register(&registry)?,
            series: SeriesMetrics::register(&registry)?,
            registry,
            process: ProcessMetrics::default(),
        })
    }

    /// Returns every self-metric and the `process_*` metrics, sorted by name.
    pub fn gather(&self) -> Vec<MetricFamily> {
        let mut families = self.registry.gather();
        families.extend(self.process.collect());
        families.sort_by(|one, other| one.name().cmp(other.name()));
        families
    }

    /// Returns the number of samples that they are in a scrape.
    pub(super) fn samples(&self) -> usize {
        let samples = |family: &MetricFamily| match family.get_field_type() {
            MetricType::HISTOGRAM => SAMPLES * family.get_metric().len(),
            _ => family.get_metric().len(),
        };
        self.registry.gather().iter().map(samples).sum::<usize>() + ProcessMetrics::SAMPLES
    }

    /// Counts an upload that begins. Returns how many are in flight, this one included.
    pub fn begin_upload(&self) -> i64 {
        self.uploads_in_flight.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Counts an upload as no longer in flight.
    pub fn end_upload(&self) {
        self.uploads_in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Counts events by their outcome.
    pub fn event(&self, exporter: ExporterId, outcome: EventOutcome, events: u64) {
        self.export.events[exporter][outcome].inc_by(events);
    }

    /// Moves events into (positive) or out of (negative) a state.
    pub fn add_pending(&self, exporter: ExporterId, state: PendingState, events: i64) {
        self.export.pending[exporter][state].add(events);
    }

    /// Counts one attempt to send a request, and its duration.
    pub fn export_request(&self, signal: ExportSignal, code: ExportStatus, elapsed: Duration) {
        self.export.requests[signal][code].inc();
        self.export.duration[signal].observe(elapsed.as_secs_f64());
    }

    #[cfg(test)]
    pub(crate) fn events(&self, exporter: ExporterId, outcome: EventOutcome) -> u64 {
        self.export.events[exporter][outcome].get()
    }

    #[cfg(test)]
    pub(crate) fn pending(&self, exporter: ExporterId, state: PendingState) -> i64 {
        self.export.pending[exporter][state].get()
    }

    #[cfg(test)]
    pub(crate) fn export_requests(&self, signal: ExportSignal, code: ExportStatus) -> u64 {
        self.export.requests[signal][code].get()
    }
}

#[cfg(test)]
impl Default for SelfMetrics {
    fn default() -> SelfMetrics {
        SelfMetrics::new().unwrap()
    }
}

/// A metric that can be declared with `self_metrics!`: the vector of its series, its only series, or the children
/// of every label value.
trait SelfMetric: Sized {
    /// The vector.
    type Vec: Collector + Clone + 'static;

    fn new_vec(opts: Opts, labels: &[&str]) -> Result<Self::Vec, Error>;

    /// Resolves the children whose first label values are these.
    fn resolve(metric: &Self::Vec, label_values: &[&str]) -> Result<Self, Error>;

    fn register(registry: &Registry, opts: Opts, labels: &[&str]) -> Result<Self, Error> {
        let metric = Self::new_vec(opts, labels)?;
        registry.register(Box::new(metric.clone()))?;
        Self::resolve(&metric, &[])
    }
}

macro_rules! metric_types {
    ($($metric:ident of $vec:ident: $opts:expr, $resolve:expr;)+) => { $(
        impl SelfMetric for $metric {
            type Vec = $vec;

            fn new_vec(opts: Opts, labels: &[&str]) -> Result<$vec, Error> {
                $vec::new(($opts)(opts), labels)
            }

            fn resolve(metric: &$vec, label_values: &[&str]) -> Result<$metric, Error> {
                ($resolve)(metric, label_values)
            }
        }
    )+ };
}

metric_types! {
    IntCounter of IntCounterVec: identity, IntCounterVec::get_metric_with_label_values;
    IntCounterVec of IntCounterVec: identity, |metric: &IntCounterVec, _| Ok(metric.clone());
    IntGauge of IntGaugeVec: identity, IntGaugeVec::get_metric_with_label_values;
    IntGaugeVec of IntGaugeVec: identity, |metric: &IntGaugeVec, _| Ok(metric.clone());
    Histogram of HistogramVec: |opts| HistogramOpts::from(opts).buckets(BOUNDS.to_vec()),
        HistogramVec::get_metric_with_label_values;
}

/// The children of a metric, one for each value of a bounded label.
#[derive(Debug)]
pub struct Children<K, C> {
    children: Box<[C]>,
    key: PhantomData<fn(K)>,
}

impl<K: LabelEnum + PartialEq + 'static, C> Index<K> for Children<K, C> {
    type Output = C;

    fn index(&self, value: K) -> &C {
        // Always found, because every value has a child.
        &self.children[K::ALL.iter().position(|known| *known == value).unwrap_or_default()]
    }
}

impl<K: LabelEnum, C: SelfMetric> SelfMetric for Children<K, C> {
    type Vec = C::Vec;

    fn new_vec(opts: Opts, labels: &[&str]) -> Result<C::Vec, Error> {
        C::new_vec(opts, labels)
    }

    fn resolve(metric: &C::Vec, label_values: &[&str]) -> Result<Self, Error> {
        let child = |value: &K| C::resolve(metric, &[label_values, &[value.as_str()]].concat());
        Ok(Children { children: K::ALL.iter().map(child).collect::<Result<_, _>>()?, key: PhantomData })
    }
}
