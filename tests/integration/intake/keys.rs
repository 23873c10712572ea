//! Keys of sites: which uploads have one, what the others are answered, and that no key leaves the process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::check;
use crate::support::daemon::Setup;
use crate::support::http::{Answer, Request};
use crate::support::{REPORT, eventually};

/// Neither looks like a secret, so that nothing but the list of keys finds it.
const KEYS: [&str; 2] = ["apple-tree", "pear.tree_2027~"];

const SITES: &str = "sites:
  - { name: shop, hosts: [shop.example], keys: [apple-tree, pear.tree_2027~] }
  - { name: vault, hosts: [vault.example], keys: [plum-tree] }
  - { name: pay, hosts: [pay.example] }
";

fn report_of(host: &str) -> String {
    REPORT.replace("https://shop.example/", &format!("https://{host}/"))
}

/// Returns what a client sees of a response.
fn visible(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| name != "date").cloned().collect();
    (answer.status, headers, answer.text())
}

#[test]
fn upload_to_a_site_with_keys_needs_one() {
    let daemon = Setup::yaml(SITES).start();
    for (target, status) in [
        ("/report/shop/apple-tree", 204),
        ("/report/shop/pear.tree_2027~", 204),
        ("/report/shop/%61pple%2Dtree/", 204),
        ("/report/shop/apple-tree/report-only", 204),
        ("/report/shop?key=apple-tree", 204),
        ("/report/shop/?a=b&key=pear%2Etree_2027%7E&key=x", 204),
        ("/report/shop/report-only?key=apple-tree", 204),
        ("/report/vault/plum-tree", 204),
        ("/report/shop", 404),
        ("/report/shop/", 404),
        ("/report/shop?key=", 404),
        ("/report/shop/apple-tre", 404),
        ("/report/shop/apple-treee", 404),
        ("/report/shop/Apple-Tree", 404),
        ("/report/shop/plum-tree", 404),
        ("/report/shop/apple-tree%20", 404),
        ("/report/shop/wrong?key=apple-tree", 404),
        ("/report/shop?key=wrong&key=apple-tree", 404),
        ("/report/shop?KEY=apple-tree", 404),
        ("/report/shop/report-only", 404),
    ] {
        let answer = daemon.post(target, REPORT);
        assert_eq!(answer.status, status, "{target}");
        check(&answer, status);
        check(&daemon.send(&Request::new("OPTIONS", target), 0), 204);
    }
    daemon.until("lookout_uploads_total", &[("outcome", "accepted")], 8.0);
    daemon.until("lookout_uploads_total", &[("outcome", "bad_key")], 12.0);
    daemon.until("lookout_reports_total", &[("site", "shop")], 7.0);
    // A site without keys has no such path, and ignores the parameter.
    check(&daemon.post("/report/pay/apple-tree", REPORT), 404);
    check(&daemon.post("/report/shop/apple-tree/more", REPORT), 404);
    check(&daemon.post("/report/pay?key=wrong", REPORT), 204);
    daemon.until("lookout_uploads_total", &[("outcome", "unknown_path")], 2.0);
}

#[test]
fn answer_does_not_depend_on_whether_the_site_exists() {
    let daemon = Setup::yaml(SITES).start();
    for method in ["POST", "OPTIONS", "GET", "PUT"] {
        let answers = |site: &str| {
            let targets = [
                format!("/report/{site}"),
                format!("/report/{site}?key=wrong-key"),
                format!("/report/{site}/wrong-key"),
                format!("/report/{site}/wrong-key/report-only"),
                format!("/report/{site}/a/b"),
                format!("/report/{site}//"),
            ];
            let mut requests = targets.iter().map(|target| match method {
                "POST" => Request::post(target, REPORT),
                method => Request::new(method, target),
            });
            let answers: Vec<_> =
                requests.by_ref().map(|request| visible(&daemon.send(&request, 0))).collect();
            answers
        };
        assert_eq!(answers("shop"), answers("blog"), "{method}");
    }
    daemon.until("lookout_uploads_total", &[("outcome", "bad_key")], 4.0);
    daemon.until("lookout_uploads_total", &[("outcome", "unknown_site")], 4.0);
}

#[test]
fn report_by_host_is_rejected_without_the_key_of_its_site() {
    for unknown_sites in ["accept", "reject"] {
        let daemon = Setup::yaml(&format!("{SITES}intake: {{ unknown_sites: {unknown_sites} }}")).start();
        let batch = |hosts: &[&str]| {
            let reports: Vec<_> = hosts.iter().map(|host| report_of(host)).collect();
            let items: Vec<_> = reports.iter().map(|report| report.trim_matches(['[', ']'])).collect();
            format!("[{}]", items.join(","))
        };
        // All of them, then some, then none.
        let all = daemon.post("/report", batch(&["shop.example", "vault.example"]));
        check(&all, 204);
        check(&daemon.post("/csp?key=wrong-key", batch(&["shop.example", "pay.example"])), 204);
        check(
            &daemon.post("/?key=apple-tree", batch(&["shop.example", "pay.example", "vault.example"])),
            204,
        );
        let rejected = [("reason", "bad_key")];
        daemon.until("lookout_reports_rejected_total", &rejected, 4.0);
        daemon.until("lookout_reports_total", &[("site", "shop")], 1.0);
        daemon.until("lookout_reports_total", &[("site", "pay")], 2.0);
        daemon.until("lookout_uploads_total", &[("outcome", "accepted")], 2.0);
        daemon.until("lookout_uploads_total", &[("outcome", "reports_unknown_site")], 1.0);
        assert_eq!(daemon.scrape().sum("lookout_reports_total", &[("site", "vault")]), 0.0);
        let of_unknown = daemon.post("/report", report_of("blog.example"));
        assert_eq!(visible(&all), visible(&of_unknown));
        assert_eq!(daemon.scrape().sum("lookout_reports_rejected_total", &rejected), 4.0);
    }
}

/// A report about the sessions of several domains.
#[test]
fn sessions_of_a_domain_are_counted_only_with_the_key_of_its_site() {
    let daemon = Setup::yaml(SITES).start();
    let of = |domain: &str| {
        format!(
            r#"{{"policy":{{"policy-type":"sts","policy-domain":"{domain}"}},"summary":{{"total-successful-session-count":5,"total-failure-session-count":0}}}}"#
        )
    };
    let policies = format!("{},{}", of("pay.example"), of("shop.example"));
    let body = format!(
        r#"{{"organization-name":"o","date-range":{{"start-datetime":"2026-01-01T00:00:00Z","end-datetime":"2026-01-01T23:59:59Z"}},"report-id":"1","policies":[{policies}]}}"#
    );
    check(&daemon.post("/report", &body), 204);
    let sessions = |site| daemon.settle().sum("lookout_smtp_tls_sessions_total", &[("site", site)]);
    assert_eq!((sessions("pay"), sessions("shop"), sessions("unknown")), (5.0, 0.0, 5.0));
    check(&daemon.post("/report?key=apple-tree", &body), 204);
    assert_eq!((sessions("pay"), sessions("shop"), sessions("unknown")), (10.0, 5.0, 5.0));
}

#[test]
fn retired_site_is_retired_whatever_the_key() {
    let daemon =
        Setup::yaml(&format!("{SITES}intake: {{ retired: [shop, /report/vault/old-tree] }}")).start();
    for target in ["/report/shop", "/report/shop/apple-tree", "/report/shop/wrong", "/report/vault/old-tree"]
    {
        check(&daemon.post(target, REPORT), 410);
    }
    check(&daemon.post("/report/vault/plum-tree", REPORT), 204);
}

/// Returns the address of a collector that takes everything, and what it received.
fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let received = Arc::new(Mutex::new(Vec::new()));
    let all = received.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, all) = (BufReader::new(stream.unwrap()), all.clone());
            std::thread::spawn(move || {
                let (mut line, mut length) = (String::new(), 0);
                while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                    all.lock().unwrap().extend_from_slice(line.as_bytes());
                    if let Some(value) = line.strip_prefix("content-length: ") {
                        length = value.trim().parse().unwrap();
                    } else if line == "\r\n" {
                        let mut body = vec![0; length];
                        stream.read_exact(&mut body).unwrap();
                        all.lock().unwrap().extend_from_slice(&body);
                        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";
                        stream.get_mut().write_all(answer.as_bytes()).unwrap();
                    }
                    line.clear();
                }
            });
        }
    });
    (address, received)
}

#[test]
fn no_key_leaves_the_process() {
    let (endpoint, received) = collector();
    let yaml = format!(
        "{SITES}log: {{ level: trace }}\nprivacy: {{ query: keep, path_secrets: keep }}\n\
         intake: {{ query_attributes: [release], trusted_proxies: [127.0.0.1] }}\n\
         otlp: {{ endpoint: '{endpoint}', traces: {{ exporter: otlp }}, logs: {{ exporters: [otlp, console] }}, metrics: {{ interval: 200ms }} }}"
    );
    let daemon = Setup::yaml(&yaml).start();
    for key in KEYS {
        // What browsers send of a page whose policy, and of a page whose referrer, has the endpoint.
        let policy = format!(
            "script-src 'self'; report-uri https://r.example/report/shop/{key} https:\\/\\/r.example\\/?a=b&key={key}; img-src *"
        );
        let url = format!("https://shop.example/report/shop/{key}?key={key}");
        let report = REPORT.replace("script-src 'self'", &policy).replace("https://shop.example/cart", &url);
        for target in [
            format!("/report/shop/{key}?release=v1"),
            format!("/report?key={key}&release=v1"),
            format!("/report/shop/{key}/report-only"),
        ] {
            check(&daemon.post(&target, &report), 204);
        }
        let item = report.trim_matches(['[', ']']);
        check(&daemon.post(&format!("/report?key={key}"), format!("[{item},7]")), 204);
        check(
            &daemon
                .post(&format!("/report/shop/{key}"), format!("no JSON, but https://r.example/?key={key}")),
            400,
        );
        check(&daemon.post("/report", &report), 204);
        let encoded: String = key.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for target in [
            format!("/report/shop/{key}0"),
            format!("/report/shop?KEY={key}"),
            format!("/report/vault/{key}/"),
            format!("/report/blog/{key}"),
            format!("/report/{key}"),
            format!("/report/shop/{key}/more"),
            format!("/report/pay/{key}"),
            format!("/reports/shop/{key}/"),
            format!("/{key}?key={key}"),
            format!("/report%2Fshop%2F{key}"),
            format!("/%72eport/pay/{encoded}"),
            format!("/report/pay/{encoded}/"),
            format!("/csp%3Fkey={key}"),
            format!("/csp%3Fkey={encoded}"),
        ] {
            for (number, kind) in
                ["application/csp-report", "application/reports+json"].into_iter().enumerate()
            {
                let request = Request::post(&target, &report).header("content-type", kind);
                let request = request.header("x-forwarded-for", &format!("192.0.2.{number}"));
                check(&daemon.send(&request, 0), 404);
            }
            check(&daemon.send(&Request::new("OPTIONS", "/report/shop"), 0), 204);
        }
    }
    let received = eventually("an event and a trace at the collector", || {
        let text = String::from_utf8_lossy(&received.lock().unwrap()).into_owned();
        let parts = ["effective_directive", "lookout.outcome", "lookout.uploads", "bad_key"];
        parts.iter().all(|part| text.contains(part)).then_some(text).ok_or_else(|| "not yet".to_owned())
    });
    let mut places = vec![("OTLP".to_owned(), received)];
    for target in [
        "/metrics",
        "/api/v1/events?detail=true&limit=1000",
        "/api/v1/rejected?limit=1000",
        "/api/v1/findings?limit=1000",
        "/api/v1/status",
        "/api/v1/policy?site=shop",
    ] {
        let answer = daemon.get_admin(target);
        assert_eq!(answer.status, 200, "{target}");
        places.push((target.to_owned(), answer.text()));
    }
    let rejected: Value = serde_json::from_str(&places[3].1).unwrap();
    let paths: Vec<_> = rejected["items"].as_array().unwrap().iter().map(|item| &item["path"]).collect();
    for path in ["/report/shop", "/report/shop/:redacted", "/reports/shop/:redacted/"] {
        assert!(paths.iter().any(|found| **found == path), "{path}: {paths:?}");
    }
    places.push(("stderr".to_owned(), daemon.stderr.all().join("\n")));
    places.push(("stdout".to_owned(), daemon.stop().join("\n")));
    for (place, text) in places {
        assert!(text.contains("shop"), "{place} has something");
        for key in KEYS {
            assert!(!text.contains(key), "{place}: {}", text.split(key).next().unwrap_or_default());
        }
    }
}

#[test]
fn settings_are_printed_without_keys() {
    let print = |yaml: &str| {
        let output = Setup::yaml(yaml).argument("config").output();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let printed = print(&format!("{SITES}intake: {{ paths: {{ '/r/*': {{ site: pay }} }} }}"));
    assert!(printed.contains("{name: shop, hosts: [shop.example]}"), "{printed}");
    for key in KEYS.into_iter().chain(["plum-tree", "***", "keys: ["]) {
        assert!(!printed.contains(key), "{printed}");
    }
    // The only differences are the sources of the settings.
    let values = |text: &str| {
        text.lines().map(|line| line.split(" # ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(values(&print(&printed)), values(&printed));
}
