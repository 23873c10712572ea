//! TLS configuration of the client: rustls on ring, the system's or the configured roots, and mTLS.

use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::config::ClientTls;
use crate::tls_files::{TlsFileError, load_certificates, load_identity, load_roots};

/// Error of [`config`].
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe the variants
pub enum TlsError {
    #[error("TLS cannot be set up: {0}")]
    Setup(#[from] rustls::Error),
    #[error("the system's root certificates cannot be read: {0}")]
    NativeRoots(#[from] std::io::Error),
    #[error("a client certificate and a client key go together; one of them is missing")]
    IncompleteIdentity,
    #[error(transparent)]
    File(#[from] TlsFileError),
}

/// Builds the configuration from the files. The system's roots are loaded only for `https`, and
/// only if no file replaces them, because a container without any is fine as long as none is
/// needed.
pub(super) fn config(tls: &ClientTls, https: bool) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder = match &tls.certificate {
        Some(path) => builder.with_root_certificates(load_roots(path)?),
        None if https => builder.with_native_roots()?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    match (&tls.client_certificate, &tls.client_key) {
        (Some(certificate), Some(key)) => {
            let identity = load_identity(load_certificates(certificate)?, certificate, key)?;
            Ok(builder.with_client_cert_resolver(identity))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err(TlsError::IncompleteIdentity),
    }
}
