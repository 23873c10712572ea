//! The span of an upload, by the semantic conventions for HTTP servers:
//! <https://opentelemetry.io/docs/specs/semconv/http/http-spans/>

use http::Version;
use http::request::Parts;
use ipnet::IpNet;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{Span, SpanKind, Status, Tracer};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, Span as SdkSpan};
use opentelemetry_semantic_conventions::trace::{
    ERROR_TYPE, HTTP_REQUEST_METHOD, HTTP_RESPONSE_STATUS_CODE, HTTP_ROUTE, NETWORK_PROTOCOL_VERSION,
    URL_PATH,
};

use crate::classify::SiteIndex;
use crate::intake::client_ip::PeerAddr;
use crate::intake::misdirected::loggable;
use crate::intake::request_target::route;
use crate::model::{LabelEnum, SpanIds, UploadOutcome};

/// The span of an upload.
pub(super) struct UploadSpan(SdkSpan);

impl UploadSpan {
    /// Begins the span. It continues the trace of a trusted proxy; that of any other peer is ignored, because it could
    /// join others' traces and force sampling.
    pub(super) fn begin(
        tracer: &SdkTracer,
        head: &Parts,
        peer: PeerAddr,
        trusted: &[IpNet],
        sites: &SiteIndex,
    ) -> UploadSpan {
        let mut parent = Context::new();
        if peer.is_proxy(trusted) {
            let headers = HeaderExtractor(&head.headers);
            parent = TraceContextPropagator::new().extract_with_context(&parent, &headers);
        }
        let path = head.uri.path();
        let mut attributes = vec![
            KeyValue::new(HTTP_REQUEST_METHOD, "POST"),
            KeyValue::new(HTTP_ROUTE, route(path)),
            KeyValue::new(URL_PATH, loggable(path, sites)),
        ];
        let version = match head.version {
            Version::HTTP_10 => Some("1.0"),
            Version::HTTP_11 => Some("1.1"),
            Version::HTTP_2 => Some("2"),
            _ => None,
        };
        attributes.extend(version.map(|version| KeyValue::new(NETWORK_PROTOCOL_VERSION, version)));
        let span = tracer.span_builder(format!("POST {}", route(path)));
        let span = span.with_kind(SpanKind::Server).with_attributes(attributes);
        UploadSpan(span.start_with_context(tracer, &parent))
    }

    /// Returns the ids, for the upload's events.
    pub(super) fn ids(&self) -> SpanIds {
        let context = self.0.span_context();
        SpanIds {
            trace_id: context.trace_id().to_bytes(),
            span_id: context.span_id().to_bytes(),
            flags: context.trace_flags().to_u8(),
        }
    }

    /// Ends the span.
    pub(super) fn end(mut self, outcome: UploadOutcome) {
        let status = outcome.status();
        self.0.set_attribute(KeyValue::new("lookout.outcome", outcome.as_str()));
        self.0.set_attribute(KeyValue::new(HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
        if status >= 500 {
            self.0.set_attribute(KeyValue::new(ERROR_TYPE, status.to_string()));
            self.0.set_status(Status::error(""));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use opentelemetry::trace::TracerProvider;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
    use parking_lot::Mutex;

    use super::*;

    #[derive(Debug, Clone, Default)]
    struct Spans(Arc<Mutex<Vec<SpanData>>>);

    impl SpanExporter for Spans {
        async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
            self.0.lock().extend(batch);
            Ok(())
        }
    }

    /// Returns the span of one upload, and the ids for its events.
    fn span(peer: &str, outcome: UploadOutcome) -> (SpanData, SpanIds) {
        let spans = Spans::default();
        let provider = SdkTracerProvider::builder().with_simple_exporter(spans.clone()).build();
        let request = http::Request::builder()
            .uri("https://reports.example/report/shop/")
            .header("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .body(())
            .unwrap();
        let peer = PeerAddr(Some(peer.parse().unwrap()));
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let sites = SiteIndex::default();
        let span =
            UploadSpan::begin(&provider.tracer("test"), &request.into_parts().0, peer, &trusted, &sites);
        let ids = span.ids();
        span.end(outcome);
        let span = spans.0.lock().pop().unwrap();
        (span, ids)
    }

    #[test]
    fn span_of_an_upload_follows_the_conventions_for_http_servers() {
        let (span, ids) = span("10.1.2.3", UploadOutcome::Overloaded);
        assert_eq!((span.name.as_ref(), &span.span_kind), ("POST /report/{site}", &SpanKind::Server));
        let value = |name: &str| {
            let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
            found.map(|attribute| attribute.value.to_string()).unwrap_or_default()
        };
        for (name, expected) in [
            ("http.request.method", "POST"),
            ("http.route", "/report/{site}"),
            ("url.path", "/report/shop/"),
            ("network.protocol.version", "1.1"),
            ("http.response.status_code", "503"),
            ("error.type", "503"),
            ("lookout.outcome", "overloaded"),
        ] {
            assert_eq!(value(name), expected, "{name}");
        }
        assert!(matches!(span.status, Status::Error { .. }));
        assert_eq!((ids.trace_id, ids.flags), (span.span_context.trace_id().to_bytes(), 1));
        assert_eq!(ids.span_id, span.span_context.span_id().to_bytes());
    }

    #[test]
    fn only_the_trace_of_a_trusted_proxy_is_continued() {
        let incoming = "0af7651916cd43dd8448eb211c80319c";
        let (trusted, _) = span("10.1.2.3", UploadOutcome::Accepted);
        assert_eq!(trusted.span_context.trace_id().to_string(), incoming);
        assert_eq!(trusted.parent_span_id.to_string(), "b7ad6b7169203331");
        let (foreign, _) = span("192.0.2.1", UploadOutcome::Accepted);
        assert_ne!(foreign.span_context.trace_id().to_string(), incoming);
        assert!(matches!(foreign.status, Status::Unset));
    }
}
