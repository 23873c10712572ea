//! The path of an upload in this process: the functions of the daemon, with sinks that record events.

use std::sync::{Arc, Mutex};

use lookoutd::config::{Config, Events};
use lookoutd::metrics::{Registry, SampleValue};
use lookoutd::model::{ClientKey, EventSink, LabelEnum, RejectReason, UploadContext, UploadOutcome};
use lookoutd::pipeline::Pipeline;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ScopeLogs};
use prost::Message;

use super::capture::Capture;

/// The synchronous path, with recording sinks.
pub(crate) struct InProcess {
    pub(crate) pipeline: Pipeline,
    console: Recorder,
    otlp: Recorder,
}

/// Result of one upload.
pub(crate) struct Processed {
    pub(crate) outcome: UploadOutcome,
    /// Lines, with their newline.
    pub(crate) console: Vec<Vec<u8>>,
    /// Records, each framed as in a request.
    pub(crate) otlp: Vec<Vec<u8>>,
}

/// A sink that records events, one entry each.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<Vec<u8>>>>);

impl EventSink for Recorder {
    fn push(&self, events: &[u8], ends: &[u32]) {
        let mut start = 0;
        for end in ends.iter().map(|end| *end as usize) {
            self.0.lock().unwrap().push(events[start..end].to_vec());
            start = end;
        }
        assert_eq!(start, events.len(), "every byte belongs to an event");
    }
}

/// Returns the context of an upload without headers.
pub(crate) fn context() -> UploadContext<'static> {
    UploadContext {
        received: jiff::Timestamp::from_second(1_795_351_600).unwrap(),
        uptime: 0,
        user_agent: None,
        disposition: None,
        site: None,
        key: None,
        query: &[],
        client: ClientKey::default(),
        client_address: None,
        span: None,
    }
}

fn registry(config: &Config) -> Arc<Registry> {
    let families = lookoutd::kinds::families();
    Arc::new(
        Registry::new(families, config.metrics.max_series, config.sites.len(), context().received).unwrap(),
    )
}

impl InProcess {
    /// Returns a path without the limits of events, because its clock stands still.
    pub(crate) fn new(config: &Config) -> InProcess {
        let events = Events { max_per_second: None, max_unknown_per_second: None, ..Events::default() };
        InProcess::limited(&Config { events, ..config.clone() })
    }

    /// Returns a path with the limits of the configuration.
    pub(crate) fn limited(config: &Config) -> InProcess {
        let registry = registry(config);
        let console = Recorder::default();
        let otlp = Recorder::default();
        let pipeline =
            Pipeline::new(config, registry, Some(Arc::new(console.clone())), Some(Arc::new(otlp.clone())));
        InProcess { pipeline, console, otlp }
    }

    /// Returns a path without exporters of events, which only counts.
    pub(crate) fn counting() -> InProcess {
        let config = lookoutd::config::defaults();
        let registry = registry(&config);
        let pipeline = Pipeline::new(&config, registry, None, None);
        InProcess { pipeline, console: Recorder::default(), otlp: Recorder::default() }
    }

    /// Returns a path with default settings.
    pub(crate) fn default() -> InProcess {
        InProcess::new(&lookoutd::config::defaults())
    }

    pub(crate) fn process(&self, body: &[u8], context: &UploadContext<'_>) -> Processed {
        let outcome = self.pipeline.process(body, context, |_, _| {});
        let (console, otlp) = self.take();
        Processed { outcome, console, otlp }
    }

    /// Returns the lines and the records since the last call.
    pub(crate) fn take(&self) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let events = |of: &Recorder| std::mem::take(&mut *of.0.lock().unwrap());
        (events(&self.console), events(&self.otlp))
    }

    /// Processes a capture, as of its time.
    pub(crate) fn process_capture(&self, capture: &Capture) -> Processed {
        let context = UploadContext {
            received: capture.received(),
            user_agent: capture.header("user-agent"),
            ..context()
        };
        self.process(capture.body.as_bytes(), &context)
    }

    /// Returns the sum of `lookout_reports_total`.
    pub(crate) fn reports(&self) -> u64 {
        let mut reports = 0;
        self.pipeline.registry.visit(&mut |family, sample| {
            if family.name == "lookout_reports_total"
                && let SampleValue::Count(count) = sample.value
            {
                reports += count;
            }
        });
        reports
    }

    /// Returns the sum of `lookout_reports_rejected_total`.
    pub(crate) fn rejected(&self) -> u64 {
        RejectReason::ALL
            .iter()
            .map(|reason| self.pipeline.registry.self_metrics.intake.rejected[*reason].get())
            .sum()
    }

    /// Returns every series of the report families, sorted, in the notation of the scrape.
    pub(crate) fn series(&self) -> Vec<String> {
        let mut series = Vec::new();
        let families: Vec<_> = lookoutd::kinds::families().map(|family| family.name).collect();
        self.pipeline.registry.visit(&mut |family, sample| {
            if !families.contains(&family.name) {
                return;
            }
            let pairs = family.labels.iter().zip(sample.labels).filter(|(_, value)| !value.is_empty());
            let labels: Vec<_> = pairs.map(|(name, value)| format!("{name}={value:?}")).collect();
            let value = match sample.value {
                SampleValue::Count(count) => count.to_string(),
                SampleValue::Float(sum) => sum.to_string(),
                SampleValue::Histogram(histogram) => format!("{} in {} s", histogram.count(), histogram.sum),
            };
            series.push(format!("{}{{{}}} {value}", family.name, labels.join(",")));
        });
        series.sort();
        series
    }
}

/// Decodes a framed record.
pub(crate) fn decode(framed: &[u8]) -> LogRecord {
    let mut scope = ScopeLogs::decode(framed).expect("a field of ScopeLogs");
    assert_eq!(scope.log_records.len(), 1);
    scope.log_records.remove(0)
}
