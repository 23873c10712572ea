//! The README's tables, generated from the code.

use std::collections::BTreeMap;

use jiff::Timestamp;
use lookoutd::config;
use lookoutd::decode;
use lookoutd::kinds;
use lookoutd::metrics::Registry;
use lookoutd::model::{
    Browser, Disposition, EventOutcome, ExportSignal, ExportStatus, ExporterId, LabelEnum, MetricType, Noise,
    PendingState, QuarantineReason, RejectReason, ReportKind, SpoolOperation, UploadOutcome,
};
use serde_json::Value;

/// Name and content of a section.
pub(crate) type Section = (&'static str, fn() -> String);

/// Generated sections.
pub(crate) static ALL: &[Section] = &[
    ("browsers", browsers),
    ("kinds", kinds),
    ("metrics", metrics),
    ("values", values),
    ("settings", settings),
];

fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = vec!["---".to_owned(); head.len()];
    rows.fold(line(&head) + &line(&rule), |text, row| {
        assert!(row.iter().all(|cell| !cell.contains(['|', '\n'])), "a table cannot contain {row:?}");
        text + &line(&row)
    })
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Escapes markup.
fn plain(text: &str) -> String {
    text.replace('<', "&lt;").replace('*', "\\*")
}

fn codes<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let texts: Vec<String> = texts.into_iter().map(code).collect();
    if texts.is_empty() { "–".to_owned() } else { texts.join(", ") }
}

fn kinds() -> String {
    let seen = captured();
    let row = |kind: &&ReportKind| {
        let engines: Vec<&str> = seen.get(kind.name).into_iter().flatten().map(String::as_str).collect();
        vec![
            format!("[`{}`]({})", kind.name, kind.specification),
            codes(kind.aliases.iter().copied()),
            if engines.is_empty() { "–".to_owned() } else { engines.join(", ") },
            code(kind.event_name),
            codes(kind.families.iter().map(|family| family.name)),
        ]
    };
    let head = ["kind (with its specification)", "also sent as", "captured from", "event name", "metrics"];
    table(&head, kinds::ALL.iter().map(row))
}

/// Returns what the end-to-end tests received from each engine, by kind (`tests/e2e/status.py`).
fn browsers() -> String {
    let status = std::fs::read_to_string(crate::path("tests/e2e/status.json")).unwrap();
    let status: BTreeMap<String, Value> = serde_json::from_str(&status).unwrap();
    let heads = status.iter().map(|(engine, seen)| format!("{engine} {}", short(&seen["version"])));
    let head: Vec<String> = std::iter::once("kind".to_owned()).chain(heads).collect();
    let row = |kind: &&ReportKind| {
        let ways = status.values().map(|seen| ways(&seen["received"][kind.name]));
        std::iter::once(code(kind.name)).chain(ways).collect()
    };
    let kinds = kinds::ALL.iter().filter(|kind| kind.name != "other");
    table(&head.iter().map(String::as_str).collect::<Vec<_>>(), kinds.map(row))
}

/// Returns a version without its patch number.
fn short(version: &Value) -> String {
    version.as_str().unwrap().split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Returns the headers by which a kind is sent.
fn ways(received: &Value) -> String {
    codes(received.as_array().into_iter().flatten().map(|way| way.as_str().unwrap()))
}

/// Returns the engines whose captures in tests/corpus contain each kind.
fn captured() -> BTreeMap<&'static str, Vec<String>> {
    let mut seen: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (engine, name) in [("chromium", "Chromium"), ("firefox", "Firefox"), ("webkit", "WebKit")] {
        for entry in std::fs::read_dir(crate::path("tests/corpus").join(engine)).unwrap() {
            let capture = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let capture: Value = serde_json::from_str(&capture).unwrap();
            let body = capture["request"]["body"].as_str().unwrap_or_default();
            // Fails for preflights, which have no body.
            let _ = decode::decode(body.as_bytes(), usize::MAX, |item| {
                let engines = seen.entry(kinds::lookup(&item.unwrap().report_type).name).or_default();
                if engines.iter().all(|known| known != name) {
                    engines.push(name.to_owned());
                }
            });
        }
    }
    seen
}

/// A metric family as it is exported.
pub(crate) struct ExportedFamily {
    pub(crate) name: String,
    pub(crate) metric_type: String,
    labels: Vec<String>,
    help: String,
}

/// Every metric family: those of reports, then the daemon's own and those of the process.
pub(crate) fn families() -> Vec<ExportedFamily> {
    let registry = Registry::new(kinds::families(), 10_000, 0, Timestamp::UNIX_EPOCH).unwrap();
    let of_reports = registry.families().map(|family| ExportedFamily {
        name: family.name.to_owned(),
        metric_type: match family.metric_type {
            MetricType::Counter | MetricType::FloatCounter => "counter".to_owned(),
            MetricType::Histogram => "histogram".to_owned(),
        },
        labels: family.labels.iter().map(|label| (*label).to_owned()).collect(),
        help: family.help.to_owned(),
    });
    let own = registry.self_metrics.gather().into_iter().map(|family| ExportedFamily {
        name: family.name().to_owned(),
        metric_type: format!("{:?}", family.get_field_type()).to_lowercase(),
        labels: family.get_metric()[0].get_label().iter().map(|label| label.name().to_owned()).collect(),
        help: family.help().to_owned(),
    });
    of_reports.chain(own).collect()
}

fn metrics() -> String {
    let row = |family: ExportedFamily| {
        let labels = codes(family.labels.iter().map(String::as_str));
        vec![code(&family.name), family.metric_type, labels, plain(&family.help)]
    };
    table(&["family", "type", "labels", "meaning"], families().into_iter().map(row))
}

/// Returns the values of the bounded labels.
fn values() -> String {
    macro_rules! all {
        ($set:ident) => {
            codes($set::ALL.iter().map(|value| value.as_str()))
        };
    }
    let rows = [
        ("kind", codes(kinds::ALL.iter().map(|kind| kind.name))),
        ("browser", all!(Browser)),
        ("disposition", all!(Disposition)),
        ("noise", all!(Noise)),
        ("outcome` of `lookout_uploads_total", all!(UploadOutcome)),
        ("reason` of `lookout_reports_rejected_total", all!(RejectReason)),
        ("exporter", all!(ExporterId)),
        ("outcome", all!(EventOutcome)),
        ("state", all!(PendingState)),
        ("reason` of `lookout_spool_quarantined_files_total", all!(QuarantineReason)),
        ("operation", all!(SpoolOperation)),
        ("signal", all!(ExportSignal)),
        ("code", all!(ExportStatus)),
    ];
    table(&["label", "values"], rows.into_iter().map(|(label, values)| vec![code(label), values]))
}

fn settings() -> String {
    let row = |setting: config::Reference| {
        let variables = std::iter::once(&*setting.variable).chain(setting.otel);
        vec![
            code(setting.key),
            setting.default.map_or_else(plain, code),
            codes(variables),
            plain(setting.comment),
        ]
    };
    table(&["setting", "default", "variables", "meaning"], config::reference().map(row))
}
