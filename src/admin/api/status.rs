//! `/api/v1/status`: whether the daemon works, and what it does.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::admin::api::answer::{time, without_null};
use crate::admin::readiness::Readiness;
use crate::clock;
use crate::config::{Endpoint, ListenAddress, Loaded, Otlp};
use crate::findings::Findings;
use crate::kinds::REPORTS;
use crate::metrics::Registry;
use crate::model::{EventOutcome, ExporterId, LabelEnum, PendingState, RejectReason, UploadOutcome};
use crate::recent::Recent;

/// What the API shows.
#[allow(missing_docs)] // the types are the documentation
pub struct Sources {
    pub loaded: Arc<ArcSwap<Loaded>>,
    pub intake: ListenAddress,
    pub registry: Arc<Registry>,
    pub findings: Option<Arc<Findings>>,
    pub recent: Arc<Recent>,
    pub readiness: Arc<Readiness>,
}

/// Returns the counts that are not 0, by label value.
fn counts<T: LabelEnum + 'static>(count: impl Fn(T) -> u64) -> Value {
    T::ALL.iter().map(|value| (value.as_str(), count(*value))).filter(|(_, count)| *count > 0).collect()
}

fn unless_empty(list: &[String]) -> Option<&[String]> {
    Some(list).filter(|list| !list.is_empty())
}

impl Sources {
    pub(super) fn status(&self, last_scrape: Option<Timestamp>) -> Value {
        let loaded = self.loaded.load();
        let (config, self_metrics) = (&loaded.config, &self.registry.self_metrics);
        let not_ready_reason = self.readiness.not_ready_reason();
        let last = self.recent.events_after(0).pop();
        let certificates = self.readiness.certificates.iter().filter_map(|(owner, not_after)| {
            let not_after = time(Timestamp::from_second(not_after.get()).ok()?);
            Some(json!({"listener": owner.as_str(), "not_after": not_after}))
        });
        let certificates: Vec<Value> = certificates.collect();
        let scheme = if config.intake.tls.files().is_some() { "https" } else { "http" };
        let changed = loaded.changed();
        let changed =
            changed.map(|(key, value, source)| json!({"key": key, "value": value, "source": source}));
        let used: i64 = self.registry.usage().map(|(_, series, _)| series).sum();
        let family = |(family, series, limit)| json!({"family": family, "series": series, "limit": limit});
        let findings = self.findings.as_ref().map(|findings| {
            let mut count = 0;
            findings.visit(|_| count += 1);
            let learning = findings.learning(clock::now());
            json!({"count": count, "max": config.findings.max, "learning": unless_empty(&learning)})
        });
        without_null(json!({
            "version": env!("CARGO_PKG_VERSION"),
            "revision": env!("LOOKOUTD_REVISION"),
            "started": time(self.registry.started),
            "now": time(clock::now()),
            "ready": not_ready_reason.is_none(),
            "not_ready_reason": not_ready_reason,
            "intake": {
                "address": self.intake.url(scheme),
                "uploads": counts(|outcome: UploadOutcome| self_metrics.uploads.get(outcome)),
                "reports": self.recent.taken(),
                "rejected": counts(|reason: RejectReason| self_metrics.intake.rejected[reason].get()),
                "connections": self_metrics.intake.connections.get(),
                "last_report": last.map(|event| time(event.received)),
            },
            "exports": self.exports(&config.otlp),
            "spool": config.delivery.spool.directory.as_ref().map(|directory| json!({
                "directory": directory.display().to_string(),
                "bytes": self_metrics.spool.bytes.get(),
                "max_bytes": config.delivery.spool.max_bytes,
            })),
            "scrape": {"last": last_scrape.map(time)},
            "certificates": Some(certificates).filter(|list| !list.is_empty()),
            "settings": {
                "summary": loaded.summary(),
                "changed": changed.collect::<Vec<_>>(),
                "warnings": unless_empty(&config.warnings),
            },
            "series": {
                "max": config.metrics.max_series,
                "used": used,
                "families": self.registry.usage().map(family).collect::<Vec<_>>(),
            },
            "findings": findings,
            "grafana": config.admin.grafana,
            "sites": self.sites(),
        }))
    }

    fn exports(&self, otlp: &Otlp) -> Vec<Value> {
        let export = &self.registry.self_metrics.export;
        let (pending, events) = (&export.pending, &export.events);
        let pending =
            |exporter| counts(|state: PendingState| pending[exporter][state].get().try_into().unwrap_or(0));
        let outcomes = |exporter| counts(|outcome: EventOutcome| events[exporter][outcome].get());
        let state = |name, endpoint: Option<&Endpoint>, exporter: Option<ExporterId>| {
            let health = self.readiness.exports.iter().find(|export| export.name == name);
            let attempts = health.map(|export| export.health.attempts()).unwrap_or_default();
            json!({
                "name": name,
                "endpoint": endpoint.map(|endpoint| &endpoint.url),
                "last_success": attempts.last_success.map(time),
                "failing_since": attempts.failing_since.map(|(_, since)| time(since)),
                "error": attempts.error,
                "pending": exporter.map(pending).filter(|counts| *counts != json!({})),
                "outcomes": exporter.map(outcomes).filter(|counts| *counts != json!({})),
            })
        };
        let console = otlp.logs.console.then(|| state("console", None, Some(ExporterId::Console)));
        let logs = otlp.logs.otlp.as_ref().map(|it| state("otlp_logs", Some(it), Some(ExporterId::Otlp)));
        let metrics = otlp.metrics.otlp.as_ref().map(|it| state("otlp_metrics", Some(it), None));
        [console, logs, metrics].into_iter().flatten().collect()
    }

    /// Returns the configured sites, or those that reports were counted for.
    fn sites(&self) -> BTreeSet<String> {
        let mut sites: BTreeSet<String> =
            self.loaded.load().config.sites.iter().map(|site| site.name.clone()).collect();
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
