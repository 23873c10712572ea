//! Reload of the settings: what it applies, what it rejects, and that nothing in flight is lost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lookoutd::config;
use serde_json::{Value, json};

use crate::support::collector::Collector;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::{Answer, Request};
use crate::support::{REPORT, eventually};

const SUCCESSFUL: &str = "lookout_config_last_reload_successful";
const SUCCESS_TIME: &str = "lookout_config_last_reload_success_timestamp_seconds";

fn report_of(host: &str) -> String {
    REPORT.replace("https://shop.example/", &format!("https://{host}/"))
}

fn site(name: &str) -> String {
    format!("{{ name: {name}, hosts: [{name}.example] }}")
}

/// Returns the errors of a reload that failed.
fn errors(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 422, "{}", answer.text());
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["status"], 422);
    problem["errors"].as_array().unwrap().clone()
}

fn reports_of(daemon: &Daemon, site: &str) -> f64 {
    daemon.scrape().sum("lookout_reports_total", &[("site", site)])
}

/// What a setting changes, as text.
type Effect = fn(&Daemon) -> String;

fn status_of(daemon: &Daemon, request: Request, items: u64) -> String {
    daemon.send(&request, items).status.to_string()
}

fn last_event(daemon: &Daemon, target: &str, report: &str) -> Value {
    let before = daemon.stdout.all().len();
    assert_eq!(daemon.post(target, report).status, 204);
    serde_json::from_str(daemon.stdout.at_least(before + 1).last().unwrap()).unwrap()
}

fn event_after(daemon: &Daemon, pointer: &str) -> String {
    let report = REPORT.replace("cart", "reset/0123456789abcdef0123456789abcdef?a=b");
    last_event(daemon, "/report?release=7", &report).pointer(pointer).unwrap_or(&Value::Null).to_string()
}

/// Returns how many of ten events come of ten reports of a host in one upload.
fn events_of_ten(daemon: &Daemon, host: &str) -> String {
    let report = report_of(host);
    let body = format!("[{}]", [&report[1..report.len() - 1]; 10].join(","));
    let capped = || daemon.settle().sum("lookout_events_total", &[("outcome", "capped")]);
    let before = capped();
    assert_eq!(daemon.post("/report", body).status, 204);
    (10.0 - (capped() - before)).to_string()
}

/// Returns how many events of three reports have this outcome.
fn not_sent(daemon: &Daemon, outcome: &str) -> String {
    let ended = || daemon.settle().sum("lookout_events_total", &[("outcome", outcome)]);
    let before = ended();
    (0..3).for_each(|_| assert_eq!(daemon.post("/report", REPORT).status, 204));
    (ended() - before).to_string()
}

/// Returns how many items of an upload are rejected.
fn rejected(daemon: &Daemon, body: &str) -> String {
    let rejected = || daemon.scrape().sum("lookout_reports_rejected_total", &[]);
    let before = rejected();
    assert_eq!(daemon.post("/report", body).status, 204);
    (rejected() - before).to_string()
}

fn rate_limited(daemon: &Daemon, forwarded: &str) -> String {
    let uploads = |outcome| daemon.scrape().sum("lookout_uploads_total", &[("outcome", outcome)]);
    let before = uploads("rate_limited");
    for _ in 0..3 {
        let request = Request::post("/report", REPORT).header("x-forwarded-for", forwarded);
        assert_eq!(request.send(daemon.intake).status, 204);
    }
    let limited = uploads("rate_limited") - before;
    daemon.count(3 - limited as u64);
    limited.to_string()
}

/// Each reloadable setting: the settings before, the settings after, what they change, and the two results.
#[rustfmt::skip]
const EFFECTS: &[(&str, &str, Effect, &str, &str)] = &[
    ("", "intake: { max_reports: 4 }",
        |it| rejected(it, &format!("[{}]", [&REPORT[1..REPORT.len() - 1]; 6].join(","))), "0", "2"),
    ("", "intake: { max_in_flight: 1 }", |it| status_of(it, Request::post("/report", REPORT), 1), "204", "204"),
    ("sites: [{ name: shop }]", "sites: [{ name: shop }]\nintake: { unknown_sites: reject }",
        |it| rejected(it, REPORT), "0", "1"),
    ("", "intake: { query_attributes: [release] }", |it| event_after(it, "/lookout/query/release"), "null", "\"7\""),
    ("", "intake: { retired: [/csp] }", |it| status_of(it, Request::post("/csp", REPORT), 1), "204", "410"),
    ("intake: { rate_limit: { per_second: 1, burst: 2 } }", "intake: { rate_limit: { per_second: 1, burst: 1 } }",
        |it| rate_limited(it, ""), "1", "2"),
    ("", "intake: { rate_limit: { per_second: 1, burst: 1 } }", |it| rate_limited(it, ""), "0", "2"),
    ("intake: { rate_limit: { per_second: 1, burst: 1 } }",
        "intake: { rate_limit: { per_second: 1, burst: 1 }, trusted_proxies: [127.0.0.0/8] }",
        |it| rate_limited(it, "192.0.2.1"), "2", "2"),
    ("", "privacy: { query: names }", |it| event_after(it, "/url"),
        "\"https://shop.example/reset/:redacted\"", "\"https://shop.example/reset/:redacted?a\""),
    ("", "privacy: { path_secrets: keep }", |it| event_after(it, "/url"),
        "\"https://shop.example/reset/:redacted\"", "\"https://shop.example/reset/0123456789abcdef0123456789abcdef\""),
    ("", "privacy: { client_address: full }", |it| event_after(it, "/lookout/client_address"), "null", "\"127.0.0.1\""),
    ("", "intake: { paths: { /own: { disposition: report } } }", |it| status_of(it, Request::post("/own", REPORT), 1), "404", "204"),
    ("", "rules: [{ blocked_url: evil.example, noise: bot }]",
        |it| event_after(it, "/lookout/noise"), "\"none\"", "\"bot\""),
    ("rules: [{ blocked_url: evil.example, event: drop }]", "", |it| not_sent(it, "filtered"), "3", "0"),
    ("sites: [{ name: a }, { name: shop, hosts: [shop.example], pages: [{ name: all, paths: [/*] }] }]",
        "sites: [{ name: shop, hosts: [shop.example], pages: [{ name: reset, paths: [/reset/*] }, { name: all, paths: [/*] }] }]",
        |it| event_after(it, "/lookout/page"), "\"all\"", "\"reset\""),
    ("sites: [{ name: shop, hosts: [shop.example], sample: { '*': 0.000001 } }]",
        "sites: [{ name: shop, hosts: [shop.example], sample: { '*': 0.000001, csp-violation: 1 } }]",
        |it| not_sent(it, "sampled"), "2", "0"),
    ("events: { fold: 1h }", "events: { fold: off }", |it| not_sent(it, "folded"), "1", "0"),
    ("", "events: { max_per_second: 3 }", |it| events_of_ten(it, "shop.example"), "10", "3"),
    ("sites: [{ name: shop }]", "sites: [{ name: shop }]\nevents: { max_unknown_per_second: 4 }",
        |it| events_of_ten(it, "a.example"), "10", "4"),
    ("sites: [{ name: shop, hosts: [shop.example] }]",
        "sites: [{ name: shop, hosts: [shop.example], events_per_second: 2 }]",
        |it| events_of_ten(it, "shop.example"), "10", "2"),
    ("", "admin: { hosts: [lookout.example] }",
        |it| Request::new("GET", "/").header("host", "lookout.example").send(it.admin).status.to_string(), "403", "200"),
    ("", "admin: { auth: { bearer: t0ken } }",
        |it| Request::new("GET", "/").send(it.admin).status.to_string(), "200", "401"),
    ("log: { level: error }", "",
        |it| it.stderr.all().iter().any(|line| line.contains("settings reloaded")).to_string(), "false", "true"),
    ("", "privacy: { query: keep }",
        |it| it.get_admin("/api/v1/status").text().contains("privacy.query").to_string(), "false", "true"),
];

#[test]
fn reload_applies_each_setting() {
    for (before, after, effect, result_before, result_after) in EFFECTS {
        let daemon = Setup::yaml(before).authorized("Bearer t0ken").start();
        assert_eq!(effect(&daemon), *result_before, "{before:?} before");
        let answer = daemon.reload(after);
        assert_eq!((answer.status, &*answer.text()), (204, ""), "{after}");
        // The limits per second apply to what the second had before, too.
        eventually(after, || {
            let result = effect(&daemon);
            if result == *result_after { Ok(()) } else { Err(result) }
        });
    }
}

#[test]
fn reload_rejects_what_applies_at_the_start_only() {
    let valid = "sites: [{ name: shop }]";
    let daemon = Setup::yaml(valid).start();
    for (yaml, keys) in [
        ("admin: { page: off }", vec!["admin.page"]),
        ("log: { format: json }", vec!["log.format"]),
        ("otlp: { endpoint: 'http://127.0.0.1:9' }", vec!["otlp.endpoint"]),
        ("otlp: { protocol: grpc }", vec!["otlp.protocol"]),
        (
            "delivery: { memory_bytes: 33MiB, spool: { after: 1s } }",
            vec!["delivery.memory_bytes", "delivery.spool.after"],
        ),
        ("findings: { max: 7 }\nmetrics: { max_series: 5000 }", vec!["findings.max", "metrics.max_series"]),
        ("intake: { max_connections: 9, max_reports: 9 }", vec!["intake.max_connections"]),
        ("watch: true", vec!["watch"]),
        // The same in another unit.
        ("delivery: { memory_bytes: 32768KiB }", vec![]),
    ] {
        let answer = daemon.reload(&format!("sites: [{}]\n{yaml}", site("blog")));
        if keys.is_empty() {
            assert_eq!(answer.status, 204, "{yaml}: {}", answer.text());
            continue;
        }
        let errors = errors(&answer);
        assert_eq!(
            errors.iter().map(|error| error["key"].as_str().unwrap()).collect::<Vec<_>>(),
            keys,
            "{yaml}"
        );
        assert!(
            errors.iter().all(|error| error["file"] == "lookoutd.yaml" && error["line"].as_u64() >= Some(2)),
            "{yaml}"
        );
        assert!(errors[0]["message"].as_str().unwrap().contains("restart lookoutd"), "{errors:?}");
        // Not even what a reload could apply.
        assert_eq!(daemon.post("/report/blog", REPORT).status, 404);
    }
}

/// A setting is one that applies at the start only, unless it is listed.
#[test]
fn reloadable_settings_are_those_listed() {
    let reloadable: Vec<_> = config::reference().filter(|it| it.is_reloadable()).map(|it| it.key).collect();
    for key in ["sites", "privacy.query", "admin.auth.bearer_file", "otlp.logs.headers", "log.level"] {
        assert!(reloadable.contains(&key), "{key}");
    }
    for prefix in [
        "listen",
        "admin_listen",
        "metrics",
        "findings",
        "delivery",
        "otlp.protocol",
        "intake.tls",
        "service",
    ] {
        assert!(!reloadable.iter().any(|key| key.starts_with(prefix)), "{prefix}");
    }
}

#[test]
fn reload_with_an_error_changes_nothing() {
    let valid = format!("sites: [{}]\nadmin: {{ auth: {{ bearer_file: token }} }}", site("shop"));
    let daemon = Setup::yaml(&valid).file("token", "t0ken").authorized("Bearer t0ken").start();
    assert_eq!(
        (daemon.scrape().sum(SUCCESSFUL, &[]), daemon.scrape().sum(SUCCESS_TIME, &[]) > 1.7e9),
        (1.0, true)
    );
    let auth = "\nadmin: { auth: { bearer_file: token } }";
    for (yaml, error) in [
        ("sites: [", json!({ "file": "lookoutd.yaml", "line": 2 })),
        ("sites: []\nprivcy: {}", json!({ "file": "lookoutd.yaml", "line": 2, "key": "privcy" })),
        (
            "sites: []\n\nprivacy: { query: some }",
            json!({ "file": "lookoutd.yaml", "line": 3, "key": "privacy.query" }),
        ),
        (
            "sites: [{ name: a }, { name: a }]",
            json!({ "file": "lookoutd.yaml", "line": 1, "key": "sites[1].name" }),
        ),
    ] {
        let found = errors(&daemon.reload(&format!("{yaml}{auth}")));
        assert_eq!(found.len(), 1, "{found:?}");
        for (member, value) in error.as_object().unwrap() {
            assert!(
                found[0][member] == *value || member == "line" && yaml == "sites: [",
                "{member} of {found:?}"
            );
        }
        assert!(!found[0]["message"].as_str().unwrap().is_empty());
        assert_eq!(daemon.scrape().sum(SUCCESSFUL, &[]), 0.0);
    }
    // Two errors at once; the file is there, but not a secret.
    let found = errors(&daemon.reload("privacy: { query: some, path_secrets: some }"));
    assert_eq!(found.len(), 2, "{found:?}");
    daemon.write("token", "");
    let found = errors(&daemon.reload(&valid));
    assert_eq!(
        (&found[0]["key"], &found[0]["line"]),
        (&json!("admin.auth.bearer_file"), &json!(2)),
        "{found:?}"
    );
    let found = errors(&daemon.reload("admin: { auth: { bearer_file: nowhere } }"));
    assert_eq!(found[0]["key"], "admin.auth.bearer_file", "{found:?}");
    assert_eq!(daemon.post("/report/shop", REPORT).status, 204);
    let logged = daemon.stderr.all();
    for text in ["privcy: unknown key", "settings not reloaded", "nowhere"] {
        assert!(logged.iter().any(|line| line.contains(text)), "{text}: {logged:#?}");
    }
    daemon.write("token", "t0ken\n");
    assert_eq!(daemon.reload(&valid).status, 204);
    assert_eq!(daemon.scrape().sum(SUCCESSFUL, &[]), 1.0);
}

#[test]
fn reload_requires_credentials_and_no_foreign_origin() {
    let yaml = "admin: { auth: { bearer: t0ken } }";
    let daemon = Setup::yaml(yaml).authorized("Bearer t0ken").start();
    let reload = || Request::new("POST", "/-/reload");
    assert_eq!(reload().send(daemon.admin).status, 401);
    assert_eq!(reload().header("authorization", "Bearer wrong").send(daemon.admin).status, 401);
    let authorized = |name, value| {
        reload().header("authorization", "Bearer t0ken").header(name, value).send(daemon.admin).status
    };
    for (name, value, status) in [
        ("origin", "https://evil.example", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("host", "evil.example", 403),
        ("accept", "*/*", 204),
    ] {
        assert_eq!(authorized(name, value), status, "{name}");
    }
    let get = Request::new("GET", "/-/reload").header("authorization", "Bearer t0ken").send(daemon.admin);
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(Request::new("POST", "/-/reload").send(daemon.intake).status, 404);
}

#[test]
fn secret_file_that_changes_is_read_again() {
    let yaml = "admin: { auth: { bearer_file: token } }";
    let daemon = Setup::yaml(yaml).file("token", "old").authorized("Bearer new").start();
    let status = |token: &str| {
        let request = Request::new("GET", "/").header("authorization", &format!("Bearer {token}"));
        request.send(daemon.admin).status
    };
    assert_eq!((status("old"), status("new")), (200, 401));
    daemon.write("token", "new");
    daemon.signal("HUP");
    eventually("the new token", || if status("new") == 200 { Ok(()) } else { Err(String::new()) });
    assert_eq!(status("old"), 401);
}

#[test]
fn admin_beyond_loopback_keeps_its_credentials() {
    let daemon = Setup::yaml("admin: { auth: { bearer: t0ken } }")
        .shell("exec $0 --config lookoutd.yaml --listen 127.0.0.1:0 --admin-listen 0.0.0.0:0")
        .authorized("Bearer t0ken")
        .start();
    let found = errors(&daemon.reload("sites: []"));
    assert_eq!((found.len(), &found[0]["key"]), (1, &json!("admin.auth")), "{found:?}");
    assert_eq!(Request::new("GET", "/").send(daemon.admin).status, 401);
    assert_eq!(daemon.reload("admin: { auth: { bearer: t0ken, username: a, password: b } }").status, 204);
}

#[test]
fn sites_are_added_removed_and_added_again_with_their_sums() {
    let yaml = |sites: &[&str]| {
        format!("sites: [{}]", sites.iter().map(|name| site(name)).collect::<Vec<_>>().join(", "))
    };
    let daemon = Setup::yaml(&yaml(&["shop"])).start();
    daemon.post("/report", report_of("shop.example"));
    daemon.post("/report", report_of("blog.example"));
    assert_eq!((reports_of(&daemon, "shop"), reports_of(&daemon, "unknown")), (1.0, 1.0));

    assert_eq!(daemon.reload(&yaml(&["blog", "shop"])).status, 204);
    let affected = |site| daemon.scrape().of("lookout_affected_clients_total", &[("site", site)]).count();
    let learning = |site| daemon.scrape().of("lookout_findings_learning", &[("site", site)]).count();
    assert_eq!((affected("blog"), learning("blog"), reports_of(&daemon, "blog")), (6, 1, 0.0));
    daemon.post("/report", report_of("blog.example"));
    daemon.post("/report/blog", report_of("shop.example"));
    daemon.post("/report", report_of("shop.example"));
    assert_eq!((reports_of(&daemon, "shop"), reports_of(&daemon, "blog")), (2.0, 2.0));

    assert_eq!(daemon.reload(&yaml(&["blog"])).status, 204);
    assert_eq!(daemon.post("/report/shop", REPORT).status, 404);
    daemon.post("/report", report_of("shop.example"));
    let sums = ["shop", "blog", "unknown"].map(|site| reports_of(&daemon, site));
    assert_eq!((sums, learning("shop")), ([2.0, 2.0, 2.0], 0));

    assert_eq!(daemon.reload(&yaml(&["shop", "new"])).status, 204);
    daemon.post("/report", report_of("shop.example"));
    daemon.post("/report", report_of("new.example"));
    let sums = ["shop", "blog", "unknown", "new"].map(|site| reports_of(&daemon, site));
    assert_eq!((sums, affected("shop"), learning("shop")), ([3.0, 2.0, 2.0, 1.0], 6, 1));

    // Without sites, hosts are the sites.
    assert_eq!(daemon.reload("").status, 204);
    daemon.post("/report", report_of("host.example"));
    assert_eq!((reports_of(&daemon, "host.example"), reports_of(&daemon, "shop")), (1.0, 3.0));
    assert_eq!(daemon.reload(&yaml(&["shop"])).status, 204);
    daemon.post("/report", report_of("host.example"));
    daemon.post("/report", report_of("shop.example"));
    let sums = ["shop", "host.example", "unknown"].map(|site| reports_of(&daemon, site));
    assert_eq!(sums, [4.0, 1.0, 3.0]);
}

#[test]
fn keys_are_rotated_and_end_with_their_site() {
    let yaml = |shop: &str| format!("sites: [{shop}{{ name: open, hosts: [open.example] }}]");
    let shop = |keys: &str| yaml(&format!("{{ name: shop, hosts: [shop.example], keys: [{keys}] }}, "));
    let last = "sites: [{ name: open, hosts: [open.example] }, { name: shop, hosts: [shop.example] }]";
    let daemon = Setup::yaml(&shop("apple-tree")).start();
    let statuses = || {
        ["/report/shop/apple-tree", "/report/shop?key=pear-tree", "/report/shop", "/report/open"]
            .map(|target| daemon.post(target, REPORT).status)
    };
    let policy = |n: usize| {
        let sent = "default-src 'self'; report-uri https://r.example/report/shop/pear-tree";
        let page = format!("open.example/policy-{n}");
        let body = REPORT.replace("script-src 'self'", sent).replace("shop.example/cart", &page);
        assert_eq!(daemon.post("/report", body).status, 204);
        daemon.stdout.containing(&page).contains("pear-tree")
    };
    assert_eq!((statuses(), policy(0)), ([204, 404, 404, 204], true));
    let changes = [
        (shop("apple-tree, pear-tree"), [204, 204, 404, 204], false),
        (shop("pear-tree"), [404, 204, 404, 204], false),
        (yaml("{ name: vault, keys: [plum-tree] }, "), [404, 404, 404, 204], true),
        (shop("pear-tree"), [404, 204, 404, 204], false),
        // The other site now is the first one.
        (yaml(""), [404, 404, 404, 204], true),
        (last.to_owned(), [404, 204, 204, 204], true),
        (shop("plum-tree"), [404, 404, 404, 204], true),
    ];
    for (n, (after, expected, shown)) in changes.into_iter().enumerate() {
        assert_eq!(daemon.reload(&after).status, 204, "{after}");
        assert_eq!((statuses(), policy(1 + n)), (expected, shown), "{after}");
    }
}

#[test]
fn headers_of_exports_are_replaced() {
    let collector = Collector::start();
    let yaml = |headers: &str| {
        format!("otlp: {{ logs: {{ endpoint: 'http://{}/v1/logs', {headers} }} }}", collector.address)
    };
    let daemon =
        Setup::yaml(&yaml("headers: { authorization: one }")).file("headers", "authorization: two").start();
    let authorization = |expected: &str| {
        assert_eq!(daemon.post("/report", REPORT).status, 204);
        eventually(expected, || match collector.authorization() {
            Some(sent) if sent == expected => Ok(()),
            other => Err(format!("{other:?}")),
        });
    };
    authorization("one");
    let in_file = yaml("headers: { authorization: one }, headers_file: headers");
    assert_eq!(daemon.reload(&in_file).status, 204);
    authorization("two");
    daemon.write("headers", "authorization: three");
    assert_eq!(daemon.reload(&in_file).status, 204);
    authorization("three");
    daemon.write("headers", "no header");
    let found = errors(&daemon.reload(&in_file));
    assert_eq!(found.len(), 1, "{found:?}");
    authorization("three");
    assert_eq!(daemon.reload(&yaml("headers: { authorization: four }")).status, 204);
    authorization("four");
}

#[test]
fn more_sites_than_series_can_tell_apart_are_rejected() {
    let sites = |count: usize| {
        let sites: Vec<_> = (0..count).map(|n| format!("{{ name: s{n} }}")).collect();
        format!("sites: [{}]\nmetrics: {{ max_series: 1500 }}", sites.join(", "))
    };
    let daemon = Setup::yaml(&sites(2)).start();
    let errors = errors(&daemon.reload(&sites(500)));
    assert_eq!((errors.len(), &errors[0]["key"]), (1, &json!("sites")), "{errors:?}");
    assert!(errors[0]["message"].as_str().unwrap().contains("metrics.max_series"), "{errors:?}");
}

#[test]
fn sighup_reloads() {
    let daemon = Setup::yaml("sites: [{ name: a }]").start();
    daemon.write("lookoutd.yaml", "sites: [{ name: b }]");
    daemon.signal("HUP");
    eventually("the new site", || match daemon.post("/report/b", REPORT).status {
        204 => Ok(()),
        status => Err(status.to_string()),
    });
    daemon.write("lookoutd.yaml", "sites: [");
    daemon.signal("HUP");
    daemon.until(SUCCESSFUL, &[], 0.0);
    assert_eq!(daemon.post("/report/b", REPORT).status, 204);
}

#[test]
fn watched_files_are_reloaded_once_per_content() {
    let yaml =
        |name: &str| format!("sites: [{{ name: {name} }}]\nadmin: {{ auth: {{ bearer_file: token }} }}");
    let daemon =
        Setup::yaml(&yaml("a")).file("token", "new").argument("--watch").authorized("Bearer new").start();
    let lines = |text: &str| daemon.stderr.all().iter().filter(|line| line.contains(text)).count();
    let accepts = |name: &str| {
        eventually(name, || match daemon.post(&format!("/report/{name}"), REPORT).status {
            204 => Ok(()),
            status => Err(status.to_string()),
        });
    };
    daemon.write("lookoutd.yaml", &yaml("b"));
    accepts("b");
    daemon.write("lookoutd.yaml", "sites: [");
    daemon.until(SUCCESSFUL, &[], 0.0);
    // The same content, in another file.
    daemon.write("lookoutd.yaml", "sites: [");
    daemon.write("lookoutd.yaml", &yaml("c"));
    accepts("c");
    assert_eq!((lines("settings not reloaded"), daemon.scrape().sum(SUCCESSFUL, &[])), (1, 1.0));
    let status = |token: &str| {
        let request = Request::new("GET", "/").header("authorization", &format!("Bearer {token}"));
        request.send(daemon.admin).status
    };
    daemon.write("token", "other");
    eventually("the other token", || if status("other") == 200 { Ok(()) } else { Err(String::new()) });
    daemon.write("token", "new");
    eventually("the token again", || if status("new") == 200 { Ok(()) } else { Err(String::new()) });
}

/// A hundred reloads, half of which fail, while uploads arrive.
#[test]
fn reloads_under_load_lose_nothing() {
    let yaml = |n: usize| {
        let sites: Vec<_> = (0..n % 7).map(|n| site(&format!("s{n}"))).collect();
        let tail =
            ["privacy: { query: names }", "events: { max_per_second: off }", "log: { level: warn }"][n % 3];
        format!("sites: [{}]\n{tail}", sites.join(", "))
    };
    let daemon = Setup::yaml(&yaml(6)).start();
    let (ends, posted) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (daemon, ends, posted) = (&daemon, &ends, &posted);
            scope.spawn(move || {
                for n in 0.. {
                    let body = report_of(&format!("s{}.example", (n + thread) % 8));
                    assert_eq!(daemon.post("/report", body).status, 204);
                    posted.fetch_add(1, Ordering::Relaxed);
                    if ends.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
        }
        for n in 0..100 {
            let answer = if n % 2 == 0 { daemon.reload(&yaml(n / 2)) } else { daemon.reload("sites: [") };
            assert_eq!(answer.status, if n % 2 == 0 { 204 } else { 422 }, "{n}: {}", answer.text());
        }
        ends.store(true, Ordering::Relaxed);
    });
    let scrape = daemon.settle();
    let posted = posted.into_inner() as f64;
    assert!(posted >= 100.0, "{posted}");
    assert_eq!(scrape.sum("lookout_reports_total", &[]), posted);
    assert_eq!(scrape.sum("lookout_uploads_total", &[("outcome", "accepted")]), posted);
    assert_eq!(scrape.sum("lookout_csp_violations_total", &[]), posted);
}
