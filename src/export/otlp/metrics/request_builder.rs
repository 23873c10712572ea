//! Requests of bounded size from the registry.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_semantic_conventions::SCHEMA_URL;
use prost::Message;

use crate::clock;
use crate::encode::unix_nanos;
use crate::export::otlp::metrics::data_points::{MetricInfo, add_point, point_end};
use crate::export::otlp::metrics::delta::{Checkpoint, Key, TemporalityState};
use crate::export::otlp::resource::{scope, string_attribute};
use crate::metrics::{Registry, SampleValue};

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
    /// Builds the requests of one export, from every series of the registry and every self-metric.
    pub(super) fn build_requests(&self) -> Vec<MetricsRequest> {
        // If the resource takes most of a request, requests are larger, because they would be as many as series.
        let left = self.max_request.saturating_sub(self.resource.encoded_len() + 1024);
        let budget = left.max(self.max_request / 4);
        let now = unix_nanos(clock::now());
        let (requests, metrics, checkpoints) = (Vec::new(), Vec::new(), Vec::new());
        let mut open = OpenRequest { builder: self, now, budget, requests, metrics, checkpoints, size: 0 };
        let mut alive = HashSet::new();
        self.registry.visit(&mut |family, sample| {
            alive.insert(sample.id);
            let labels = family.labels.iter().copied().zip(sample.labels.iter().copied());
            let labels = labels.filter(|(_, value)| !value.is_empty());
            let start = u64::try_from(sample.start_time).unwrap_or(0);
            open.add(MetricInfo::of_reports(family), Key::Registry(sample.id), labels, sample.value, start);
        });
        self.temporality.retain(&alive);
        // `process_*` count from the start of the process, for which that of the registry is near enough.
        let started = unix_nanos(self.registry.started);
        for family in self.registry.self_metrics.gather() {
            let info = MetricInfo::of_self_metric(&family);
            for metric in family.get_metric() {
                let labels = metric.get_label().iter().map(|pair| (pair.name(), pair.value()));
                let key = labels.clone().fold(family.name().to_owned(), |key, (_, value)| key + " " + value);
                open.add(info, Key::SelfMetric(key), labels, info.self_metric_value(metric), started);
            }
        }
        open.complete();
        open.requests
    }
}

struct OpenRequest<'b> {
    builder: &'b RequestBuilder,
    /// Unix nanoseconds.
    now: u64,
    /// Most bytes of the metrics of one request.
    budget: usize,
    requests: Vec<MetricsRequest>,
    /// By their Prometheus names.
    metrics: Vec<(String, Metric)>,
    checkpoints: Vec<Checkpoint>,
    size: usize,
}

impl OpenRequest<'_> {
    /// Adds the data point of one series, unless there is nothing new.
    fn add<'l>(
        &mut self,
        info: MetricInfo<'_>,
        key: Key,
        labels: impl Iterator<Item = (&'l str, &'l str)>,
        value: SampleValue,
        start_time: u64,
    ) {
        // A gauge has no deltas.
        let cumulative = TemporalityState::default();
        let temporality = if info.is_gauge() { &cumulative } else { &self.builder.temporality };
        let Some((delta, start)) = temporality.pending_delta(&key, &value, start_time) else { return };
        // The rest is for this point, and for the lengths of all.
        if self.size > self.budget / 4 * 3 {
            self.complete();
        }
        let end = point_end(start, self.now);
        let attributes = labels.map(|(name, value)| string_attribute(name.to_owned(), value.to_owned()));
        let metric = self.metric(info);
        self.size += add_point(metric, attributes.collect(), delta, start, end);
        self.checkpoints.extend(temporality.checkpoint(key, value, end));
    }

    /// Returns the metric of this name, which is added if the request has none.
    fn metric(&mut self, info: MetricInfo<'_>) -> &mut Metric {
        let known = self.metrics.iter().rposition(|(name, _)| *name == info.prometheus_name);
        let at = known.unwrap_or_else(|| {
            let metric = info.empty(self.builder.temporality.aggregation_temporality());
            self.size += metric.encoded_len();
            self.metrics.push((info.prometheus_name.to_owned(), metric));
            self.metrics.len() - 1
        });
        &mut self.metrics[at].1
    }

    fn complete(&mut self) {
        let (scope, schema_url) = (Some(scope()), SCHEMA_URL.to_owned());
        let metrics = self.metrics.drain(..).map(|(_, metric)| metric).collect();
        let scope_metrics = vec![ScopeMetrics { scope, metrics, schema_url: schema_url.clone() }];
        let resource = Some(Resource::clone(&self.builder.resource));
        let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, schema_url }];
        let bytes = ExportMetricsServiceRequest { resource_metrics }.encode_to_vec().into();
        self.requests.push(MetricsRequest { bytes, checkpoints: std::mem::take(&mut self.checkpoints) });
        self.size = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Duration;

    use jiff::Timestamp;
    use opentelemetry_proto::tonic::common::v1::KeyValue;
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
    use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, NumberDataPoint};

    use super::*;
    use crate::model::{Label, Observation, SiteLabel};

    fn registry() -> Registry {
        Registry::new(crate::kinds::families(), 300_000, 0, clock::now()).unwrap()
    }

    fn add(registry: &Registry, site: &str, received: Timestamp) {
        let labels = [Label::bounded("crash"), Label::bounded("chrome")];
        let observation = Observation::increment(&crate::kinds::REPORTS, labels);
        registry.add(SiteLabel::host(site), &observation, received, 0, &Cell::new(usize::MAX));
    }

    fn builder(registry: Registry) -> RequestBuilder {
        RequestBuilder {
            resource: Arc::default(),
            registry: Arc::new(registry),
            temporality: TemporalityState::default(),
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
            let plain = |byte: u8| byte.is_ascii_lowercase() || b"._".contains(&byte);
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

    #[test]
    fn self_metrics_have_the_values_that_were_counted() {
        use crate::model::{ExportSignal, ExportStatus, LabelEnum, UploadOutcome};

        let now = clock::now();
        let registry = Registry::new(crate::kinds::families(), 10_000, 0, now).unwrap();
        registry.self_metrics.begin_upload();
        registry.self_metrics.uploads.add(UploadOutcome::Accepted, Duration::from_millis(7));
        registry.self_metrics.export_request(ExportSignal::Logs, ExportStatus::Ok, Duration::from_secs(90));
        let metrics = decoded(&builder(registry).build_requests());
        let data = |name: &str| {
            let metric = metrics.iter().find(|metric| metric.name == name).unwrap();
            (metric.data.clone().unwrap(), metric.unit.clone())
        };
        let (Data::Sum(uploads), _) = data("lookout.uploads") else { panic!("no sum") };
        let accepted = uploads.data_points.iter().filter(|point| point.value == Some(Value::AsInt(1)));
        assert_eq!(accepted.count(), 1);
        assert_eq!(uploads.data_points.len(), UploadOutcome::ALL.len());
        assert!(uploads.data_points.iter().all(|point| point.start_time_unix_nano == unix_nanos(now)));
        let (Data::Sum(in_flight), _) = data("lookout.uploads.in_flight") else { panic!("no sum") };
        assert!(!in_flight.is_monotonic);
        assert_eq!(in_flight.data_points[0].value, Some(Value::AsDouble(1.0)));
        let (Data::Histogram(duration), unit) = data("lookout.upload.duration") else { panic!() };
        let mut expected = crate::metrics::Histogram::default();
        expected.observe(0.007);
        assert_eq!(duration.data_points[0].bucket_counts, expected.counts);
        assert_eq!((duration.data_points[0].sum, unit.as_str()), (Some(0.007), "s"));
        let (Data::Histogram(requests), _) = data("lookout.export.duration") else { panic!() };
        let beyond_every_bound = |point: &HistogramDataPoint| point.bucket_counts.ends_with(&[1]);
        assert_eq!(requests.data_points.iter().filter(|point| beyond_every_bound(point)).count(), 1);
        let (Data::Sum(cpu), _) = data("process.cpu.time") else { panic!("no sum") };
        assert!(matches!(cpu.data_points[0].value, Some(Value::AsDouble(_))));
    }
}
