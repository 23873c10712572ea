//! TLS on intake: rustls on ring, HTTP/2 by ALPN, and certificates that may be renewed underneath.

use std::path::Path;
use std::time::{Duration, SystemTime};

use axum_server::tls_rustls::RustlsConfig;

use crate::config::settings::TlsFiles;

/// How often the files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);

/// Reads certificate and key.
///
/// # Errors
/// One message that names the files.
pub async fn load(files: &TlsFiles) -> Result<RustlsConfig, String> {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    RustlsConfig::from_pem_file(&files.certificate, &files.key).await.map_err(|error| explain(files, &error))
}

fn explain(files: &TlsFiles, error: &std::io::Error) -> String {
    format!(
        "intake.tls: expected a PEM certificate chain in {} and its private key in {}: {error}",
        files.certificate.display(),
        files.key.display()
    )
}

/// Reloads the files whenever one of them has changed, without dropping a connection. What cannot be
/// loaded is logged, and what was loaded before stays in use.
pub async fn watch(files: TlsFiles, config: RustlsConfig) {
    let mut seen = (modified(&files.certificate), modified(&files.key));
    let mut interval = tokio::time::interval(WATCH_INTERVAL);
    loop {
        interval.tick().await;
        let now = (modified(&files.certificate), modified(&files.key));
        if now == seen {
            continue;
        }
        seen = now;
        match config.reload_from_pem_file(&files.certificate, &files.key).await {
            Ok(()) => tracing::info!(certificate = %files.certificate.display(), "certificate reloaded"),
            Err(error) => {
                tracing::error!("{}; the earlier certificate stays in use", explain(&files, &error))
            }
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).ok()?.modified().ok()
}
