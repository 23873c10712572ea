//! That the scrape and OTLP tell the same: every series and value read through one equals what a
//! collector has by the other, cumulative or added up from differences, while series go and come back,
//! exports fail or lose their answer, and scrapes run in between.

use std::collections::{BTreeMap, HashSet};

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::metrics::v1::AggregationTemporality;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use parking_lot::Mutex;
use proptest::prelude::*;

use super::*;
use crate::config::settings::Temporality;
use crate::export::otlp::receiver::{self, Receiver, Reply};
use crate::export::prometheus::Scrape;
use crate::kind::{REPORTS, csp_violation, network_error};
use crate::metric::{Amount, Label, Observation, Site};

/// `name{label="value",…}` as in a scrape.
type Series = String;

#[derive(Debug, Clone)]
enum Step {
    /// Adds to the series of this site, of each family.
    Count(u8),
    /// Seconds pass, and idle series go.
    Wait(u8),
    Scrape,
    /// The collector answers with this, if it is asked for anything.
    Export(Answer),
}

#[derive(Debug, Clone, Copy)]
enum Answer {
    Taken,
    Unavailable,
    BadRequest,
    /// It has the request, but nobody learns that.
    Lost,
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![
        4 => Just(Answer::Taken),
        1 => Just(Answer::Unavailable),
        1 => Just(Answer::BadRequest),
        1 => Just(Answer::Lost),
    ];
    prop_oneof![
        6 => (0..5_u8).prop_map(Step::Count),
        2 => (0..60_u8).prop_map(Step::Wait),
        1 => Just(Step::Scrape),
        3 => answer.prop_map(Step::Export),
    ]
}

/// What the daemon has, how it exports, and who receives it.
struct World {
    exporter: Exporter,
    scrape: Scrape,
    receiver: Receiver,
    answer: Arc<Mutex<Answer>>,
    collector: Collector,
    uptime: u32,
    /// Every addition ever, whether or not its series is still there.
    counted: BTreeMap<Series, f64>,
}

impl World {
    async fn new(temporality: Temporality) -> World {
        let answer = Arc::new(Mutex::new(Answer::Taken));
        let script = answer.clone();
        let receiver = receiver::http(None, move |_| match *script.lock() {
            Answer::Taken => Reply::ok(),
            Answer::Unavailable => Reply::Answer(503, &[], Vec::new()),
            Answer::BadRequest => Reply::Answer(400, &[], Vec::new()),
            Answer::Lost => Reply::CutOff,
        })
        .await;
        let table = Arc::new(Table::new(100_000, 0, clock::now()));
        let exporter = Exporter {
            client: Client::new(&receiver.endpoint(), Signal::Metrics).unwrap(),
            resource: Resource::default(),
            table: table.clone(),
            telling: Telling::new(temporality),
            unsure: Vec::new(),
            health: Arc::default(),
            failures: Throttle::new(LOG_INTERVAL),
        };
        let (scrape, collector) = (Scrape::new(table).unwrap(), Collector::default());
        World { exporter, scrape, receiver, answer, collector, uptime: 0, counted: BTreeMap::new() }
    }

    async fn step(&mut self, step: &Step) {
        match step {
            Step::Count(site) => self.count(*site),
            Step::Wait(seconds) => {
                self.uptime += u32::from(*seconds);
                let telling = self.exporter.telling.clone();
                let may_go = |id, number: &_| telling.is_told(id, number);
                self.exporter.table.expire(Duration::from_secs(100), self.uptime, &may_go);
            }
            Step::Scrape => drop(self.scrape.text().unwrap()),
            Step::Export(answer) => self.export(*answer).await,
        }
    }

    fn count(&mut self, site: u8) {
        let (site, closed) = (format!("s{site}.example"), Label::closed);
        let labels = [closed("enforce"), closed("img-src"), Label::open("https://b.example"), closed("none")];
        let observations = [
            Observation::one(&REPORTS, [closed("crash"), closed("chrome")]),
            Observation::one(&csp_violation::VIOLATIONS, labels),
            Observation::new(&network_error::ESTIMATED, [closed("dns"), closed("ok")], Amount::Sum(0.25)),
            Observation::new(&network_error::DURATION, [closed("dns")], Amount::Seconds(0.25)),
        ];
        for observation in observations {
            let family = observation.family;
            self.exporter.table.add(Site::host(&site), &observation, clock::now(), self.uptime);
            let values = std::iter::once(&*site).chain(observation.labels.iter().map(Label::as_str));
            let pairs = family.labels.iter().copied().zip(values);
            let (name, amount) = match observation.amount {
                Amount::Count(count) => (family.name.to_owned(), count as f64),
                Amount::Sum(sum) => (family.name.to_owned(), sum),
                Amount::Seconds(_) => (format!("{}_count", family.name), 1.0),
            };
            *self.counted.entry(series(&name, pairs)).or_default() += amount;
        }
    }

    async fn export(&mut self, answer: Answer) {
        *self.answer.lock() = answer;
        let seen = self.receiver.log.len();
        self.exporter.export().await;
        for request in seen..self.receiver.log.len() {
            if matches!(answer, Answer::Taken | Answer::Lost) {
                self.collector.take(&self.receiver.log.decode(request));
            }
        }
    }

    /// The series of reports in a scrape; of a histogram the count.
    fn scraped(&self) -> BTreeMap<Series, f64> {
        let text = String::from_utf8(self.scrape.text().unwrap()).unwrap();
        let lines = text.lines().filter(|line| line.contains("{site="));
        let value = |line: &str| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series.to_owned(), value.parse().unwrap())
        };
        lines
            .map(value)
            .filter(|(series, _)| !series.contains("_bucket{") && !series.contains("_sum{"))
            .collect()
    }
}

/// What a collector makes of what it takes.
#[derive(Default)]
struct Collector {
    values: BTreeMap<Series, f64>,
    /// The last life of each series: start and time of its last point.
    spans: BTreeMap<Series, (u64, u64)>,
    requests: HashSet<Vec<u8>>,
}

impl Collector {
    fn take(&mut self, request: &ExportMetricsServiceRequest) {
        // A request that it has already, since the answer was lost.
        if !self.requests.insert(request.encode_to_vec()) {
            return;
        }
        let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        for metric in scopes.flat_map(|scope| &scope.metrics) {
            match metric.data.as_ref().unwrap() {
                Data::Sum(sum) => sum.data_points.iter().for_each(|point| {
                    let value = match point.value.unwrap() {
                        Value::AsInt(value) => value as f64,
                        Value::AsDouble(value) => value,
                    };
                    let series = series(&name(metric, ""), pairs(&point.attributes));
                    let span = (point.start_time_unix_nano, point.time_unix_nano);
                    self.point(series, sum.aggregation_temporality, span, value);
                }),
                Data::Histogram(histogram) => histogram.data_points.iter().for_each(|point| {
                    assert_eq!(point.bucket_counts.iter().sum::<u64>(), point.count);
                    let series = series(&name(metric, "_count"), pairs(&point.attributes));
                    let span = (point.start_time_unix_nano, point.time_unix_nano);
                    self.point(series, histogram.aggregation_temporality, span, point.count as f64);
                }),
                _ => {}
            }
        }
    }

    fn point(&mut self, series: Series, temporality: i32, (start, now): (u64, u64), value: f64) {
        assert!(start <= now, "{series}");
        let last = self.spans.insert(series.clone(), (start, now));
        let held = self.values.entry(series.clone()).or_default();
        if temporality == AggregationTemporality::Delta as i32 {
            assert!(last.is_none_or(|(_, end)| start >= end), "{series}: differences overlap");
            *held += value;
        } else {
            let same_life = last.is_some_and(|(last_start, _)| last_start == start);
            assert!(!same_life || value >= *held, "{series} falls within its life");
            *held = value;
        }
    }
}

fn pairs(attributes: &[KeyValue]) -> impl Iterator<Item = (&str, &str)> {
    attributes.iter().map(|pair| match &pair.value.as_ref().unwrap().value {
        Some(Any::StringValue(value)) => (&*pair.key, &**value),
        other => panic!("{other:?}"),
    })
}

fn series<'a>(name: &str, pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Series {
    let pairs: Vec<String> = pairs.map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    format!("{name}{{{}}}", pairs.join(","))
}

/// The Prometheus name, by the rules of OpenTelemetry's translation.
fn name(metric: &Metric, suffix: &str) -> String {
    let unit = if metric.unit == "s" { "_seconds" } else { "" };
    let total = if suffix.is_empty() { "_total" } else { suffix };
    format!("{}{unit}{total}", metric.name.replace('.', "_"))
}

fn run(temporality: Temporality, steps: &[Step]) -> World {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(temporality).await;
        for step in steps {
            world.step(step).await;
        }
        // Quiet: what was lost on the way is sent again, then the last news.
        world.export(Answer::Taken).await;
        world.export(Answer::Taken).await;
        world
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    #[test]
    fn differences_add_up_to_everything_ever_counted(steps in prop::collection::vec(step(), 1..60)) {
        let mut world = run(Temporality::Delta, &steps);
        world.collector.values.retain(|series, _| series.contains("{site="));
        prop_assert_eq!(&world.collector.values, &world.counted);
    }

    #[test]
    fn cumulative_values_are_the_scrape(steps in prop::collection::vec(step(), 1..60)) {
        let world = run(Temporality::Cumulative, &steps);
        let scraped = world.scraped();
        for (series, value) in &scraped {
            prop_assert_eq!(world.collector.values.get(series), Some(value), "{}", series);
        }
    }
}
