//! The daemon without its two async ends: pipelines whose events are captured, and a registry that is
//! fresh for every input, so that a finding needs nothing but its input.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use lookoutd::config;
use lookoutd::export::prometheus::PrometheusExporter;
use lookoutd::kinds;
use lookoutd::metrics::{Registry, SampleValue};
use lookoutd::model::{EventSink, UploadContext, UploadOutcome};
use lookoutd::pipeline::Pipeline;

use crate::allocations;
use crate::choices::{RECEIVED, Setup};

/// Two pipelines of one setup: one with both exports, and one that only counts.
pub struct Daemon {
    limit: usize,
    sites: usize,
    exporting: Pipeline,
    console: Capture,
    otlp: Capture,
    counting: Pipeline,
}

/// What came out for one body.
pub struct Taken {
    pub outcome: UploadOutcome,
    /// The bytes that it had allocated at its peak, the body itself included.
    pub peak: usize,
    /// `metrics.max_series`
    pub limit: usize,
    pub console: Events,
    pub otlp: Events,
    /// The Prometheus text.
    pub scrape: String,
    pub counted: Counted,
    /// The same by the pipeline that only counts, which leaves out what it needs not look at.
    pub counted_without_events: Counted,
}

thread_local! {
    // A pipeline is built once for each setup: it indexes noise rules, and leaks its sites' names.
    static DAEMONS: RefCell<HashMap<Setup, Daemon>> = RefCell::default();
}

impl Daemon {
    /// Works with the daemon of this setup.
    pub fn with(setup: Setup, work: impl FnOnce(&mut Daemon)) {
        DAEMONS.with_borrow_mut(|daemons| work(daemons.entry(setup).or_insert_with(|| Daemon::new(setup))));
    }

    fn new(setup: Setup) -> Daemon {
        let mut config = config::defaults();
        setup.apply(&mut config);
        let (limit, sites) = (config.metrics.max_series, config.sites.len());
        let (console, otlp) = (Capture::default(), Capture::default());
        let sinks = [&console, &otlp].map(|sink| Some(Box::new(sink.clone()) as Box<dyn EventSink>));
        let [to_console, to_otlp] = sinks;
        Daemon {
            limit,
            sites,
            exporting: Pipeline::new(&config, fresh(limit, sites), to_console, to_otlp),
            console,
            otlp,
            counting: Pipeline::new(&config, fresh(limit, sites), None, None),
        }
    }

    /// Takes a body with both pipelines.
    pub fn process(&mut self, body: &[u8], context: &UploadContext<'_>) -> Taken {
        self.exporting.registry = fresh(self.limit, self.sites);
        self.counting.registry = fresh(self.limit, self.sites);
        let (outcome, peak) = allocations::peak(|| self.exporting.process(body, context));
        assert_eq!(outcome, self.counting.process(body, context));
        let scrape = PrometheusExporter::new(self.exporting.registry.clone());
        Taken {
            outcome,
            peak: peak + body.len(),
            limit: self.limit,
            console: self.console.empty(),
            otlp: self.otlp.empty(),
            scrape: String::from_utf8(scrape.text().unwrap()).unwrap(),
            counted: counted(&self.exporting.registry),
            counted_without_events: counted(&self.counting.registry),
        }
    }
}

fn fresh(limit: usize, sites: usize) -> Arc<Registry> {
    Arc::new(Registry::new(kinds::families(), limit, sites, RECEIVED).unwrap())
}

/// Every series that reports count into, by family and label values.
pub type Counted = BTreeMap<(&'static str, Vec<String>), SampleValue>;

fn counted(registry: &Registry) -> Counted {
    let of_reports: Vec<&str> = kinds::families().map(|family| family.name).collect();
    let mut counted = Counted::new();
    registry.visit(&mut |family, sample| {
        if of_reports.contains(&family.name) {
            let labels = sample.labels.iter().map(|label| (*label).to_owned()).collect();
            let twice = counted.insert((family.name, labels), sample.value);
            assert_eq!(twice, None, "a series of {} stands twice", family.name);
        }
    });
    counted
}

/// A sink that keeps what it is given.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Events>>);

/// Encoded events of one upload.
#[derive(Default)]
pub struct Events {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Capture {
    fn empty(&self) -> Events {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl EventSink for Capture {
    fn push(&self, events: &[u8], ends: &[u32]) {
        allocations::uncounted(|| {
            let mut captured = self.0.lock().unwrap();
            let start = captured.bytes.len() as u32;
            captured.bytes.extend_from_slice(events);
            captured.ends.extend(ends.iter().map(|end| start + end));
        });
    }
}

impl Events {
    /// The events, cut where the path says each ends.
    pub fn each(&self) -> Vec<&[u8]> {
        assert_eq!(self.ends.last().map_or(0, |end| *end as usize), self.bytes.len());
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start as usize..*end as usize]).collect()
    }
}
