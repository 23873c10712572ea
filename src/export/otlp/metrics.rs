//! The registry as OTLP metrics: the same series with the same values as the scrape, cumulative since each
//! series' birth. An OTLP name is the Prometheus name with dots and without `_total` and unit, so that
//! Prometheus' own translation leads back to it.
//! <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/>

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use delta::Checkpoint;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::clock;
use crate::export::otlp::client::{Client, ExportResult};
use crate::export::otlp::export_health::ExportHealth;
use crate::export::otlp::log_request::scope;
use crate::log_throttle::LogThrottle;
use crate::metrics::Registry;
use crate::model::{ExportSignal, ExportStatus, LabelEnum};

mod data_points;
mod delta;

pub use delta::TemporalityState;

/// Largest request, in bytes. A default gRPC receiver takes 4 MiB.
const MAX_REQUEST: usize = 2 << 20;
/// Least time between two log lines of one kind.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The running export of metrics.
#[derive(Debug)]
pub struct MetricExporter {
    health: Arc<ExportHealth>,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

struct Worker {
    client: Client,
    builder: RequestBuilder,
    /// Differences that may or may not have arrived. They are sent again byte by byte, so that a
    /// collector can tell that it has them, and nothing new is told before they are.
    unacknowledged: Vec<MetricsRequest>,
    health: Arc<ExportHealth>,
    failures: LogThrottle,
}

/// What requests are made of. Its clones share what is large.
#[derive(Clone)]
struct RequestBuilder {
    resource: Arc<Resource>,
    registry: Arc<Registry>,
    temporality: TemporalityState,
    /// Largest request, in bytes.
    max_request: usize,
}

/// An encoded request.
struct MetricsRequest {
    bytes: Bytes,
    checkpoints: Vec<Checkpoint>,
}

impl MetricExporter {
    /// Starts the export, in the current Tokio runtime: one every `interval`, and one at the end.
    pub fn start(
        client: Client,
        resource: Resource,
        interval: Duration,
        registry: Arc<Registry>,
        temporality: TemporalityState,
    ) -> MetricExporter {
        let health = Arc::new(ExportHealth::default());
        let failures = LogThrottle::new(LOG_INTERVAL, |tries| {
            tracing::warn!(tries, "more tries to deliver metrics failed");
        });
        let builder =
            RequestBuilder { resource: Arc::new(resource), registry, temporality, max_request: MAX_REQUEST };
        let worker = Worker { client, builder, unacknowledged: Vec::new(), health: health.clone(), failures };
        let (stop, stopped) = watch::channel(None);
        let task = tokio::spawn(worker.run(interval, stopped));
        MetricExporter { health, stop, task }
    }

    /// Since when the export fails, for readiness.
    pub fn health(&self) -> Arc<ExportHealth> {
        self.health.clone()
    }

    /// Exports once more, so that the last numbers are known, and gives up at the deadline.
    pub async fn shutdown(self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        // A task that panicked has ended as well.
        drop(tokio::time::timeout_at(deadline.into(), self.task).await);
    }
}

impl Worker {
    async fn run(mut self, interval: Duration, mut stop: watch::Receiver<Option<Instant>>) {
        let mut ticks = tokio::time::interval(interval);
        // The ticks that an outage took are not made up for: one export tells all that they would have.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is at once, when there is nothing to tell yet.
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => self.export().await,
                _ = stop.changed() => return self.export_last().await,
            }
        }
    }

    async fn export_last(&mut self) {
        self.export().await;
        if !self.unacknowledged.is_empty() {
            let requests = self.unacknowledged.len();
            tracing::warn!(
                requests,
                "the last differences of metrics may not have arrived, and are given up"
            );
        }
    }

    /// One export. Cumulative values that fail are not sent again: the next export tells everything that
    /// this one would have. Differences are, if they may have arrived.
    async fn export(&mut self) {
        for request in std::mem::take(&mut self.unacknowledged) {
            self.send(request, true).await;
        }
        if self.unacknowledged.is_empty() {
            let builder = self.builder.clone();
            // A large registry takes a while, and uploads have to be answered meanwhile. Should it panic,
            // the next export tells what this one would have.
            let requests =
                tokio::task::spawn_blocking(move || builder.build_requests()).await.unwrap_or_default();
            for request in requests {
                self.send(request, false).await;
            }
        }
    }

    /// `is_retry`: it may have arrived before.
    async fn send(&mut self, request: MetricsRequest, is_retry: bool) {
        let started = Instant::now();
        let result = self.client.send(request.bytes.clone()).await;
        self.builder.registry.self_metrics.export_request(
            ExportSignal::Metrics,
            result.code(),
            started.elapsed(),
        );
        self.health.record(&result);
        if let ExportResult::PartialSuccess { message, .. }
        | ExportResult::Retryable { message, .. }
        | ExportResult::Permanent { message, .. } = &result
        {
            self.log_failure(&result, message);
        }
        match result {
            // What the collector refuses of it, it would refuse again.
            ExportResult::Accepted | ExportResult::PartialSuccess { .. } => {
                self.builder.temporality.commit(request.checkpoints)
            }
            ExportResult::Permanent { code: ExportStatus::InvalidArgument, .. } if is_retry => {
                self.abandon(request)
            }
            ExportResult::Retryable { maybe_delivered: true, .. } if !request.checkpoints.is_empty() => {
                self.unacknowledged.push(request);
            }
            // Whatever this answer means, it does not say what became of the first try.
            ExportResult::Retryable { .. } | ExportResult::Permanent { .. } if is_retry => {
                self.unacknowledged.push(request)
            }
            // What has not arrived becomes part of the next difference.
            ExportResult::Retryable { .. } | ExportResult::Permanent { .. } => {}
        }
    }

    /// A request that may have arrived is not wanted again: for being there already, more likely than
    /// not. So it counts as told, and if it was not there, that interval is lost.
    fn abandon(&self, request: MetricsRequest) {
        let series = request.checkpoints.len();
        self.builder.temporality.commit(request.checkpoints);
        tracing::warn!(
            series,
            "differences of metrics that may have arrived are refused now, and are not sent again: the \
             collector has them already, or they are lost"
        );
    }

    fn log_failure(&self, result: &ExportResult, reason: &str) {
        if let Some(tries) = self.failures.record(1) {
            let code = result.code().as_str();
            tracing::warn!(code, tries, reason, "metrics are not delivered");
        }
    }
}

impl RequestBuilder {
    /// The whole registry as requests of bounded size.
    fn build_requests(&self) -> Vec<MetricsRequest> {
        let RequestBuilder { resource, registry, temporality, max_request } = self;
        let now = crate::encode::unix_nanos(clock::now());
        let budget = metrics_budget(*max_request, resource);
        let mut requests = Vec::new();
        let (mut metrics, mut checkpoints, mut size) = (Vec::new(), Vec::new(), 0);
        for chunk in data_points::build_metrics(registry, temporality, now, budget) {
            let length = chunk.metric.encoded_len() + 8;
            if size + length > budget && !metrics.is_empty() {
                let bytes = encode(resource, std::mem::take(&mut metrics));
                requests.push(MetricsRequest { bytes, checkpoints: std::mem::take(&mut checkpoints) });
                size = 0;
            }
            size += length;
            metrics.push(chunk.metric);
            checkpoints.extend(chunk.checkpoints);
        }
        requests.push(MetricsRequest { bytes: encode(resource, metrics), checkpoints });
        requests
    }
}

/// What a request leaves to metrics, in bytes. A resource that takes most of it does not make it take
/// more requests than there are series: such requests are larger.
fn metrics_budget(max_request: usize, resource: &Resource) -> usize {
    max_request.saturating_sub(resource.encoded_len() + 1024).max(max_request / 4)
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
mod collector_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Label, Observation, SiteLabel};

    fn builder(registry: Registry) -> RequestBuilder {
        let (registry, resource) = (Arc::new(registry), Arc::default());
        RequestBuilder {
            resource,
            registry,
            temporality: TemporalityState::Cumulative,
            max_request: MAX_REQUEST,
        }
    }

    fn registry_with(sites: usize) -> Registry {
        let registry = Registry::new(300_000, 0, clock::now());
        for site in 0..sites {
            let labels = [Label::bounded("crash"), Label::bounded("chrome")];
            let observation = Observation::increment(&crate::kinds::REPORTS, labels);
            registry.add(
                SiteLabel::host(&format!("site-{site}.{}.example", "a-rather-long-label".repeat(8))),
                &observation,
                clock::now(),
                0,
            );
        }
        registry
    }

    fn decoded(requests: &[MetricsRequest]) -> Vec<Metric> {
        let decode = |request: &MetricsRequest| {
            let request = ExportMetricsServiceRequest::decode(&request.bytes[..]).unwrap();
            request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics)
        };
        requests.iter().flat_map(decode).flat_map(|scope| scope.metrics).collect()
    }

    #[test]
    fn a_large_table_goes_out_in_requests_of_bounded_size() {
        use opentelemetry_proto::tonic::metrics::v1::metric::Data;
        let requests = builder(registry_with(10_000)).build_requests();
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
        for metric in decoded(&builder(registry_with(1)).build_requests()) {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'.';
            assert!(metric.name.bytes().all(plain) && !metric.name.ends_with("total"), "{}", metric.name);
        }
    }

    #[test]
    fn a_resource_larger_than_a_request_leaves_room() {
        use opentelemetry_proto::tonic::common::v1::KeyValue;
        let attributes = vec![KeyValue { key: "k".repeat(3 << 20), ..KeyValue::default() }];
        let resource = Arc::new(Resource { attributes, ..Resource::default() });
        let requests = RequestBuilder { resource, ..builder(registry_with(100)) }.build_requests();
        assert_eq!(requests.len(), 1);
    }

    #[test]
    fn a_series_from_the_future_keeps_its_start() {
        let (registry, start_time) =
            (Registry::new(10_000, 0, clock::now()), clock::now() + Duration::from_secs(3600));
        let labels = [Label::bounded("crash"), Label::bounded("chrome")];
        let observation = Observation::increment(&crate::kinds::REPORTS, labels);
        registry.add(SiteLabel::host("shop.example"), &observation, start_time, 0);
        let builder = builder(registry);
        for _ in 0..2 {
            let (start, end) = span_of(&builder.build_requests(), "lookout.reports");
            assert_eq!(start, crate::encode::unix_nanos(start_time));
            assert!(end > start);
        }
    }

    #[tokio::test]
    async fn an_outage_is_not_followed_by_a_burst() {
        use crate::export::otlp::testing::fake_collector::{self, Reply};
        let interval = Duration::from_millis(20);
        let reply = |request| if request == 0 { Reply::Hang } else { Reply::ok() };
        let receiver = fake_collector::http(None, reply).await;
        let mut endpoint = receiver.endpoint();
        endpoint.timeout = interval * 30;
        let client = Client::new(&endpoint, ExportSignal::Metrics).unwrap();
        let RequestBuilder { registry, temporality, .. } = builder(registry_with(1));
        let metrics = MetricExporter::start(client, Resource::default(), interval, registry, temporality);
        fake_collector::until("the export after the outage", || receiver.log.len() > 1).await;
        let since = Instant::now();
        tokio::time::sleep(interval * 5).await;
        let (exports, ticks) = (receiver.log.len() - 1, since.elapsed().as_millis() / interval.as_millis());
        assert!(exports as u128 <= ticks + 3, "{exports} exports within {ticks} intervals");
        metrics.shutdown(Instant::now()).await;
    }

    fn span_of(requests: &[MetricsRequest], name: &str) -> (u64, u64) {
        use opentelemetry_proto::tonic::metrics::v1::metric::Data;
        let metric = decoded(requests).into_iter().find(|metric| metric.name == name).unwrap();
        let Some(Data::Sum(sum)) = metric.data else { panic!("{name}") };
        (sum.data_points[0].start_time_unix_nano, sum.data_points[0].time_unix_nano)
    }
}
