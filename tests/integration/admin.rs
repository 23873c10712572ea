//! Admin: health, readiness, the scrape, credentials.

use std::io::Read;

use lookoutd::config::{Config, ListenAddress};
use lookoutd::model::{
    EventOutcome, ExportSignal, ExportStatus, ExporterId, LabelEnum, PendingState, RejectReason,
    UploadOutcome,
};
use lookoutd::probe::{self, Probe};

use crate::support::REPORT;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::Request;
use crate::support::scrape::Scrape;

#[test]
fn probes_and_index_get_200() {
    let daemon = Daemon::start();
    for path in ["/-/healthy", "/-/ready", "/"] {
        assert_eq!(daemon.get_admin(path).status, 200, "{path}");
    }
    assert_eq!(daemon.get_admin("/nowhere").status, 404);
}

#[test]
fn failing_export_makes_unready_but_not_unhealthy() {
    let daemon = Setup::yaml("admin: { unready_after: 1s }\ndelivery: { shutdown_timeout: 500ms }")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
        .start();
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    crate::support::eventually("unready", || {
        let answer = daemon.get_admin("/-/ready");
        if answer.status == 503 { Ok(()) } else { Err(answer.text()) }
    });
    assert_eq!(daemon.get_admin("/-/healthy").status, 200);
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    probe::run(&of(&daemon), Probe::Healthy).unwrap();
    let message = probe::run(&of(&daemon), Probe::Ready).unwrap_err().to_string();
    assert!(message.contains(" answers 503 Service Unavailable: not ready: the export of "), "{message}");
}

/// Returns the settings of a daemon that matter to a probe.
fn of(daemon: &Daemon) -> Config {
    Config { admin_listen: ListenAddress::Tcp(daemon.admin), ..Config::default() }
}

#[test]
fn probe_of_a_protected_admin_succeeds() {
    let daemon = Setup::yaml("admin: { auth: { bearer: t0ken } }").authorized("Bearer t0ken").start();
    probe::run(&of(&daemon), Probe::Healthy).unwrap();
    probe::run(&of(&daemon), Probe::Ready).unwrap();
}

#[test]
fn scrape_with_accept_encoding_is_gzipped() {
    let daemon = Daemon::start();
    daemon.post("/report", REPORT);
    let plain = daemon.get_admin("/metrics");
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4"));
    assert_eq!(plain.header("content-encoding"), None);
    let zipped = Request::new("GET", "/metrics").header("accept-encoding", "gzip").send(daemon.admin);
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&*zipped.body).read_to_string(&mut text).unwrap();
    assert_eq!(Scrape::parse(&text).sum("lookout_reports_total", &[]), 1.0);
}

/// Paths of admin, and whether they require credentials.
const PATHS: [(&str, bool); 6] = [
    ("/metrics", true),
    ("/", true),
    ("/nowhere", true),
    ("/-/nowhere", true),
    ("/-/healthy", false),
    ("/-/ready", false),
];

#[test]
fn requests_without_credentials_get_401_except_probes() {
    let daemon = Setup::yaml("admin: { auth: { bearer: t0ken, username: scraper, password: pass } }")
        .authorized("Bearer t0ken")
        .start();
    for (path, protected) in PATHS {
        for wrong in [None, Some("Bearer t0kem"), Some("Bearer"), Some("Basic t0ken"), Some("t0ken")] {
            let request = Request::new("GET", path);
            let answer = match wrong {
                None => request.send(daemon.admin),
                Some(wrong) => request.header("authorization", wrong).send(daemon.admin),
            };
            assert_eq!(answer.status == 401, protected, "{path} with {wrong:?}: {answer:?}");
            let challenges: Vec<_> =
                answer.headers.iter().filter(|(name, _)| name == "www-authenticate").collect();
            assert_eq!(challenges.len(), if protected { 2 } else { 0 }, "{challenges:?}");
            assert!(!answer.text().contains("lookout_"), "{answer:?}");
        }
        // `scraper:pass`
        for right in ["Bearer t0ken", "Basic c2NyYXBlcjpwYXNz"] {
            let answer = Request::new("GET", path).header("authorization", right).send(daemon.admin);
            assert_eq!(
                answer.status,
                if path.ends_with("nowhere") { 404 } else { 200 },
                "{path} with {right}"
            );
        }
    }
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    let everything = daemon.stderr.all().concat() + &daemon.stop().concat();
    assert!(!everything.contains("t0ken"), "{everything}");
}

/// A page whose name was made to resolve to this address reads nothing; scrapes and probes by the name of a service
/// work until there is a list.
#[test]
fn requests_by_an_unlisted_host_name_get_403() {
    let unlisted = Daemon::start();
    let listed = Setup::yaml("admin: { hosts: [lookoutd.example, '*.corp.example'] }").start();
    let address = unlisted.admin.to_string();
    for (host, path, without, with) in [
        (&*address, "/", 200, 200),
        ("localhost", "/", 200, 200),
        ("[::1]:18480", "/nowhere", 404, 404),
        ("lookoutd.example", "/", 403, 200),
        ("a.corp.example:18480", "/", 403, 200),
        ("evil.example", "/", 403, 403),
        ("evil.example", "/nowhere", 403, 403),
        ("evil.example", "/metrics", 200, 403),
        ("evil.example", "/-/healthy", 200, 403),
        ("evil.example", "/-/ready", 200, 403),
        ("evil.example", "http://localhost/", 403, 403),
        ("localhost", "http://evil.example/", 403, 403),
    ] {
        let status =
            |daemon: &Daemon| Request::new("GET", path).header("host", host).send(daemon.admin).status;
        assert_eq!((status(&unlisted), status(&listed)), (without, with), "{host} {path}");
    }
    let post = Request::new("POST", "/-/healthy").header("host", "evil.example").send(unlisted.admin);
    assert_eq!(post.status, 403);
    assert!(post.text().contains("admin.hosts"), "{post:?}");
}

#[test]
fn secrets_from_files_and_variables_are_used() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "t0ken\n").unwrap();
    let named = |variable: &str, value: &str, authorization: &str| {
        Setup::default().variable(variable, value).authorized(authorization)
    };
    let path = file.path().to_str().unwrap();
    for setup in [
        named("LOOKOUT_ADMIN_AUTH_BEARER_FILE", path, "Bearer t0ken"),
        named("LOOKOUT_ADMIN_AUTH_BEARER", "t0ken", "Bearer t0ken"),
        // `scraper:t0ken`
        named("LOOKOUT_ADMIN_AUTH_PASSWORD_FILE", path, "Basic c2NyYXBlcjp0MGtlbg==")
            .variable("LOOKOUT_ADMIN_AUTH_USERNAME", "scraper"),
    ] {
        let daemon = setup.start();
        assert_eq!(Request::new("GET", "/metrics").send(daemon.admin).status, 401);
        assert_eq!(daemon.get_admin("/metrics").status, 200);
    }
}

#[test]
fn unreadable_secret_exits_with_code_1() {
    let yaml = "{ listen: 127.0.0.1:0, admin_listen: 127.0.0.1:0, admin: { auth: { bearer_file: absent } } }";
    let output = Setup::yaml(yaml).output();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("admin.auth.bearer_file: absent: "), "{stderr}");
}

#[test]
fn printed_settings_mask_secrets() {
    let yaml = "admin: { auth: { bearer: t0ken, username: scraper, password: pass-w0rd } }";
    let output = Setup::yaml(yaml).argument("config").output();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(!printed.contains("t0ken") && !printed.contains("pass-w0rd"), "{printed}");
    assert_eq!(printed.matches("\"***\"").count(), 2, "{printed}");
}

/// So that a dashboard can distinguish 0 from absent.
#[test]
fn bounded_label_sets_are_exported_from_the_start() {
    let scrape = Daemon::start().scrape();
    let is_there = |name: &str, labels: &[(&str, &str)]| {
        assert_eq!(scrape.of(name, labels).count(), 1, "{name} {labels:?}");
    };
    for outcome in UploadOutcome::ALL {
        is_there("lookout_uploads_total", &[("outcome", outcome.as_str())]);
    }
    for reason in RejectReason::ALL {
        is_there("lookout_reports_rejected_total", &[("reason", reason.as_str())]);
    }
    for exporter in ExporterId::ALL.iter().map(|it| ("exporter", it.as_str())) {
        for outcome in EventOutcome::ALL {
            is_there("lookout_events_total", &[exporter, ("outcome", outcome.as_str())]);
        }
        for state in PendingState::ALL {
            is_there("lookout_events_pending", &[exporter, ("state", state.as_str())]);
        }
    }
    for signal in ExportSignal::ALL.iter().map(|it| ("signal", it.as_str())) {
        for code in ExportStatus::ALL {
            is_there("lookout_export_requests_total", &[signal, ("code", code.as_str())]);
        }
    }
    for name in ["lookout_build_info", "lookout_connections", "lookout_uploads_in_flight"] {
        is_there(name, &[]);
    }
    is_there("process_resident_memory_bytes", &[]);
}

/// `metrics.max_series` limits the scrape as a whole.
#[test]
fn flood_of_sites_and_origins_stays_within_max_series() {
    let limit = 2000;
    let daemon = Setup::yaml(&format!("metrics: {{ max_series: {limit} }}")).start();
    let report = |n: usize| {
        format!(
            r#"{{"type":"csp-violation","url":"https://s{n}.example/","body":{{"effectiveDirective":"img-src","blockedURL":"https://b{n}.example/"}}}}"#
        )
    };
    for batch in 0..20 {
        let items: Vec<_> = (0..250).map(|n| report(batch * 250 + n)).collect();
        assert_eq!(daemon.post("/report", format!("[{}]", items.join(","))).status, 204);
    }
    let scrape = daemon.settle();
    assert!(scrape.samples().len() <= limit, "{} samples", scrape.samples().len());
    assert_eq!(scrape.sum("lookout_csp_violations_total", &[]), 5000.0);
    assert!(scrape.sum("lookout_series_overflow_total", &[]) > 0.0);
}
