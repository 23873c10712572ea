//! TLS of both listeners: client certificates, certificates that have expired, and files of which only one is new.

use std::path::{Path, PathBuf};
use std::time::Duration;

use lookoutd::config::TlsFiles;
use lookoutd::http_client::Request;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::support::daemon::{Setup, kill};
use crate::support::lines::Lines;
use crate::support::{REPORT, eventually};

/// A certificate authority, with everything that it issues in one directory.
struct Authority {
    directory: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.crt"), params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { directory, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Issues a certificate that expires in this year, and returns its files.
    fn issue(&self, name: &str, until: i32) -> TlsFiles {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.not_after = date_time_ymd(until, 1, 1);
        let [certificate, private] = ["crt", "key"].map(|end| self.path(&format!("{name}.{end}")));
        std::fs::write(&certificate, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&private, key.serialize_pem()).unwrap();
        TlsFiles { certificate, key: private, client_ca: Some(self.path("ca.crt")) }
    }
}

fn settings(listener: &str, files: &TlsFiles, client_ca: Option<&Path>) -> String {
    let ca = client_ca.map(|file| format!(", client_ca: {file:?}")).unwrap_or_default();
    format!("{listener}: {{ tls: {{ certificate: {:?}, key: {:?}{ca} }} }}\n", files.certificate, files.key)
}

/// Posts a report with these root certificates and this certificate of the client. Returns the status.
fn post(url: &str, ca: Option<&Path>, own: Option<&TlsFiles>) -> Result<String, String> {
    let request = Request {
        method: "POST",
        url,
        socket: None,
        headers: &[],
        body: REPORT,
        ca,
        own,
        timeout: Duration::from_secs(10),
    };
    request.send().map(|response| response.status).map_err(|error| error.to_string())
}

#[test]
fn client_without_a_certificate_of_the_authority_is_rejected() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let yaml = settings("intake", &ours.issue("server", 2100), Some(&ours.path("ca.crt")));
    let daemon = Setup::yaml(&yaml).start();
    let url = format!("https://{}/report", daemon.intake);
    let ca = ours.path("ca.crt");
    assert_eq!(post(&url, Some(&ca), Some(&ours.issue("client", 2100))).unwrap(), "204 No Content");
    daemon.count(1);
    for client in [None, Some(&theirs.issue("client", 2100)), Some(&ours.issue("expired", 2021))] {
        let found = post(&url, Some(&ca), client);
        assert!(found.is_err(), "{client:?} {found:?}");
    }
    daemon.until("lookout_connection_errors_total", &[("reason", "handshake")], 3.0);
}

#[test]
fn admin_with_tls_serves_probes_of_its_own_settings() {
    let authority = Authority::new();
    let server = authority.issue("server", 2100);
    for client_ca in [None, Some(authority.path("ca.crt"))] {
        let yaml = settings("admin", &server, client_ca.as_deref());
        let (mut child, directory) = Setup::yaml(&yaml).spawn(|_| {});
        let stderr = Lines::of(child.stderr.take().unwrap());
        let first = stderr.containing("lookoutd listens");
        let admin = first.split_once("admin=https://").unwrap().1.split_whitespace().next().unwrap();
        let health = |arguments: &[&str]| {
            let setup = arguments.iter().fold(Setup::yaml(&yaml), |setup, word| setup.argument(word));
            setup.argument("--admin-listen").argument(admin).output()
        };
        for arguments in [&["health"][..], &["health", "--ready"]] {
            let output = health(arguments);
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        }
        let url = format!("https://{admin}/metrics");
        let get = |own| {
            let ca = authority.path("ca.crt");
            let (method, timeout) = ("GET", Duration::from_secs(10));
            Request { method, url: &url, socket: None, headers: &[], body: "", ca: Some(&ca), own, timeout }
                .send()
        };
        assert_eq!(get(None).is_ok(), client_ca.is_none());
        let metrics = get(Some(&authority.issue("client", 2100))).unwrap().text(1 << 20).unwrap();
        let expected = "lookout_tls_certificate_not_after_timestamp_seconds{listener=\"admin\"} 4102444800\n";
        assert!(metrics.contains(expected), "{metrics}");
        kill(&child, "TERM");
        assert_eq!(child.wait().unwrap().code(), Some(0));
        drop(directory);
    }
}

#[test]
fn expired_certificate_is_a_line_of_readiness() {
    let authority = Authority::new();
    let client = authority.issue("client", 2022);
    let yaml = settings("intake", &authority.issue("server", 2021), None)
        + &format!(
            "otlp: {{ endpoint: 'https://127.0.0.1:9', client_certificate: {:?}, client_key: {:?} }}\n\
             delivery: {{ shutdown_timeout: 500ms }}",
            client.certificate, client.key
        );
    let daemon = Setup::yaml(&yaml).start();
    let ready = daemon.get_admin("/-/ready");
    let lines = "ready\n\
        the certificate of intake expired at 2021-01-01T00:00:00Z\n\
        the certificate of otlp_logs_client expired at 2022-01-01T00:00:00Z\n\
        the certificate of otlp_metrics_client expired at 2022-01-01T00:00:00Z\n";
    assert_eq!((ready.status, ready.text().as_str()), (200, lines));
    let listed = daemon.get_admin("/api/v1/status").json()["certificates"].as_array().unwrap().len();
    assert_eq!(listed, 3);
}

#[test]
fn half_of_a_renewed_pair_is_not_used_until_the_other_half_is_there() {
    let (old, new) = (Authority::new(), Authority::new());
    for certificate_first in [true, false] {
        let files = old.issue("server", 2100);
        let renewed = new.issue("server", 2100);
        let daemon = Setup::yaml(&settings("intake", &files, None)).start();
        let url = format!("https://{}/report", daemon.intake);
        let accepts = |authority: &Authority| post(&url, Some(&authority.path("ca.crt")), None).is_ok();
        let replace = |is_certificate: bool| {
            let (from, to) = match is_certificate {
                true => (&renewed.certificate, &files.certificate),
                false => (&renewed.key, &files.key),
            };
            std::fs::copy(from, to).unwrap();
        };
        let failures = || daemon.scrape().sum("lookout_tls_reload_failures_total", &[("listener", "intake")]);
        assert_eq!(failures(), 0.0);
        replace(certificate_first);
        eventually("a failure", || if failures() > 0.0 { Ok(()) } else { Err(String::new()) });
        daemon.stderr.containing("is not the key of the first certificate in ");
        assert!(accepts(&old) && !accepts(&new), "the current certificate is not kept");
        replace(!certificate_first);
        daemon.stderr.containing("certificate reloaded");
        assert!(accepts(&new) && !accepts(&old), "the renewed certificate is not used");
        daemon.count(2);
        let before = failures();
        std::thread::sleep(Duration::from_millis(5500));
        assert_eq!(failures(), before, "it fails still");
    }
}

#[test]
fn client_ca_without_a_certificate_is_an_error_and_check_loads_it() {
    let authority = Authority::new();
    let files = authority.issue("server", 2100);
    let missing = authority.path("none.crt");
    for (yaml, message) in [
        (
            "admin: { tls: { client_ca: /x } }".to_owned(),
            "admin.tls.client_ca: requires admin.tls.certificate",
        ),
        (settings("admin", &files, Some(&missing)), "admin.tls.client_ca: "),
    ] {
        let output = Setup::yaml(&yaml).argument("check").output();
        let found = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{found}");
        assert!(found.contains(message), "{found}");
    }
}
