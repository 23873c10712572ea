//! That the scrape and OTLP tell the same: every series and value read through one equals what a
//! collector has by the other, cumulative or added up from differences, while series go and come back,
//! exports fail in whole or in part, are refused or lose their answer, the wall clock is wrong, and
//! scrapes run in between.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;
use proptest::prelude::*;

use super::collector_tests::{Collector, Series, series};
use super::*;
use crate::config::Temporality;
use crate::export::otlp::testing::fake_collector::{self, FakeCollector, Reply};
use crate::export::prometheus::PrometheusExporter;
use crate::kinds::{REPORTS, csp_violation, network_error};
use crate::metrics::histogram::BOUNDS;
use crate::model::{Family, Increment, Label, Observation, RejectReason, SiteLabel};

#[derive(Debug, Clone)]
enum Step {
    /// Adds to the series of this site, of each family, and to one of the daemon's own.
    Count(u8),
    /// Seconds pass, and idle series go.
    Wait(u8),
    /// Series that are idle for so many seconds go where others want their room.
    MakeRoom(u8),
    Scrape,
    /// The collector answers the first request of an export with the first of these, and so on; all that
    /// are left with the last.
    Export(Vec<Answer>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Taken,
    Unavailable,
    BadRequest,
    NotFound,
    /// It has the request, but nobody learns that.
    Lost,
    /// The connection breaks just so, and it has nothing.
    LostBefore,
    /// It has the request, but answered its gateway too late.
    GatewayTimeout,
    /// So the gateway says, but the request never came.
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
        1 => (0..60_u8).prop_map(Step::MakeRoom),
        1 => Just(Step::Scrape),
        3 => prop::collection::vec(answer, 1..4).prop_map(Step::Export),
    ]
}

/// So small that an export is several requests.
const SMALL_REQUEST: usize = 16 << 10;
/// So many series that all fit.
const ROOMY: usize = 100_000;

/// What the daemon has, how it exports, and who receives it.
struct World {
    worker: Worker,
    scrape: PrometheusExporter,
    receiver: FakeCollector,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    collector: Collector,
    uptime: u32,
    /// How far the wall clock is set back before an export. Not where series go and come back within
    /// that time: another life of a series would begin before the last one ended.
    set_back: Duration,
    /// Every addition ever, whether or not its series is still there.
    counted: BTreeMap<Series, f64>,
}

impl World {
    async fn new(temporality: Temporality, series: usize) -> World {
        let answers = Arc::<Mutex<VecDeque<Answer>>>::default();
        let script = answers.clone();
        let receiver = fake_collector::http(None, move |_| script.lock().pop_front().unwrap().reply()).await;
        let registry = Arc::new(Registry::new(series, 0, clock::now()));
        let worker = Worker {
            client: Client::new(&receiver.endpoint(), ExportSignal::Metrics).unwrap(),
            builder: RequestBuilder {
                resource: Arc::default(),
                registry: registry.clone(),
                temporality: TemporalityState::new(temporality),
                max_request: SMALL_REQUEST,
            },
            unacknowledged: Vec::new(),
            health: Arc::default(),
            failures: LogThrottle::new(LOG_INTERVAL, |_| {}),
        };
        let (scrape, collector) = (PrometheusExporter::new(registry).unwrap(), Collector::default());
        let set_back = Duration::from_secs(if series == ROOMY { 3600 } else { 0 });
        let (uptime, counted) = (0, BTreeMap::new());
        World { worker, scrape, receiver, answers, collector, uptime, set_back, counted }
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
            Step::MakeRoom(min_idle) => {
                registry.evict_for_demand(Duration::from_secs((*min_idle).into()), self.uptime, &can_evict);
            }
            Step::Scrape => drop(self.scrape.text().unwrap()),
            Step::Export(answers) => self.export(answers).await,
        }
    }

    fn count(&mut self, number: u8) {
        let (site, closed) = (format!("s{number}.example"), Label::bounded);
        let labels =
            [closed("enforce"), closed("img-src"), Label::unbounded("https://b.example"), closed("none")];
        let seconds = f64::from(number) * 0.3 + 0.1;
        let observations = [
            Observation::increment(&REPORTS, [closed("crash"), closed("chrome")]),
            Observation::increment(&csp_violation::VIOLATIONS, labels),
            Observation::new(
                &network_error::ESTIMATED,
                [closed("dns"), closed("ok")],
                Increment::Sum(1.0 / 3.0),
            ),
            Observation::new(&network_error::DURATION, [closed("dns")], Increment::Duration(seconds)),
        ];
        // Some are received before the wall clock is set back.
        let received = clock::now() + self.set_back * u32::from(number % 2);
        for observation in observations {
            self.worker.builder.registry.add(SiteLabel::host(&site), &observation, received, self.uptime);
            self.expect(&site, &observation);
        }
        self.worker.builder.registry.self_metrics.reject(RejectReason::MissingType, 2);
        self.note(&REJECTED, "", &["missing_type"], None, 2.0);
    }

    fn expect(&mut self, site: &str, observation: &Observation<'_>) {
        let family = observation.family;
        let values: Vec<_> =
            std::iter::once(site).chain(observation.labels.iter().map(Label::as_str)).collect();
        match observation.amount {
            Increment::Count(count) => self.note(family, "", &values, None, count as f64),
            Increment::Sum(sum) => self.note(family, "", &values, None, sum),
            Increment::Duration(seconds) => {
                self.note(family, "_count", &values, None, 1.0);
                self.note(family, "_sum", &values, None, seconds);
                for bound in BOUNDS.into_iter().chain([f64::INFINITY]) {
                    let within = if seconds <= bound { 1.0 } else { 0.0 };
                    self.note(family, "_bucket", &values, Some(bound), within);
                }
            }
        }
    }

    fn note(&mut self, family: &Family, suffix: &str, values: &[&str], bound: Option<f64>, amount: f64) {
        let pairs = family.labels.iter().copied().zip(values.iter().copied());
        let series = series(&format!("{}{suffix}", family.name), pairs, bound);
        *self.counted.entry(series).or_default() += amount;
    }

    async fn export(&mut self, answers: &[Answer]) {
        // What is sent again comes first. A collector that refuses as invalid what it never had is
        // another story: that is given up.
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

    /// The series of reports in a scrape, and those of rejections.
    fn scraped(&self) -> BTreeMap<Series, f64> {
        let text = String::from_utf8(self.scrape.text().unwrap()).unwrap();
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        };
        text.lines().filter(|line| is_compared(line)).map(value).collect()
    }

    /// What the collector has of the series that are compared; those that never counted count nothing.
    fn collected(&self) -> BTreeMap<Series, f64> {
        let all = self.collector.values.iter();
        let compared = all.filter(|(series, value)| is_compared(series) && **value != 0.0);
        compared.map(|(series, value)| (series.clone(), *value)).collect()
    }
}

fn is_compared(series: &str) -> bool {
    series.contains("{site=") || series.starts_with(REJECTED.name)
}

/// The daemon's own counter that the steps add to.
static REJECTED: Family = Family {
    name: "lookout_reports_rejected_total",
    help: "",
    metric_type: crate::model::MetricType::Counter,
    labels: &["reason"],
    weight: 0,
};

fn run(temporality: Temporality, room: usize, steps: &[Step]) -> World {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(temporality, room).await;
        for step in steps {
            world.step(step).await;
        }
        // Quiet: what was lost on the way is sent again, then the last news.
        world.export(&[Answer::Taken]).await;
        world.export(&[Answer::Taken]).await;
        world
    })
}

/// The same series with the same values, as far as adding up fractions gives them.
fn assert_alike(ours: &BTreeMap<Series, f64>, theirs: &BTreeMap<Series, f64>) {
    assert!(ours.keys().eq(theirs.keys()), "{:?}\n{:?}", ours.keys(), theirs.keys());
    for (series, value) in ours {
        let other = theirs[series];
        assert!((value - other).abs() <= 1e-9 * value.abs().max(1.0), "{series}: {value}, {other}");
    }
}

/// The sums over all series of each family.
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
    fn differences_add_up_to_everything_ever_counted(steps in steps()) {
        let mut world = run(Temporality::Delta, ROOMY, &steps);
        world.counted.retain(|_, value| *value != 0.0);
        assert_alike(&world.counted, &world.collected());
    }

    /// Where series lose detail and make room, it is still the same sum.
    #[test]
    fn differences_add_up_where_room_is_scarce(steps in steps()) {
        let world = run(Temporality::Delta, Registry::min_limit(), &steps);
        assert_alike(&by_family(&world.counted), &by_family(&world.collected()));
    }

    #[test]
    fn cumulative_values_are_the_scrape(steps in steps()) {
        let world = run(Temporality::Cumulative, ROOMY, &steps);
        let mut scraped = world.scraped();
        scraped.retain(|_, value| *value != 0.0);
        let mut collected = world.collected();
        // A collector keeps the series that went.
        collected.retain(|series, _| scraped.contains_key(series));
        assert_alike(&scraped, &collected);
    }
}

fn counts(world: &World, series: &str) -> f64 {
    world.collected().get(series).copied().unwrap_or(0.0)
}

#[tokio::test]
async fn an_export_is_several_requests() {
    let mut world = World::new(Temporality::Delta, ROOMY).await;
    world.count(0);
    world.export(&[Answer::Taken]).await;
    assert!(world.receiver.log.len() > 1, "{}", world.receiver.log.len());
}

/// However often a request that may have arrived is refused for reasons that say nothing about it, its
/// interval is not lost; and it is not told twice, whether or not it had arrived.
#[tokio::test]
async fn an_unsure_difference_outlives_refusals() {
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

/// Invalid is what a collector calls a request that it has already.
#[tokio::test]
async fn an_unsure_difference_ends_with_a_bad_request() {
    let mut world = World::new(Temporality::Delta, ROOMY).await;
    world.count(0);
    world.export(&[Answer::Lost]).await;
    assert!(!world.worker.unacknowledged.is_empty());
    world.export(&[Answer::BadRequest]).await;
    assert!(world.worker.unacknowledged.is_empty());
    world.export(&[Answer::Taken]).await;
    assert_eq!(counts(&world, "lookout_reports_rejected_total{reason=\"missing_type\"}"), 2.0);
}

/// Nothing of a request that surely has not arrived is held: it is part of the next difference, with the
/// moment of that.
#[tokio::test]
async fn a_difference_that_has_not_arrived_is_told_anew() {
    for answer in [Answer::Unavailable, Answer::BadRequest, Answer::NotFound] {
        let mut world = World::new(Temporality::Delta, ROOMY).await;
        world.count(0);
        world.export(&[answer]).await;
        assert!(world.worker.unacknowledged.is_empty(), "{answer:?}");
    }
}
