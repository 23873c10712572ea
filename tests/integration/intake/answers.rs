//! The response to each upload: methods, encodings, bodies without reports.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::check;
use crate::support::REPORT;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::Request;

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn report_with_any_content_type_is_accepted() {
    let daemon = Daemon::start();
    for content_type in ["application/reports+json", "application/csp-report", "text/plain", "nonsense", ""] {
        let request = Request::post("/report", REPORT).header("content-type", content_type);
        check(&daemon.send(&request, 1), 204);
    }
    daemon.until("lookout_uploads_total", &[("outcome", "accepted")], 5.0);
}

#[test]
fn formats_are_all_accepted_at_one_path() {
    let daemon = Daemon::start();
    for body in [
        r#"[{"type":"csp-violation","body":{}},{"type":"network-error","body":{}},{"type":"novel","body":{}}]"#,
        r#"{"type":"csp-violation","url":"https://shop.example/","body":{"blockedURL":"inline"}}"#,
        r#"{"csp-report":{"document-uri":"https://shop.example/","violated-directive":"img-src"}}"#,
        r#"{"csp-report":{"documentURI":"https://shop.example/","violatedDirective":"img-src"}}"#,
        r#"{"expect-ct-report":{"hostname":"shop.example","port":443}}"#,
        r#"{"expect-staple-report":{"hostname":"shop.example"}}"#,
        r#"{"hostname":"shop.example","response-status":"MISSING"}"#,
        r#"{"hostname":"shop.example","known-pins":[]}"#,
    ] {
        check(&daemon.post("/report", body), 204);
    }
    daemon.until("lookout_reports_total", &[("kind", "csp-violation")], 4.0);
}

#[test]
fn body_without_reports_gets_a_problem() {
    let daemon = Daemon::start();
    for (body, outcome) in [("no json", "invalid_json"), ("{}", "no_reports"), ("[]", "no_reports")] {
        let answer = daemon.post("/report", body);
        check(&answer, 400);
        daemon.until("lookout_uploads_total", &[("outcome", "invalid_json")], 1.0);
        assert!(daemon.scrape().sum("lookout_uploads_total", &[("outcome", outcome)]) > 0.0);
    }
}

#[test]
fn responses_never_reflect_the_request() {
    let daemon = Daemon::start();
    for request in [
        Request::post("/report/canary?canary=1", "canary").header("x-canary", "canary"),
        Request::post("/canary", "canary").header("origin", "https://canary.example"),
        Request::post("/report", "canary").header("cookie", "canary=1").header("content-encoding", "canary"),
        Request::new("OPTIONS", "/report")
            .header("origin", "https://canary.example")
            .header("access-control-request-headers", "x-canary"),
    ] {
        let answer = daemon.send(&request, 0);
        assert!(!format!("{:?}{}", answer.headers, answer.text()).contains("canary"), "{answer:?}");
    }
}

#[test]
fn other_methods_get_405_with_allow() {
    let daemon = Daemon::start();
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let answer = daemon.send(&Request::new(method, "/report"), 0);
        check(&answer, 405);
        assert_eq!(answer.header("allow"), Some("POST, OPTIONS"));
    }
    daemon.until("lookout_uploads_total", &[("outcome", "method_not_allowed")], 4.0);
}

#[test]
fn gzip_body_is_inflated() {
    let daemon = Daemon::start();
    for coding in ["gzip", "x-gzip", "GZIP"] {
        let request = Request::post("/report", gzip(REPORT.as_bytes())).header("content-encoding", coding);
        check(&daemon.send(&request, 1), 204);
    }
    check(&daemon.send(&Request::post("/report", REPORT).header("content-encoding", "identity"), 1), 204);
    let broken = Request::post("/report", REPORT).header("content-encoding", "gzip");
    check(&daemon.send(&broken, 0), 400);
    daemon.until("lookout_uploads_total", &[("outcome", "invalid_encoding")], 1.0);
}

#[test]
fn other_encodings_get_415() {
    let daemon = Daemon::start();
    for coding in ["br", "deflate", "zstd", "gzip, gzip", "gzip;q=1"] {
        let request = Request::post("/report", REPORT).header("content-encoding", coding);
        check(&daemon.send(&request, 0), 415);
    }
    daemon.until("lookout_uploads_total", &[("outcome", "unsupported_encoding")], 5.0);
}

#[test]
fn body_over_the_limit_gets_413() {
    let daemon = Setup::yaml("intake: { max_body_bytes: 64KiB }").start();
    let large = vec![b' '; 64 * 1024 + 1];
    let bomb = gzip(&vec![b' '; 20 << 20]);
    assert!(bomb.len() < 64 * 1024, "the bomb itself fits");
    check(&daemon.send(&Request::post("/report", &large), 0), 413);
    check(&daemon.send(&Request::post("/report", &large).chunked(), 0), 413);
    check(&daemon.send(&Request::post("/report", bomb).header("content-encoding", "gzip"), 0), 413);
    daemon.until("lookout_uploads_total", &[("outcome", "too_large")], 3.0);
    let fitting = format!("{REPORT}{}", " ".repeat(64 * 1024 - REPORT.len()));
    check(&daemon.send(&Request::post("/report", fitting).chunked(), 1), 204);
}

#[test]
fn preflight_on_every_intake_path_gets_204() {
    let daemon = Setup::yaml("sites: [{ name: shop }]").start();
    for path in ["/report", "/report/shop", "/", "/csp", "/csp/report-only", "/reporting-api/csp", "/nel"] {
        let answer = daemon.send(&Request::new("OPTIONS", path), 0);
        check(&answer, 204);
        assert_eq!(answer.header("access-control-max-age"), Some("86400"), "{path}");
    }
}
