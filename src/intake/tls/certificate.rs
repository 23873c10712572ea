//! The certificate of intake and its key, from their files: what is wrong with them is said in the words
//! of the files, not of the protocol.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys, ServerConfig};
use x509_parser::parse_x509_certificate;

use crate::config::TlsFiles;

/// HTTP/2 where the client knows it.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A certificate in use.
pub(super) struct Certificate {
    pub(super) config: Arc<ServerConfig>,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Certificate {
    /// Reads certificate and key, and finds out whether they can be used together.
    ///
    /// # Errors
    /// One message that says what is wrong with which file.
    pub(super) fn load(files: &TlsFiles) -> Result<Certificate, String> {
        let named = |what: &str, file: &Path| format!("intake.tls.{what}: {}", file.display());
        let (certificate, key) = (named("certificate", &files.certificate), named("key", &files.key));
        let chain = chain(&files.certificate).map_err(|problem| format!("{certificate} {problem}"))?;
        let (not_before, not_after) =
            validity(&chain).ok_or_else(|| format!("{certificate} holds a certificate that is not X.509"))?;
        let private_key = load_private_key(&files.key).map_err(|problem| format!("{key} {problem}"))?;
        let mut config = config(chain.clone(), &private_key).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                format!(
                    "{key} is {} in {}",
                    describe_key_mismatch(&chain, &private_key),
                    files.certificate.display()
                )
            }
            error => format!("{key} cannot be used: {error}"),
        })?;
        config.alpn_protocols = ALPN.map(<[u8]>::to_vec).into();
        Ok(Certificate { config: Arc::new(config), not_before, not_after })
    }

    /// Why browsers refuse the certificate now, if its time is the reason.
    pub(super) fn validity_error(&self, now: Timestamp) -> Option<String> {
        match now {
            now if now < self.not_before => Some(format!("is not valid before {}", self.not_before)),
            now if now > self.not_after => Some(format!("expired at {}", self.not_after)),
            _ => None,
        }
    }
}

fn config(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<ServerConfig, Error> {
    ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key.clone_key())
}

/// Whose key it is, if not the first one's: files are often put together in the wrong order.
fn describe_key_mismatch(chain: &[CertificateDer<'static>], key: &PrivateKeyDer<'_>) -> String {
    let at = chain.iter().position(|certificate| config(vec![certificate.clone()], key).is_ok());
    match at {
        Some(at) => format!("the key of certificate {}, which has to come first,", at + 1),
        None => "not the key of the first certificate".to_owned(),
    }
}

fn chain(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = std::fs::read(file).map_err(|error| format!("cannot be read: {error}"))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err("holds no certificate in PEM".to_owned()),
        Ok(chain) => Ok(chain),
        Err(_) => Err("holds a certificate in broken PEM".to_owned()),
    }
}

/// What is wrong with a key is said without a byte of it.
fn load_private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let read = std::fs::read(file).map_err(|error| format!("cannot be read: {error}"))?;
    // `BEGIN ENCRYPTED PRIVATE KEY`, or `Proc-Type: 4,ENCRYPTED` in one of an old kind.
    let encrypted = read.windows(9).any(|word| word == b"ENCRYPTED");
    PrivateKeyDer::from_pem_slice(&read).map_err(|error| match error {
        _ if encrypted => {
            "holds an encrypted private key, for which there is no password: decrypt it".to_owned()
        }
        pem::Error::NoItemsFound => "holds no private key in PEM".to_owned(),
        _ => "holds a private key in broken PEM".to_owned(),
    })
}

/// From when to when the first certificate is valid.
fn validity(chain: &[CertificateDer<'_>]) -> Option<(Timestamp, Timestamp)> {
    let (_, leaf) = parse_x509_certificate(chain.first()?).ok()?;
    let moment = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
    Some((moment(leaf.validity().not_before)?, moment(leaf.validity().not_after)?))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// Files as somebody put them there: valid in the year 2020, unless a test breaks them.
    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Files {
            let files = Files(tempfile::tempdir().unwrap());
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
            files.write("tls.crt", params.self_signed(&key).unwrap().pem());
            files.write("tls.key", key.serialize_pem());
            files
        }

        fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Files {
            std::fs::write(self.0.path().join(name), text).unwrap();
            self
        }

        fn read(&self, name: &str) -> String {
            std::fs::read_to_string(self.0.path().join(name)).unwrap()
        }

        fn load(&self) -> Result<Certificate, String> {
            let [certificate, key] = ["tls.crt", "tls.key"].map(|name| self.0.path().join(name));
            Certificate::load(&TlsFiles { certificate, key })
        }

        /// The error message, without the directory.
        fn load_error(&self) -> String {
            let message = self.load().err().expect("an error");
            message.replace(&format!("{}/", self.0.path().display()), "")
        }
    }

    fn install() {
        drop(rustls::crypto::ring::default_provider().install_default());
    }

    #[test]
    fn a_good_pair_loads_and_tells_its_time() {
        install();
        let certificate = Files::new().load().ok().unwrap();
        assert_eq!(certificate.config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        let at = |text: &str| certificate.validity_error(text.parse().unwrap());
        assert_eq!(at("2020-06-01T00:00:00Z"), None);
        assert_eq!(at("2019-12-31T23:59:59Z").unwrap(), "is not valid before 2020-01-01T00:00:00Z");
        assert_eq!(at("2021-01-01T00:00:01Z").unwrap(), "expired at 2021-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_wrong_is_said_of_the_right_file() {
        install();
        let begin = "-----BEGIN CERTIFICATE-----\n";
        let end = "-----END CERTIFICATE-----\n";
        for (certificate, message) in [
            (String::new(), "holds no certificate in PEM"),
            ("junk".to_owned(), "holds no certificate in PEM"),
            (Files::new().read("tls.key"), "holds no certificate in PEM"),
            (format!("{begin}!\n{end}"), "holds a certificate in broken PEM"),
            (format!("{begin}AAAA\n"), "holds a certificate in broken PEM"),
            (format!("{begin}AAAA\n{end}"), "holds a certificate that is not X.509"),
        ] {
            let found = Files::new().write("tls.crt", &certificate).load_error();
            assert_eq!(found, format!("intake.tls.certificate: tls.crt {message}"), "{certificate}");
        }
        for (key, message) in [
            ("", "holds no private key in PEM"),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
                "holds an encrypted private key, for which there is no password: decrypt it",
            ),
            (
                "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n\
                 -----END EC PRIVATE KEY-----\n",
                "holds an encrypted private key, for which there is no password: decrypt it",
            ),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n", "holds a private key in broken PEM"),
            (&Files::new().read("tls.key"), "is not the key of the first certificate in tls.crt"),
        ] {
            let found = Files::new().write("tls.key", key).load_error();
            assert_eq!(found, format!("intake.tls.key: tls.key {message}"), "{key}");
        }
        let files = Files::new();
        let leaf_last = Files::new().read("tls.crt") + &files.read("tls.crt");
        let found = files.write("tls.crt", leaf_last).load_error();
        let expected = "tls.key is the key of certificate 2, which has to come first, in tls.crt";
        assert_eq!(found, format!("intake.tls.key: {expected}"));
        let unusable = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let found = Files::new().write("tls.key", unusable).load_error();
        assert!(found.starts_with("intake.tls.key: tls.key cannot be used: "), "{found}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_with_the_reason() {
        install();
        for (name, what) in [("tls.crt", "certificate"), ("tls.key", "key")] {
            let files = Files::new();
            std::fs::remove_file(files.0.path().join(name)).unwrap();
            let expected = format!("intake.tls.{what}: {name} cannot be read: No such file or directory");
            assert!(files.load_error().starts_with(&expected), "{}", files.load_error());
        }
    }
}
