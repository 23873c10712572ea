//! TLS on intake: rustls on ring, HTTP/2 by ALPN, and a certificate that is reloaded when its files change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum_server::tls_rustls::RustlsConfig;
use jiff::Timestamp;
use prometheus::IntGauge;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use crate::clock;
use crate::config::TlsFiles;
use crate::tls_files::{TlsFileError, load_certificates, load_identity};

/// Protocols in order of preference.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two log lines about a certificate that is not valid.
const EXPIRY_WARNING_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// Why a certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("intake.tls.certificate: {0}")]
    Certificate(TlsFileError),
    #[error("intake.tls.key: {0}")]
    Key(TlsFileError),
    #[error("intake.tls.certificate: {} holds a certificate that is not X.509", .0.display())]
    NotX509(PathBuf),
    #[error("intake.tls.certificate: {} is not valid before {}", .0.display(), .1)]
    NotYetValid(PathBuf, Timestamp),
    #[error("intake.tls.certificate: {} expired at {}", .0.display(), .1)]
    Expired(PathBuf, Timestamp),
}

struct Certificate {
    config: Arc<ServerConfig>,
    file: PathBuf,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Certificate {
    /// Loads a certificate, which need not be valid now, and its key.
    fn load(files: &TlsFiles) -> Result<Certificate, CertificateError> {
        let file = files.certificate.clone();
        let chain = load_certificates(&file).map_err(CertificateError::Certificate)?;
        let Some((not_before, not_after)) = validity(&chain) else {
            return Err(CertificateError::NotX509(file));
        };
        let identity = load_identity(chain, &file, &files.key).map_err(CertificateError::Key)?;
        let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(identity);
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
        Ok(Certificate { config: Arc::new(config), file, not_before, not_after })
    }

    fn check_validity(&self, now: Timestamp) -> Result<(), CertificateError> {
        if now < self.not_before {
            return Err(CertificateError::NotYetValid(self.file.clone(), self.not_before));
        }
        if now > self.not_after {
            return Err(CertificateError::Expired(self.file.clone(), self.not_after));
        }
        Ok(())
    }
}

/// Returns the start and the end of the first certificate's validity.
fn validity(chain: &[CertificateDer<'_>]) -> Option<(Timestamp, Timestamp)> {
    let (_, leaf) = parse_x509_certificate(chain.first()?).ok()?;
    let timestamp = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((timestamp(leaf.validity().not_before)?, timestamp(leaf.validity().not_after)?))
}

/// Change time, which unlike the modification time cannot be set back, length, and inode of a file.
type FileFingerprint = Option<(i64, i64, u64, u64)>;

fn fingerprints(files: &TlsFiles) -> [FileFingerprint; 2] {
    [&files.certificate, &files.key].map(|file| fingerprint(file))
}

fn fingerprint(file: &Path) -> FileFingerprint {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.ctime(), metadata.ctime_nsec(), metadata.len(), metadata.ino()))
}

/// The TLS of intake.
pub struct Tls {
    files: TlsFiles,
    /// The configuration that each new connection uses.
    pub config: RustlsConfig,
    certificate: Certificate,
    /// The files just before they were loaded.
    fingerprints: [FileFingerprint; 2],
    /// Why the files cannot be used, if they cannot.
    last_error: Option<String>,
    last_warning: Option<Instant>,
}

impl Tls {
    /// Loads certificate and key. An expired certificate is used, because a proxy may accept it.
    ///
    /// # Errors
    /// Returns an error if a file cannot be used, or if the two do not belong together.
    pub fn load(files: &TlsFiles) -> Result<Tls, CertificateError> {
        // Fails only if a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fingerprints = fingerprints(files);
        let certificate = Certificate::load(files)?;
        let config = RustlsConfig::from_config(certificate.config.clone());
        let files = files.clone();
        Ok(Tls { files, config, certificate, fingerprints, last_error: None, last_warning: None })
    }

    /// Reloads the files when one of them changes. Open connections stay.
    /// `not_after`: its expiry in Unix seconds.
    pub async fn watch(mut self, not_after: IntGauge) {
        let mut interval = tokio::time::interval(POLL_INTERVAL);
        loop {
            interval.tick().await;
            self.poll_files();
            not_after.set(self.certificate.not_after.as_second());
        }
    }

    fn poll_files(&mut self) {
        let now = fingerprints(&self.files);
        let changed = now != self.fingerprints;
        // Retries without a change, too, because a certificate may become valid, or a file readable.
        if changed || self.last_error.is_some() {
            self.fingerprints = now;
            self.reload(changed);
        }
        let warned = self.last_warning.is_some_and(|last| last.elapsed() < EXPIRY_WARNING_INTERVAL);
        if let Err(error) = self.certificate.check_validity(clock::now())
            && !warned
        {
            tracing::error!("{error}: browsers reject it and send no reports; renew the certificate");
            self.last_warning = Some(Instant::now());
        }
    }

    fn reload(&mut self, changed: bool) {
        let loaded = Certificate::load(&self.files);
        match loaded.and_then(|certificate| certificate.check_validity(clock::now()).map(|()| certificate)) {
            Err(error) => {
                let error = error.to_string();
                if changed || self.last_error.as_ref() != Some(&error) {
                    tracing::error!("{error}; keeping the current certificate");
                }
                self.last_error = Some(error);
            }
            Ok(certificate) => {
                self.last_error = None;
                self.config.reload_from_config(certificate.config.clone());
                self.certificate = certificate;
                self.last_warning = None;
                tracing::info!(certificate = %self.files.certificate.display(), "certificate reloaded");
            }
        }
    }
}

#[cfg(test)]
mod tests;
