//! Paths of intake: aliases, what path and query state about a report, sites, retired paths, and the separation
//! of intake and admin.

use serde_json::Value;

use super::check;
use crate::support::REPORT;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::Request;

/// A legacy report without a disposition.
const UNDECIDED: &str = r#"{"csp-report":{"document-uri":"https://shop.example/cart","violated-directive":"img-src","blocked-uri":"https://evil.example/p.png"}}"#;

fn event(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

#[test]
fn paths_all_accept_every_format() {
    let daemon = Daemon::start();
    let paths =
        ["/report", "/", "/csp", "/csp/report-only", "/reporting-api/csp", "/nel", "/nel/report-only"];
    for path in paths {
        check(&daemon.post(path, REPORT), 204);
        check(&daemon.post(path, UNDECIDED), 204);
    }
    daemon.until("lookout_reports_total", &[], 2.0 * paths.len() as f64);
}

#[test]
fn endpoint_sets_a_missing_disposition() {
    let daemon = Daemon::start();
    for (target, body, disposition) in [
        ("/csp", UNDECIDED, "unknown"),
        ("/csp/report-only", UNDECIDED, "report"),
        ("/report?disposition=report", UNDECIDED, "report"),
        ("/csp/report-only?disposition=enforce", UNDECIDED, "enforce"),
        ("/csp/report-only", REPORT, "enforce"),
    ] {
        let before = daemon.scrape().sum("lookout_csp_violations_total", &[("disposition", disposition)]);
        check(&daemon.post(target, body), 204);
        daemon.until("lookout_csp_violations_total", &[("disposition", disposition)], before + 1.0);
    }
}

#[test]
fn configured_query_parameters_become_attributes() {
    let daemon = Setup::yaml("intake: { query_attributes: [release, app] }").start();
    check(&daemon.post("/report?release=v1.2%20beta&secret=canary&app=web", REPORT), 204);
    let lines = daemon.stop();
    assert_eq!(event(&lines[0])["lookout"]["query"]["release"], "v1.2 beta");
    assert_eq!(event(&lines[0])["lookout"]["query"]["app"], "web");
    assert!(!lines[0].contains("canary"));
}

#[test]
fn path_with_an_unknown_site_gets_404() {
    let daemon = Setup::yaml("sites: [{ name: shop, hosts: [shop.example] }, { name: pay }]").start();
    check(&daemon.post("/report/pay", REPORT), 204);
    check(&daemon.post("/report/blog", REPORT), 404);
    check(&daemon.post("/report/", REPORT), 404);
    check(&daemon.post("/report/pay/more", REPORT), 404);
    daemon.until("lookout_reports_total", &[("site", "pay")], 1.0);
    daemon.until("lookout_uploads_total", &[("outcome", "unknown_site")], 1.0);
    daemon.until("lookout_uploads_total", &[("outcome", "unknown_path")], 2.0);
}

#[test]
fn retired_site_or_path_gets_410() {
    let yaml = "sites: [{ name: shop }, { name: old }]\nintake: { retired: [old, /csp] }";
    let daemon = Setup::yaml(yaml).start();
    check(&daemon.post("/report/old", REPORT), 410);
    check(&daemon.post("/csp", REPORT), 410);
    check(&daemon.post("/report/shop", REPORT), 204);
    check(&daemon.post("/csp/report-only", REPORT), 204);
    daemon.until("lookout_uploads_total", &[("outcome", "retired")], 2.0);
}

#[test]
fn paths_of_the_other_listener_get_404() {
    let daemon = Daemon::start();
    for path in ["/metrics", "/-/healthy", "/-/ready"] {
        check(&daemon.send(&Request::new("GET", path), 0), 404);
        check(&daemon.post(path, REPORT), 404);
    }
    for path in ["/report", "/csp", "/nel", "/reporting-api/csp", "/report/shop"] {
        let answer = Request::post(path, REPORT).send(daemon.admin);
        assert_eq!(answer.status, 404, "{path}");
    }
    assert_eq!(Request::post("/", REPORT).send(daemon.admin).status, 405);
    assert_eq!(daemon.scrape().sum("lookout_reports_total", &[]), 0.0);
}

#[test]
fn responses_to_unknown_paths_have_the_usual_headers() {
    let daemon = Daemon::start();
    check(&daemon.send(&Request::new("GET", "/favicon.ico"), 0), 404);
    check(&daemon.send(&Request::new("OPTIONS", "/nowhere"), 0), 404);
    check(&daemon.post("/Report", REPORT), 404);
    // Only POSTs are uploads.
    daemon.until("lookout_uploads_total", &[], 1.0);
}
