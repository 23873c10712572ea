//! Configured sites: the site of a report, reports of unknown sites, and a site's limit of events.

use crate::support::REPORT;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::Connection;

fn report_of(host: &str) -> String {
    REPORT.replace("https://shop.example/", &format!("https://{host}/"))
}

#[test]
fn hosts_of_no_site_count_as_unknown() {
    let yaml = "sites: [{ name: shop, hosts: [shop.example, '*.shop.example'] }, { name: pay, hosts: ['*.pay.shop.example'] }]";
    let daemon = Setup::yaml(yaml).start();
    for host in ["shop.example", "www.shop.example", "eu.pay.shop.example", "evilshop.example"] {
        assert_eq!(daemon.post("/report", report_of(host)).status, 204);
    }
    for (site, reports) in [("shop", 2.0), ("pay", 1.0), ("unknown", 1.0)] {
        daemon.until("lookout_reports_total", &[("site", site)], reports);
    }
}

#[test]
fn host_without_configured_sites_is_the_site() {
    let daemon = Daemon::start();
    daemon.post("/report", report_of("a.example"));
    daemon.post("/report", r#"{"type":"novel","body":{}}"#);
    daemon.until("lookout_reports_total", &[("site", "a.example")], 1.0);
    daemon.until("lookout_reports_total", &[("site", "unknown")], 1.0);
}

#[test]
fn reports_of_unknown_sites_are_rejected_if_configured() {
    let yaml = "sites: [{ name: shop, hosts: [shop.example] }]\nintake: { unknown_sites: reject }";
    let daemon = Setup::yaml(yaml).start();
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    // Not an error, because a client would repeat the upload.
    assert_eq!(daemon.post("/report", report_of("evil.example")).status, 204);
    assert_eq!(daemon.post("/report/shop", report_of("evil.example")).status, 204);
    daemon.until("lookout_reports_rejected_total", &[("reason", "unknown_site")], 1.0);
    daemon.until("lookout_uploads_total", &[("outcome", "reports_unknown_site")], 1.0);
    daemon.until("lookout_reports_total", &[("site", "shop")], 2.0);
    assert_eq!(daemon.stop().len(), 2);
}

/// A report of an `about:srcdoc` frame in the site.
const FRAME: &str = r#"[{"type":"csp-violation","age":1,"url":"about:srcdoc","body":{"documentURL":"about:srcdoc","referrer":"https://shop.example/cart","sourceFile":"https://shop.example/app.js","blockedURL":"inline","effectiveDirective":"script-src","disposition":"enforce"}}]"#;

#[test]
fn frame_without_an_address_is_of_the_site_that_embeds_it() {
    let yaml = "sites: [{ name: shop, hosts: [shop.example] }]\nintake: { unknown_sites: reject }";
    let daemon = Setup::yaml(yaml).start();
    assert_eq!(daemon.post("/report", FRAME).status, 204);
    assert_eq!(daemon.post("/report", FRAME.replace("shop.example", "evil.example")).status, 204);
    daemon.until("lookout_reports_total", &[("site", "shop")], 1.0);
    daemon.until("lookout_reports_rejected_total", &[("reason", "unknown_site")], 1.0);
    let events = daemon.stop();
    assert_eq!(events.len(), 1);
    assert!(events[0].contains(r#""severity":"ERROR""#), "{}", events[0]);
}

#[test]
fn intranet_in_the_settings_has_errors() {
    let yaml = "sites: [{ name: intranet, hosts: [portal.corp.local] }]";
    let daemon = Setup::yaml(yaml).start();
    assert_eq!(daemon.post("/report", report_of("portal.corp.local")).status, 204);
    daemon.until("lookout_csp_violations_total", &[("site", "intranet"), ("noise", "none")], 1.0);
    let events = daemon.stop();
    assert!(events[0].contains(r#""severity":"ERROR""#), "{}", events[0]);
}

#[test]
fn page_of_an_extension_is_of_no_site() {
    let daemon = Daemon::start();
    let report = FRAME.replace("about:srcdoc", "chrome-extension://abcdefghijklmnop/popup.html");
    daemon.post("/report", report);
    daemon.until("lookout_csp_violations_total", &[("site", "unknown"), ("noise", "extension")], 1.0);
    let events = daemon.stop();
    assert!(events[0].contains(r#""severity":"INFO""#), "{}", events[0]);
}

#[test]
fn events_over_the_sites_limit_are_capped_and_counters_stay_exact() {
    let yaml = "sites: [{ name: shop, hosts: [shop.example], events_per_second: 5 }]";
    let daemon = Setup::yaml(yaml).start();
    let body = format!("[{}]", [&REPORT[1..REPORT.len() - 1]; 200].join(","));
    assert_eq!(daemon.post("/report", body).status, 204);
    let scrape = daemon.settle();
    assert_eq!(scrape.sum("lookout_csp_violations_total", &[("site", "shop")]), 200.0);
    // An upload has one time of receipt, so that the limit of exactly one second applies.
    assert_eq!(scrape.sum("lookout_events_total", &[("exporter", "console"), ("outcome", "capped")]), 195.0);
    assert_eq!(daemon.stop().len(), 5);
}

/// Without configured sites, a client can invent any number of them.
#[test]
fn events_over_the_limit_of_all_are_capped_and_counters_stay_exact() {
    let limits = "events: { max_per_second: 20, max_unknown_per_second: 5 }";
    let sites = "sites: [{ name: shop, hosts: [shop.example] }]";
    for (yaml, known, unknown) in [
        (format!("{limits}\n{sites}"), 15, 5),
        (limits.to_owned(), 20, 0),
        (format!("events: {{ max_per_second: off, max_unknown_per_second: off }}\n{sites}"), 60, 60),
    ] {
        let daemon = Setup::yaml(&yaml).start();
        let report = |site: &str, host: &str| {
            format!(r#"{{"type":"csp-violation","url":"https://{host}/","body":{{"sample":"{site}"}}}}"#)
        };
        let items: Vec<_> = (0..60)
            .flat_map(|n| [report("b", &format!("s{n}.example")), report("a", "shop.example")])
            .collect();
        assert_eq!(daemon.post("/report", format!("[{}]", items.join(","))).status, 204);
        let scrape = daemon.settle();
        assert_eq!(scrape.sum("lookout_csp_violations_total", &[]), 120.0);
        let capped = scrape.sum("lookout_events_total", &[("exporter", "console"), ("outcome", "capped")]);
        assert_eq!(capped, f64::from(120 - known - unknown), "{yaml}");
        let lines = daemon.stop();
        let of_unknown = lines.iter().filter(|line| line.contains("\"site\":\"unknown\"")).count();
        assert_eq!((lines.len(), of_unknown), ((known + unknown) as usize, unknown as usize), "{yaml}");
    }
}

/// One upload of 40 successes with tiny fractions had made a share of failures of 17 % one of 0.1 %.
#[test]
fn weight_of_a_network_report_is_limited_by_its_site() {
    let yaml = "sites: [{ name: shop, hosts: [shop.example] }, { name: big, hosts: [big.example], \
                min_sampling_fraction: 0.000030517578125 }]";
    let body = |host: &str, fraction: &str| {
        format!(
            r#"[{{"type":"network-error","url":"https://{host}/","body":{{"type":"ok","sampling_fraction":{fraction}}}}}]"#
        )
    };
    for (yaml, hosts) in [
        (
            yaml,
            [
                ("shop.example", "shop", 1e3),
                ("big.example", "big", 32768.0),
                ("evil.example", "unknown", 1e3),
            ],
        ),
        (
            "",
            [
                ("shop.example", "shop.example", 1e3),
                ("a.example", "a.example", 1e3),
                ("b.example", "b.example", 1e3),
            ],
        ),
    ] {
        let daemon = Setup::yaml(yaml).start();
        for (host, site, max) in hosts {
            for fraction in ["1e-9", "0.5"] {
                assert_eq!(daemon.post("/report", body(host, fraction)).status, 204);
            }
            daemon.until("lookout_network_requests_estimated_total", &[("site", site)], max + 2.0);
            daemon.until("lookout_network_reports_total", &[("site", site)], 2.0);
        }
    }
}

/// Uploads that begin in several seconds and end in one share the limit of that second.
#[test]
fn events_of_slow_uploads_share_the_second_of_their_end() {
    const UPLOADS: usize = 4;
    let yaml = "sites: [{ name: shop, hosts: [shop.example], events_per_second: 5 }]";
    let daemon = Setup::yaml(yaml).start();
    let body = format!("[{}]", [&REPORT[1..REPORT.len() - 1]; 20].join(","));
    let upload = format!("POST /report HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let (most, end) = upload.split_at(upload.len() - 1);
    let mut connections = Vec::new();
    for _ in 0..UPLOADS {
        let mut connection = Connection::open(daemon.intake);
        connection.write(most.as_bytes()).unwrap();
        connections.push(connection);
        // Until the next second.
        std::thread::sleep(std::time::Duration::from_millis(1010));
    }
    for connection in &mut connections {
        connection.write(end.as_bytes()).unwrap();
        assert_eq!(connection.answer().status, 204);
        daemon.count(20);
    }
    let capped =
        daemon.settle().sum("lookout_events_total", &[("exporter", "console"), ("outcome", "capped")]);
    // The ends may be in two seconds.
    assert!(capped >= (UPLOADS * 20 - 10) as f64, "{capped}");
}
