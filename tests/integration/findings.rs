//! Clients and findings, in process and in the real binary.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use lookoutd::config::{Config, SiteConfig, defaults};
use lookoutd::metrics::SampleValue;
use lookoutd::model::{ClientKey, RejectReason, UploadContext};

use crate::support::daemon::{Daemon, Setup};
use crate::support::http::Request;
use crate::support::in_process::{InProcess, context};
use crate::support::{capture, eventually};

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
    path.process(body.as_bytes(), &UploadContext { client, received, uptime, ..context() });
}

/// Returns the series of a family, as `a,b,c`, with their values.
fn series(path: &InProcess, family: &str) -> Vec<(String, f64)> {
    let mut found = Vec::new();
    path.pipeline.registry.visit(&mut |known, sample| {
        if let (true, SampleValue::Count(count)) = (known.name == family, &sample.value) {
            found.push((sample.labels.join(","), *count as f64));
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
fn flood_of_tiny_reports_has_reports_findings_and_series_by_its_bytes() {
    const BATCH: usize = 256;
    let mut config = defaults();
    config.metrics.max_series = 1 << 20;
    (config.findings.max, config.findings.max_bytes) = (1 << 20, 1 << 30);
    let path = InProcess::new(&config);
    // Each makes a series in four families.
    let report = |upload, at| format!(r#"{{"csp-report":{{"document-uri":"http://w{upload}-{at}"}}}}"#);
    let post = |upload: u32, second| {
        let batch: Vec<_> = (0..BATCH).map(|at| report(upload, at)).collect();
        let body = format!("[{}]", batch.join(","));
        post(&path, &body, ipv4(1), second);
        body.len()
    };
    // Accepted and rejected reports, findings, and series with a site.
    let seen = || {
        let mut findings = 0;
        path.pipeline.findings.as_ref().unwrap().visit(|_| findings += 1);
        let families =
            ["reports_total", "csp_violations_total", "affected_clients_total", "new_findings_total"];
        let all: Vec<_> = families.iter().flat_map(|it| series(&path, &format!("lookout_{it}"))).collect();
        let named = all.iter().filter(|(labels, _)| labels.starts_with('w')).count();
        let accepted: f64 = series(&path, "lookout_reports_total").iter().map(|(_, count)| count).sum();
        let rejected = &path.pipeline.registry.self_metrics.intake.rejected[RejectReason::OverLimit];
        [accepted as usize, rejected.get() as usize, findings, named]
    };
    let whole = [BATCH, 0, BATCH, 4 * BATCH];
    post(0, 1);
    assert_eq!(seen(), whole);
    // All uploads together have some more than their bytes.
    let short = format!("[{}]", [r#"{"type":"x"}"#; BATCH].join(","));
    let mut uploads = 0;
    while path.pipeline.registry.self_metrics.intake.rejected[RejectReason::OverLimit].get() == 0 {
        path.process(short.as_bytes(), &UploadContext { uptime: 1, ..context() });
        uploads += 1;
    }
    assert!((100..200).contains(&uploads), "{uploads}");
    let before = seen();
    let bytes = post(1, 1);
    let more = |before: [usize; 4]| std::array::from_fn(|at| seen()[at] - before[at]);
    let reports = 16 + bytes / 128;
    assert_eq!(more(before), [reports, BATCH - reports, 16 + bytes / 256, 32 + bytes / 128]);
    // And each second.
    let before = seen();
    post(2, 2);
    assert_eq!(more(before), whole);
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
    let found = series(&path, "lookout_new_findings_total");
    let network: Vec<_> = found.iter().filter(|(labels, _)| labels.contains("network-error")).collect();
    let expected =
        ["1", "2", "5"].map(|clients| (format!("shop,network-error,unknown,other,none,{clients}"), 1.0));
    assert_eq!(network, expected.iter().collect::<Vec<_>>(), "a request that succeeded is no finding");
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

/// Returns the console lines with `lookout.new`, as their fingerprints.
fn new_lines(lines: &[String]) -> Vec<String> {
    let parsed = lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let new = parsed.filter(|line| line["lookout"]["new"] == true);
    new.map(|line| line["lookout"]["fingerprint"].as_str().unwrap().to_owned()).collect()
}

/// Posts every capture, and returns the fingerprints of what is new.
fn replay(daemon: Daemon) -> Vec<String> {
    for capture in capture::uploads() {
        daemon.post("/report", &capture.body);
    }
    new_lines(&daemon.stop())
}

#[test]
fn captures_are_new_once_and_not_after_a_restart_or_a_kill() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("state/findings");
    let setup = || {
        let file = file.display();
        Setup::yaml(&format!(
            "findings: {{ state_file: {file} }}\nevents: {{ max_unknown_per_second: off, max_per_second: off }}"
        ))
    };
    let new = replay(setup().start());
    assert!(new.len() > 100, "{}", new.len());
    assert_eq!(new.iter().collect::<BTreeSet<_>>().len(), new.len(), "each once");
    let mode = file.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(replay(setup().start()), [] as [String; 0]);
    // Killed at once: the state is that of the last minute.
    let mut killed = setup().start();
    killed.signal("KILL");
    killed.wait();
    killed.leave();
    assert_eq!(replay(setup().start()), [] as [String; 0]);
    // Damaged: what was known is new again.
    let content = std::fs::read(&file).unwrap();
    std::fs::write(&file, &content[1..]).unwrap();
    let daemon = setup().start();
    daemon.stderr.containing("every site is learned again");
    assert_eq!(replay(daemon).len(), new.len());
    assert_eq!(std::fs::read(file.with_extension("damaged")).unwrap(), &content[1..]);
}

#[test]
fn state_file_of_another_process_stops_the_start() {
    let directory = tempfile::TempDir::new().unwrap();
    let setup = || {
        let file = directory.path().join("findings");
        Setup::yaml(&format!("findings: {{ state_file: {} }}", file.display()))
    };
    let daemon = setup().start();
    let output = setup().argument("--listen=127.0.0.1:0").argument("--admin-listen=127.0.0.1:0").output();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && stderr.contains("findings.state_file"), "{stderr}");
    drop(daemon);
}

fn write_state(file: &Path, state: &serde_json::Value) {
    let json = state.to_string();
    std::fs::write(file, format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes()))).unwrap();
}

/// `benches/start.py` has the figures; this finds what makes the start several times slower.
#[test]
fn start_with_10_000_findings_takes_little_cpu_time() {
    let limit = if std::env::var_os("LOOKOUTD_BINARY").is_some() { 50 } else { 500 };
    let now = lookoutd::clock::now().as_millisecond();
    let finding = |number: u64| {
        let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        serde_json::json!([hash, number % 100, 3, now - 1000, now, 2, 3, false])
    };
    let findings: Vec<_> = (0..10_000).map(finding).collect();
    let state = serde_json::json!({ "version": 1, "sites": [], "findings": findings, "evicted": [] });
    let times = [(); 3].map(|()| {
        let directory = tempfile::TempDir::new().unwrap();
        let file = directory.path().join("findings");
        write_state(&file, &state);
        let daemon = Setup::yaml(&format!("findings: {{ state_file: {} }}", file.display())).start();
        daemon.stderr.containing("findings=10000");
        let time = daemon.cpu_time();
        daemon.until("lookout_findings", &[], 10_000.0);
        time.as_millis()
    });
    assert!(times.iter().min() < Some(&limit), "{times:?} ms of CPU, and {limit} are allowed");
}

/// The table of findings shows how full it is.
#[test]
fn findings_are_counted_and_charged_within_their_limit() {
    let daemon = Setup::yaml("findings: { max: 100, max_bytes: 1MiB }").start();
    let fill = |at: usize| csp("shop", "img-src", &format!("https://cdn-{at}.example/x.png"));
    daemon.post("/report", fill(0));
    daemon.until("lookout_findings", &[], 1.0);
    let bytes = |daemon: &Daemon| {
        ["lookout_findings_bytes", "lookout_findings_limit_bytes"].map(|name| daemon.scrape().sum(name, &[]))
    };
    let [used, limit] = bytes(&daemon);
    assert!(used >= limit / 76.0 && limit < 1024.0 * 1024.0 * 0.75, "{used} of {limit}");
    (1..300).for_each(|at| drop(daemon.post("/report", fill(at))));
    eventually("a table that is full", || {
        let [used, limit] = bytes(&daemon);
        if used > limit * 0.3 && used <= limit { Ok(()) } else { Err(format!("{used} of {limit}")) }
    });
}

#[test]
fn sites_are_learned_for_a_day_unless_their_state_is_older() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("findings");
    let setup = || {
        let file = file.display();
        Setup::yaml(&format!(
            "findings: {{ state_file: {file} }}\nsites: [{{ name: shop, hosts: [shop.example] }}]"
        ))
    };
    let learning = |daemon: &Daemon| {
        ["shop", "unknown"].map(|site| daemon.scrape().sum("lookout_findings_learning", &[("site", site)]))
    };
    let daemon = setup().start();
    assert_eq!(learning(&daemon), [1.0, 1.0]);
    daemon.stop();
    // As if the first start had been two days ago.
    let state = std::fs::read_to_string(&file).unwrap();
    let mut state: serde_json::Value = serde_json::from_str(state.lines().next().unwrap()).unwrap();
    for site in state["sites"].as_array_mut().unwrap() {
        site[1] = (site[1].as_i64().unwrap() - 2 * 86_400_000).into();
    }
    write_state(&file, &state);
    let daemon = setup().start();
    assert_eq!(learning(&daemon), [0.0, 0.0]);
}

/// Nothing of an address, and nothing of a report, gets to the state, the metrics or a sample.
#[test]
fn client_and_content_leave_neither_by_the_state_nor_by_the_metrics() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("findings");
    let yaml = format!(
        "findings: {{ state_file: {} }}\nintake: {{ trusted_proxies: [127.0.0.0/8] }}\n\
         sites: [{{ name: canaryshop, hosts: [shop.example] }}]",
        file.display()
    );
    let daemon = Setup::yaml(&yaml).start();
    let body = csp("shop", "script-src", "https://canaryblocked.example/canarypath.js");
    for client in ["198.51.100.77", "2001:db8:c4a1:7e57::1", "203.0.113.99"] {
        let request = Request::post("/report", body.as_bytes()).header("x-forwarded-for", client);
        assert_eq!(daemon.send(&request, 1).status, 204);
    }
    daemon.until("lookout_affected_clients_total", &[("site", "canaryshop"), ("what", "enforced")], 3.0);
    daemon.until("lookout_new_findings_total", &[("clients", "2"), ("class", "runs")], 1.0);
    let metrics = daemon.get_admin("/metrics").text();
    let lines = daemon.stop().join("\n");
    let state = std::fs::read(&file).unwrap();
    let state_text = String::from_utf8(state.clone()).unwrap();
    for canary in ["198.51.100", "2001:db8", "c4a1", "203.0.113", "3325256704", "3325256781"] {
        assert!(![&metrics, &lines, &state_text].iter().any(|text| text.contains(canary)), "{canary}");
    }
    for canary in ["canary", "shop", "script", "https", "example"] {
        assert!(!state_text.contains(canary), "{canary}");
    }
    for address in [[198, 51, 100, 77], [203, 0, 113, 99]] {
        assert!(!state.windows(4).any(|bytes| bytes == address));
    }
}
