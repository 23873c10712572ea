//! The table as OTLP metrics: the same series with the same values as the scrape, cumulative since each
//! series' birth. An OTLP name is the Prometheus name with dots and without `_total` and unit, so that
//! Prometheus' own translation leads back to it.
//! <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use told::Tell;

use crate::clock;
use crate::export::otlp::client::{Attempt, Client};
use crate::export::otlp::frame::scope;
use crate::export::otlp::health::Health;
use crate::export::otlp::throttle::Throttle;
use crate::outcome::{ExportCode, Signal};
use crate::table::Table;

mod points;
mod told;

pub use told::Telling;

/// Largest request, in bytes. A default gRPC receiver takes 4 MiB.
const MAX_REQUEST: usize = 2 << 20;
/// Least time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The running export of metrics.
#[derive(Debug)]
pub struct Metrics {
    health: Arc<Health>,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

struct Exporter {
    client: Client,
    resource: Resource,
    table: Arc<Table>,
    telling: Telling,
    /// Differences that may or may not have arrived. They are sent again byte by byte, so that a
    /// collector can tell that it has them, and nothing new is told before they are.
    unsure: Vec<Request>,
    health: Arc<Health>,
    failures: Throttle,
}

/// An encoded request.
struct Request {
    bytes: Bytes,
    tells: Vec<Tell>,
    /// The moment of its values, in Unix nanoseconds.
    at: u64,
}

impl Metrics {
    /// Starts the export, in the current Tokio runtime: one every `interval`, and one at the end.
    pub fn start(
        client: Client,
        resource: Resource,
        interval: Duration,
        table: Arc<Table>,
        telling: Telling,
    ) -> Metrics {
        let health = Arc::new(Health::default());
        let failures = Throttle::new(LOG_INTERVAL);
        let health_of_export = health.clone();
        let exporter = Exporter {
            client,
            resource,
            table,
            telling,
            unsure: Vec::new(),
            health: health_of_export,
            failures,
        };
        let (stop, stopped) = watch::channel(None);
        let task = tokio::spawn(exporter.run(interval, stopped));
        Metrics { health, stop, task }
    }

    /// Since when the export fails, for readiness.
    pub fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    /// Exports once more, so that the last numbers are known, and gives up at the deadline.
    pub async fn shutdown(self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        // A task that panicked has ended as well.
        drop(tokio::time::timeout_at(deadline.into(), self.task).await);
    }
}

impl Exporter {
    async fn run(mut self, interval: Duration, mut stop: watch::Receiver<Option<Instant>>) {
        let mut ticks = tokio::time::interval(interval);
        // The first tick is at once, when there is nothing to tell yet.
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => self.export().await,
                _ = stop.changed() => return self.export().await,
            }
        }
    }

    /// One export. Cumulative values that fail are not sent again: the next export tells everything that
    /// this one would have. Differences are, if they may have arrived.
    async fn export(&mut self) {
        for request in std::mem::take(&mut self.unsure) {
            self.send(request, true).await;
        }
        if self.unsure.is_empty() {
            for request in requests(&self.table, &self.resource, &self.telling) {
                self.send(request, false).await;
            }
        }
    }

    /// `again`: it may have arrived before.
    async fn send(&mut self, request: Request, again: bool) {
        let started = Instant::now();
        let attempt = self.client.send(request.bytes.clone()).await;
        self.table.own.export_request(Signal::Metrics, attempt.code(), started.elapsed());
        self.health.note(&attempt);
        if let Attempt::Partial { message, .. }
        | Attempt::Retry { message, .. }
        | Attempt::Refused { message, .. } = &attempt
        {
            self.complain(&attempt, message);
        }
        match attempt {
            // What the collector refuses of it, it would refuse again.
            Attempt::Taken | Attempt::Partial { .. } => self.telling.note(request.tells, request.at),
            // Refused for being there already, more likely than not.
            Attempt::Refused { .. } if again => self.telling.note(request.tells, request.at),
            Attempt::Retry { code, .. } if !request.tells.is_empty() && (again || may_have_arrived(code)) => {
                self.unsure.push(request);
            }
            // What has not arrived becomes part of the next difference.
            Attempt::Retry { .. } | Attempt::Refused { .. } => {}
        }
    }

    fn complain(&self, attempt: &Attempt, reason: &str) {
        if let Some(tries) = self.failures.admit(1) {
            let code = attempt.code().as_str();
            tracing::warn!(code, tries, reason, "metrics are not delivered");
        }
    }
}

/// Whether the collector may have taken a request that failed so.
fn may_have_arrived(code: ExportCode) -> bool {
    matches!(code, ExportCode::Timeout | ExportCode::Broken)
}

/// The whole table as requests of at most [`MAX_REQUEST`] bytes.
fn requests(table: &Table, resource: &Resource, telling: &Telling) -> Vec<Request> {
    let now = crate::event::otlp::unix_nanos(clock::now());
    let room = MAX_REQUEST - resource.encoded_len() - 1024;
    let mut requests = Vec::new();
    let (mut metrics, mut tells, mut size) = (Vec::new(), Vec::new(), 0);
    for part in points::parts(table, telling, now, room) {
        let length = part.metric.encoded_len() + 8;
        if size + length > room && !metrics.is_empty() {
            let bytes = encode(resource, std::mem::take(&mut metrics));
            requests.push(Request { bytes, tells: std::mem::take(&mut tells), at: now });
            size = 0;
        }
        size += length;
        metrics.push(part.metric);
        tells.extend(part.tells);
    }
    requests.push(Request { bytes: encode(resource, metrics), tells, at: now });
    requests
}

fn encode(resource: &Resource, metrics: Vec<Metric>) -> Bytes {
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, schema_url: String::new() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: Some(resource.clone()), scope_metrics, schema_url: String::new() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec().into()
}

#[cfg(test)]
mod agreement_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{Label, Observation, Site};

    fn table_with(sites: usize) -> Table {
        let table = Table::new(300_000, 0, clock::now());
        for site in 0..sites {
            let labels = [Label::closed("crash"), Label::closed("chrome")];
            let observation = Observation::one(&crate::kind::REPORTS, labels);
            table.add(
                Site::host(&format!("site-{site}.{}.example", "a-rather-long-label".repeat(8))),
                &observation,
                clock::now(),
                0,
            );
        }
        table
    }

    fn decoded(requests: &[Request]) -> Vec<Metric> {
        let decode = |request: &Request| {
            let request = ExportMetricsServiceRequest::decode(&request.bytes[..]).unwrap();
            request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics)
        };
        requests.iter().flat_map(decode).flat_map(|scope| scope.metrics).collect()
    }

    #[test]
    fn a_large_table_goes_out_in_requests_of_bounded_size() {
        use opentelemetry_proto::tonic::metrics::v1::metric::Data;
        let requests = requests(&table_with(10_000), &Resource::default(), &Telling::Cumulative);
        assert!(requests.len() > 1, "{}", requests.len());
        assert!(requests.iter().all(|request| request.bytes.len() <= MAX_REQUEST));
        let points: usize = decoded(&requests)
            .iter()
            .filter(|metric| metric.name == "lookout.reports")
            .map(|metric| match &metric.data {
                Some(Data::Sum(sum)) => sum.data_points.len(),
                _ => 0,
            })
            .sum();
        assert_eq!(points, 10_000);
    }

    #[test]
    fn every_metric_has_a_name_that_translates_back() {
        for metric in decoded(&requests(&table_with(1), &Resource::default(), &Telling::Cumulative)) {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'.';
            assert!(metric.name.bytes().all(plain) && !metric.name.ends_with("total"), "{}", metric.name);
        }
    }
}
