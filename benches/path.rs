//! Time of one report in each step of the path: `cargo bench`. The bodies are captures.

#![allow(clippy::unwrap_used)] // a benchmark may panic

use std::cell::Cell;
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use jiff::Timestamp;
use lookoutd::classify::{Rules, SiteIndex, classify};
use lookoutd::config::{self, Rule};
use lookoutd::decode::decode;
use lookoutd::encode::{write_json_line, write_log_record};
use lookoutd::kinds::{self, REPORTS};
use lookoutd::metrics::Registry;
use lookoutd::model::{
    ClientKey, Envelope, Event, EventSink, Finding, Label, Noise, Observation, SiteLabel, UploadContext,
};
use lookoutd::normalize::{Mode, normalize};
use lookoutd::pipeline::Pipeline;

fn main() {
    divan::main();
}

/// Captures: a legacy report, a Reporting API report, a network error.
const CAPTURES: [&str; 3] = [
    "chromium/001-csp-inline-script-uri-POST-csp-report.json",
    "chromium/205-csp-connect-fetch-to-POST-csp-violation.json",
    "chromium/1055-nel-refused-POST-network-error.json",
];

fn body(capture: &str) -> String {
    let path = format!("{}/tests/corpus/{capture}", env!("CARGO_MANIFEST_DIR"));
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    file["request"]["body"].as_str().unwrap().to_owned()
}

fn context() -> UploadContext<'static> {
    UploadContext {
        received: Timestamp::from_second(1_800_000_000).unwrap(),
        uptime: 1,
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"),
        disposition: None,
        site: None,
        key: None,
        query: &[],
        client: ClientKey::default(),
        client_address: None,
        span: None,
    }
}

fn each(body: &str, mut with: impl FnMut(Envelope<'_>)) {
    decode(body.as_bytes(), 256, |item| with(item.unwrap())).unwrap();
}

#[divan::bench(args = CAPTURES, sample_size = 500)]
fn decode_only(bencher: Bencher<'_, '_>, capture: &str) {
    let body = body(capture);
    bencher.bench_local(|| each(black_box(&body), |envelope| drop(black_box(envelope))));
}

#[divan::bench(args = CAPTURES, sample_size = 500)]
fn decode_normalize_classify(bencher: Bencher<'_, '_>, capture: &str) {
    let body = body(capture);
    let privacy = config::defaults().privacy;
    let sites = SiteIndex::default();
    let rules = Rules::default();
    bencher.bench_local(|| {
        each(black_box(&body), |envelope| {
            let report = normalize(envelope, &context(), privacy, Mode::Full);
            black_box(classify(&report, &context(), &sites, &rules));
        });
    });
}

/// The fingerprint alone, of one report.
#[divan::bench(args = CAPTURES, sample_size = 500)]
fn finding(bencher: Bencher<'_, '_>, capture: &str) {
    let body = body(capture);
    let privacy = config::defaults().privacy;
    let sites = SiteIndex::default();
    let rules = Rules::default();
    let mut bencher = Some(bencher);
    each(&body, |envelope| {
        let report = normalize(envelope, &context(), privacy, Mode::Full);
        let classification = classify(&report, &context(), &sites, &rules);
        if let Some(bencher) = bencher.take() {
            bencher.bench_local(|| Finding::new(black_box(&report), black_box(&classification)));
        }
    });
}

/// The path of a daemon without exporters of events.
#[divan::bench(args = CAPTURES, sample_size = 500)]
fn process(bencher: Bencher<'_, '_>, capture: &str) {
    let body = body(capture);
    let registry = Arc::new(Registry::new(kinds::families(), 10_000, 0, Timestamp::UNIX_EPOCH).unwrap());
    let pipeline = Pipeline::new(&config::defaults(), registry, None, None);
    bencher.bench_local(|| pipeline.process(black_box(body.as_bytes()), &context(), |_, _| {}));
}

/// The same for all captures, of 10,000 clients in turn, with findings off and on. The throughput is in reports: the
/// difference of the inverses is what findings cost a report, without its fingerprint.
#[divan::bench(args = ["off", "on"], sample_count = 2000)]
fn path_with_findings(bencher: Bencher<'_, '_>, findings: &str) {
    let mut config = config::defaults();
    config.findings.max = if findings == "on" { config.findings.max } else { 0 };
    let bodies = CAPTURES.map(body);
    let mut reports = 0;
    bodies.iter().for_each(|body| each(body, |_| reports += 1_usize));
    let registry = Arc::new(Registry::new(kinds::families(), 10_000, 0, Timestamp::UNIX_EPOCH).unwrap());
    let pipeline = Pipeline::new(&config, registry, None, None);
    let mut clients = (0..10_000_u64).cycle();
    bencher.counter(ItemsCount::new(10 * reports)).bench_local(|| {
        for body in bodies.iter().cycle().take(10 * bodies.len()) {
            let client = ClientKey(0xffff_ffff_0000_0000 | clients.next().unwrap());
            pipeline.process(black_box(body.as_bytes()), &UploadContext { client, ..context() }, |_, _| {});
        }
    });
}

/// The same for all captures with rules of which none matches: none at all; a thousand of one site and kind that
/// differ in the blocked host; a thousand that differ in all conditions.
#[divan::bench(args = ["none", "1000 hosts", "1000 mixed"], sample_count = 2000)]
fn path_with_rules(bencher: Bencher<'_, '_>, rules: &str) {
    let mut config = config::defaults();
    let rule = |number: usize| {
        let one = |text: String| vec![text];
        let (site, kind) = (one("site.test".into()), one("csp-violation".into()));
        let (blocked_url, noise) = (one(format!("*.cdn-{number}.example")), Some(Noise::Extension));
        let of_host = Rule { site, kind, blocked_url, noise, ..Rule::default() };
        match (rules, number % 4) {
            ("1000 hosts", _) | (_, 0) => of_host,
            (_, 1) => Rule { sample: one(format!("code-{number}")), ..of_host },
            (_, 2) => Rule { document_url: one(format!("https://shop-{number}.example/*")), ..of_host },
            _ => Rule { blocked_url: one(format!("https://cdn-{number}.example/a/*.js")), ..of_host },
        }
    };
    config.rules = (0..if rules == "none" { 0 } else { 1000 }).map(rule).collect();
    let bodies = CAPTURES.map(body);
    let registry = Arc::new(Registry::new(kinds::families(), 10_000, 0, Timestamp::UNIX_EPOCH).unwrap());
    let pipeline = Pipeline::new(&config, registry, None, None);
    bencher.counter(ItemsCount::new(10 * bodies.len())).bench_local(|| {
        for body in bodies.iter().cycle().take(10 * bodies.len()) {
            pipeline.process(black_box(body.as_bytes()), &context(), |_, _| {});
        }
    });
}

#[divan::bench(args = ["console", "otlp"], sample_size = 500)]
fn encode(bencher: Bencher<'_, '_>, format: &str) {
    let body = body(CAPTURES[1]);
    let privacy = config::defaults().privacy;
    let sites = SiteIndex::default();
    let rules = Rules::default();
    let mut bencher = Some(bencher);
    each(&body, |envelope| {
        let report = normalize(envelope, &context(), privacy, Mode::Full);
        let classification = classify(&report, &context(), &sites, &rules);
        let evaluation = report.evaluate(&classification);
        let event = Event {
            report: &report,
            classification,
            finding: Finding::new(&report, &classification),
            is_new: false,
            severity: evaluation.severity,
            summary: &(report.kind.summary)(&report),
            query: &[],
            client_address: None,
            span: None,
            sample_rate: None,
        };
        let mut out = Vec::new();
        let mut scratch = Vec::new();
        bencher.take().unwrap().bench_local(|| {
            out.clear();
            match format {
                "console" => write_json_line(black_box(&event), &mut out),
                _ => write_log_record(black_box(&event), &mut out, &mut scratch),
            }
        });
    });
}

struct Discard;

impl EventSink for Discard {
    fn push(&self, events: &[u8], _: &[u32]) {
        black_box(events);
    }
}

/// The path of a daemon with both exporters, with `events.fold` off and on, where each of some problems is reported this
/// many times in a window. The end of the windows is included; the throughput is in reports.
#[divan::bench(args = [1, 2, 20], consts = [false, true], sample_count = 200)]
fn path_with_folding<const FOLD: bool>(bencher: Bencher<'_, '_>, times: usize) {
    const REPORTS: usize = 200;
    let mut config = config::defaults();
    config.events = config::Events { max_per_second: None, max_unknown_per_second: None, fold: None };
    config.events.fold = FOLD.then_some(std::time::Duration::from_secs(60));
    let name =
        |at: usize| format!("{}{}", char::from(b'a' + (at / 26) as u8), char::from(b'a' + (at % 26) as u8));
    let bodies = (0..REPORTS / times).map(|at| body(CAPTURES[1]).replace("/s/", &format!("/{}/", name(at))));
    let bodies: Vec<_> = bodies.collect();
    let registry = Arc::new(Registry::new(kinds::families(), 10_000, 0, Timestamp::UNIX_EPOCH).unwrap());
    let pipeline = Pipeline::new(&config, registry, Some(Arc::new(Discard)), Some(Arc::new(Discard)));
    bencher.counter(ItemsCount::new(REPORTS)).bench_local(|| {
        for body in bodies.iter().cycle().take(REPORTS) {
            pipeline.process(black_box(body.as_bytes()), &context(), |_, _| {});
        }
        pipeline.end_windows(1, true);
    });
}

fn add(registry: &Registry, site: &str) {
    let labels = [Label::bounded("crash"), Label::bounded("chrome")];
    registry.add(
        SiteLabel::host(site),
        &Observation::increment(&REPORTS, labels),
        Timestamp::UNIX_EPOCH,
        1,
        &Cell::new(usize::MAX),
    );
}

#[divan::bench(sample_size = 1000)]
fn registry_increment(bencher: Bencher<'_, '_>) {
    let registry = Registry::new(kinds::families(), 10_000, 0, Timestamp::UNIX_EPOCH).unwrap();
    bencher.bench_local(|| add(&registry, black_box("www.shop.example")));
}
