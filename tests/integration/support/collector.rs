//! A collector that accepts OTLP logs over HTTP and records them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use prost::Message;

/// The address of a collector, and what it received.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    records: Arc<Mutex<Vec<LogRecord>>>,
    authorizations: Arc<Mutex<Vec<String>>>,
}

impl Collector {
    /// Starts a collector, which runs to the end of the tests.
    pub(crate) fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let records = Arc::<Mutex<Vec<LogRecord>>>::default();
        let authorizations = Arc::<Mutex<Vec<String>>>::default();
        let (all, credentials) = (records.clone(), authorizations.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (all, credentials) = (all.clone(), credentials.clone());
                std::thread::spawn(move || serve(stream, &all, &credentials));
            }
        });
        Collector { address, records, authorizations }
    }

    pub(crate) fn records(&self) -> Vec<LogRecord> {
        self.records.lock().unwrap().clone()
    }

    /// The credentials of the last request.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.authorizations.lock().unwrap().last().cloned()
    }
}

/// Answers requests until the connection closes.
fn serve(stream: TcpStream, records: &Mutex<Vec<LogRecord>>, authorizations: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        let (mut length, mut line) = (0, String::new());
        while reader.read_line(&mut line).is_ok_and(|bytes| bytes > 2) {
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if let Some(value) = line.strip_prefix("authorization:") {
                authorizations.lock().unwrap().push(value.trim().to_owned());
            }
            line.clear();
        }
        if line != "\r\n" {
            return;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let request = ExportLogsServiceRequest::decode(&body[..]).expect("a request of logs");
        let scopes = request.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
        records.lock().unwrap().extend(scopes.flat_map(|scope| scope.log_records));
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
        if stream.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}
