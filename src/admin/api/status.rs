//! `/api/v1/status`: whether the daemon works, and what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::api::{Api, time};
use crate::clock;
use crate::export::ExportHealth;
use crate::kinds::REPORTS;
use crate::model::{EventOutcome, ExporterId, LabelEnum, PendingState, RejectReason, UploadOutcome};

/// What the status has of the settings.
#[derive(Debug)]
#[allow(missing_docs)] // the names are the settings'
pub struct Summary {
    /// The URL of intake.
    pub intake: String,
    pub exports: Vec<Export>,
    pub settings: Settings,
    /// Directory and most bytes of the spool.
    pub spool: Option<(String, usize)>,
    pub is_tls: bool,
    pub max_series: usize,
    pub max_findings: usize,
    /// Milliseconds.
    pub new_for: i64,
    pub sites: Vec<String>,
}

impl Summary {
    /// Returns the first moment of new findings, in milliseconds.
    pub fn new_since(&self) -> i64 {
        clock::now().as_millisecond() - self.new_for
    }
}

/// An export that is on.
#[derive(Debug)]
#[allow(missing_docs)] // the types are the documentation
pub struct Export {
    pub name: &'static str,
    pub endpoint: Option<String>,
    /// The exporter of events.
    pub exporter: Option<ExporterId>,
    pub health: Option<Arc<ExportHealth>>,
}

/// The settings in effect.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Settings {
    /// Where they come from.
    pub summary: String,
    /// Those that are not the default. Secrets are masked.
    pub changed: Vec<ChangedSetting>,
    /// Problems with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A setting that is not the default.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[allow(missing_docs)] // the names are the documentation
pub struct ChangedSetting {
    pub key: &'static str,
    /// YAML.
    pub value: String,
    pub source: String,
}

type Counts = BTreeMap<&'static str, u64>;

#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Status {
    version: &'static str,
    revision: &'static str,
    started: String,
    now: String,
    ready: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_ready_reason: Option<String>,
    intake: IntakeStatus,
    exports: Vec<ExportState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    spool: Option<SpoolStatus>,
    scrape: ScrapeStatus,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    certificates: Vec<CertificateStatus>,
    settings: Settings,
    series: SeriesStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    findings: Option<FindingsStatus>,
    sites: BTreeSet<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct IntakeStatus {
    address: String,
    /// Uploads by outcome, without those that never occurred.
    uploads: Counts,
    /// Reports taken.
    reports: u64,
    /// Rejected items by reason.
    rejected: Counts,
    connections: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_report: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ExportState {
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_success: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failing_since: Option<String>,
    /// Why the last failed attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Events that wait, by where.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pending: Counts,
    /// Events by outcome.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    outcomes: Counts,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SpoolStatus {
    directory: String,
    bytes: i64,
    max_bytes: usize,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ScrapeStatus {
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct CertificateStatus {
    listener: &'static str,
    not_after: String,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SeriesStatus {
    max: usize,
    used: i64,
    families: Vec<FamilyStatus>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FamilyStatus {
    family: &'static str,
    series: i64,
    limit: i64,
}

#[derive(Debug, Serialize, JsonSchema)]
struct FindingsStatus {
    count: usize,
    max: usize,
    /// Sites known for less than a day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    learning: Vec<String>,
}

/// Returns the counts that are not 0, by label value.
fn counts<T: LabelEnum + 'static>(count: impl Fn(T) -> u64) -> Counts {
    T::ALL.iter().map(|value| (value.as_str(), count(*value))).filter(|(_, count)| *count > 0).collect()
}

impl Api {
    pub(super) fn status(&self) -> Status {
        let (summary, self_metrics) = (&self.summary, &self.registry.self_metrics);
        let not_ready_reason = self.readiness.not_ready_reason();
        let last = self.recent.events_after(0).pop();
        let families: Vec<FamilyStatus> = self
            .registry
            .usage()
            .map(|(family, series, limit)| FamilyStatus { family, series, limit })
            .collect();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("LOOKOUTD_REVISION"),
            started: time(self.registry.started()),
            now: time(clock::now()),
            ready: not_ready_reason.is_none(),
            not_ready_reason,
            intake: IntakeStatus {
                address: summary.intake.clone(),
                uploads: counts(|outcome: UploadOutcome| self_metrics.uploads(outcome)),
                reports: self.recent.taken(),
                rejected: counts(|reason: RejectReason| self_metrics.rejected(reason)),
                connections: self_metrics.intake.connections.get(),
                last_report: last.map(|event| time(event.received)),
            },
            exports: summary.exports.iter().map(|export| self.export(export)).collect(),
            spool: summary.spool.clone().map(|(directory, max_bytes)| SpoolStatus {
                directory,
                bytes: self_metrics.spool.bytes.get(),
                max_bytes,
            }),
            scrape: ScrapeStatus { last: self.last_scrape.lock().map(time) },
            certificates: self.certificate().into_iter().collect(),
            settings: summary.settings.clone(),
            series: SeriesStatus {
                max: summary.max_series,
                used: families.iter().map(|family| family.series).sum(),
                families,
            },
            findings: self.findings.as_ref().map(|findings| {
                let mut count = 0;
                findings.visit(|_| count += 1);
                FindingsStatus { count, max: summary.max_findings, learning: findings.learning(clock::now()) }
            }),
            sites: self.sites(),
        }
    }

    fn certificate(&self) -> Option<CertificateStatus> {
        // Only with TLS, because a look-up creates the series.
        let intake = self.summary.is_tls.then_some(&self.registry.self_metrics.intake)?;
        let not_after = intake.certificate_not_after.with_label_values(&["intake"]).get();
        let not_after = Timestamp::from_second(not_after).ok().filter(|_| not_after > 0)?;
        Some(CertificateStatus { listener: "intake", not_after: time(not_after) })
    }

    fn export(&self, export: &Export) -> ExportState {
        let self_metrics = &self.registry.self_metrics;
        let attempts = export.health.as_ref().map(|health| health.attempts()).unwrap_or_default();
        let pending = |exporter| {
            counts(|state: PendingState| self_metrics.pending(exporter, state).try_into().unwrap_or(0))
        };
        let outcomes = |exporter| counts(|outcome: EventOutcome| self_metrics.events(exporter, outcome));
        ExportState {
            name: export.name,
            endpoint: export.endpoint.clone(),
            last_success: attempts.last_success.map(time),
            failing_since: attempts.failing_since.map(|(_, since)| time(since)),
            error: attempts.error,
            pending: export.exporter.map(pending).unwrap_or_default(),
            outcomes: export.exporter.map(outcomes).unwrap_or_default(),
        }
    }

    /// Returns the configured sites, or those that reports were counted for.
    fn sites(&self) -> BTreeSet<String> {
        let mut sites: BTreeSet<String> = self.summary.sites.iter().cloned().collect();
        if sites.is_empty() {
            self.registry.visit(&mut |family, sample| {
                if let Some(site) = sample.labels.first().filter(|_| family.name == REPORTS.name)
                    && !sites.contains(*site)
                {
                    sites.insert((*site).to_owned());
                }
            });
        }
        sites
    }
}
