//! TLS on intake and admin: rustls on ring, HTTP/2 by ALPN, and a certificate that is reloaded when its files change.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum_server::tls_rustls::RustlsConfig;
use jiff::Timestamp;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;

use crate::clock;
use crate::config::TlsFiles;
use crate::metrics::Registry;
use crate::model::{CertificateOwner, LabelEnum};
use crate::tls_files::{load_certificates, load_identity, load_roots, validity};

/// Protocols in order of preference.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
const POLL_INTERVAL: Duration = Duration::from_secs(5);
/// Time between two log lines about a certificate that is not valid.
const EXPIRY_WARNING_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// A file of a listener's TLS that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("{}.tls.{setting}: {problem}", owner.as_str())]
pub struct CertificateError {
    owner: CertificateOwner,
    setting: &'static str,
    problem: String,
}

struct Certificate {
    config: Arc<ServerConfig>,
    owner: CertificateOwner,
    file: PathBuf,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Certificate {
    /// Loads a certificate, which need not be valid now, and its key.
    fn load(owner: CertificateOwner, files: &TlsFiles) -> Result<Certificate, CertificateError> {
        let error = |setting, problem| CertificateError { owner, setting, problem };
        let file = files.certificate.clone();
        let chain = load_certificates(&file).map_err(|cause| error("certificate", cause.to_string()))?;
        let Some((not_before, not_after)) = validity(&chain) else {
            let problem = format!("{} holds a certificate that is not X.509", file.display());
            return Err(error("certificate", problem));
        };
        let identity = load_identity(chain, &file, &files.key);
        let identity = identity.map_err(|cause| error("key", cause.to_string()))?;
        let verifier = match &files.client_ca {
            None => WebPkiClientVerifier::no_client_auth(),
            Some(file) => {
                let roots = load_roots(file).map_err(|cause| error("client_ca", cause.to_string()))?;
                let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build();
                verifier.map_err(|cause| error("client_ca", cause.to_string()))?
            }
        };
        let mut config =
            ServerConfig::builder().with_client_cert_verifier(verifier).with_cert_resolver(identity);
        // Admin has no HTTP/2.
        let protocols = if owner == CertificateOwner::Intake { &ALPN[..] } else { &ALPN[1..] };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Certificate { config: Arc::new(config), owner, file, not_before, not_after })
    }

    fn check_validity(&self, now: Timestamp) -> Result<(), CertificateError> {
        let problem = if now < self.not_before {
            format!("{} is not valid before {}", self.file.display(), self.not_before)
        } else if now > self.not_after {
            format!("{} expired at {}", self.file.display(), self.not_after)
        } else {
            return Ok(());
        };
        Err(CertificateError { owner: self.owner, setting: "certificate", problem })
    }
}

/// Change time, which unlike the modification time cannot be set back, length, and inode of a file.
type FileFingerprint = Option<(i64, i64, u64, u64)>;

fn fingerprints(files: &TlsFiles) -> [FileFingerprint; 3] {
    let files = [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()];
    files.map(|file| fingerprint(file?))
}

fn fingerprint(file: &Path) -> FileFingerprint {
    let metadata = std::fs::metadata(file).ok()?;
    Some((metadata.ctime(), metadata.ctime_nsec(), metadata.len(), metadata.ino()))
}

/// The TLS of a listener.
pub struct Tls {
    files: TlsFiles,
    /// The configuration that each new connection uses.
    pub(super) config: RustlsConfig,
    certificate: Certificate,
    /// The files just before they were loaded.
    fingerprints: [FileFingerprint; 3],
    /// Why the files cannot be used, if they cannot.
    last_error: Option<String>,
    last_warning: Option<Instant>,
}

impl Tls {
    /// Loads certificate and key. An expired certificate is used, because a proxy may accept it.
    ///
    /// # Errors
    /// Returns an error if a file cannot be used, or if the two do not belong together.
    pub fn load(owner: CertificateOwner, files: &TlsFiles) -> Result<Tls, CertificateError> {
        // Fails only if a provider is already installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let fingerprints = fingerprints(files);
        let certificate = Certificate::load(owner, files)?;
        let config = RustlsConfig::from_config(certificate.config.clone());
        let files = files.clone();
        Ok(Tls { files, config, certificate, fingerprints, last_error: None, last_warning: None })
    }

    /// Returns when the certificate expires.
    pub fn not_after(&self) -> Timestamp {
        self.certificate.not_after
    }

    /// Reloads the files when one of them changes. Open connections stay.
    pub async fn watch(mut self, registry: Arc<Registry>) {
        let (owner, metrics) = (self.certificate.owner, &registry.self_metrics.intake);
        let not_after = metrics.certificate_not_after.with_label_values(&[owner.as_str()]);
        let mut interval = tokio::time::interval(POLL_INTERVAL);
        loop {
            interval.tick().await;
            self.poll_files();
            if self.last_error.is_some() {
                metrics.reload_failures[owner].inc();
            }
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
            tracing::error!(
                "{error}: clients reject it, and browsers send no reports; renew the certificate"
            );
            self.last_warning = Some(Instant::now());
        }
    }

    fn reload(&mut self, changed: bool) {
        let loaded = Certificate::load(self.certificate.owner, &self.files);
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
