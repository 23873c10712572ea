//! The synchronous path: pipelines whose events are recorded, and a new registry for every input, so that an input
//! alone reproduces a finding.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lookoutd::config;
use lookoutd::export::prometheus::{ScrapeFormat, encode_scrape};
use lookoutd::kinds;
use lookoutd::metrics::{Registry, SampleValue};
use lookoutd::model::{EventSink, UploadContext, UploadOutcome};
use lookoutd::pipeline::Pipeline;

use crate::allocations;
use crate::choices::{RECEIVED, Setup};

/// Maximum time of an upload. Instrumented code takes about 50 ns for a byte of a normal batch; an input of
/// quadratic time takes seconds.
const TIME_PER_BYTE: Duration = Duration::from_micros(5);
const BASE_TIME: Duration = Duration::from_millis(50);

/// Two pipelines of one setup: one with both exporters of events, and one that only counts.
pub struct Daemon {
    limit: usize,
    sites: usize,
    exporting: Pipeline,
    console: Recorder,
    otlp: Recorder,
    counting: Pipeline,
    /// Seconds. Each input comes ten after the last, when what earlier ones used up is there again.
    uptime: u32,
}

/// Result of one body.
pub struct Processed {
    pub outcome: UploadOutcome,
    /// Peak of the allocated bytes, with the body.
    pub peak: usize,
    /// `metrics.max_series`
    pub limit: usize,
    pub console: Events,
    pub otlp: Events,
    /// The Prometheus text.
    pub scrape: String,
    pub counted: Counted,
    /// The same of the pipeline that only counts, which normalizes less.
    pub counted_without_events: Counted,
}

thread_local! {
    // Once for each setup, because a pipeline indexes rules and leaks the names of its sites.
    static DAEMONS: RefCell<HashMap<Setup, Daemon>> = RefCell::default();
}

impl Daemon {
    /// Calls `run` with the daemon of this setup.
    pub fn with(setup: Setup, run: impl FnOnce(&mut Daemon)) {
        DAEMONS.with_borrow_mut(|daemons| run(daemons.entry(setup).or_insert_with(|| Daemon::new(setup))));
    }

    fn new(setup: Setup) -> Daemon {
        let mut config = config::defaults();
        // Every report has an event.
        config.events.max_per_second = None;
        config.events.max_unknown_per_second = None;
        setup.apply(&mut config);
        let limit = config.metrics.max_series;
        let sites = config.sites.len();
        let console = Recorder::default();
        let otlp = Recorder::default();
        let sinks = [&console, &otlp].map(|sink| Some(Arc::new(sink.clone()) as Arc<dyn EventSink>));
        let [to_console, to_otlp] = sinks;
        Daemon {
            limit,
            sites,
            exporting: Pipeline::new(&config, fresh(limit, sites), to_console, to_otlp),
            console,
            otlp,
            counting: Pipeline::new(&config, fresh(limit, sites), None, None),
            uptime: 0,
        }
    }

    /// Processes a body with both pipelines.
    pub fn process(&mut self, body: &[u8], context: &UploadContext<'_>) -> Processed {
        self.exporting.registry = fresh(self.limit, self.sites);
        self.counting.registry = fresh(self.limit, self.sites);
        self.uptime += 10;
        let context = &UploadContext { uptime: self.uptime, ..*context };
        let started = Instant::now();
        let (outcome, peak) = allocations::peak(|| self.exporting.process(body, context, |_, _| {}));
        let mut took = started.elapsed();
        assert_eq!(outcome, self.counting.process(body, context, |_, _| {}));
        let scrape = encode_scrape(&self.exporting.registry, ScrapeFormat::Text, false).unwrap();
        let processed = Processed {
            outcome,
            peak: peak + body.len(),
            limit: self.limit,
            console: self.console.take(),
            otlp: self.otlp.take(),
            scrape: String::from_utf8(scrape.concat()).unwrap(),
            counted: counted(&self.exporting.registry),
            counted_without_events: counted(&self.counting.registry),
        };
        let limit = BASE_TIME + TIME_PER_BYTE * u32::try_from(body.len()).unwrap();
        // Twice more, because other processes take time, too.
        for _ in 0..2 {
            if took > limit {
                took = took.min(self.time(body, context));
            }
        }
        assert!(took <= limit, "a body of {} bytes takes {took:?}, more than {limit:?}", body.len());
        processed
    }

    fn time(&self, body: &[u8], context: &UploadContext<'_>) -> Duration {
        let started = Instant::now();
        self.exporting.process(body, context, |_, _| {});
        let took = started.elapsed();
        self.console.take();
        self.otlp.take();
        took
    }
}

fn fresh(limit: usize, sites: usize) -> Arc<Registry> {
    Arc::new(Registry::new(kinds::families(), limit, sites, RECEIVED).unwrap())
}

/// Series of the report families, by family and label values.
pub type Counted = BTreeMap<(&'static str, Vec<String>), SampleValue>;

fn counted(registry: &Registry) -> Counted {
    let of_reports: Vec<&str> = kinds::families().map(|family| family.name).collect();
    let mut counted = Counted::new();
    registry.visit(&mut |family, sample| {
        if of_reports.contains(&family.name) {
            let labels = sample.labels.iter().map(|label| (*label).to_owned()).collect();
            let earlier = counted.insert((family.name, labels), sample.value);
            assert_eq!(earlier, None, "a series of {} is repeated", family.name);
        }
    });
    counted
}

/// A sink that records events.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Events>>);

/// Encoded events of one upload.
#[derive(Default)]
pub struct Events {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Recorder {
    fn take(&self) -> Events {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl EventSink for Recorder {
    fn push(&self, events: &[u8], ends: &[u32]) {
        allocations::uncounted(|| {
            let mut recorded = self.0.lock().unwrap();
            let start = recorded.bytes.len() as u32;
            recorded.bytes.extend_from_slice(events);
            recorded.ends.extend(ends.iter().map(|end| start + end));
        });
    }
}

impl Events {
    /// Returns the events, split at their ends.
    pub fn each(&self) -> Vec<&[u8]> {
        assert_eq!(self.ends.last().map_or(0, |end| *end as usize), self.bytes.len());
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start as usize..*end as usize]).collect()
    }
}
