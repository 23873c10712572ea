//! Clients and findings, in process and in the real binary.

use lookoutd::config::{Config, SiteConfig, defaults};
use lookoutd::model::ClientKey;

use crate::support::in_process::{InProcess, context};

const START: i64 = 1_795_351_500; // the start of a window of five minutes

fn config() -> Config {
    let site = |name: &str| SiteConfig {
        name: name.to_owned(),
        hosts: vec![format!("{name}.example")],
        ..SiteConfig::default()
    };
    Config { sites: vec![site("shop"), site("blog")], ..defaults() }
}

fn csp(site: &str, directive: &str, blocked: &str) -> String {
    serde_json::json!([{
        "type": "csp-violation", "url": format!("https://{site}.example/cart"),
        "body": { "documentURL": format!("https://{site}.example/cart"), "disposition": "enforce",
                  "effectiveDirective": directive, "blockedURL": blocked },
    }])
    .to_string()
}

fn ipv4(client: u32) -> ClientKey {
    ClientKey(0xffff_ffff_0000_0000 | u64::from(client))
}

/// Posts a body as this client, this many seconds after the start.
fn post(path: &InProcess, body: &str, client: ClientKey, second: i64) {
    let received = jiff::Timestamp::from_second(START + second).unwrap();
    let uptime = u32::try_from(second).unwrap();
    path.process(body.as_bytes(), &lookoutd::model::UploadContext { client, received, uptime, ..context() });
}

/// Returns the series of a family, as `a,b,c`, with their values.
fn series(path: &InProcess, family: &str) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    path.pipeline.registry.visit(&mut |known, sample| {
        if known.name == family {
            found.push((sample.labels.join(","), sample.value.total()));
        }
    });
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn affected(path: &InProcess, labels: &str) -> f64 {
    let found = series(path, "lookout_affected_clients_total");
    found.iter().find(|(known, _)| known == labels).map_or(-1.0, |(_, value)| *value)
}

#[test]
fn series_of_configured_sites_without_noise_exist_from_the_start_and_never_expire() {
    let path = InProcess::new(&config());
    let expected: Vec<(String, f64)> = ["blog", "shop"]
        .iter()
        .flat_map(|site| {
            let whats = ["crash", "enforced", "network", "network_ok", "other", "report_only"];
            whats.map(|what| (format!("{site},{what},none"), 0.0))
        })
        .collect();
    for uptime in [0, u32::MAX] {
        path.pipeline.registry.expire(std::time::Duration::from_secs(1), uptime, &|_, _| true);
        assert_eq!(series(&path, "lookout_affected_clients_total"), expected);
        let overflow = series(&path, "lookout_affected_clients_overflow_total");
        assert_eq!(overflow, [("blog".to_owned(), 0.0), ("shop".to_owned(), 0.0)]);
    }
}

#[test]
fn client_counts_once_for_each_site_what_noise_and_window() {
    let path = InProcess::new(&config());
    for second in [0, 1, 299, 300, 301] {
        for client in 0..3 {
            post(&path, &csp("shop", "img-src", "https://a.example/x.png"), ipv4(client), second);
            post(&path, &csp("shop", "script-src", "https://b.example/x.js"), ipv4(client), second);
            post(&path, &csp("shop", "script-src", "chrome-extension://abc/x.js"), ipv4(client), second);
            post(&path, &csp("blog", "img-src", "https://a.example/x.png"), ipv4(client), second);
        }
    }
    let found = ["shop,enforced,none", "shop,enforced,extension", "blog,enforced,none", "blog,network,none"]
        .map(|labels| affected(&path, labels));
    assert_eq!(found, [6.0, 6.0, 6.0, 0.0]);
    let network = |outcome: &str| {
        let phase = if outcome == "ok" { "application" } else { "connection" };
        let body = serde_json::json!({ "type": outcome, "phase": phase, "sampling_fraction": 0.1 });
        serde_json::json!([{ "type": "network-error", "url": "https://shop.example/", "body": body }])
            .to_string()
    };
    for client in 0..100 {
        post(&path, &network(if client < 90 { "ok" } else { "tcp.refused" }), ipv4(client), 600);
    }
    assert_eq!(
        ["shop,network_ok,none", "shop,network,none"].map(|labels| affected(&path, labels)),
        [90.0, 10.0]
    );
}

#[test]
fn clients_beyond_the_maximum_count_low_and_show_in_the_overflow() {
    let mut config = config();
    config.findings.max_clients = 100;
    let path = InProcess::new(&config);
    for client in 0..150 {
        post(&path, &csp("shop", "img-src", "https://a.example/x.png"), ipv4(client), 0);
    }
    assert_eq!(affected(&path, "shop,enforced,none"), 100.0);
    let overflow = series(&path, "lookout_affected_clients_overflow_total");
    assert_eq!(overflow, [("blog".to_owned(), 0.0), ("shop".to_owned(), 50.0)]);
    post(&path, &csp("blog", "img-src", "https://a.example/x.png"), ipv4(1), 300);
    assert_eq!(affected(&path, "blog,enforced,none"), 1.0, "a new window");
}

#[test]
fn client_of_eight_threads_counts_once() {
    let path = InProcess::new(&config());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for client in 0..500 {
                    post(&path, &csp("shop", "img-src", "https://a.example/x.png"), ipv4(client), 0);
                }
            });
        }
    });
    assert_eq!(affected(&path, "shop,enforced,none"), 500.0);
}

#[test]
fn findings_that_are_off_count_nothing() {
    let mut config = config();
    config.findings.max = 0;
    let path = InProcess::new(&config);
    post(&path, &csp("shop", "img-src", "https://a.example/x.png"), ipv4(1), 0);
    assert_eq!(series(&path, "lookout_affected_clients_total"), []);
    assert!(path.pipeline.findings.is_none());
}
