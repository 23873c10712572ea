//! `intake.paths`: the paths of other services.

use super::check;
use crate::support::REPORT;
use crate::support::daemon::Setup;
use crate::support::http::Request;

/// A legacy report without a disposition.
const UNDECIDED: &str = r#"{"csp-report":{"document-uri":"https://shop.example/cart","violated-directive":"img-src","blocked-uri":"https://evil.example/p.png"}}"#;

const YAML: &str = "sites: [{ name: shop, hosts: [shop.example] }, { name: blog, keys: [apple-tree] }]
intake:
  paths:
    /r/d/csp/enforce: { site: shop, disposition: enforce }
    /r/t/csp/reportOnly: { disposition: report }
    /api/42/security/: { site: shop }
    /api/43/security/: { site: blog }
    /old/*: { site: blog }
  query_attributes: [sentry_release]
";

#[test]
fn mapped_paths_are_served_as_the_others_are() {
    let daemon = Setup::yaml(YAML).start();
    for (target, body, site, disposition) in [
        ("/r/d/csp/enforce", UNDECIDED, "shop", "enforce"),
        ("/r/d/csp/enforce/", UNDECIDED, "shop", "enforce"),
        ("/r/t/csp/reportOnly", UNDECIDED, "shop", "report"),
        ("/r/t/csp/reportOnly", REPORT, "shop", "enforce"),
        ("/r/t/csp/reportOnly?disposition=enforce", UNDECIDED, "shop", "enforce"),
        ("/api/42/security?sentry_key=canary&sentry_release=v1", UNDECIDED, "shop", "unknown"),
        ("/api/42/security/?sentry_key=canary", UNDECIDED, "shop", "unknown"),
        ("/api/43/security/?sentry_key=canary&key=apple-tree", UNDECIDED, "blog", "unknown"),
        ("/old/a/b/c/report-only?key=apple-tree", UNDECIDED, "blog", "report"),
    ] {
        let labels = [("site", site), ("disposition", disposition)];
        let before = daemon.scrape().sum("lookout_csp_violations_total", &labels);
        check(&daemon.post(target, body), 204);
        daemon.until("lookout_csp_violations_total", &labels, before + 1.0);
        check(&daemon.send(&Request::new("OPTIONS", target), 0), 204);
        check(&daemon.send(&Request::new("GET", target), 0), 405);
    }
    for target in ["/r/d/csp", "/R/d/csp/enforce", "/api/42/security/more", "/api/44/security/", "/old"] {
        check(&daemon.post(target, UNDECIDED), 404);
        check(&daemon.send(&Request::new("OPTIONS", target), 0), 404);
    }
    for target in ["/api/43/security/?sentry_key=apple-tree", "/old/apple-tree"] {
        check(&daemon.post(target, UNDECIDED), 404);
    }
    daemon.until("lookout_uploads_total", &[("outcome", "unknown_path")], 5.0);
    daemon.until("lookout_uploads_total", &[("outcome", "bad_key")], 2.0);
    let rejected = daemon.get_admin("/api/v1/rejected?limit=1000").text();
    let events = daemon.get_admin("/api/v1/events?detail=true&limit=1000").text();
    let lines = daemon.stop().join("\n");
    assert!(lines.contains(r#""query":{"sentry_release":"v1"}"#), "{lines}");
    for text in [rejected, events, lines] {
        assert!(!text.contains("canary"), "{text}");
    }
}

#[test]
fn mapped_path_can_be_retired() {
    let daemon = Setup::yaml(&format!("{YAML}  retired: [/r/d/csp/enforce/]\n")).start();
    check(&daemon.post("/r/d/csp/enforce", REPORT), 410);
    check(&daemon.post("/r/t/csp/reportOnly", REPORT), 204);
}

#[test]
fn map_in_a_variable_is_the_one_of_a_file() {
    let paths = "{ /r/d/csp/enforce: { disposition: enforce } }";
    let daemon = Setup::default().variable("LOOKOUT_INTAKE_PATHS", paths).start();
    check(&daemon.post("/r/d/csp/enforce", UNDECIDED), 204);
    daemon.until("lookout_csp_violations_total", &[("disposition", "enforce")], 1.0);
}
