//! A blocking HTTP client for commands: one connection per request, over TLS if the URL is `https`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_rustls::ConfigBuilderExt;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme, StreamOwned};

use crate::config::TlsFiles;
use crate::tls_files::{load_certificates, load_identity, load_roots};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_HEAD_BYTES: u64 = 64 << 10;

/// A request.
#[derive(Debug)]
#[allow(missing_docs)] // as in HTTP
pub struct Request<'r> {
    pub method: &'r str,
    pub url: &'r str,
    /// The Unix socket to connect to, instead of the URL's host.
    pub socket: Option<&'r Path>,
    pub headers: &'r [(&'r str, &'r str)],
    pub body: &'r str,
    /// PEM file with the only trusted root certificates; otherwise the system's.
    pub ca: Option<&'r Path>,
    /// The TLS files of the daemon, if the request goes to its own listener: its certificate is that of a name, not
    /// of this address, and is not verified; if it requires a client certificate, its own is presented.
    pub own: Option<&'r TlsFiles>,
    /// Maximum time of each read.
    pub timeout: Duration,
}

/// A response whose body has not been read.
pub struct Response {
    /// Code and reason, such as `204 No Content`.
    pub status: String,
    headers: Vec<(String, String)>,
    /// The body; it ends with the connection.
    pub body: Box<dyn BufRead>,
}

impl Response {
    /// Returns a header's value; empty if it is absent.
    pub fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        header.map_or("", |(_, value)| value)
    }

    /// Returns the start of the body as text, at most `max` bytes.
    ///
    /// # Errors
    /// Returns an error if the connection fails.
    pub fn text(self, max: u64) -> io::Result<String> {
        let mut text = Vec::new();
        self.body.take(max).read_to_end(&mut text).map_err(timed_out)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

impl Request<'_> {
    /// Sends the request, and reads the response's head. A GET uses HTTP/1.0, so that the body has no framing.
    ///
    /// # Errors
    /// Returns an error if the URL or the CA file cannot be used, or there is no HTTP response.
    pub fn send(&self) -> io::Result<Response> {
        let uri: Uri = self.url.parse().map_err(io::Error::other)?;
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let (Some(scheme @ ("http" | "https")), Some(authority)) = (uri.scheme_str(), authority) else {
            let problem = "expected a URL such as http://127.0.0.1:18480, without credentials";
            return Err(io::Error::other(problem));
        };
        let host = authority.host().trim_matches(['[', ']']);
        let port = authority.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
        let stream = self.connect(host, port)?;
        let mut stream: Box<dyn Stream> = if scheme == "https" {
            let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
            let tls = ClientConnection::new(Arc::new(self.tls()?), name).map_err(io::Error::other)?;
            Box::new(StreamOwned::new(tls, stream))
        } else {
            stream
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let version = if self.method == "GET" { "1.0" } else { "1.1" };
        let mut head =
            format!("{} {path} HTTP/{version}\r\nHost: {authority}\r\nConnection: close\r\n", self.method);
        for (name, value) in self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if self.method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        stream.write_all(format!("{head}\r\n{}", self.body).as_bytes())?;
        stream.flush()?;
        read_head(BufReader::new(stream)).map_err(timed_out)
    }

    fn connect(&self, host: &str, port: u16) -> io::Result<Box<dyn Stream>> {
        // A read or write with a timeout is the same for both kinds of sockets.
        let socket: OwnedFd = match self.socket {
            Some(path) => UnixStream::connect(path)?.into(),
            None => connect(host, port)?.into(),
        };
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(self.timeout))?;
        stream.set_write_timeout(Some(self.timeout))?;
        Ok(Box::new(stream))
    }

    fn tls(&self) -> io::Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = match (self.ca, self.own) {
            (Some(file), _) => builder.with_root_certificates(load_roots(file).map_err(io::Error::other)?),
            (None, Some(_)) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified)),
            (None, None) => builder.with_native_roots()?,
        };
        let Some(TlsFiles { certificate, key, client_ca: Some(_) }) = self.own else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = load_certificates(certificate).map_err(io::Error::other)?;
        let identity = load_identity(chain, certificate, key).map_err(io::Error::other)?;
        Ok(builder.with_client_cert_resolver(identity))
    }
}

/// Accepts every certificate of a server on this machine.
#[derive(Debug)]
struct Unverified;

type Signature = Result<HandshakeSignatureValid, Error>;

#[rustfmt::skip]
impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self, _: &CertificateDer<'_>, _: &[CertificateDer<'_>], _: &ServerName<'_>, _: &[u8], _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Signature {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Signature {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// Connects to the first address of a host that accepts.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn read_head(mut stream: BufReader<Box<dyn Stream>>) -> io::Result<Response> {
    let lines = stream.by_ref().take(MAX_HEAD_BYTES).lines();
    let lines = lines.take_while(|line| !line.as_ref().is_ok_and(String::is_empty));
    let lines = lines.collect::<io::Result<Vec<_>>>()?;
    let status = lines.first().and_then(|line| line.strip_prefix("HTTP/1.")?.split_once(' '));
    let status = status.ok_or_else(|| io::Error::other("the response is not HTTP"))?.1.to_owned();
    let headers = lines[1..].iter().filter_map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    });
    Ok(Response { status, headers: headers.collect(), body: Box::new(stream) })
}

/// A read that times out has no error of its own on every system.
fn timed_out(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    }
}
