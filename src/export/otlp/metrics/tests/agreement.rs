//! The scrape and OTLP agree: every series and value of one equals what a collector has by the other, cumulative
//! or added up from deltas, while series are evicted and created again, exports fail in whole or in part, are
//! rejected or lose their response, the wall clock is wrong, and scrapes run in between.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::collector::{Collector, Series, series};
use crate::clock;
use crate::config::Temporality;
use crate::export::otlp::client::Client;
use crate::export::otlp::metrics::delta::TemporalityState;
use crate::export::otlp::metrics::exporter::Worker;
use crate::export::otlp::metrics::request_builder::RequestBuilder;
use crate::export::otlp::testing::fake_collector::{self, FakeCollector, Reply};
use crate::export::prometheus::{ScrapeFormat, encode_scrape};
use crate::kinds::{self, REPORTS, csp_violation, network_error};
use crate::log_throttle::LogThrottle;
use crate::metrics::{BOUNDS, Registry};
use crate::model::{
    ABSENT, ExportSignal, Family, Increment, Label, MetricType, Observation, RejectReason, SiteLabel,
    UploadOutcome,
};

#[derive(Debug, Clone)]
enum Step {
    /// Adds to the series of this site, of each family, and to self-metrics.
    Count(u8),
    /// Seconds pass, and idle series are evicted.
    Wait(u8),
    /// Series that are idle for this many seconds are evicted where others need the capacity.
    EvictForDemand(u8),
    Scrape,
    /// The collector answers the first request of an export with the first of these, and so on, and all
    /// further ones with the last.
    Export(Vec<Answer>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Taken,
    Unavailable,
    BadRequest,
    NotFound,
    /// The request arrives, but the response does not.
    Lost,
    /// The connection breaks in the same way, and the request does not arrive.
    LostBefore,
    /// The request arrives, but the collector answers its gateway too late.
    GatewayTimeout,
    /// The gateway answers, and the request does not arrive.
    BadGateway,
}

impl Answer {
    fn is_taken(self) -> bool {
        matches!(self, Answer::Taken | Answer::Lost | Answer::GatewayTimeout)
    }

    fn reply(self) -> Reply {
        let status = |status| Reply::Answer(status, &[], Vec::new());
        match self {
            Answer::Taken => Reply::ok(),
            Answer::Unavailable => status(503),
            Answer::BadRequest => status(400),
            Answer::NotFound => status(404),
            Answer::Lost | Answer::LostBefore => Reply::CutOff,
            Answer::GatewayTimeout => status(504),
            Answer::BadGateway => status(502),
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        6 => Just(Answer::Taken),
        1 => Just(Answer::Unavailable),
        1 => Just(Answer::BadRequest),
        1 => Just(Answer::NotFound),
        1 => Just(Answer::Lost),
        1 => Just(Answer::LostBefore),
        1 => Just(Answer::GatewayTimeout),
        1 => Just(Answer::BadGateway),
    ];
    prop_oneof![
        6 => (0..5_u8).prop_map(Step::Count),
        2 => (0..60_u8).prop_map(Step::Wait),
        1 => (0..60_u8).prop_map(Step::EvictForDemand),
        1 => Just(Step::Scrape),
        3 => prop::collection::vec(answer, 1..4).prop_map(Step::Export),
    ]
}

/// Small enough that an export is several requests.
const SMALL_REQUEST: usize = 16 << 10;
/// More series than are counted.
const ROOMY: usize = 100_000;

/// A registry, its exports and a collector.
struct World {
    worker: Worker,
    receiver: FakeCollector,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    collector: Collector,
    uptime: u32,
    /// How far the wall clock is set back before an export. Not if series are evicted and created again
    /// within that time, because another life of a series would begin before the last one ended.
    set_back: Duration,
    /// Every addition, whether or not its series still exists.
    counted: BTreeMap<Series, f64>,
}

impl World {
    async fn new(temporality: Temporality, series: usize) -> World {
        let answers = Arc::<Mutex<VecDeque<Answer>>>::default();
        let script = answers.clone();
        let receiver = fake_collector::http(None, move |_| script.lock().pop_front().unwrap().reply()).await;
        let registry = Arc::new(Registry::new(kinds::families(), series, 0, clock::now()).unwrap());
        let worker = Worker {
            client: Client::new(&receiver.endpoint(), ExportSignal::Metrics).unwrap(),
            builder: RequestBuilder {
                resource: Arc::default(),
                registry,
                temporality: TemporalityState::new(temporality),
                max_request: SMALL_REQUEST,
            },
            unacknowledged: Vec::new(),
            health: Arc::default(),
            failures: LogThrottle::new(|_| {}),
        };
        World {
            worker,
            receiver,
            answers,
            collector: Collector::default(),
            uptime: 0,
            set_back: Duration::from_secs(if series == ROOMY { 3600 } else { 0 }),
            counted: BTreeMap::new(),
        }
    }

    async fn step(&mut self, step: &Step) {
        let RequestBuilder { registry, temporality, .. } = self.worker.builder.clone();
        let can_evict = |id, number: &_| temporality.is_acknowledged(id, number);
        match step {
            Step::Count(site) => self.count(*site),
            Step::Wait(seconds) => {
                self.uptime += u32::from(*seconds);
                registry.expire(Duration::from_secs(100), self.uptime, &can_evict);
            }
            Step::EvictForDemand(min_idle) => {
                registry.evict_for_demand(Duration::from_secs((*min_idle).into()), self.uptime, &can_evict);
            }
            Step::Scrape => drop(encode_scrape(&registry, ScrapeFormat::Text, false).unwrap()),
            Step::Export(answers) => self.export(answers).await,
        }
    }

    fn count(&mut self, number: u8) {
        let (site, bounded) = (format!("s{number}.example"), Label::bounded);
        let page = if number.is_multiple_of(2) { ABSENT } else { bounded("checkout") };
        let origin = Label::unbounded("https://b.example");
        let labels = [bounded("enforce"), bounded("img-src"), origin, bounded("none"), page];
        let seconds = f64::from(number) * 0.3 + 0.1;
        let observations = [
            Observation::increment(&REPORTS, [bounded("crash"), bounded("chrome")]),
            Observation::increment(&csp_violation::VIOLATIONS, labels),
            Observation::new(
                &network_error::ESTIMATED,
                [bounded("dns"), bounded("ok"), bounded("none")],
                Increment::Sum(1.0 / 3.0),
            ),
            Observation::new(&network_error::DURATION, [bounded("dns")], Increment::Duration(seconds)),
        ];
        // Some are received before the wall clock is set back.
        let received = clock::now() + self.set_back * u32::from(number % 2);
        for observation in observations {
            self.worker.builder.registry.add(
                SiteLabel::host(&site),
                &observation,
                received,
                self.uptime,
                &Cell::new(usize::MAX),
            );
            self.expect(&site, &observation);
        }
        let self_metrics = self.worker.builder.registry.self_metrics.clone();
        self_metrics.intake.rejected[RejectReason::MissingType].inc_by(2);
        self.note(&REJECTED, "", &["missing_type"], None, 2.0);
        self_metrics.uploads.add(UploadOutcome::Accepted, Duration::from_secs_f64(seconds));
        self.note_duration(&UPLOAD_DURATION, &[], seconds);
    }

    fn expect(&mut self, site: &str, observation: &Observation<'_>) {
        let family = observation.family;
        let values: Vec<_> =
            std::iter::once(site).chain(observation.labels.iter().map(Label::as_str)).collect();
        match observation.amount {
            Increment::Count(count) => self.note(family, "", &values, None, count as f64),
            Increment::Sum(sum) => self.note(family, "", &values, None, sum),
            Increment::Duration(seconds) => self.note_duration(family, &values, seconds),
        }
    }

    fn note_duration(&mut self, family: &Family, values: &[&str], seconds: f64) {
        self.note(family, "_count", values, None, 1.0);
        self.note(family, "_sum", values, None, seconds);
        for bound in BOUNDS.into_iter().chain([f64::INFINITY]) {
            let within = if seconds <= bound { 1.0 } else { 0.0 };
            self.note(family, "_bucket", values, Some(bound), within);
        }
    }

    fn note(&mut self, family: &Family, suffix: &str, values: &[&str], bound: Option<f64>, amount: f64) {
        let pairs = family.labels.iter().copied().zip(values.iter().copied());
        let pairs = pairs.filter(|(_, value)| !value.is_empty());
        let series = series(&format!("{}{suffix}", family.name), pairs, bound);
        *self.counted.entry(series).or_default() += amount;
    }

    async fn export(&mut self, answers: &[Answer]) {
        // Retries come first. A collector that rejects as invalid what it never received is not simulated,
        // because that is lost.
        let again: Vec<_> = self.worker.unacknowledged.iter().map(|request| request.bytes.to_vec()).collect();
        let answer = |request: usize| match answers[request.min(answers.len() - 1)] {
            Answer::BadRequest if again.get(request).is_some_and(|bytes| !self.collector.has(bytes)) => {
                Answer::NotFound
            }
            answer => answer,
        };
        let answers: Vec<_> = (0..100).map(answer).collect();
        *self.answers.lock() = answers.iter().copied().collect();
        let seen = self.receiver.log.len();
        self.worker.export().await;
        for (request, answer) in (seen..self.receiver.log.len()).zip(answers) {
            if answer.is_taken() {
                self.collector.take(&self.receiver.log.decode(request));
            }
        }
    }

    /// Returns the compared series of a scrape.
    fn scraped(&self) -> BTreeMap<Series, f64> {
        let text = String::from_utf8(
            encode_scrape(&self.worker.builder.registry, ScrapeFormat::Text, false).unwrap().concat(),
        )
        .unwrap();
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        };
        text.lines().filter(|line| is_compared(line)).map(value).collect()
    }

    /// Returns the compared series of the collector that are not 0.
    fn collected(&self) -> BTreeMap<Series, f64> {
        let all = self.collector.values.iter();
        let compared = all.filter(|(series, value)| is_compared(series) && **value != 0.0);
        compared.map(|(series, value)| (series.clone(), *value)).collect()
    }
}

fn is_compared(series: &str) -> bool {
    series.contains("{site=") || [&REJECTED, &UPLOAD_DURATION].iter().any(|own| series.starts_with(own.name))
}

/// The self-metrics that the steps add to, as far as the tests need them.
static REJECTED: Family = Family {
    name: "lookout_reports_rejected_total",
    help: "",
    metric_type: MetricType::Counter,
    labels: &["reason"],
    unbounded: &[],
    pinned: 0,
    weight: 0,
};
static UPLOAD_DURATION: Family = Family {
    name: "lookout_upload_duration_seconds",
    help: "",
    metric_type: MetricType::Histogram,
    labels: &[],
    unbounded: &[],
    pinned: 0,
    weight: 0,
};

fn run(temporality: Temporality, limit: usize, steps: &[Step]) -> World {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(temporality, limit).await;
        for step in steps {
            world.step(step).await;
        }
        // First what may have been lost is sent again, then what is left.
        world.export(&[Answer::Taken]).await;
        world.export(&[Answer::Taken]).await;
        world
    })
}

/// Asserts that the series are the same and the values too, up to rounding.
fn assert_alike(ours: &BTreeMap<Series, f64>, theirs: &BTreeMap<Series, f64>) {
    assert!(ours.keys().eq(theirs.keys()), "{:?}\n{:?}", ours.keys(), theirs.keys());
    for (series, value) in ours {
        let other = theirs[series];
        assert!((value - other).abs() <= 1e-9 * value.abs().max(1.0), "{series}: {value}, {other}");
    }
}

/// Returns the sum over all series of each family.
fn by_family(values: &BTreeMap<Series, f64>) -> BTreeMap<Series, f64> {
    let mut sums = BTreeMap::new();
    for (series, value) in values.iter().filter(|(series, _)| !series.contains("_bucket{")) {
        *sums.entry(series.split('{').next().unwrap().to_owned()).or_default() += value;
    }
    sums
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn deltas_of_a_large_registry_add_up_to_everything_ever_counted(steps in steps()) {
        let mut world = run(Temporality::Delta, ROOMY, &steps);
        world.counted.retain(|_, value| *value != 0.0);
        assert_alike(&world.counted, &world.collected());
    }

    /// The series lose detail and are evicted.
    #[test]
    fn deltas_of_a_small_registry_add_up_to_everything_ever_counted(steps in steps()) {
        let registry = Registry::new(kinds::families(), 0, 0, clock::now()).unwrap();
        let world = run(Temporality::Delta, registry.min_limit(), &steps);
        assert_alike(&by_family(&world.counted), &by_family(&world.collected()));
    }

    #[test]
    fn cumulative_values_equal_the_scrape(steps in steps()) {
        let world = run(Temporality::Cumulative, ROOMY, &steps);
        let mut scraped = world.scraped();
        scraped.retain(|_, value| *value != 0.0);
        let mut collected = world.collected();
        // A collector keeps evicted series.
        collected.retain(|series, _| scraped.contains_key(series));
        assert_alike(&scraped, &collected);
    }
}

fn counts(world: &World, series: &str) -> f64 {
    world.collected().get(series).copied().unwrap_or(0.0)
}

#[tokio::test]
async fn export_is_split_into_several_requests() {
    let mut world = World::new(Temporality::Delta, ROOMY).await;
    world.count(0);
    world.export(&[Answer::Taken]).await;
    assert!(world.receiver.log.len() > 1, "{}", world.receiver.log.len());
}

/// Whether or not the request had arrived, its counts are neither lost nor counted twice.
#[tokio::test]
async fn delta_that_may_have_arrived_is_sent_again_after_unrelated_rejections() {
    for first in [Answer::Lost, Answer::LostBefore, Answer::GatewayTimeout, Answer::BadGateway] {
        let mut world = World::new(Temporality::Delta, ROOMY).await;
        world.count(0);
        world.export(&[first]).await;
        world.count(0);
        for _ in 0..3 {
            world.export(&[Answer::NotFound]).await;
        }
        world.export(&[Answer::Taken]).await;
        assert_eq!(
            counts(&world, "lookout_reports_rejected_total{reason=\"missing_type\"}"),
            4.0,
            "{first:?}"
        );
    }
}

/// A collector rejects a request that it already has as invalid.
#[tokio::test]
async fn delta_that_may_have_arrived_is_abandoned_after_a_bad_request() {
    let mut world = World::new(Temporality::Delta, ROOMY).await;
    world.count(0);
    world.export(&[Answer::Lost]).await;
    assert!(!world.worker.unacknowledged.is_empty());
    world.export(&[Answer::BadRequest]).await;
    assert!(world.worker.unacknowledged.is_empty());
    world.export(&[Answer::Taken]).await;
    assert_eq!(counts(&world, "lookout_reports_rejected_total{reason=\"missing_type\"}"), 2.0);
}

/// It is part of the next delta instead, with that one's time.
#[tokio::test]
async fn delta_that_has_not_arrived_is_not_sent_again() {
    for answer in [Answer::Unavailable, Answer::BadRequest, Answer::NotFound] {
        let mut world = World::new(Temporality::Delta, ROOMY).await;
        world.count(0);
        world.export(&[answer]).await;
        assert!(world.worker.unacknowledged.is_empty(), "{answer:?}");
    }
}
