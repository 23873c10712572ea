//! The two formats of a scrape: which one a client gets, and that both have the same series and values.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Read;

use jiff::{SignedDuration, Timestamp};
use lookoutd::clock;
use lookoutd::export::{ScrapeFormat, encode_scrape};
use lookoutd::kinds;
use lookoutd::metrics::Registry;
use lookoutd::model::{Increment, Label, MAX_LABELS, MetricType, Observation, SiteLabel};
use proptest::prelude::*;
use prost::Message;

use crate::support::daemon::Daemon;
use crate::support::http::{Answer, Request};
use crate::support::scrape::Scrape;
use crate::support::{REPORT, eventually};

const TEXT: &str = "text/plain; version=0.0.4";
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// `io.prometheus.client.MetricFamily` as in Prometheus' own metrics.proto.
#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(int32, optional, tag = "3")]
    metric_type: Option<i32>,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Number>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `Gauge` or `Counter`.
#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(double, optional, tag = "1")]
    value: Option<f64>,
    #[prost(message, optional, tag = "3")]
    created: Option<Time>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    sum: Option<f64>,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(message, optional, tag = "15")]
    created: Option<Time>,
}

#[derive(Clone, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, optional, tag = "1")]
    cumulative_count: Option<u64>,
    #[prost(double, optional, tag = "2")]
    upper_bound: Option<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Time {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Time {
    fn timestamp(&self) -> Timestamp {
        Timestamp::new(self.seconds, self.nanos).unwrap()
    }
}

/// The values by name and labels; those of a histogram by the names of their samples.
type Values = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// A decoded scrape.
#[derive(Default)]
struct Decoded {
    values: Values,
    /// The times of creation by name and labels.
    created: BTreeMap<(String, BTreeMap<String, String>), Timestamp>,
    /// What `# HELP` and `# TYPE` are in text.
    metadata: Vec<String>,
}

fn decode(mut body: &[u8]) -> Decoded {
    let mut decoded = Decoded::default();
    while !body.is_empty() {
        let family = MetricFamily::decode_length_delimited(&mut body).unwrap();
        assert!(!family.metric.is_empty(), "{} has no series", family.name);
        let type_name = ["counter", "gauge", "", "", "histogram"][family.metric_type.unwrap() as usize];
        decoded.metadata.push(format!("# HELP {} {}", family.name, family.help));
        decoded.metadata.push(format!("# TYPE {} {type_name}", family.name));
        for metric in family.metric {
            decoded.add(&family.name, type_name, metric);
        }
    }
    decoded
}

impl Decoded {
    fn add(&mut self, name: &str, type_name: &str, metric: Metric) {
        let pairs = metric.label.into_iter().map(|pair| (pair.name, pair.value));
        let labels: BTreeMap<_, _> = pairs.collect();
        let mut insert = |suffix: &str, le: Option<f64>, value: f64| {
            let mut labels = labels.clone();
            labels.extend(le.map(|bound| {
                ("le".to_owned(), if bound.is_infinite() { "+Inf".into() } else { bound.to_string() })
            }));
            assert!(
                self.values.insert((format!("{name}{suffix}"), labels), value).is_none(),
                "{name}: twice"
            );
        };
        let created = match (type_name, metric.counter, metric.gauge, metric.histogram) {
            ("counter", Some(counter), None, None) => {
                insert("", None, counter.value.unwrap());
                counter.created
            }
            ("gauge", None, Some(gauge), None) => {
                insert("", None, gauge.value.unwrap());
                assert_eq!(gauge.created, None);
                return;
            }
            ("histogram", None, None, Some(histogram)) => {
                for bucket in histogram.bucket {
                    insert("_bucket", bucket.upper_bound, bucket.cumulative_count.unwrap() as f64);
                }
                insert("_sum", None, histogram.sum.unwrap());
                insert("_count", None, histogram.count.unwrap() as f64);
                histogram.created
            }
            other => panic!("{name}: {other:?}"),
        };
        self.created.insert((name.to_owned(), labels), created.unwrap().timestamp());
    }
}

fn values(text: &str) -> Values {
    let scrape = Scrape::parse(text);
    let samples = scrape.samples().iter();
    samples.map(|sample| ((sample.name.clone(), sample.labels.clone()), sample.value)).collect()
}

/// Checks that both formats have the same series, types and help, and the same values except of what changes at
/// any time.
fn compare(text: &str, decoded: &Decoded) {
    // Those of the findings are set every second.
    let changing = ["lookout_connections", "lookout_findings", "lookout_findings_bytes"];
    let steady = |name: &str| !name.starts_with("process_") && !changing.contains(&name);
    let of = |values: &Values| -> Vec<_> {
        values
            .iter()
            .filter(|((name, _), _)| steady(name))
            .map(|(key, value)| (key.clone(), *value))
            .collect()
    };
    assert_eq!(of(&decoded.values), of(&values(text)));
    let names = |values: &Values| values.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&decoded.values), names(&values(text)), "of all");
    let metadata: Vec<_> = text.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(decoded.metadata, metadata, "in the same order");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn protobuf_of_any_series_is_its_text_with_the_time_of_its_first_observation(
        seen in prop::collection::vec((any::<String>(), any::<String>(), 0.0..1e9_f64), 0..20),
        start in -2_000_000_000_000..4_000_000_000_000_000_000_i64,
    ) {
        let started = Timestamp::from_nanosecond(start.into()).unwrap();
        let registry = Registry::new(kinds::families(), 10_000, 0, started).unwrap();
        let mut born = BTreeMap::new();
        for (second, (site, label, amount)) in (1..).zip(&seen) {
            let now = started + SignedDuration::from_secs(second);
            for family in kinds::families() {
                let amount = match family.metric_type {
                    MetricType::Counter => Increment::Count(*amount as u64),
                    MetricType::FloatCounter => Increment::Sum(*amount),
                    MetricType::Histogram => Increment::Duration(*amount),
                };
                let labels = [Label::unbounded(label); MAX_LABELS - 1];
                let observation = Observation { family, labels, amount, host: None };
                let labels = registry.add(SiteLabel::host(site), &observation, now, 0, &Cell::new(usize::MAX));
                // One that is empty is the same as none.
                let names = family.labels.iter().zip(&labels).filter(|(_, label)| !label.as_str().is_empty());
                let labels = names.map(|(name, label)| ((*name).to_owned(), label.as_str().to_owned()));
                born.entry((family.name.to_owned(), labels.collect())).or_insert(now);
            }
        }
        let encode = |format| encode_scrape(&registry, format, false).unwrap().concat();
        let text = String::from_utf8(encode(ScrapeFormat::Text)).unwrap();
        let decoded = decode(&encode(ScrapeFormat::Protobuf));
        compare(&text, &decoded);
        for (series, created) in decoded.created {
            prop_assert_eq!(created, born.remove(&series).unwrap_or(started), "{:?}", series);
        }
        prop_assert!(born.is_empty());
    }
}

fn scrape(daemon: &Daemon, accept: &[&str]) -> Answer {
    let request = Request::new("GET", "/metrics");
    accept.iter().fold(request, |request, value| request.header("accept", value)).send(daemon.admin)
}

#[test]
fn scrape_over_http_has_the_same_in_both_formats_gzipped_or_not() {
    let before = clock::now();
    let daemon = Daemon::start();
    daemon.post("/report", REPORT);
    let text = eventually("the event is written", || {
        let text = daemon.get_admin("/metrics");
        let written = Scrape::parse(&text.text()).sum("lookout_events_total", &[("outcome", "delivered")]);
        if written == 1.0 { Ok(text) } else { Err(format!("{written} events")) }
    });
    assert_eq!(text.header("content-type"), Some(TEXT));
    let protobuf = scrape(&daemon, &[PROTOBUF]);
    assert_eq!(
        (protobuf.header("content-type"), protobuf.header("content-encoding")),
        (Some(PROTOBUF), None)
    );
    let decoded = decode(&protobuf.body);
    compare(&text.text(), &decoded);
    for (series, created) in &decoded.created {
        assert!((before..=clock::now()).contains(created), "{series:?}: {created}");
    }
    let zipped = Request::new("GET", "/metrics").header("accept", PROTOBUF).header("accept-encoding", "gzip");
    let zipped = zipped.send(daemon.admin);
    assert_eq!(
        (zipped.header("content-type"), zipped.header("content-encoding")),
        (Some(PROTOBUF), Some("gzip"))
    );
    let mut body = Vec::new();
    flate2::read::GzDecoder::new(&*zipped.body).read_to_end(&mut body).unwrap();
    compare(&text.text(), &decode(&body));
}

#[test]
fn format_has_the_highest_weight_that_accept_gives() {
    let daemon = Daemon::start();
    let get = |accept: &[&str]| scrape(&daemon, accept).header("content-type").unwrap().to_owned();
    assert_eq!(get(&[]), TEXT);
    let message =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    for (accept, format) in [
        // Prometheus 2.42, without and with native histograms.
        (
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            TEXT,
        ),
        (
            "{},application/openmetrics-text;version=1.0.0;q=0.8,application/openmetrics-text;version=0.0.1;q=0.75,\
             text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            PROTOBUF,
        ),
        // Prometheus 2.53, without and with created timestamps.
        (
            "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            TEXT,
        ),
        (
            "{};q=0.5,application/openmetrics-text;version=1.0.0;q=0.4,application/openmetrics-text;version=0.0.1;q=0.3,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            PROTOBUF,
        ),
        // Prometheus 3, without and with created timestamps.
        (
            "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.7,\
             application/openmetrics-text;version=0.0.1;q=0.6,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             text/plain;version=0.0.4;q=0.4,*/*;q=0.3",
            TEXT,
        ),
        (
            "{};q=0.7,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
             text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            PROTOBUF,
        ),
        ("text/plain;version=0.0.4;q=0.5,{};q=0.4,*/*;q=0.3", TEXT),
        ("text/plain;version=0.0.4;q=0.5,{};q=0.5", PROTOBUF),
        ("{};q=0.5,text/plain;version=0.0.4;q=0.5", PROTOBUF),
        ("{};q=0.5, */*;q=0.6", TEXT),
        ("{};q=0.6, text/*;q=0.5", PROTOBUF),
        ("{};q=0", TEXT),
        ("{};Q=0.2;x=y, text/plain;q=0.100", PROTOBUF),
        // Versions of text that there are not, and weights that are none, which are 1.
        ("text/plain;version=1.0.0,{};q=0.2", PROTOBUF),
        ("text/plain;q=0.9,{};q=NaN", PROTOBUF),
        ("text/plain;q=0.9,{};q=", PROTOBUF),
        (
            "Application/VND.google.protobuf; Encoding=\"delimited\"; proto=\"io.prometheus.client.MetricFamily\"",
            PROTOBUF,
        ),
        ("application/vnd.google.protobuf", PROTOBUF),
        ("application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text", TEXT),
        ("application/vnd.google.protobuf;proto=a.other.Message;encoding=delimited", TEXT),
        ("application/openmetrics-text;version=1.0.0", TEXT),
        ("application/json", TEXT),
        ("*/*", TEXT),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", TEXT),
        (";;,,=;q", TEXT),
        ("", TEXT),
    ] {
        assert_eq!(get(&[&accept.replace("{}", message)]), format, "{accept}");
    }
    assert_eq!(get(&["text/plain;q=0.5", &format!("{message};q=0.6")]), PROTOBUF, "two header fields");
}
