//! The path of a daemon in several setups, and the clock.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lookoutd::config::{self, Config, Rule, SiteConfig};
use lookoutd::kinds;
use lookoutd::metrics::Registry;
use lookoutd::model::{ClientKey, EventSink, Noise, RejectReason, UploadContext, UploadOutcome};
use lookoutd::pipeline::Pipeline;
use lookoutd::recent::Recent;

/// What is on besides counters and findings.
pub(crate) const SETUPS: [&str; 4] = [
    "counters",
    "console and OTLP beyond the events of a second",
    "console, OTLP, 1000 rules, live page, beyond the events of a second",
    "console and OTLP without a limit of events",
];

/// The path of a daemon.
pub(crate) struct Setup(Pipeline);

struct Discard;

impl EventSink for Discard {
    fn push(&self, events: &[u8], _: &[u32]) {
        black_box(events);
    }
}

impl Setup {
    /// Returns one of [`SETUPS`].
    pub(crate) fn new(name: &str) -> Setup {
        let position = SETUPS.iter().position(|it| it.starts_with(name)).unwrap_or_default();
        let mut config = config::defaults();
        // The clock stands still, so that each upload meets the limits of events that others have used up.
        let limit = if position < 3 { Some(1) } else { None };
        config.events = config::Events { max_per_second: limit, max_unknown_per_second: limit, fold: None };
        if position == 2 {
            add_rules(&mut config);
        }
        let registry = Arc::new(
            Registry::new(kinds::families(), config.metrics.max_series, 0, Timestamp::UNIX_EPOCH).unwrap(),
        );
        let sink = || (position > 0).then(|| Arc::new(Discard) as Arc<dyn EventSink>);
        let mut pipeline = Pipeline::new(&config, registry, sink(), sink());
        pipeline.recent = (position == 2).then(|| Arc::new(Recent::default()));
        let setup = Setup(pipeline);
        // Until short reports have used up what all uploads together have beyond their bytes.
        while setup.0.registry.self_metrics.intake.rejected[RejectReason::OverLimit].get() == 0 {
            setup.process(&format!("[{}]", [r#"{"type":"x"}"#; 256].join(",")));
        }
        setup
    }

    /// Processes a body.
    pub(crate) fn process(&self, body: &str) -> UploadOutcome {
        let context = UploadContext {
            received: Timestamp::constant(1_800_000_000, 0),
            uptime: 1,
            user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"),
            disposition: None,
            site: None,
            key: None,
            query: &[],
            client: ClientKey(0xffff_ffff_7f00_0001),
            client_address: None,
            span: None,
        };
        self.0.process(body.as_bytes(), &context, |_, _| {})
    }
}

/// Adds a site, and rules for it and for all sites that match nothing.
fn add_rules(config: &mut Config) {
    let rule = |number: usize| {
        let one = |text: String| vec![text];
        let rule = Rule { noise: Some(Noise::Extension), ..Rule::default() };
        match number % 4 {
            0 => Rule { blocked_url: one(format!("*.cdn-{number}.example")), ..rule },
            1 => Rule { sample: one(format!("code-{number}")), ..rule },
            2 => Rule { document_url: one(format!("https://shop-{number}.example/*")), ..rule },
            _ => Rule { blocked_url: one(format!("https://cdn-{number}.example/a/*.js")), ..rule },
        }
    };
    config.rules = (0..1000).map(rule).collect();
    config.sites = vec![SiteConfig {
        name: "shop".into(),
        hosts: vec!["site.test".into(), "*.shop.example".into()],
        ..SiteConfig::default()
    }];
}

/// Returns the body of a captured CSP violation.
pub(crate) fn capture() -> String {
    // Included, because the fuzz target is of another crate.
    let file = include_str!("../../tests/corpus/chromium/205-csp-connect-fetch-to-POST-csp-violation.json");
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    file["request"]["body"].as_str().unwrap().to_owned()
}

/// Returns the CPU time that this work takes its thread.
pub(crate) fn cpu_time(work: impl FnOnce()) -> Duration {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
    };
    let started = now();
    work();
    now() - started
}
