use std::time::SystemTime;

use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use opentelemetry::logs::{AnyValue, Logger, Severity};
use opentelemetry::trace::{Span, SpanId, TraceFlags, TraceId, Tracer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::classify::{Rules, SiteIndex, classify};
use crate::config::{Compression, LogLevel, Otlp as OtlpConfig, Protocol as Otlp, defaults};
use crate::decode::decode;
use crate::encode::{attributes, write_log_record};
use crate::export::otlp::testing::fake_collector::{self, Reply};
use crate::export::otlp::{LogRequestEncoder, build_resource, resource_attributes};
use crate::logging::lines_to_export;
use crate::model::{Attribute, ClientKey, Event, Finding, LabelEnum, SpanIds, UploadContext};
use crate::normalize::{Mode, normalize};

#[tokio::test]
async fn span_sent_arrives_with_scope_and_resource() {
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let endpoint = Endpoint { compression: Compression::Gzip, ..receiver.endpoint() };
    let traces = Traces::start(&endpoint, vec![("service.name".to_owned(), "shop".to_owned())]).unwrap();
    traces.tracer().start("upload").end();
    traces.shutdown(Instant::now() + Duration::from_secs(20)).await;
    let request: ExportTraceServiceRequest = receiver.log.decode(0);
    let spans = &request.resource_spans[0];
    assert_eq!(spans.resource.as_ref().unwrap().attributes[0].key, "service.name");
    assert_eq!(spans.scope_spans[0].scope.as_ref().unwrap().name, "lookoutd");
    assert_eq!(spans.scope_spans[0].spans[0].name, "upload");
    assert_eq!(receiver.log.header(0, "content-encoding"), "gzip");
}

struct Collector(mpsc::UnboundedSender<ExportTraceServiceRequest>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.send(request.into_inner()).unwrap();
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test]
async fn span_sent_over_grpc_arrives() {
    let (sender, mut requests) = mpsc::unbounded_channel();
    let service = TowerToHyperService::new(TraceServiceServer::new(Collector(sender)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = fake_collector::endpoint(fake_collector::serve(listener, None, service), Otlp::Grpc);
    let traces = Traces::start(&endpoint, Vec::new()).unwrap();
    traces.tracer().start("upload").end();
    traces.shutdown(Instant::now() + Duration::from_secs(20)).await;
    let request = requests.try_recv().unwrap();
    assert_eq!(request.resource_spans[0].scope_spans[0].spans[0].name, "upload");
}

#[tokio::test]
async fn shutdown_without_a_collector_keeps_its_deadline() {
    for protocol in [Otlp::HttpProtobuf, Otlp::Grpc] {
        let endpoint = fake_collector::endpoint(fake_collector::unused_address().await, protocol);
        let traces = Traces::start(&endpoint, Vec::new()).unwrap();
        traces.tracer().start("upload").end();
        let diagnostics = Diagnostics::start(&endpoint, Vec::new()).unwrap();
        let subscriber = tracing_subscriber::registry().with(diagnostics.layer());
        tracing::subscriber::with_default(subscriber, || tracing::error!("lost"));
        let start = Instant::now();
        diagnostics.shutdown(start + Duration::from_millis(200)).await;
        traces.shutdown(start + Duration::from_millis(200)).await;
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn line_arrives_unless_an_exporter_or_a_library_wrote_it() {
    let receiver = fake_collector::http(None, |request| match request {
        0 => Reply::Answer(400, &[], Vec::new()),
        _ => Reply::ok(),
    });
    let receiver = receiver.await;
    let diagnostics = Diagnostics::start(&receiver.endpoint(), Vec::new()).unwrap();
    let layer = diagnostics.layer().with_filter(lines_to_export(LogLevel::Trace));
    // On this thread, on which the client runs too.
    let logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    warn!(target: "lookoutd::intake", limit = 7, "rejected by the collector");
    warn!("not delivered, writes the exporter");
    fake_collector::until("the first request", || receiver.log.len() == 1).await;
    for libraries in 0..2 {
        tracing::error!(target: "hyper", libraries, "connection");
        tracing::error!(target: "h2::client", libraries, "frame");
        tracing::error!(target: "opentelemetry_sdk", libraries, "queue full");
    }
    tracing::trace!(target: "lookoutd::intake", limit = 8, "too many");
    diagnostics.shutdown(Instant::now() + Duration::from_secs(20)).await;
    drop(logging);
    let bodies: Vec<_> = receiver.log.records().into_iter().map(|record| record.body.unwrap()).collect();
    let text = |text: &str| AnyValue::from(text.to_owned()).into();
    assert_eq!(bodies, [text("rejected by the collector"), text("too many")]);
    let request: ExportLogsServiceRequest = receiver.log.decode(1);
    let scope_logs = &request.resource_logs[0].scope_logs[0];
    assert_eq!(scope_logs.scope, Some(crate::export::otlp::resource::scope()));
    let record = &scope_logs.log_records[0];
    assert_eq!((record.severity_number, record.severity_text.as_str()), (1, "TRACE"));
    assert_eq!((record.event_name.as_str(), record.attributes.len()), ("", 1));
    assert_eq!(record.attributes[0].key, "limit");
}

#[tokio::test]
async fn line_sent_over_grpc_arrives() {
    let receiver = fake_collector::grpc(None, |_| Some(Ok(ExportLogsServiceResponse::default()))).await;
    let diagnostics = Diagnostics::start(&receiver.endpoint(), Vec::new()).unwrap();
    let layer = diagnostics.layer().with_filter(lines_to_export(LogLevel::Info));
    let logging = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
    warn!(target: "lookoutd::intake", "over gRPC");
    diagnostics.shutdown(Instant::now() + Duration::from_secs(20)).await;
    drop(logging);
    let bodies: Vec<_> = receiver.log.records().into_iter().map(|record| record.body.unwrap()).collect();
    assert_eq!(bodies, [AnyValue::from("over gRPC".to_owned()).into()]);
}

fn system_time(time: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(crate::encode::unix_nanos(time))
}

/// Emits the event as a record of the SDK.
fn emit_by_sdk(event: &Event<'_>, logger: &SdkLogger) {
    let mut record = logger.create_log_record();
    let name = String::from_utf8(event.report.kind.event_name().collect()).unwrap();
    record.set_event_name(name.leak());
    record.set_timestamp(system_time(event.report.occurred));
    record.set_observed_timestamp(system_time(event.report.received));
    assert_eq!(event.severity as u8, 17);
    record.set_severity_number(Severity::Error);
    record.set_severity_text(event.severity.as_str());
    record.set_body(event.summary.to_owned().into());
    attributes(event, &mut |name, value| {
        let value = match value {
            Attribute::Text(text) => text.to_owned().into(),
            Attribute::Bool(flag) => flag.into(),
            Attribute::Integer(number) => number.into(),
            Attribute::Float(number) => number.into(),
            Attribute::Json(value) => AnyValue::from(serde_json::to_string(value).unwrap()),
        };
        record.add_attribute(name.to_owned(), value);
    });
    let span = event.span.unwrap();
    let ids = (TraceId::from_bytes(span.trace_id), SpanId::from_bytes(span.span_id));
    record.set_trace_context(ids.0, ids.1, Some(TraceFlags::new(span.flags)));
    logger.emit(record);
}

#[tokio::test]
async fn event_by_our_encoder_equals_that_by_the_sdk() {
    let receiver = fake_collector::http(None, |_| Reply::ok()).await;
    let endpoint = receiver.endpoint();
    let config = OtlpConfig { service_name: "shop".to_owned(), ..OtlpConfig::default() };
    let context = UploadContext {
        received: Timestamp::from_second(1_800_000_000).unwrap(),
        uptime: 1,
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"),
        disposition: None,
        site: None,
        key: None,
        query: &[],
        client: ClientKey::default(),
        client_address: None,
        span: None,
    };
    let body = br#"[{"type":"csp-violation","age":1500,"url":"https://shop.example/cart","body":{"documentURL":
        "https://shop.example/cart","effectiveDirective":"script-src-elem","blockedURL":"https://evil.example/x.js",
        "disposition":"enforce","originalPolicy":"script-src 'self'","statusCode":200,"lineNumber":7}}]"#;
    let client = Arc::new(Client::new(&endpoint, ExportSignal::Logs).unwrap());
    let exporter = with_client(LogExporter::builder().with_http(), &endpoint, &client, "events");
    let provider = SdkLoggerProvider::builder().with_resource(resource(resource_attributes(&config, "id")));
    let provider = provider.with_batch_exporter(exporter.build().unwrap()).build();
    let mut record = Vec::new();
    decode(body, 256, |item| {
        let report = normalize(item.unwrap(), &context, defaults().privacy, Mode::Full);
        let (sites, rules) = (SiteIndex::default(), Rules::default());
        let classification = classify(&report, &context, &sites, &rules);
        let summary = (report.kind.summary)(&report);
        let event = Event {
            report: &report,
            classification,
            finding: Finding::new(&report, &classification),
            is_new: true,
            severity: report.evaluate(&classification).severity,
            summary: &summary,
            query: &[("release", "2".into())],
            client_address: Some("192.0.2.1"),
            span: Some(SpanIds { trace_id: [7; 16], span_id: [8; 8], flags: 1 }),
            sample_rate: Some(0.25),
        };
        write_log_record(&event, &mut record, &mut Vec::new());
        emit_by_sdk(&event, &provider.logger_with_scope(scope()));
    })
    .unwrap();
    let request = LogRequestEncoder::new(&build_resource(&config, "id")).request(&record);
    let result = Client::new(&endpoint, None).unwrap().send(request).await;
    assert!(matches!(result, ExportResult::Accepted));
    let deadline = Instant::now() + Duration::from_secs(20);
    flush(deadline, "events", move |left| provider.shutdown_with_timeout(left)).await;
    let [ours, sdk] = [0, 1].map(|request| {
        let mut request: ExportLogsServiceRequest = receiver.log.decode(request);
        // The order of attributes has no meaning.
        let logs = &mut request.resource_logs[0];
        let resource = &mut logs.resource.as_mut().unwrap().attributes;
        resource.sort_by(|a, b| a.key.cmp(&b.key));
        logs.scope_logs[0].log_records[0].attributes.sort_by(|a, b| a.key.cmp(&b.key));
        request
    });
    assert!(ours.resource_logs[0].scope_logs[0].log_records[0].attributes.len() > 15, "{ours:?}");
    assert_eq!(ours, sdk);
}

#[test]
fn response_to_the_sdk_has_the_status_and_delay_of_the_result() {
    let after = Some(Duration::from_secs(9));
    let code = crate::model::ExportStatus::Unavailable;
    let retry =
        response(&ExportResult::Retryable { code, maybe_delivered: false, after, message: String::new() });
    assert_eq!(
        (retry.status(), &retry.headers()[RETRY_AFTER]),
        (StatusCode::SERVICE_UNAVAILABLE, &"9".parse().unwrap())
    );
    assert_eq!(
        response(&ExportResult::Permanent { code, message: String::new() }).status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(response(&ExportResult::Accepted).status(), StatusCode::OK);
}
