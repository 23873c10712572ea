//! TLS on intake: rustls on ring, HTTP/2 by ALPN, and certificates that may be renewed underneath.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use axum_server::tls_rustls::RustlsConfig;

use crate::clock;
use crate::config::TlsFiles;
use crate::intake::tls::certificate::Certificate;

/// How often the files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// How often it is said that the certificate is out of date.
const EXPIRY_WARNING_INTERVAL: Duration = Duration::from_secs(6 * 3600);

/// What tells one content of a file from another without reading it: when anything about it changed (which
/// nobody can set back, other than the time of its content), how long it is, and which file it is.
type FileFingerprint = Option<(i64, i64, u64, u64)>;

/// The TLS of intake.
pub struct Tls {
    files: TlsFiles,
    /// What the listening ends look at for each new connection.
    pub config: RustlsConfig,
    certificate: Certificate,
    /// The files as they were just before they were read.
    fingerprints: [FileFingerprint; 2],
    /// What is wrong with them, if they could not be used.
    last_error: Option<String>,
    last_warning: Option<Instant>,
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
        let fingerprints = fingerprints(files);
        let certificate = Certificate::load(files)?;
        let config = RustlsConfig::from_config(certificate.config.clone());
        Ok(Tls {
            files: files.clone(),
            config,
            certificate,
            fingerprints,
            last_error: None,
            last_warning: None,
        })
    }

    /// Reads the files again whenever one of them has changed. Open connections stay. What cannot be used
    /// is logged, and what was read before stays in use.
    pub async fn watch(mut self) {
        let mut interval = tokio::time::interval(WATCH_INTERVAL);
        loop {
            interval.tick().await;
            self.poll_files();
        }
    }

    /// What could not be used is tried again without a change, too: a certificate becomes valid, and a file
    /// readable, by itself.
    fn poll_files(&mut self) {
        let now = fingerprints(&self.files);
        let changed = now != self.fingerprints;
        if changed || self.last_error.is_some() {
            self.fingerprints = now;
            self.reload(changed);
        }
        self.warn_if_expired();
    }

    fn reload(&mut self, changed: bool) {
        match self.load_replacement() {
            Err(problem) => {
                if changed || self.last_error.as_ref() != Some(&problem) {
                    tracing::error!("{problem}; the earlier certificate stays in use");
                }
                self.last_error = Some(problem);
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

    /// # Errors
    /// What is wrong with the new files.
    fn load_replacement(&self) -> Result<Certificate, String> {
        let certificate = Certificate::load(&self.files)?;
        match certificate.validity_error(clock::now()) {
            None => Ok(certificate),
            Some(problem) => {
                Err(format!("intake.tls.certificate: {} {problem}", self.files.certificate.display()))
            }
        }
    }

    /// A certificate goes out of date without a change of its file.
    fn warn_if_expired(&mut self) {
        if self.last_warning.is_some_and(|last| last.elapsed() < EXPIRY_WARNING_INTERVAL) {
            return;
        }
        if let Some(problem) = self.certificate.validity_error(clock::now()) {
            let file = self.files.certificate.display();
            tracing::error!("intake.tls.certificate: {file} {problem}: browsers refuse it and send nothing");
            self.last_warning = Some(Instant::now());
        }
    }
}

fn fingerprints(files: &TlsFiles) -> [FileFingerprint; 2] {
    [&files.certificate, &files.key].map(|file| fingerprint(file).ok())
}

fn fingerprint(file: &Path) -> io::Result<(i64, i64, u64, u64)> {
    let metadata = std::fs::metadata(file)?;
    Ok((metadata.ctime(), metadata.ctime_nsec(), metadata.len(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// Calls `done` until it says so.
    fn eventually(what: &str, mut done: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < end, "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Writes a new pair that is valid from so many seconds after now.
    fn write_pair(files: &TlsFiles, valid_in: i64) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let from = clock::now().as_second() + valid_in;
        params.not_before = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(from as u64);
        std::fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_certificate_of_tomorrow_is_taken_up_when_it_is_valid() {
        let directory = tempfile::tempdir().unwrap();
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| directory.path().join(name));
        let files = TlsFiles { certificate, key };
        write_pair(&files, -60);
        let mut tls = Tls::load(&files).unwrap();
        let first = tls.certificate.config.clone();
        write_pair(&files, 2);
        tls.poll_files();
        assert!(tls.last_error.as_ref().unwrap().contains("is not valid before"), "{:?}", tls.last_error);
        assert!(std::sync::Arc::ptr_eq(&first, &tls.certificate.config), "the earlier one stays");
        eventually("it is not taken up, though it is valid now", || {
            tls.poll_files();
            tls.last_error.is_none()
        });
        assert!(!std::sync::Arc::ptr_eq(&first, &tls.certificate.config));
    }

    #[test]
    fn a_file_that_was_written_over_is_another_whatever_its_time_says() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "aaaa").unwrap();
        let (before, time) =
            (fingerprint(file.path()).unwrap(), file.as_file().metadata().unwrap().modified());
        eventually("it looks the same", || {
            std::fs::write(file.path(), "bbbb").unwrap();
            file.as_file().set_modified(*time.as_ref().unwrap()).unwrap();
            fingerprint(file.path()).unwrap() != before
        });
    }
}
