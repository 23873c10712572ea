//! Tests of intake's TLS: files that cannot be used, and the reload.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};

use super::*;

/// A certificate that is valid in the year 2020, and its key, until a test replaces a file.
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

    fn load(&self) -> Result<Certificate, CertificateError> {
        let [certificate, key] = ["tls.crt", "tls.key"].map(|name| self.0.path().join(name));
        Certificate::load(CertificateOwner::Intake, &TlsFiles { certificate, key, client_ca: None })
    }

    /// The error message, without the directory.
    fn load_error(&self) -> String {
        let error = self.load().err().expect("an error");
        error.to_string().replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn install() {
    drop(rustls::crypto::ring::default_provider().install_default());
}

#[test]
fn certificate_with_its_key_loads_with_its_validity() {
    install();
    let files = Files::new();
    let certificate = files.load().ok().unwrap();
    assert_eq!(certificate.config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
    let error = |text: &str| certificate.check_validity(text.parse().unwrap()).unwrap_err().to_string();
    assert!(certificate.check_validity("2020-06-01T00:00:00Z".parse().unwrap()).is_ok());
    let file = certificate.file.display();
    for (moment, problem) in [
        ("2019-12-31T23:59:59Z", "is not valid before 2020-01-01T00:00:00Z"),
        ("2021-01-01T00:00:01Z", "expired at 2021-01-01T00:00:00Z"),
    ] {
        assert_eq!(error(moment), format!("intake.tls.certificate: {file} {problem}"));
    }
}

#[test]
fn unusable_file_is_an_error_with_its_name_and_the_problem() {
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
fn missing_file_is_an_error_with_its_name_and_the_reason() {
    install();
    for (name, what) in [("tls.crt", "certificate"), ("tls.key", "key")] {
        let files = Files::new();
        std::fs::remove_file(files.0.path().join(name)).unwrap();
        let expected = format!("intake.tls.{what}: {name} cannot be read: No such file or directory");
        assert!(files.load_error().starts_with(&expected), "{}", files.load_error());
    }
}

/// Polls until `done` returns true.
fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !done() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Writes a certificate that is valid in `valid_in` seconds, and its key.
fn write_pair(files: &TlsFiles, valid_in: i64) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let from = clock::now().as_second() + valid_in;
    params.not_before = date_time_ymd(1970, 1, 1) + Duration::from_secs(from as u64);
    std::fs::write(&files.certificate, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&files.key, key.serialize_pem()).unwrap();
}

#[test]
fn renewed_certificate_that_is_not_valid_yet_is_used_once_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key] = ["tls.crt", "tls.key"].map(|name| directory.path().join(name));
    let files = TlsFiles { certificate, key, client_ca: None };
    write_pair(&files, -60);
    let mut tls = Tls::load(CertificateOwner::Intake, &files).unwrap();
    let first = tls.certificate.config.clone();
    write_pair(&files, 2);
    tls.poll_files();
    assert!(tls.last_error.as_ref().unwrap().contains("is not valid before"), "{:?}", tls.last_error);
    assert!(Arc::ptr_eq(&first, &tls.certificate.config), "the current one stays");
    eventually("the certificate is not used, though it is valid now", || {
        tls.poll_files();
        tls.last_error.is_none()
    });
    assert!(!Arc::ptr_eq(&first, &tls.certificate.config));
}

#[test]
fn fingerprint_of_an_overwritten_file_differs_with_the_same_modification_time() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "aaaa").unwrap();
    let before = fingerprint(file.path()).unwrap();
    let time = file.as_file().metadata().unwrap().modified();
    eventually("the fingerprint is the same", || {
        std::fs::write(file.path(), "bbbb").unwrap();
        file.as_file().set_modified(*time.as_ref().unwrap()).unwrap();
        fingerprint(file.path()).unwrap() != before
    });
}
