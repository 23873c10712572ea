//! Configured sites over the whole way: whose report it is, what happens to strangers', and a site's
//! cap on events.

use crate::support::REPORT;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::Connection;

fn report_of(host: &str) -> String {
    REPORT.replace("https://shop.example/", &format!("https://{host}/"))
}

#[test]
fn hosts_belong_to_their_sites_and_strangers_to_unknown() {
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
fn without_sites_the_host_is_the_site() {
    let daemon = Daemon::start();
    daemon.post("/report", report_of("a.example"));
    daemon.post("/report", r#"{"type":"novel","body":{}}"#);
    daemon.until("lookout_reports_total", &[("site", "a.example")], 1.0);
    daemon.until("lookout_reports_total", &[("site", "unknown")], 1.0);
}

#[test]
fn strangers_reports_can_be_rejected() {
    let yaml = "sites: [{ name: shop, hosts: [shop.example] }]\nintake: { unknown_sites: reject }";
    let daemon = Setup::yaml(yaml).start();
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    // No failure of the sender's, which would only try again.
    assert_eq!(daemon.post("/report", report_of("evil.example")).status, 204);
    assert_eq!(daemon.post("/report/shop", report_of("evil.example")).status, 204);
    daemon.until("lookout_reports_rejected_total", &[("reason", "unknown_site")], 1.0);
    daemon.until("lookout_uploads_total", &[("outcome", "reports_unknown_site")], 1.0);
    daemon.until("lookout_reports_total", &[("site", "shop")], 2.0);
    assert_eq!(daemon.stop().len(), 2);
}

#[test]
fn over_its_cap_a_sites_events_are_capped_and_its_counters_exact() {
    let yaml = "sites: [{ name: shop, hosts: [shop.example], events_per_second: 5 }]";
    let daemon = Setup::yaml(yaml).start();
    let body = format!("[{}]", [&REPORT[1..REPORT.len() - 1]; 200].join(","));
    assert_eq!(daemon.post("/report", body).status, 204);
    let scrape = daemon.settle();
    assert_eq!(scrape.sum("lookout_csp_violations_total", &[("site", "shop")]), 200.0);
    // The moment of an upload is one moment, so exactly one second's budget goes out.
    assert_eq!(scrape.sum("lookout_events_total", &[("exporter", "console"), ("outcome", "capped")]), 195.0);
    assert_eq!(daemon.stop().len(), 5);
}

/// Whoever began uploads in many seconds and ends them in one does not have the budget of many.
#[test]
fn the_second_of_an_upload_is_that_of_its_end() {
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
        // What is waited for is the next second.
        std::thread::sleep(std::time::Duration::from_millis(1010));
    }
    for connection in &mut connections {
        connection.write(end.as_bytes()).unwrap();
        assert_eq!(connection.answer().status, 204);
        daemon.count(20);
    }
    let capped =
        daemon.settle().sum("lookout_events_total", &[("exporter", "console"), ("outcome", "capped")]);
    // The end may fall into two seconds.
    assert!(capped >= (UPLOADS * 20 - 10) as f64, "{capped}");
}
