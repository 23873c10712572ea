//! The README's tables, written from the tables of the code.

use std::collections::BTreeMap;

use lookoutd::config;
use lookoutd::export::prometheus::process_families;
use lookoutd::kinds;
use lookoutd::model::{
    Browser, Disposition, EventOutcome, ExportSignal, ExportStatus, ExporterId, LabelEnum, MetricType, Noise,
    PendingState, QuarantineReason, RejectReason, ReportKind, SpoolOperation, UploadOutcome,
};
use lookoutd::{decode, metrics};
use serde_json::Value;

/// A section's name and what stands in it.
pub(crate) type Section = (&'static str, fn() -> String);

/// Every generated section.
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
        assert!(row.iter().all(|cell| !cell.contains(['|', '\n'])), "a table cannot hold {row:?}");
        text + &line(&row)
    })
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// Text in which nothing is markup.
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

/// What the end-to-end tests received from each engine, kind by kind (`tests/e2e/status.py`).
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

/// A version without what changes with every fix.
fn short(version: &Value) -> String {
    version.as_str().unwrap().split('.').take(2).collect::<Vec<_>>().join(".")
}

/// The headers by which a kind is sent.
fn ways(received: &Value) -> String {
    codes(received.as_array().into_iter().flatten().map(|way| way.as_str().unwrap()))
}

/// Which engines' captures in tests/corpus hold which kinds.
fn captured() -> BTreeMap<&'static str, Vec<String>> {
    let mut seen: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for (engine, name) in [("chromium", "Chromium"), ("firefox", "Firefox"), ("webkit", "WebKit")] {
        for entry in std::fs::read_dir(crate::path("tests/corpus").join(engine)).unwrap() {
            let capture = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let capture: Value = serde_json::from_str(&capture).unwrap();
            let body = capture["request"]["body"].as_str().unwrap_or_default();
            // Preflights have no body, and so no report.
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

fn metrics() -> String {
    let families = metrics::report_families().chain(metrics::self_metrics::families()).map(|family| {
        let measure = match family.metric_type {
            MetricType::Counter | MetricType::FloatCounter => "counter",
            MetricType::Histogram => "histogram",
            MetricType::Gauge => "gauge",
        };
        vec![code(family.name), measure.to_owned(), codes(family.labels.iter().copied()), plain(family.help)]
    });
    let process = process_families().into_iter().map(|family| {
        let measure = format!("{:?}", family.get_field_type()).to_lowercase();
        vec![code(family.name()), measure, codes([]), plain(family.help())]
    });
    table(&["family", "type", "labels", "meaning"], families.chain(process))
}

/// The values of the labels that have the same closed set wherever they stand.
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
