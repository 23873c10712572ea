//! Certificates and private keys in PEM files, with errors about the files instead of the TLS protocol.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, RootCertStore};
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

/// A file that cannot be used, and why. The message contains nothing of the file.
#[derive(Debug, thiserror::Error)]
#[error("{} {problem}", file.display())]
pub struct TlsFileError {
    file: PathBuf,
    problem: String,
}

fn error(file: &Path, problem: impl Into<String>) -> TlsFileError {
    TlsFileError { file: file.to_owned(), problem: problem.into() }
}

/// Loads the certificates of a file.
///
/// # Errors
/// Returns an error if the file contains no certificate in PEM.
pub fn load_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(error(file, "holds no certificate in PEM")),
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(error(file, "holds a certificate in broken PEM")),
    }
}

/// Returns the start and the end of the first certificate's validity.
pub fn validity(chain: &[CertificateDer<'_>]) -> Option<(Timestamp, Timestamp)> {
    let (_, leaf) = parse_x509_certificate(chain.first()?).ok()?;
    let timestamp = |time: ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((timestamp(leaf.validity().not_before)?, timestamp(leaf.validity().not_after)?))
}

/// Loads the root certificates of a file.
///
/// # Errors
/// Returns an error if the file contains no certificate, or an invalid one.
pub fn load_roots(file: &Path) -> Result<RootCertStore, TlsFileError> {
    let mut roots = RootCertStore::empty();
    for certificate in load_certificates(file)? {
        let unusable = |cause| error(file, format!("holds a certificate that cannot be used: {cause}"));
        roots.add(certificate).map_err(unusable)?;
    }
    Ok(roots)
}

/// Loads the private key of the first of `certificates`, which come from `certificate_file`.
///
/// # Errors
/// Returns an error if the file contains no usable private key, or that of another certificate.
pub fn load_identity(
    certificates: Vec<CertificateDer<'static>>,
    certificate_file: &Path,
    key_file: &Path,
) -> Result<Arc<SingleCertAndKey>, TlsFileError> {
    let key = load_private_key(key_file)?;
    let certify = |certificates: Vec<_>| {
        CertifiedKey::from_der(certificates, key.clone_key(), &ring::default_provider())
    };
    let problem = match certify(certificates.clone()) {
        Ok(identity) => return Ok(Arc::new(identity.into())),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let owner = certificates.into_iter().position(|certificate| certify(vec![certificate]).is_ok());
            let file = certificate_file.display();
            match owner.map(|index| index + 1) {
                // Files are often concatenated in the wrong order.
                Some(number) => {
                    format!("is the key of certificate {number}, which has to come first, in {file}")
                }
                None => format!("is not the key of the first certificate in {file}"),
            }
        }
        Err(cause) => format!("cannot be used: {cause}"),
    };
    Err(error(key_file, problem))
}

fn load_private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsFileError> {
    let text = read(file)?;
    // `BEGIN ENCRYPTED PRIVATE KEY`, or `Proc-Type: 4,ENCRYPTED` in an old format.
    let encrypted = text.windows(9).any(|word| word == b"ENCRYPTED");
    let problem = match PrivateKeyDer::from_pem_slice(&text) {
        Ok(key) => return Ok(key),
        Err(_) if encrypted => "holds an encrypted private key, for which there is no password: decrypt it",
        Err(pem::Error::NoItemsFound) => "holds no private key in PEM",
        Err(_) => "holds a private key in broken PEM",
    };
    Err(error(file, problem))
}

fn read(file: &Path) -> Result<Vec<u8>, TlsFileError> {
    std::fs::read(file).map_err(|cause| error(file, format!("cannot be read: {cause}")))
}
