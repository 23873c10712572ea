//! For the kinds' tests: a body as it arrives, taken as far as the event.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::settings::{ClientAddress, PathSecrets, Privacy, QueryPrivacy};
use crate::event::Event;
use crate::metric::{Amount, Label, Observation};
use crate::normalise::Detail;
use crate::report::{Attribute, Browser, Class, Context, Disposition, Noise, Report};

/// What was made of one report.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) kind: &'static str,
    pub(super) severity: &'static str,
    pub(super) summary: String,
    /// `family{label="value",…} amount`, without the site unless it is the observation's own.
    pub(super) counted: Vec<String>,
    /// The attributes of body members.
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) body: serde_json::Value,
}

impl Told {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }
}

/// The circumstances of an upload.
pub(super) struct Given {
    pub(super) noise: Noise,
    pub(super) disposition: Option<Disposition>,
}

pub(super) const PLAIN: Given = Given { noise: Noise::None, disposition: None };

/// Takes a body of one report.
pub(super) fn one(body: &str) -> Told {
    one_given(body, &PLAIN)
}

pub(super) fn one_given(body: &str, given: &Given) -> Told {
    let mut all = take(body, given);
    assert_eq!(all.len(), 1, "{body}");
    all.remove(0)
}

/// A report in the Reporting API's envelope.
pub(super) fn envelope(report_type: &str, body: &str) -> String {
    format!(r#"[{{"type":"{report_type}","url":"https://shop.example/cart","age":0,"body":{body}}}]"#)
}

/// Takes every report of a body.
pub(super) fn take(body: &str, given: &Given) -> Vec<Told> {
    let mut all = Vec::new();
    each(body, given, Detail::Event, &mut |report, class| {
        let assessment = (report.kind.assess)(report, class);
        let summary = (report.kind.summary)(report);
        let event = Event {
            report,
            class: *class,
            severity: assessment.severity,
            summary: &summary,
            query: &[],
            client_address: None,
        };
        all.push(Told {
            kind: report.kind.token,
            severity: assessment.severity.as_str(),
            attributes: attributes(&event),
            counted: assessment.observations.iter().map(counted).collect(),
            body: serde_json::to_value(&report.body).unwrap(),
            summary,
        });
    });
    let mut left = all.iter();
    each(body, given, Detail::Counters, &mut |report, class| {
        let counted: Vec<_> = (report.kind.assess)(report, class).observations.iter().map(counted).collect();
        assert_eq!(left.next().unwrap().counted, counted, "counters must not depend on the events");
    });
    all
}

fn each(body: &str, given: &Given, detail: Detail, see: &mut dyn FnMut(&Report<'_>, &Class<'_>)) {
    let context = Context {
        received: "2026-11-22T12:00:00Z".parse().unwrap(),
        uptime: 0,
        user_agent: None,
        disposition: given.disposition,
        site: None,
        query: &[],
        client_address: None,
    };
    let privacy = Privacy {
        query: QueryPrivacy::Strip,
        path_secrets: PathSecrets::Redact,
        client_address: ClientAddress::None,
    };
    let class = Class {
        site: Label::closed("unknown"),
        configured: None,
        noise: given.noise,
        browser: Browser::Other,
    };
    crate::decode::decode(body.as_bytes(), 256, |envelope| {
        see(&crate::normalise::normalise(envelope.unwrap(), &context, privacy, detail), &class);
    })
    .unwrap();
}

fn attributes(event: &Event<'_>) -> BTreeMap<String, String> {
    let mut attributes = BTreeMap::new();
    event.attributes(&mut |name, value| {
        let value = match value {
            Attribute::Text(text) => text.to_owned(),
            Attribute::Integer(number) => number.to_string(),
            Attribute::Float(number) => number.to_string(),
            Attribute::Flag(flag) => flag.to_string(),
            Attribute::Json(value) => serde_json::to_string(value).unwrap(),
        };
        assert!(attributes.insert(name.to_owned(), value).is_none(), "{name} twice");
    });
    attributes
}

fn counted(observation: &Observation<'_>) -> String {
    let family = observation.family;
    let labels = family.labels[1..].iter().zip(&observation.labels);
    let mut labels: Vec<_> = labels.map(|(name, label)| format!("{name}=\"{}\"", label.as_str())).collect();
    labels.extend(observation.host.map(|host| format!("host=\"{host}\"")));
    let amount = match observation.amount {
        Amount::Count(count) => count.to_string(),
        Amount::Sum(amount) | Amount::Seconds(amount) => amount.to_string(),
    };
    format!("{}{{{}}} {amount}", family.name, labels.join(","))
}

/// The body of a hand-written sample: `tests/samples/<name>.json`.
pub(super) fn sample(name: &str) -> String {
    let file = read(&format!("samples/{name}.json"));
    file["body"].as_str().unwrap().to_owned()
}

/// What became of a real browser's upload: `tests/corpus/<name>.json`.
pub(super) fn captured(name: &str) -> Vec<Told> {
    let file = read(&format!("corpus/{name}.json"));
    take(file["request"]["body"].as_str().unwrap(), &PLAIN)
}

fn read(name: &str) -> serde_json::Value {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests", name].iter().collect();
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}
