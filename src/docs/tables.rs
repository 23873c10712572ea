//! Tables of kinds, metric families, label values and settings.

use jiff::Timestamp;

use crate::config::{self, Setting};
use crate::docs::markdown::{code, codes, plain, table};
use crate::kinds;
use crate::metrics::Registry;
use crate::model::{
    Browser, Class, Disposition, EventOutcome, ExportSignal, ExportStatus, ExporterId, LabelEnum, MetricType,
    Noise, PendingState, QuarantineReason, RejectReason, SpoolOperation, UploadOutcome, What,
};

pub(super) fn kinds() -> String {
    let rows = kinds::ALL.iter().map(|kind| {
        vec![
            format!("[`{}`]({})", kind.name, kind.specification),
            codes(kind.aliases.iter().copied()),
            code(&kind.event_name().map(char::from).collect::<String>()),
            codes(kind.identity.iter().copied()),
            codes(kind.families.iter().map(|family| family.name)),
        ]
    });
    table(&["kind (with its specification)", "also sent as", "event name", "identity", "metrics"], rows)
}

/// A metric family as it is exported.
#[derive(Debug)]
#[allow(missing_docs)] // the names are the documentation
pub struct ExportedFamily {
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub metric_type: String,
    pub labels: Vec<String>,
    pub help: String,
}

/// Returns every metric family: those of reports, then the daemon's own and those of the process.
pub fn families() -> Vec<ExportedFamily> {
    let registry =
        Registry::new(kinds::families(), config::MetricsConfig::MIN_SERIES, 0, Timestamp::UNIX_EPOCH);
    // Two self-metrics of one name are excluded by a test of the registry.
    let Ok(registry) = registry else { return Vec::new() };
    // Families without a series are not gathered.
    registry.self_metrics.findings.learning.with_label_values(&[""]);
    registry.self_metrics.intake.certificate_not_after.with_label_values(&[""]);
    let of_reports = registry.families().map(|family| ExportedFamily {
        name: family.name.to_owned(),
        metric_type: match family.metric_type {
            MetricType::Counter | MetricType::FloatCounter => "counter".to_owned(),
            MetricType::Histogram => "histogram".to_owned(),
        },
        labels: family.labels.iter().map(|label| (*label).to_owned()).collect(),
        help: family.help.to_owned(),
    });
    let own = registry.self_metrics.gather().into_iter().map(|family| {
        let labels = family.get_metric().first().map(|metric| metric.get_label()).unwrap_or_default();
        ExportedFamily {
            name: family.name().to_owned(),
            metric_type: format!("{:?}", family.get_field_type()).to_lowercase(),
            labels: labels.iter().map(|label| label.name().to_owned()).collect(),
            help: family.help().to_owned(),
        }
    });
    of_reports.chain(own).collect()
}

pub(super) fn metrics() -> String {
    let row = |family: ExportedFamily| {
        let labels = codes(family.labels.iter().map(String::as_str));
        vec![code(&family.name), family.metric_type, labels, plain(&family.help)]
    };
    table(&["family", "type", "labels", "meaning"], families().into_iter().map(row))
}

pub(super) fn values() -> String {
    fn all<T: LabelEnum>() -> String {
        codes(T::ALL.iter().map(|value| value.as_str()))
    }
    let rows = [
        ("kind", codes(kinds::ALL.iter().map(|kind| kind.name))),
        ("browser", all::<Browser>()),
        ("disposition", all::<Disposition>()),
        ("noise", all::<Noise>()),
        ("what", all::<What>()),
        ("class", all::<Class>()),
        ("outcome` of `lookout_uploads_total", all::<UploadOutcome>()),
        ("reason` of `lookout_reports_rejected_total", all::<RejectReason>()),
        ("exporter", all::<ExporterId>()),
        ("outcome", all::<EventOutcome>()),
        ("state", all::<PendingState>()),
        ("reason` of `lookout_spool_quarantined_files_total", all::<QuarantineReason>()),
        ("operation", all::<SpoolOperation>()),
        ("signal", all::<ExportSignal>()),
        ("code", all::<ExportStatus>()),
    ];
    table(&["label", "values"], rows.into_iter().map(|(label, values)| vec![code(label), values]))
}

/// Returns a table for each section of the settings, without those of one signal that are also there for all; the
/// keys without a section come first.
pub(super) fn settings() -> String {
    let section = |setting: &Setting| setting.key.split_once('.').map_or("", |(section, _)| section);
    let mut settings: Vec<&Setting> =
        config::reference().filter(|setting| setting.general().is_none()).collect();
    settings.sort_by_key(|setting| setting.key.contains('.'));
    let row = |setting: &&Setting| {
        let variables = std::iter::once(&*setting.variable).chain(setting.otel.iter().copied());
        vec![
            code(setting.key),
            setting.default.map_or_else(plain, code),
            codes(variables),
            if setting.is_reloadable() { "reload" } else { "start" }.to_owned(),
            plain(setting.comment),
        ]
    };
    let tables = settings.chunk_by(|a, b| section(a) == section(b)).map(|rows| {
        let name = rows.first().map(|setting| section(setting)).unwrap_or_default();
        let heading = if name.is_empty() { "listeners and sites".to_owned() } else { code(name) };
        let head = ["setting", "default", "variables", "applied", "meaning"];
        format!("### {heading}\n\n{}", table(&head, rows.iter().map(row)))
    });
    tables.collect::<Vec<_>>().join("\n")
}
