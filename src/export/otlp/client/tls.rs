//! The client's side of TLS: rustls on ring, the system's roots or the user's, and mTLS.

use std::path::Path;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use crate::config::ClientTls;

/// Reads the files. The system's roots are read only for `https`, and only when no file replaces
/// them: a container without any is fine as long as nobody needs them.
pub(super) fn config(tls: &ClientTls, https: bool) -> Result<ClientConfig, String> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?;
    let builder = match &tls.certificate {
        Some(path) => builder.with_root_certificates(roots(path)?),
        None if https => builder
            .with_native_roots()
            .map_err(|error| format!("the system's root certificates cannot be read: {error}"))?,
        None => builder.with_root_certificates(RootCertStore::empty()),
    };
    match (&tls.client_certificate, &tls.client_key) {
        (Some(certificate), Some(key)) => with_identity(builder, certificate, key),
        (None, None) => Ok(builder.with_no_client_auth()),
        _ => Err("a client certificate and a client key go together; one of them is missing".to_owned()),
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(roots)
}

fn with_identity(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    certificate: &Path,
    key: &Path,
) -> Result<ClientConfig, String> {
    let private = PrivateKeyDer::from_pem_slice(&read_file(key)?)
        .map_err(|error| format!("{} holds no private key in PEM: {error}", key.display()))?;
    builder
        .with_client_auth_cert(certificates(certificate)?, private)
        .map_err(|error| format!("{} and {}: {error}", certificate.display(), key.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read_file(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{} is not PEM: {error}", path.display()))?;
    if certificates.is_empty() {
        return Err(format!("{} holds no certificate in PEM", path.display()));
    }
    Ok(certificates)
}

fn read_file(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}
