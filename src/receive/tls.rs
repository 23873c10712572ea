//! TLS on intake: rustls on ring, HTTP/2 by ALPN, and certificates that may be renewed underneath.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use axum_server::tls_rustls::RustlsConfig;

use crate::clock;
use crate::config::settings::TlsFiles;
use crate::receive::certificate::Certificate;

/// How often the files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// How often it is said that the certificate is out of date.
const REMIND_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// What tells one content of a file from another without reading it.
type Stamp = Option<(SystemTime, u64, u64)>;

/// The TLS of intake.
pub struct Tls {
    files: TlsFiles,
    /// What the listening ends look at for each new connection.
    pub config: RustlsConfig,
    certificate: Certificate,
    /// The files as they were just before they were read.
    read: [Stamp; 2],
    reminded: Option<Instant>,
}

impl Tls {
    /// Reads certificate and key. One that is out of date serves all the same: proxies may not mind, and
    /// it may be renewed at any moment.
    ///
    /// # Errors
    /// One message that says what is wrong with which file.
    pub fn load(files: &TlsFiles) -> Result<Tls, String> {
        // Fails only when a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let read = stamps(files);
        let certificate = Certificate::load(files)?;
        let config = RustlsConfig::from_config(certificate.config.clone());
        Ok(Tls { files: files.clone(), config, certificate, read, reminded: None })
    }

    /// Reads the files again whenever one of them has changed. Open connections stay. What cannot be used
    /// is logged, and what was read before stays in use.
    pub async fn watch(mut self) {
        let mut interval = tokio::time::interval(WATCH_INTERVAL);
        loop {
            interval.tick().await;
            let now = stamps(&self.files);
            if now != self.read {
                self.read = now;
                self.reload();
            }
            self.remind();
        }
    }

    fn reload(&mut self) {
        match self.replacement() {
            Err(problem) => tracing::error!("{problem}; the earlier certificate stays in use"),
            Ok(certificate) => {
                self.config.reload_from_config(certificate.config.clone());
                self.certificate = certificate;
                self.reminded = None;
                tracing::info!(certificate = %self.files.certificate.display(), "certificate reloaded");
            }
        }
    }

    /// # Errors
    /// What is wrong with the new files.
    fn replacement(&self) -> Result<Certificate, String> {
        let certificate = Certificate::load(&self.files)?;
        match certificate.out_of_date(clock::now()) {
            None => Ok(certificate),
            Some(problem) => {
                Err(format!("intake.tls.certificate: {} {problem}", self.files.certificate.display()))
            }
        }
    }

    /// A certificate goes out of date without a change of its file.
    fn remind(&mut self) {
        if self.reminded.is_some_and(|last| last.elapsed() < REMIND_INTERVAL) {
            return;
        }
        if let Some(problem) = self.certificate.out_of_date(clock::now()) {
            let file = self.files.certificate.display();
            tracing::error!("intake.tls.certificate: {file} {problem}: browsers refuse it and send nothing");
            self.reminded = Some(Instant::now());
        }
    }
}

fn stamps(files: &TlsFiles) -> [Stamp; 2] {
    [&files.certificate, &files.key].map(|file| stamp(file).ok())
}

fn stamp(file: &Path) -> io::Result<(SystemTime, u64, u64)> {
    let metadata = std::fs::metadata(file)?;
    Ok((metadata.modified()?, metadata.len(), metadata.ino()))
}
