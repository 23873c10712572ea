//! Requests of bounded size from the registry.

use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use crate::clock;
use crate::encode::unix_nanos;
use crate::export::otlp::metrics::data_points;
use crate::export::otlp::metrics::delta::{Checkpoint, TemporalityState};
use crate::export::otlp::resource::scope;
use crate::metrics::Registry;

/// Largest request, in bytes. A default gRPC receiver accepts 4 MiB.
pub(super) const MAX_REQUEST: usize = 2 << 20;

/// What requests are built from; its clones share what is large.
#[derive(Clone)]
pub(super) struct RequestBuilder {
    pub(super) resource: Arc<Resource>,
    pub(super) registry: Arc<Registry>,
    pub(super) temporality: TemporalityState,
    pub(super) max_request: usize,
}

/// An encoded request, and what to commit once it is acknowledged.
pub(super) struct MetricsRequest {
    pub(super) bytes: Bytes,
    pub(super) checkpoints: Vec<Checkpoint>,
}

impl RequestBuilder {
    pub(super) fn build_requests(&self) -> Vec<MetricsRequest> {
        let now = unix_nanos(clock::now());
        // If the resource takes most of a request, requests are larger, because they would otherwise be as many as
        // the series.
        let left = self.max_request.saturating_sub(self.resource.encoded_len() + 1024);
        let budget = left.max(self.max_request / 4);
        let mut requests = Vec::new();
        let mut metrics = Vec::new();
        let mut checkpoints = Vec::new();
        let mut size = 0;
        for chunk in data_points::build_metrics(&self.registry, &self.temporality, now, budget) {
            let length = chunk.metric.encoded_len() + 8;
            if size + length > budget && !metrics.is_empty() {
                let bytes = encode(&self.resource, std::mem::take(&mut metrics));
                requests.push(MetricsRequest { bytes, checkpoints: std::mem::take(&mut checkpoints) });
                size = 0;
            }
            size += length;
            metrics.push(chunk.metric);
            checkpoints.extend(chunk.checkpoints);
        }
        requests.push(MetricsRequest { bytes: encode(&self.resource, metrics), checkpoints });
        requests
    }
}

fn encode(resource: &Resource, metrics: Vec<Metric>) -> Bytes {
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope()), metrics, schema_url: String::new() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: Some(resource.clone()), scope_metrics, schema_url: String::new() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use opentelemetry_proto::tonic::common::v1::KeyValue;
    use opentelemetry_proto::tonic::metrics::v1::NumberDataPoint;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;

    use super::*;
    use crate::model::{Label, Observation, SiteLabel};

    fn registry() -> Registry {
        Registry::new(crate::kinds::families(), 300_000, 0, clock::now()).unwrap()
    }

    fn add(registry: &Registry, site: &str, received: Timestamp) {
        let labels = [Label::bounded("crash"), Label::bounded("chrome")];
        let observation = Observation::increment(&crate::kinds::REPORTS, labels);
        registry.add(SiteLabel::host(site), &observation, received, 0);
    }

    fn builder(registry: Registry) -> RequestBuilder {
        RequestBuilder {
            resource: Arc::default(),
            registry: Arc::new(registry),
            temporality: TemporalityState::Cumulative,
            max_request: MAX_REQUEST,
        }
    }

    fn builder_with_sites(sites: usize) -> RequestBuilder {
        let registry = registry();
        for site in 0..sites {
            let site = format!("site-{site}.{}.example", "a-rather-long-label".repeat(8));
            add(&registry, &site, clock::now());
        }
        builder(registry)
    }

    fn decoded(requests: &[MetricsRequest]) -> Vec<Metric> {
        let decode = |request: &MetricsRequest| {
            let request = ExportMetricsServiceRequest::decode(&request.bytes[..]).unwrap();
            request.resource_metrics.into_iter().flat_map(|resource| resource.scope_metrics)
        };
        requests.iter().flat_map(decode).flat_map(|scope| scope.metrics).collect()
    }

    fn report_points(requests: &[MetricsRequest]) -> Vec<NumberDataPoint> {
        let metrics = decoded(requests).into_iter().filter(|metric| metric.name == "lookout.reports");
        let points = metrics.map(|metric| match metric.data {
            Some(Data::Sum(sum)) => sum.data_points,
            other => panic!("{other:?}"),
        });
        points.flatten().collect()
    }

    #[test]
    fn large_registry_is_split_into_requests_of_bounded_size() {
        let requests = builder_with_sites(10_000).build_requests();
        assert!(requests.len() > 1, "{}", requests.len());
        assert!(requests.iter().all(|request| request.bytes.len() <= MAX_REQUEST));
        assert_eq!(report_points(&requests).len(), 10_000);
    }

    #[test]
    fn every_metric_name_can_be_translated_back() {
        for metric in decoded(&builder_with_sites(1).build_requests()) {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'.';
            assert!(metric.name.bytes().all(plain) && !metric.name.ends_with("total"), "{}", metric.name);
        }
    }

    #[test]
    fn resource_larger_than_a_request_does_not_split_the_metrics() {
        let attributes = vec![KeyValue { key: "k".repeat(3 << 20), ..KeyValue::default() }];
        let resource = Arc::new(Resource { attributes, ..Resource::default() });
        let requests = RequestBuilder { resource, ..builder_with_sites(100) }.build_requests();
        assert_eq!(requests.len(), 1);
    }

    #[test]
    fn start_of_a_series_in_the_future_is_kept() {
        let registry = registry();
        let start_time = clock::now() + Duration::from_secs(3600);
        add(&registry, "shop.example", start_time);
        let builder = builder(registry);
        for _ in 0..2 {
            let point = &report_points(&builder.build_requests())[0];
            assert_eq!(point.start_time_unix_nano, unix_nanos(start_time));
            assert!(point.time_unix_nano > point.start_time_unix_nano);
        }
    }
}
