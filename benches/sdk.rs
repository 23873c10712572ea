//! The log path of OpenTelemetry's SDK beside that of lookoutd, for the same events.
//!
//! `cargo bench --bench sdk` measures time and allocations from an event to the bytes of a request, for batches of 512
//! events. `cargo bench --bench sdk -- outage 60` sends the same events both ways to collectors that reject requests
//! with 503 for this number of seconds, and then reject one record by a partial success. It prints what arrived.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a benchmark may panic, and prints its result

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher, black_box};
use http::{Request, Response};
use jiff::Timestamp;
use lookoutd::classify::{Rules, SiteIndex, classify};
use lookoutd::config;
use lookoutd::decode::decode;
use lookoutd::encode::{attributes, write_log_record};
use lookoutd::model::{Attribute, ClientKey, Event, Finding, LabelEnum, UploadContext};
use lookoutd::normalize::{Mode, normalize};
use opentelemetry::InstrumentationScope;
use opentelemetry::logs::{AnyValue, LogRecord, Logger, LoggerProvider, Severity};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{LogExporter, Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_sdk::logs::{LogBatch, LogExporter as _, SdkLogRecord, SdkLogger, SdkLoggerProvider};
use prost::Message;

#[global_allocator]
static ALLOCATIONS: AllocProfiler = AllocProfiler::system();

/// Events of a request: the default of both.
const BATCH: usize = 512;
const REPORT: &str = "chromium/205-csp-connect-fetch-to-POST-csp-violation.json";

fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    match arguments.iter().position(|argument| argument == "outage") {
        Some(at) => outage(arguments.get(at + 1).map_or(60, |seconds| seconds.parse().unwrap())),
        None => divan::main(),
    }
}

fn body() -> String {
    let path = format!("{}/tests/corpus/{REPORT}", env!("CARGO_MANIFEST_DIR"));
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    file["request"]["body"].as_str().unwrap().to_owned()
}

/// Runs with the event of one report.
fn with_event(mut run: impl FnMut(&Event<'_>)) {
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
    let (sites, rules) = (SiteIndex::default(), Rules::default());
    decode(body().as_bytes(), 256, |item| {
        let report = normalize(item.unwrap(), &context, config::defaults().privacy, Mode::Full);
        let classification = classify(&report, &context, &sites, &rules);
        run(&Event {
            report: &report,
            classification,
            finding: Finding::new(&report, &classification),
            is_new: false,
            severity: report.evaluate(&classification).severity,
            summary: &(report.kind.summary)(&report),
            query: &[],
            client_address: None,
            span: None,
            sample_rate: None,
        });
    })
    .unwrap();
}

fn sdk_record(event: &Event<'_>, logger: &SdkLogger) -> SdkLogRecord {
    let mut record = logger.create_log_record();
    record.set_event_name("browser.report.csp_violation");
    record.set_timestamp(event.report.occurred.into());
    record.set_observed_timestamp(event.report.received.into());
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
    record
}

/// Each event is encoded once, and copied into its request.
#[divan::bench]
fn ours(bencher: Bencher<'_, '_>) {
    let mut bencher = Some(bencher);
    with_event(|event| {
        let (mut queue, mut scratch) = (Vec::new(), Vec::new());
        bencher.take().unwrap().counter(ItemsCount::new(BATCH)).bench_local(|| {
            queue.clear();
            (0..BATCH).for_each(|_| write_log_record(black_box(event), &mut queue, &mut scratch));
            Bytes::copy_from_slice(&queue)
        });
    });
}

/// Each event becomes a record, which the batch processor would put into a box for its thread, and each batch a
/// request. On one thread, so that all of it is counted.
#[divan::bench]
fn sdk(bencher: Bencher<'_, '_>) {
    let provider = SdkLoggerProvider::builder().build();
    let (logger, scope) = (provider.logger("lookoutd"), InstrumentationScope::builder("lookoutd").build());
    let exporter = exporter("http://localhost", Discard);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut bencher = Some(bencher);
    with_event(|event| {
        bencher.take().unwrap().counter(ItemsCount::new(BATCH)).bench_local(|| {
            let records: Vec<_> = (0..BATCH)
                .map(|_| Box::new((sdk_record(black_box(event), &logger), scope.clone())))
                .collect();
            let records: Vec<_> = records.iter().map(|record| (&record.0, &record.1)).collect();
            runtime.block_on(exporter.export(LogBatch::new(&records))).unwrap();
        });
    });
}

fn exporter(url: &str, client: impl HttpClient + 'static) -> LogExporter {
    let builder = LogExporter::builder().with_http().with_http_client(client);
    builder.with_protocol(Protocol::HttpBinary).with_endpoint(url).build().unwrap()
}

/// Takes requests without sending them.
#[derive(Debug)]
struct Discard;

#[async_trait]
impl HttpClient for Discard {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        black_box(request);
        Ok(Response::default())
    }
}

/// Sends requests, each over a connection of its own.
#[derive(Debug)]
struct Post(SocketAddr);

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut stream = TcpStream::connect(self.0)?;
        let length = request.body().len();
        write!(stream, "POST /v1/logs HTTP/1.1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n")?;
        stream.write_all(request.body())?;
        let (status, body) = read_message(&mut BufReader::new(stream)).ok_or("no response")?;
        let status = status.split(' ').nth(1).unwrap_or_default().parse::<u16>()?;
        Ok(Response::builder().status(status).body(body.into())?)
    }
}

/// Reads a request or a response with a length. Returns its first line and its body.
fn read_message(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let (mut first, mut line, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
    while reader.read_line(&mut line).ok()? > 2 {
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first, body))
}

/// Starts a collector that answers 503 until the end of the outage, then rejects one record of the first request.
/// Returns its address and the number of records that it accepted.
fn collector(outage_ends: Instant) -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, accepted) = (listener.local_addr().unwrap(), Arc::<AtomicU64>::default());
    let count = accepted.clone();
    let serve = move |stream: TcpStream| {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        while let Some((_, body)) = read_message(&mut reader) {
            let mut response = ExportLogsServiceResponse::default();
            let status = if Instant::now() < outage_ends {
                "503 Service Unavailable"
            } else {
                let request = ExportLogsServiceRequest::decode(&body[..])?;
                let records = request.resource_logs[0].scope_logs[0].log_records.len() as u64;
                if count.fetch_add(records, Ordering::SeqCst) == 0 {
                    count.fetch_sub(1, Ordering::SeqCst);
                    let error_message = "one is invalid".to_owned();
                    let rejected = ExportLogsPartialSuccess { rejected_log_records: 1, error_message };
                    response.partial_success = Some(rejected);
                }
                "200 OK"
            };
            let length = response.encoded_len();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/x-protobuf\r\ncontent-length: {length}"
            );
            stream.write_all(&[head.as_bytes(), b"\r\n\r\n", &response.encode_to_vec()].concat())?;
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            thread::spawn(move || serve(stream).unwrap_or_default());
        }
    });
    (address, accepted)
}

/// Emits 200 events a second both ways during an outage and for 2 s after it, and prints what the collectors accepted
/// and what each way counts.
fn outage(seconds: u64) {
    const INTERVAL: Duration = Duration::from_millis(5);
    let outage_ends = Instant::now() + Duration::from_secs(seconds);
    let ((our_address, ours), (sdk_address, sdk)) = (collector(outage_ends), collector(outage_ends));
    let mut child = Command::new(env!("CARGO_BIN_EXE_lookoutd"))
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{our_address}"))
        .env("OTEL_METRICS_EXPORTER", "none")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let first = lines.next().unwrap().unwrap();
    thread::spawn(move || lines.for_each(drop));
    let address = |name: &str| first.split(' ').find_map(|word| word.strip_prefix(name)).unwrap().to_owned();
    let (intake, admin) = (address("intake=http://"), address("admin=http://"));
    let post = |body: &str| {
        let mut stream = TcpStream::connect(&intake).unwrap();
        let length = body.len();
        let head = "POST /report HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/reports+json";
        write!(stream, "{head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    };
    let provider = SdkLoggerProvider::builder()
        .with_batch_exporter(exporter(&format!("http://{sdk_address}/v1/logs"), Post(sdk_address)))
        .build();
    let (logger, body, mut emitted) = (provider.logger("lookoutd"), body(), 0_u64);
    with_event(|event| {
        while Instant::now() < outage_ends + Duration::from_secs(2) {
            post(&body);
            logger.emit(sdk_record(event, &logger));
            emitted += 1;
            thread::sleep(INTERVAL);
        }
    });
    let flushed = provider.force_flush();
    // Longer than the longest backoff.
    let deadline = Instant::now() + Duration::from_secs(60);
    let counts = loop {
        let mut stream = TcpStream::connect(&admin).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut scrape = String::new();
        stream.read_to_string(&mut scrape).unwrap();
        let value = |outcome: &str| {
            let labels = [r#"exporter="otlp""#, &format!("outcome=\"{outcome}\"")].map(str::to_owned);
            let mut lines = scrape.lines().filter(|line| line.starts_with("lookout_events_total{"));
            let line = lines.find(|line| labels.iter().all(|label| line.contains(label)));
            line.and_then(|line| line.rsplit(' ').next()).map_or(0, |value| value.parse().unwrap())
        };
        let counts: [u64; 3] = ["delivered", "rejected", "dropped_queue_full"].map(value);
        if counts.iter().sum::<u64>() == emitted || Instant::now() > deadline {
            break counts;
        }
        thread::sleep(Duration::from_millis(100));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    let [ours, sdk] = [ours, sdk].map(|accepted| accepted.load(Ordering::SeqCst));
    println!("outage of {seconds} s    emitted  accepted   lost  what the sender counts");
    let [delivered, rejected, dropped] = counts;
    let counted = format!("delivered {delivered}, rejected {rejected}, dropped {dropped}");
    println!("lookoutd          {emitted:>7}  {ours:>8}  {:>5}  {counted}", emitted - ours);
    println!("SDK               {emitted:>7}  {sdk:>8}  {:>5}  the last flush: {flushed:?}", emitted - sdk);
}
