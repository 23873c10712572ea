//! Folded and sampled events: what is sent stands for exactly the reports that were accepted.

use std::collections::BTreeMap;

use lookoutd::config::{Config, Events, SiteConfig, defaults};
use lookoutd::model::{EventOutcome, ExporterId, LabelEnum, PendingState, UploadContext};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::collector::Collector;
use crate::support::daemon::{Daemon, Setup};
use crate::support::in_process::{InProcess, context, decode};

/// A report of this site about this problem.
fn report(site: &str, problem: usize) -> Value {
    json!({
        "type": "csp-violation", "url": format!("https://{site}.example/cart"),
        "body": { "documentURL": format!("https://{site}.example/cart"), "disposition": "enforce",
                  "effectiveDirective": "script-src-elem",
                  "blockedURL": format!("https://evil.example/{}.js", char::from(b'a' + problem as u8)) },
    })
}

/// What an event is about and stands for, without its encoding.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
struct Sent {
    fingerprint: String,
    site: String,
    count: Option<u64>,
    rate: Option<f64>,
    is_new: bool,
}

impl Sent {
    fn of_line(line: &[u8]) -> Sent {
        let line: Value = serde_json::from_slice(line).unwrap();
        let lookout = &line["lookout"];
        Sent {
            fingerprint: lookout["fingerprint"].as_str().unwrap().to_owned(),
            site: lookout["site"].as_str().unwrap().to_owned(),
            count: lookout.get("count").map(|count| count.as_u64().unwrap()),
            rate: lookout.get("sample_rate").map(|rate| rate.as_f64().unwrap()),
            is_new: lookout.get("new").is_some(),
        }
    }

    fn of_record(record: &LogRecord) -> Sent {
        let get = |name: &str| {
            let mut found = record.attributes.iter().filter(|pair| pair.key == name);
            let value = found.next().and_then(|pair| pair.value.clone()?.value);
            assert!(found.next().is_none(), "{name} is repeated");
            value
        };
        let text = |name| match get(name) {
            Some(Any::StringValue(text)) => text,
            other => panic!("{name}: {other:?}"),
        };
        assert!(!record.event_name.is_empty() && record.observed_time_unix_nano > 0);
        Sent {
            fingerprint: text("lookout.fingerprint"),
            site: text("lookout.site"),
            count: get("lookout.count").map(|value| match value {
                Any::IntValue(count) => u64::try_from(count).unwrap(),
                other => panic!("{other:?}"),
            }),
            rate: get("lookout.sample_rate").map(|value| match value {
                Any::DoubleValue(rate) => rate,
                other => panic!("{other:?}"),
            }),
            is_new: get("lookout.new").is_some(),
        }
    }

    /// The number of reports that it stands for.
    fn reports(&self) -> u64 {
        self.count.unwrap_or(1)
    }
}

fn sorted(mut events: Vec<Sent>) -> Vec<Sent> {
    events.sort_by(|a, b| a.partial_cmp(b).unwrap());
    events
}

/// The path with a clock that the test moves.
struct Path {
    path: InProcess,
    posted: u64,
    sent: Vec<Sent>,
}

impl Path {
    fn new(config: &Config) -> Path {
        Path { path: InProcess::limited(config), posted: 0, sent: Vec::new() }
    }

    fn post(&mut self, reports: &[Value], uptime: u32) {
        self.posted += reports.len() as u64;
        let body = Value::from(reports).to_string();
        self.path.pipeline.process(body.as_bytes(), &UploadContext { uptime, ..context() }, |_, _| {});
        self.take();
    }

    fn end_windows(&mut self, uptime: u32, all: bool) {
        self.path.pipeline.end_windows(uptime, all);
        self.take();
    }

    /// Takes what was sent, and checks the accounts.
    fn take(&mut self) {
        let (console, otlp) = self.path.take();
        let lines: Vec<_> = console.iter().map(|line| Sent::of_line(line)).collect();
        let records: Vec<_> = otlp.iter().map(|record| Sent::of_record(&decode(record))).collect();
        assert_eq!(lines, records, "both exporters send the same events in the same order");
        self.sent.extend(lines);
        assert_eq!(self.path.reports(), self.posted);
        for exporter in [ExporterId::Console, ExporterId::Otlp] {
            let self_metrics = &self.path.pipeline.registry.self_metrics;
            let ended: u64 =
                EventOutcome::ALL.iter().map(|it| self_metrics.export.events[exporter][*it].get()).sum();
            let pending: i64 =
                PendingState::ALL.iter().map(|it| self_metrics.export.pending[exporter][*it].get()).sum();
            assert_eq!(self.posted, self.sent.len() as u64 + ended + pending as u64, "{exporter:?}");
        }
    }

    fn outcome(&self, outcome: EventOutcome) -> u64 {
        self.path.pipeline.registry.self_metrics.export.events[ExporterId::Otlp][outcome].get()
    }

    fn folding(&self) -> i64 {
        self.path.pipeline.registry.self_metrics.export.pending[ExporterId::Otlp][PendingState::Folding].get()
    }

    /// The counts of the events so far.
    fn counts(&self) -> Vec<Option<u64>> {
        self.sent.iter().map(|event| event.count).collect()
    }
}

/// Two sites, and windows of this many seconds.
fn config(fold: Option<u64>) -> Config {
    let site = |name: &str| SiteConfig {
        name: name.to_owned(),
        hosts: vec![format!("{name}.example")],
        ..SiteConfig::default()
    };
    let fold = fold.map(std::time::Duration::from_secs);
    let events = Events { max_per_second: None, max_unknown_per_second: None, fold };
    Config { sites: vec![site("shop"), site("blog")], events, ..defaults() }
}

fn sampled(mut config: Config, rates: &[(&str, f64)]) -> Config {
    config.sites[0].sample = rates.iter().map(|(kind, rate)| ((*kind).to_owned(), *rate)).collect();
    config
}

#[test]
fn second_report_of_a_window_waits_for_its_end_with_the_count_of_all_but_the_first() {
    let mut path = Path::new(&config(Some(60)));
    let [shop, other, blog] = [report("shop", 0), report("shop", 1), report("blog", 0)];
    path.post(&[shop.clone(), other.clone()], 5);
    assert_eq!((path.counts(), path.folding()), (vec![None, None], 0), "the first ones are sent at once");
    path.post(&[shop.clone(), shop.clone(), blog.clone()], 30);
    assert_eq!((path.counts(), path.folding()), (vec![None; 3], 1), "sites have windows of their own");
    path.post(std::slice::from_ref(&shop), 64);
    path.end_windows(65, false);
    assert_eq!((path.counts(), path.outcome(EventOutcome::Folded)), (vec![None; 3], 2));
    path.end_windows(66, false);
    assert_eq!((path.counts(), path.folding()), (vec![None, None, None, Some(3)], 0));
    path.post(&[shop.clone(), shop], 66);
    assert_eq!(path.counts().last(), Some(&None), "the next window begins with its first report");
    assert_eq!(path.folding(), 1);
    path.end_windows(66, true);
    assert_eq!(path.counts().last(), Some(&Some(1)), "at shutdown, all windows end");
    assert_eq!(path.folding(), 0);
}

#[test]
fn new_finding_is_sent_in_a_window_and_whatever_is_sampled() {
    let mut path = Path::new(&sampled(config(Some(60)), &[("csp-violation", 0.000_001)]));
    let reports: Vec<_> = (0..20).flat_map(|problem| vec![report("shop", problem); 5]).collect();
    path.post(&reports, 0);
    assert!(path.sent.iter().all(|event| event.is_new && event.rate == Some(1.0)), "{:?}", path.sent);
    assert_eq!((path.sent.len(), path.outcome(EventOutcome::Sampled)), (20, 80));
    // Without findings, none is new.
    let mut without = sampled(config(Some(60)), &[("*", 0.000_001)]);
    without.findings.max = 0;
    let mut path = Path::new(&without);
    path.post(&reports, 0);
    assert_eq!((path.sent.len(), path.outcome(EventOutcome::Sampled)), (0, 100));
}

#[test]
fn sample_applies_to_its_site_and_kind_and_gives_an_estimate() {
    let rates = [("csp-violation", 0.2), ("*", 1.0)];
    let mut path = Path::new(&sampled(config(None), &rates));
    let deprecation = json!({ "type": "deprecation", "url": "https://shop.example/", "body": { "id": "x" } });
    for _ in 0..100 {
        path.post(&[vec![report("shop", 0); 100], vec![report("blog", 0), deprecation.clone()]].concat(), 0);
    }
    let (shop, blog): (Vec<&Sent>, Vec<&Sent>) = path.sent.iter().partition(|event| event.site == "shop");
    assert_eq!(blog.len(), 100);
    assert!(blog.iter().all(|event| event.rate.is_none()), "a site without samples");
    let (first, others): (Vec<&Sent>, Vec<&Sent>) =
        shop.into_iter().partition(|event| event.rate == Some(1.0));
    assert_eq!(first.len(), 101, "every deprecation, and the first violation, which is a new finding");
    assert!(others.iter().all(|event| event.rate == Some(0.2)));
    // Ten thousand reports; the limits are six standard deviations.
    assert!((1760..2240).contains(&others.len()), "{}", others.len());
    assert_eq!(path.outcome(EventOutcome::Sampled) as usize, 9_999 - others.len());
}

/// What was sampled away takes no part in a window, so that both together give an estimate too.
#[test]
fn counts_of_sampled_reports_are_of_those_that_were_kept() {
    let mut path = Path::new(&sampled(config(Some(60)), &[("csp-violation", 0.25)]));
    for _ in 0..100 {
        path.post(&vec![report("shop", 0); 100], 0);
    }
    path.end_windows(0, true);
    let [first, pending] = &path.sent[..] else { panic!("{:?}", path.sent) };
    assert_eq!((first.rate, first.count, pending.rate), (Some(1.0), None, Some(0.25)));
    let kept = path.posted - path.outcome(EventOutcome::Sampled);
    assert_eq!(1 + pending.count.unwrap(), kept);
    let estimate = 1.0 + pending.count.unwrap() as f64 / 0.25;
    assert!((estimate - 10_000.0).abs() < 6.0 * (10_000.0_f64 * 3.0).sqrt(), "{estimate}");
}

#[test]
fn events_of_ended_windows_pass_the_limits_of_events() {
    let mut config = config(Some(60));
    config.sites[0].events_per_second = Some(2);
    config.events.max_per_second = Some(3);
    let mut path = Path::new(&config);
    let reports = |site| (0..3).flat_map(|problem| vec![report(site, problem); 3]).collect::<Vec<_>>();
    path.post(&[reports("shop"), reports("blog")].concat(), 0);
    assert_eq!((path.counts(), path.outcome(EventOutcome::Capped)), (vec![None; 3], 3));
    assert_eq!((path.folding(), path.outcome(EventOutcome::Folded)), (6, 6));
    path.end_windows(61, false);
    assert_eq!((path.sent.len(), path.outcome(EventOutcome::Capped), path.folding()), (6, 6, 0));
    assert_eq!(path.counts()[3..], [Some(2); 3]);
    let of_shop = path.sent[3..].iter().filter(|event| event.site == "shop").count();
    // None if the windows of the other site ended first.
    assert!(of_shop <= 2, "its own limit is 2: {:?}", path.sent);
}

#[derive(Debug, Clone)]
enum Step {
    Post(Vec<(bool, usize)>),
    Wait(u32),
    EndWindows,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((any::<bool>(), 0..4_usize), 1..12).prop_map(Step::Post),
        2 => (0..20_u32).prop_map(Step::Wait),
        2 => Just(Step::EndWindows),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// `take` checks the accounts after every step. Without samples and limits, the counts add up to the reports.
    #[test]
    fn accounts_balance_after_every_step(
        steps in prop::collection::vec(step(), 1..25),
        fold in prop::option::of(1..15_u64),
        limit in prop::option::of(1..5_u32),
        eighths in prop::option::of(1..8_u8),
        findings: bool,
    ) {
        let mut config = config(fold);
        config.events.max_per_second = limit;
        config.findings.max *= usize::from(findings);
        if let Some(eighths) = eighths {
            config = sampled(config, &[("csp-violation", f64::from(eighths) / 8.0)]);
        }
        let mut path = Path::new(&config);
        let (mut posted, mut uptime) = (BTreeMap::new(), 0);
        for step in steps {
            match step {
                Step::Post(reports) => {
                    for report in &reports {
                        *posted.entry(*report).or_insert(0) += 1;
                    }
                    let site = |is_shop| if is_shop { "shop" } else { "blog" };
                    let reports: Vec<_> =
                        reports.iter().map(|(is_shop, problem)| report(site(*is_shop), *problem)).collect();
                    path.post(&reports, uptime);
                }
                Step::Wait(seconds) => uptime += seconds,
                Step::EndWindows => path.end_windows(uptime, false),
            }
        }
        path.end_windows(uptime, true);
        prop_assert_eq!(path.folding(), 0);
        if fold.is_none() {
            prop_assert!(path.sent.iter().all(|event| event.count.is_none()));
            prop_assert_eq!(path.outcome(EventOutcome::Folded), 0);
        }
        if limit.is_none() && eighths.is_none() {
            let mut by_problem = BTreeMap::new();
            for event in &path.sent {
                *by_problem.entry(&event.fingerprint).or_insert(0) += event.reports();
            }
            let mut counts: Vec<u64> = by_problem.into_values().collect();
            let mut expected: Vec<u64> = posted.into_values().collect();
            counts.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(counts, expected);
        }
    }
}

const SITES: &str =
    "sites: [{ name: shop, hosts: [shop.example] }, { name: blog, hosts: [blog.example] }]\nevents: { fold: ";

fn start(fold: &str, collector: &Collector) -> Daemon {
    Setup::yaml(&format!("{SITES}{fold} }}"))
        .variable("OTEL_LOGS_EXPORTER", "otlp,console")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address))
        .variable("OTEL_METRICS_EXPORTER", "none")
        .start()
}

/// Posts a random mix of reports from several connections. Returns their number for each site and problem.
fn post_mix(daemon: &Daemon, connections: usize) -> BTreeMap<(&'static str, usize), u64> {
    let mut posted = BTreeMap::new();
    let uploads: Vec<_> = (0..60)
        .map(|_| {
            let mut reports = Vec::new();
            for _ in 0..fastrand::usize(1..40) {
                let (site, problem) = (["shop", "blog"][fastrand::usize(..2)], fastrand::usize(..8));
                *posted.entry((site, problem)).or_insert(0) += 1;
                reports.push(report(site, problem));
            }
            Value::from(reports).to_string()
        })
        .collect();
    std::thread::scope(|scope| {
        for uploads in uploads.chunks(60 / connections) {
            scope.spawn(move || {
                uploads.iter().for_each(|body| assert_eq!(daemon.post("/report", body).status, 204));
            });
        }
    });
    posted
}

/// Checks that the events of a daemon stand for exactly these reports, at both exporters.
fn check_events(lines: &[String], collector: &Collector, posted: &BTreeMap<(&str, usize), u64>) {
    let lines: Vec<_> = lines.iter().map(|line| Sent::of_line(line.as_bytes())).collect();
    let records: Vec<_> = collector.records().iter().map(Sent::of_record).collect();
    assert_eq!(sorted(lines.clone()), sorted(records));
    let mut by_problem = BTreeMap::new();
    for event in &lines {
        *by_problem.entry((event.site.as_str(), &event.fingerprint)).or_insert(0) += event.reports();
    }
    let sums = |site| {
        let mut sums: Vec<u64> =
            by_problem.iter().filter(|((of, _), _)| *of == site).map(|(_, sum)| *sum).collect();
        sums.sort_unstable();
        sums
    };
    for site in ["shop", "blog"] {
        let mut expected: Vec<u64> =
            posted.iter().filter(|((of, _), _)| *of == site).map(|(_, sum)| *sum).collect();
        expected.sort_unstable();
        assert_eq!(sums(site), expected, "{site}");
    }
}

#[test]
fn windows_of_a_daemon_end_in_time_without_a_further_report() {
    let collector = Collector::start();
    let daemon = start("1s", &collector);
    let posted = post_mix(&daemon, 4);
    daemon.until("lookout_events_pending", &[("state", "folding")], 0.0);
    let scrape = daemon.settle();
    assert!(scrape.sum("lookout_events_total", &[("outcome", "folded"), ("exporter", "otlp")]) > 0.0);
    check_events(&daemon.stop(), &collector, &posted);
}

#[test]
fn shutdown_within_a_window_sends_its_event_with_the_count() {
    let collector = Collector::start();
    let daemon = start("1h", &collector);
    // One connection, so that no second report overtakes the new finding.
    let posted = post_mix(&daemon, 1);
    let scrape = daemon.settle();
    let repeated = posted.values().filter(|count| **count > 1).count() as f64;
    for exporter in ["console", "otlp"] {
        let labels = [("exporter", exporter), ("state", "folding")];
        assert_eq!(scrape.sum("lookout_events_pending", &labels), repeated);
    }
    let lines = daemon.stop();
    assert_eq!(lines.len(), posted.len() + repeated as usize);
    check_events(&lines, &collector, &posted);
}

#[test]
fn kill_within_a_window_loses_its_event_and_a_restart_counts_nothing_twice() {
    let spool = TempDir::new().unwrap();
    let directory = spool.path().join("spool");
    let start = |endpoint: &str, after| {
        let delivery = format!("spool: {{ directory: {directory:?}, after: {after} }}");
        Setup::yaml(&format!("events: {{ fold: 1h }}\ndelivery: {{ {delivery} }}"))
            .variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .variable("OTEL_METRICS_EXPORTER", "none")
            .start()
    };
    let mut daemon = start("http://127.0.0.1:1", "0");
    assert_eq!(daemon.post("/report", Value::from(vec![report("shop", 0); 10]).to_string()).status, 204);
    daemon.until("lookout_events_pending", &[("exporter", "otlp"), ("state", "folding")], 1.0);
    daemon.until("lookout_events_total", &[("exporter", "otlp"), ("outcome", "folded")], 8.0);
    // Its file is complete then; lookout_spool_bytes has it before it is written.
    daemon.until("lookout_events_pending", &[("exporter", "otlp"), ("state", "spooled")], 1.0);
    daemon.signal("KILL");
    daemon.wait();
    daemon.leave();
    let collector = Collector::start();
    // Nothing is spooled that the collector can take.
    let daemon = start(&format!("http://{}", collector.address), "1h");
    daemon.until("lookout_events_total", &[("exporter", "otlp_recovered"), ("outcome", "delivered")], 1.0);
    daemon.post("/report", Value::from(vec![report("shop", 0); 3]).to_string());
    daemon.settle();
    daemon.stop();
    let counts: Vec<_> = collector.records().iter().map(|record| Sent::of_record(record).count).collect();
    assert_eq!(counts, [None, None, Some(2)], "one of the first process, two of the second");
}
