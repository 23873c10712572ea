//! For the kinds' tests: a body as it arrives, processed as far as the event.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::Privacy;
use crate::model::{
    ABSENT, Attribute, Browser, Classification, ClientKey, Disposition, Event, Finding, Increment, Label,
    LabelEnum, Noise, Observation, Report, UploadContext, Versions,
};
use crate::normalize::Mode;

/// The result of processing one report.
#[derive(Debug)]
pub(super) struct Processed {
    pub(super) kind: &'static str,
    pub(super) severity: &'static str,
    pub(super) finding: Finding,
    pub(super) summary: String,
    /// `family{label="value",…} amount`, with the host of an observation that has its own.
    pub(super) counted: Vec<String>,
    /// The attributes of the event.
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) body: serde_json::Value,
}

impl Processed {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// The noise class of the report, and the disposition of the endpoint.
pub(super) struct TestContext {
    pub(super) noise: Noise,
    pub(super) disposition: Option<Disposition>,
}

pub(super) const DEFAULT: TestContext = TestContext { noise: Noise::None, disposition: None };

/// Processes a body of one report.
pub(super) fn process(body: &str) -> Processed {
    process_in(body, &DEFAULT)
}

pub(super) fn process_in(body: &str, context: &TestContext) -> Processed {
    let mut all = process_all(body, context);
    assert_eq!(all.len(), 1, "{body}");
    all.remove(0)
}

/// A report in the Reporting API's envelope.
pub(super) fn envelope(report_type: &str, body: &str) -> String {
    format!(r#"[{{"type":"{report_type}","url":"https://shop.example/cart","age":0,"body":{body}}}]"#)
}

/// Processes every report of a body.
pub(super) fn process_all(body: &str, context: &TestContext) -> Vec<Processed> {
    let mut all = Vec::new();
    let mut findings = Vec::new();
    each(body, context, Mode::Full, &mut |report, classification| {
        let evaluation = report.evaluate(classification);
        let summary = (report.kind.summary)(report);
        let event = Event {
            report,
            classification: *classification,
            finding: Finding::new(report, classification),
            is_new: false,
            severity: evaluation.severity,
            summary: &summary,
            query: &[],
            client_address: None,
            span: None,
            sample_rate: None,
        };
        findings.push(event.finding);
        all.push(Processed {
            kind: report.kind.name,
            severity: evaluation.severity.as_str(),
            finding: event.finding,
            attributes: attributes(&event),
            counted: evaluation.observations.iter().map(counted).collect(),
            body: serde_json::to_value(&report.body).unwrap(),
            summary,
        });
    });
    let mut remaining = all.iter();
    let mut findings = findings.into_iter();
    each(body, context, Mode::MetricsOnly, &mut |report, classification| {
        let evaluation = report.evaluate(classification);
        let counted: Vec<_> = evaluation.observations.iter().map(counted).collect();
        let finding = Finding::new(report, classification);
        assert_eq!(findings.next(), Some(finding), "findings must not depend on the events");
        assert_eq!(remaining.next().unwrap().counted, counted, "counters must not depend on the events");
    });
    all
}

fn each(
    body: &str,
    context: &TestContext,
    mode: Mode,
    visit: &mut dyn FnMut(&Report<'_>, &Classification<'_>),
) {
    let upload = UploadContext {
        received: "2026-11-22T12:00:00Z".parse().unwrap(),
        uptime: 0,
        user_agent: None,
        disposition: context.disposition,
        site: None,
        key: None,
        query: &[],
        client: ClientKey::default(),
        client_address: None,
        span: None,
    };
    let classification = Classification {
        site: Label::bounded("unknown"),
        configured: None,
        page: None,
        noise: context.noise,
        severity: None,
        drops_event: false,
        rule: None,
        browser: Browser::Other,
        versions: Versions::default(),
    };
    crate::decode::decode(body.as_bytes(), 256, |envelope| {
        visit(
            &crate::normalize::normalize(envelope.unwrap(), &upload, Privacy::default(), mode),
            &classification,
        );
    })
    .unwrap();
}

fn attributes(event: &Event<'_>) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    crate::encode::attributes(event, &mut |name, value| {
        let value = match value {
            Attribute::Text(text) => text.to_owned(),
            Attribute::Integer(number) => number.to_string(),
            Attribute::Float(number) => number.to_string(),
            Attribute::Bool(flag) => flag.to_string(),
            Attribute::Json(value) => serde_json::to_string(value).unwrap(),
        };
        assert!(attributes.insert(name.to_owned(), value).is_none(), "{name} twice");
    });
    attributes
}

fn counted(observation: &Observation<'_>) -> String {
    let family = observation.family;
    let labels = family.labels[1..].iter().zip(&observation.labels).filter(|(_, label)| **label != ABSENT);
    let mut labels: Vec<_> = labels.map(|(name, label)| format!("{name}=\"{}\"", label.as_str())).collect();
    labels.extend(observation.host.map(|host| format!("host=\"{host}\"")));
    let amount = match observation.amount {
        Increment::Count(count) => count.to_string(),
        Increment::Sum(amount) | Increment::Duration(amount) => amount.to_string(),
    };
    format!("{}{{{}}} {amount}", family.name, labels.join(","))
}

/// The body of a hand-written sample: `tests/samples/<name>.json`.
pub(super) fn sample(name: &str) -> String {
    let file = load(&format!("samples/{name}.json"));
    file["body"].as_str().unwrap().to_owned()
}

/// The reports of a real browser's upload: `tests/corpus/<name>.json`.
pub(super) fn captured(name: &str) -> Vec<Processed> {
    let file = load(&format!("corpus/{name}.json"));
    process_all(file["request"]["body"].as_str().unwrap(), &DEFAULT)
}

fn load(name: &str) -> serde_json::Value {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", name].iter().collect();
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
