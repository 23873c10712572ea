//! `/api/v1/status`: whether the daemon works, and what it does.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::admin::api::answer::time;
use crate::admin::readiness::Readiness;
use crate::clock;
use crate::config::{Endpoint, Loaded};
use crate::findings::Findings;
use crate::kinds::REPORTS;
use crate::metrics::Registry;
use crate::model::{EventOutcome, ExporterId, LabelEnum, PendingState, RejectReason, UploadOutcome};
use crate::recent::Recent;

/// What the API shows.
pub struct Sources {
    /// The settings.
    pub loaded: Arc<Loaded>,
    /// The address of intake.
    pub intake: SocketAddr,
    /// The metrics.
    pub registry: Arc<Registry>,
    /// The findings, unless they are off.
    pub findings: Option<Arc<Findings>>,
    /// The windows.
    pub recent: Arc<Recent>,
    /// Readiness, with the health of the exports.
    pub readiness: Arc<Readiness>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct SettingsStatus {
    /// Where they come from.
    summary: String,
    /// Those that are not the default. Secrets are masked.
    changed: Vec<ChangedSetting>,
    /// Problems with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct ChangedSetting {
    key: &'static str,
    /// YAML.
    value: String,
    source: String,
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
    settings: SettingsStatus,
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

impl Sources {
    pub(super) fn status(&self, last_scrape: Option<Timestamp>) -> Status {
        let (config, self_metrics) = (&self.loaded.config, &self.registry.self_metrics);
        let not_ready_reason = self.readiness.not_ready_reason();
        let last = self.recent.events_after(0).pop();
        let families: Vec<FamilyStatus> = self
            .registry
            .usage()
            .map(|(family, series, limit)| FamilyStatus { family, series, limit })
            .collect();
        let scheme = if config.intake.tls.files().is_some() { "https" } else { "http" };
        let spool = &config.delivery.spool;
        let changed = self.loaded.changed().map(|(key, value, source)| ChangedSetting { key, value, source });
        Status {
            version: env!("CARGO_PKG_VERSION"),
            revision: env!("LOOKOUTD_REVISION"),
            started: time(self.registry.started),
            now: time(clock::now()),
            ready: not_ready_reason.is_none(),
            not_ready_reason,
            intake: IntakeStatus {
                address: format!("{scheme}://{}", self.intake),
                uploads: counts(|outcome: UploadOutcome| self_metrics.uploads(outcome)),
                reports: self.recent.taken(),
                rejected: counts(|reason: RejectReason| self_metrics.rejected(reason)),
                connections: self_metrics.intake.connections.get(),
                last_report: last.map(|event| time(event.received)),
            },
            exports: self.exports(),
            spool: spool.directory.as_ref().map(|directory| SpoolStatus {
                directory: directory.display().to_string(),
                bytes: self_metrics.spool.bytes.get(),
                max_bytes: spool.max_bytes,
            }),
            scrape: ScrapeStatus { last: last_scrape.map(time) },
            certificates: self.certificate().into_iter().collect(),
            settings: SettingsStatus {
                summary: self.loaded.summary(),
                changed: changed.collect(),
                warnings: config.warnings.clone(),
            },
            series: SeriesStatus {
                max: config.metrics.max_series,
                used: families.iter().map(|family| family.series).sum(),
                families,
            },
            findings: self.findings.as_ref().map(|findings| {
                let mut count = 0;
                findings.visit(|_| count += 1);
                FindingsStatus { count, max: config.findings.max, learning: findings.learning(clock::now()) }
            }),
            sites: self.sites(),
        }
    }

    fn certificate(&self) -> Option<CertificateStatus> {
        // Only with TLS, because a look-up creates the series.
        self.loaded.config.intake.tls.files()?;
        let not_after = &self.registry.self_metrics.intake.certificate_not_after;
        let not_after = not_after.with_label_values(&["intake"]).get();
        let not_after = Timestamp::from_second(not_after).ok().filter(|_| not_after > 0)?;
        Some(CertificateStatus { listener: "intake", not_after: time(not_after) })
    }

    fn exports(&self) -> Vec<ExportState> {
        let (otlp, self_metrics) = (&self.loaded.config.otlp, &self.registry.self_metrics);
        let pending = |exporter| {
            counts(|state: PendingState| self_metrics.pending(exporter, state).try_into().unwrap_or(0))
        };
        let outcomes = |exporter| counts(|outcome: EventOutcome| self_metrics.events(exporter, outcome));
        let state = |name, endpoint: Option<&Endpoint>, exporter: Option<ExporterId>| {
            let health = self.readiness.exports.iter().find(|export| export.name == name);
            let attempts = health.map(|export| export.health.attempts()).unwrap_or_default();
            ExportState {
                name,
                endpoint: endpoint.map(|endpoint| endpoint.url.clone()),
                last_success: attempts.last_success.map(time),
                failing_since: attempts.failing_since.map(|(_, since)| time(since)),
                error: attempts.error,
                pending: exporter.map(pending).unwrap_or_default(),
                outcomes: exporter.map(outcomes).unwrap_or_default(),
            }
        };
        let console = otlp.logs.console.then(|| state("console", None, Some(ExporterId::Console)));
        let logs = otlp.logs.otlp.as_ref().map(|it| state("otlp_logs", Some(it), Some(ExporterId::Otlp)));
        let metrics = otlp.metrics.otlp.as_ref().map(|it| state("otlp_metrics", Some(it), None));
        [console, logs, metrics].into_iter().flatten().collect()
    }

    /// Returns the configured sites, or those that reports were counted for.
    fn sites(&self) -> BTreeSet<String> {
        let mut sites: BTreeSet<String> =
            self.loaded.config.sites.iter().map(|site| site.name.clone()).collect();
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
