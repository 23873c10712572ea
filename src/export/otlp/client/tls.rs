//! The client's side of TLS: rustls on ring, the system's roots or the user's, and mTLS.

use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};

use crate::config::ClientTls;
use crate::tls_files::{load_certificates, load_identity, load_roots};

/// Reads the files. The system's roots are read only for `https`, and only when no file replaces
/// them: a container without any is fine as long as nobody needs them.
pub(super) fn config(tls: &ClientTls, https: bool) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let builder = match &tls.certificate {
        Some(path) => builder.with_root_certificates(load_roots(path).map_err(|error| error.to_string())?),
        None if https => builder
            .with_native_roots()
            .map_err(|error| format!("the system's root certificates cannot be read: {error}"))?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    match (&tls.client_certificate, &tls.client_key) {
        (Some(certificate), Some(key)) => {
            let identity = load_certificates(certificate);
            let identity = identity.and_then(|certificates| load_identity(certificates, certificate, key));
            Ok(builder.with_client_cert_resolver(identity.map_err(|error| error.to_string())?))
        }
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err("a client certificate and a client key go together; one of them is missing".to_owned()),
    }
}
