//! The task that exports metrics at every interval and at shutdown.

use std::sync::Arc;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::resource::v1::Resource;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::export::otlp::client::ExportResult::{Accepted, PartialSuccess, Permanent, Retryable};
use crate::export::otlp::metrics::delta::TemporalityState;
use crate::export::otlp::metrics::request_builder::{MAX_REQUEST, MetricsRequest, RequestBuilder};
use crate::export::otlp::{client::Client, export_health::ExportHealth};
use crate::log_throttle::LogThrottle;
use crate::metrics::Registry;
use crate::model::{ExportSignal, ExportStatus, LabelEnum};

/// The running export of metrics.
#[derive(Debug)]
pub struct MetricExporter {
    /// The export's health, for readiness.
    pub health: Arc<ExportHealth>,
    stop: watch::Sender<Option<Instant>>,
    task: JoinHandle<()>,
}

pub(super) struct Worker {
    pub(super) client: Client,
    pub(super) builder: RequestBuilder,
    /// Delta requests that may have been delivered. They are sent again unchanged, so that a collector can
    /// recognize them, and no new delta is built before they are acknowledged.
    pub(super) unacknowledged: Vec<MetricsRequest>,
    pub(super) health: Arc<ExportHealth>,
    pub(super) failures: LogThrottle,
}

impl MetricExporter {
    /// Starts the export in the current Tokio runtime: one every `interval`, and one at shutdown.
    pub fn start(
        client: Client,
        resource: Resource,
        interval: Duration,
        registry: Arc<Registry>,
        temporality: TemporalityState,
    ) -> MetricExporter {
        let health = Arc::new(ExportHealth::default());
        let failures = LogThrottle::new(|attempts| {
            tracing::warn!(attempts, "more attempts to export metrics failed");
        });
        let builder =
            RequestBuilder { resource: Arc::new(resource), registry, temporality, max_request: MAX_REQUEST };
        let worker = Worker { client, builder, unacknowledged: Vec::new(), health: health.clone(), failures };
        let (stop, stopped) = watch::channel(None);
        let task = tokio::spawn(worker.run(interval, stopped));
        MetricExporter { health, stop, task }
    }

    /// Exports the last values, until the deadline at most.
    pub async fn shutdown(self, deadline: Instant) {
        self.stop.send_replace(Some(deadline));
        // A task that panicked has ended as well.
        drop(tokio::time::timeout_at(deadline.into(), self.task).await);
    }
}

impl Worker {
    async fn run(mut self, interval: Duration, mut stop: watch::Receiver<Option<Instant>>) {
        let mut ticks = tokio::time::interval(interval);
        // Ticks missed during an outage are not made up for, because one export has all of their values.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first tick is immediate, when nothing has been counted yet.
        ticks.tick().await;
        loop {
            tokio::select! {
                _ = ticks.tick() => self.export().await,
                _ = stop.changed() => break,
            }
        }
        self.export().await;
        if !self.unacknowledged.is_empty() {
            let requests = self.unacknowledged.len();
            tracing::warn!(requests, "the last deltas of metrics may not have been delivered");
        }
    }

    /// Exports once. A failed request is sent again only if it has deltas that may have been delivered,
    /// because the next export has every other value.
    pub(super) async fn export(&mut self) {
        for request in std::mem::take(&mut self.unacknowledged) {
            self.send(request, true).await;
        }
        if self.unacknowledged.is_empty() {
            let builder = self.builder.clone();
            // Not on this thread, because a large registry takes a while and uploads are served meanwhile. If
            // it panics, the next export has the same values.
            let requests =
                tokio::task::spawn_blocking(move || builder.build_requests()).await.unwrap_or_default();
            for request in requests {
                self.send(request, false).await;
            }
        }
    }

    /// Sends a request. `is_retry`: it may have been delivered before.
    async fn send(&mut self, request: MetricsRequest, is_retry: bool) {
        let started = Instant::now();
        let result = self.client.send(request.bytes.clone()).await;
        let self_metrics = &self.builder.registry.self_metrics;
        self_metrics.export_request(ExportSignal::Metrics, result.code(), started.elapsed());
        self.health.record(&result);
        if let PartialSuccess { message, .. } | Retryable { message, .. } | Permanent { message, .. } =
            &result
            && let Some(attempts) = self.failures.record(1)
        {
            let code = result.code().as_str();
            tracing::warn!(code, attempts, reason = message, "metrics are not delivered");
        }
        match result {
            // What the collector rejected of it, it would reject again.
            Accepted | PartialSuccess { .. } => self.builder.temporality.commit(request.checkpoints),
            Permanent { code: ExportStatus::InvalidArgument, .. } if is_retry => self.abandon(request),
            Retryable { maybe_delivered: true, .. } if !request.checkpoints.is_empty() => {
                self.unacknowledged.push(request);
            }
            // This response does not show whether the first attempt was delivered.
            Retryable { .. } | Permanent { .. } if is_retry => self.unacknowledged.push(request),
            // What was not delivered becomes part of the next delta.
            Retryable { .. } | Permanent { .. } => {}
        }
    }

    /// Commits a request that may have been delivered and is now rejected as invalid, most likely because the
    /// collector has it. If it does not, the counts of that interval are lost.
    fn abandon(&self, request: MetricsRequest) {
        let series = request.checkpoints.len();
        self.builder.temporality.commit(request.checkpoints);
        tracing::warn!(
            series,
            "deltas of metrics that may have been delivered are now rejected, and are not sent again: the \
             collector has them already, or they are lost"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::export::otlp::testing::fake_collector::{self, Reply};

    #[tokio::test]
    async fn outage_is_not_followed_by_a_burst_of_exports() {
        let interval = Duration::from_millis(20);
        let reply = |request| if request == 0 { Reply::Hang } else { Reply::ok() };
        let receiver = fake_collector::http(None, reply).await;
        let mut endpoint = receiver.endpoint();
        endpoint.timeout = interval * 30;
        let client = Client::new(&endpoint, ExportSignal::Metrics).unwrap();
        let registry = Registry::new(crate::kinds::families(), 10_000, 0, clock::now()).unwrap();
        let (resource, temporality) = (Resource::default(), TemporalityState::default());
        let metrics = MetricExporter::start(client, resource, interval, Arc::new(registry), temporality);
        fake_collector::until("the export after the outage", || receiver.log.len() > 1).await;
        let since = Instant::now();
        tokio::time::sleep(interval * 5).await;
        let exports = receiver.log.len() - 1;
        let ticks = since.elapsed().as_millis() / interval.as_millis();
        assert!(exports as u128 <= ticks + 3, "{exports} exports within {ticks} intervals");
        metrics.shutdown(Instant::now()).await;
    }
}
