//! TLS and mTLS against certificates made on the spot.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::client::{Client, ExportResult};
use super::testing::fake_collector::{self, FakeCollector, Reply};
use crate::config::{ClientTls, Endpoint, Protocol};
use crate::model::{ExportSignal, ExportStatus};

/// A certificate authority, with everything it signs in one directory.
struct Authority {
    directory: TempDir,
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.crt"), certificate.pem()).unwrap();
        Authority { directory, certificate, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes `name.crt` and `name.key`.
    fn sign(&self, name: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.crt")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    /// The server's side; with `mutual`, clients need a certificate of this authority.
    fn acceptor(&self, mutual: bool) -> TlsAcceptor {
        self.sign("server");
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if mutual {
            let mut roots = RootCertStore::empty();
            roots.add(self.certificate.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![CertificateDer::from_pem_file(self.path("server.crt")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }
}

async fn receiver(protocol: Protocol, acceptor: TlsAcceptor) -> FakeCollector {
    match protocol {
        Protocol::HttpProtobuf => fake_collector::http(Some(acceptor), |_| Reply::ok()).await,
        Protocol::Grpc => {
            fake_collector::grpc(Some(acceptor), |_| Some(Ok(ExportLogsServiceResponse::default()))).await
        }
    }
}

fn secure(receiver: &FakeCollector, tls: ClientTls) -> Endpoint {
    let endpoint = receiver.endpoint();
    Endpoint { url: endpoint.url.replace("http://", "https://"), tls, ..endpoint }
}

async fn send(endpoint: &Endpoint) -> ExportResult {
    Client::new(endpoint, ExportSignal::Logs).unwrap().send(Bytes::new()).await
}

#[tokio::test]
async fn the_users_authority_is_trusted_and_no_other() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let (ours, other) = (Authority::new(), Authority::new());
        let receiver = receiver(protocol, ours.acceptor(false)).await;
        let with = |certificate| ClientTls { certificate, ..ClientTls::default() };
        assert_eq!(send(&secure(&receiver, with(Some(ours.path("ca.crt"))))).await, ExportResult::Accepted);
        let result = send(&secure(&receiver, with(Some(other.path("ca.crt"))))).await;
        let ExportResult::Retryable { code: ExportStatus::Connect, message, .. } = result else {
            panic!("{result:?}")
        };
        assert!(message.contains("invalid peer certificate"), "{message}");
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_to_who_asks() {
    for protocol in [Protocol::HttpProtobuf, Protocol::Grpc] {
        let ours = Authority::new();
        ours.sign("client");
        let receiver = receiver(protocol, ours.acceptor(true)).await;
        let anonymous = ClientTls { certificate: Some(ours.path("ca.crt")), ..ClientTls::default() };
        let known = ClientTls {
            client_certificate: Some(ours.path("client.crt")),
            client_key: Some(ours.path("client.key")),
            ..anonymous.clone()
        };
        assert_eq!(send(&secure(&receiver, known)).await, ExportResult::Accepted);
        let result = send(&secure(&receiver, anonymous)).await;
        assert!(matches!(result, ExportResult::Retryable { .. }), "{result:?}");
    }
}

#[test]
fn files_that_cannot_work_are_named() {
    let ours = Authority::new();
    ours.sign("client");
    ours.sign("stranger");
    std::fs::write(ours.path("empty"), "").unwrap();
    let file = |name: &str| Some(ours.path(name));
    let error = |tls: ClientTls| {
        let endpoint = fake_collector::endpoint(([127, 0, 0, 1], 1).into(), Protocol::HttpProtobuf);
        Client::new(&Endpoint { tls, ..endpoint }, ExportSignal::Logs).unwrap_err()
    };
    let root = |certificate| error(ClientTls { certificate, ..ClientTls::default() });
    let identity = |client_certificate, client_key| {
        error(ClientTls { client_certificate, client_key, ..ClientTls::default() })
    };
    let named = |message: String, path: &Path, what: &str| {
        assert!(message.contains(path.to_str().unwrap()) && message.contains(what), "{message}");
    };
    named(root(file("missing")), &ours.path("missing"), "cannot be read");
    named(root(file("empty")), &ours.path("empty"), "holds no certificate");
    named(identity(file("client.crt"), file("client.crt")), &ours.path("client.crt"), "holds no private key");
    named(
        identity(file("client.crt"), file("stranger.key")),
        &ours.path("stranger.key"),
        "is not the key of",
    );
    assert!(identity(file("client.crt"), None).contains("one of them is missing"));
}
