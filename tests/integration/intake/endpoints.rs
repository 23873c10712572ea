//! Paths of intake: aliases, what path and query state about a report, sites, retired paths, and the separation
//! of intake and admin.

use serde_json::Value;

use super::check;
use crate::support::REPORT;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::{Connection, Request};

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
    check(&daemon.post("/report/blog/", REPORT), 404);
    check(&daemon.post("/report//", REPORT), 404);
    check(&daemon.post("/report/pay/more", REPORT), 404);
    daemon.until("lookout_reports_total", &[("site", "pay")], 1.0);
    daemon.until("lookout_uploads_total", &[("outcome", "unknown_site")], 2.0);
    daemon.until("lookout_uploads_total", &[("outcome", "unknown_path")], 2.0);
}

#[test]
fn retired_site_or_path_gets_410() {
    let yaml = "sites: [{ name: shop }, { name: old }]\nintake: { retired: [old, /csp, /nel/] }";
    let daemon = Setup::yaml(yaml).start();
    check(&daemon.post("/report/old", REPORT), 410);
    check(&daemon.post("/report/old/", REPORT), 410);
    check(&daemon.post("/csp", REPORT), 410);
    check(&daemon.post("/csp/", REPORT), 410);
    check(&daemon.post("/nel", REPORT), 410);
    check(&daemon.post("/report/shop", REPORT), 204);
    check(&daemon.post("/csp/report-only", REPORT), 204);
    daemon.until("lookout_uploads_total", &[("outcome", "retired")], 5.0);
}

/// A slash at the end of an endpoint, as many configurations have it.
#[test]
fn trailing_slash_changes_nothing() {
    let daemon = Setup::yaml("sites: [{ name: shop }]").start();
    for path in ["/report/", "/report/shop/", "/csp/", "/csp/report-only/", "/reporting-api/csp/", "/nel/"] {
        check(&daemon.post(path, UNDECIDED), 204);
        check(&daemon.send(&Request::new("OPTIONS", path), 0), 204);
    }
    daemon.until("lookout_reports_total", &[("site", "shop")], 1.0);
    daemon.until("lookout_csp_violations_total", &[("disposition", "report")], 1.0);
}

#[test]
fn reports_to_an_unknown_path_are_logged_and_counted_by_client() {
    let daemon = Setup::yaml("intake: { trusted_proxies: [127.0.0.1] }").start();
    let clients = "lookout_unknown_path_clients_total";
    let post = |target: &str, content_type: &str, client: &str| {
        let request = Request::post(target, REPORT).header("content-type", content_type);
        check(&daemon.send(&request.header("x-forwarded-for", client), 0), 404);
    };
    post("/wp-login.php", "application/x-www-form-urlencoded", "192.0.2.1");
    daemon.until(clients, &[], 0.0);
    for content_type in ["application/reports+json", "application/csp-report; charset=utf-8"] {
        post("/csp-reports?token=canary", content_type, "192.0.2.1");
    }
    let line = daemon.stderr.containing("path that intake does not serve");
    assert!(
        line.contains("/csp-reports") && !line.contains("canary") && !line.contains("192.0.2.1"),
        "{line}"
    );
    for content_type in ["application/expect-ct-report+json", "application/tlsrpt+gzip"] {
        post("/elsewhere", content_type, "192.0.2.2");
    }
    daemon.until(clients, &[], 2.0);
    daemon.until("lookout_uploads_total", &[("outcome", "unknown_path")], 5.0);
    let lines = daemon.stderr.all();
    assert_eq!(
        lines.iter().filter(|line| line.contains("that intake does not serve")).count(),
        1,
        "{lines:#?}"
    );
}

#[test]
fn get_and_head_of_the_root_are_answered_200_and_are_no_uploads() {
    let daemon = Daemon::start();
    let get = daemon.send(&Request::new("GET", "/"), 0);
    check(&get, 200);
    assert!(get.text().ends_with('\n') && get.text().lines().count() == 1, "{}", get.text());
    let mut connection = Connection::open(daemon.intake);
    connection.write(b"HEAD / HTTP/1.1\r\nhost: r\r\nconnection: close\r\n\r\n").unwrap();
    assert_eq!(connection.head_to_the_end(), 200);
    daemon.until("lookout_uploads_total", &[], 0.0);
    let put = daemon.send(&Request::new("PUT", "/"), 0);
    check(&put, 405);
    assert_eq!(put.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
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
