//! Rules and pages: conditions, their order, what they set, and how dropped events and pages are counted.

use std::io::Write as _;

use lookoutd::classify::{Rules, SiteIndex, classify};
use lookoutd::config::{Config, Flags, load};
use lookoutd::decode::decode;
use lookoutd::model::{EventOutcome, ExporterId, UploadContext};
use lookoutd::normalize::{Mode, normalize};
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use serde_json::{Value, json};

use crate::support::daemon::Setup;
use crate::support::http::Request;
use crate::support::in_process::{self, InProcess, Processed, context};

const CHROME: &str =
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/119.0.0.0 Safari/537.36";

const SITES: &str = "sites:\n- { name: shop, hosts: ['*.shop.example'], pages: [{ name: checkout, paths: \
                     ['/checkout', '/checkout/*'] }, { name: all, paths: ['/c*'] }] }\n- { name: blog }\n";

fn config(yaml: &str) -> Config {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    let flags = Flags { config: Some(file.path().to_owned()), settings: Vec::new() };
    load(&flags, std::iter::empty()).unwrap_or_else(|error| panic!("{error}")).config
}

fn with_rules(rules: &str) -> InProcess {
    InProcess::new(&config(&format!("{SITES}rules:\n{rules}")))
}

/// Returns a CSP violation on a page of the shop, with these members of the body instead.
fn violation(members: &Value) -> Value {
    let mut report = json!({
        "type": "csp-violation", "url": "https://www.shop.example/checkout/pay?card=1", "user_agent": CHROME,
        "body": {
            "blockedURL": "https://fonts.addon.example/a.woff", "effectiveDirective": "font-src",
            "sourceFile": "https://www.shop.example/app.js", "sample": "load(font)", "disposition": "enforce",
        },
    });
    for (name, value) in members.as_object().into_iter().flatten() {
        report["body"][name] = value.clone();
    }
    report
}

fn post(path: &InProcess, report: &Value) -> Processed {
    path.process(report.to_string().as_bytes(), &context())
}

/// Returns the member `lookout` of the only event.
fn lookout(path: &InProcess, report: &Value) -> Value {
    let processed = post(path, report);
    assert_eq!(processed.console.len(), 1, "{report}");
    serde_json::from_slice::<Value>(&processed.console[0]).unwrap()["lookout"].take()
}

/// Returns noise, severity and rule of the event.
fn verdict(path: &InProcess, report: &Value) -> [String; 3] {
    let lookout = lookout(path, report);
    ["noise", "severity", "rule"].map(|name| lookout[name].as_str().unwrap_or("-").to_owned())
}

#[test]
fn each_condition_matches_its_value() {
    for (conditions, is_match) in [
        ("site: shop", true),
        ("site: blog", false),
        ("site: '!blog'", true),
        ("page: checkout", true),
        ("page: all", false),
        ("page: '!*'", false),
        ("kind: csp-violation", true),
        ("kind: csp-*", true),
        ("kind: [crash, csp-hash]", false),
        ("kind: ['!crash', '!csp-hash']", true),
        ("kind: ['!crash', '!csp-*']", false),
        ("kind: ['csp-*', '!csp-hash']", true),
        ("kind: ['csp-*', '!csp-violation']", false),
        ("disposition: enforce", true),
        ("disposition: [report, unknown]", false),
        ("directive: font-src", true),
        ("directive: ['img-src', 'font-src']", true),
        ("directive: '!font-src'", false),
        ("blocked_url: 'https://fonts.addon.example/*'", true),
        ("blocked_url: '*/a.woff'", true),
        ("blocked_url: 'https://*.woff'", true),
        ("blocked_url: 'https://fonts.addon.example'", false),
        ("blocked_url: fonts.addon.example", true),
        ("blocked_url: addon.example", false),
        ("blocked_url: '*.addon.example'", true),
        ("blocked_url: ['*.other.example', '*.ADDON.example']", true),
        ("blocked_url: '!*.addon.example'", false),
        ("blocked_url: '!*'", false),
        // The query is redacted.
        ("document_url: 'https://www.shop.example/checkout/pay'", true),
        ("document_url: '*card*'", false),
        ("document_url: www.shop.example", true),
        ("source_file: '*/app.js'", true),
        ("source_file: '*.shop.example'", true),
        ("source_file: shop.example", false),
        ("sample: 'load(*)'", true),
        ("sample: load", false),
        ("user_agent: '*Linux*Chrome/*'", true),
        ("user_agent: Mozilla", false),
        ("browser: chrome", true),
        ("browser: '!safari'", true),
        ("browser: chrome<120", true),
        ("browser: 'chrome < 119'", false),
        ("browser: chrome<=119", true),
        ("browser: chrome>119", false),
        ("browser: chrome>=119", true),
        ("browser: chrome=119", true),
        ("browser: [firefox>=1, '!chrome<100']", false),
        ("browser: ['!chrome<100', '!firefox']", true),
        ("browser: '!chrome<120'", false),
        (
            "site: shop, page: checkout, kind: csp-violation, directive: font-src, blocked_url: '*.addon.example'",
            true,
        ),
        (
            "site: shop, page: checkout, kind: csp-violation, directive: font-src, blocked_url: '*.other.example'",
            false,
        ),
    ] {
        let path = with_rules(&format!("- {{ {conditions}, noise: extension }}"));
        let expected = if is_match { ["extension", "INFO", "rules[0]"] } else { ["none", "ERROR", "-"] };
        assert_eq!(verdict(&path, &violation(&json!({}))), expected, "{conditions}");
    }
}

/// An absent value matches nothing, and so every negated pattern holds.
#[test]
fn condition_on_an_absent_value_holds_only_if_negated() {
    let crash = json!({"type": "crash", "url": "https://www.shop.example/", "body": {"reason": "oom"}});
    for (conditions, is_match) in [
        ("blocked_url: '*'", false),
        ("blocked_url: '!*'", true),
        ("disposition: ['*']", false),
        ("disposition: '!enforce'", true),
        ("page: '!checkout'", true),
        ("user_agent: '*'", false),
        ("browser: other", true),
        ("browser: '!chrome<120'", true),
    ] {
        let path = with_rules(&format!("- {{ {conditions}, noise: extension }}"));
        assert_eq!(verdict(&path, &crash)[0], if is_match { "extension" } else { "none" }, "{conditions}");
    }
}

#[test]
fn browser_versions_are_major_ones() {
    let webkit = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)";
    for (browser, agent) in [
        ("chrome=119", CHROME.to_owned()),
        ("edge=118", format!("{CHROME} Edg/118.0.2088.76")),
        ("opera=104", format!("{CHROME} OPR/104.0.0.0")),
        ("samsung=23", CHROME.replace("Chrome/", "SamsungBrowser/23.0 Chrome/")),
        ("firefox=153", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/153.0".to_owned()),
        ("safari=17", format!("{webkit} Version/17.4.1 Safari/605.1.15")),
        ("chrome=120", format!("{webkit} CriOS/120.0.6099.119 Mobile/15E148 Safari/604.1")),
    ] {
        let path = with_rules(&format!("- {{ browser: {browser}, noise: browser }}"));
        let mut report = violation(&json!({}));
        report["user_agent"] = agent.into();
        assert_eq!(verdict(&path, &report)[0], "browser", "{browser}");
    }
    let path = with_rules("- { browser: [safari>=1, safari<9999], noise: browser }");
    let mut report = violation(&json!({}));
    report["user_agent"] = webkit.into();
    assert_eq!(verdict(&path, &report)[0], "none", "an unknown version is in no range");
}

/// The first rule that matches ends the list; what it leaves unset comes from the built-in rules.
#[test]
fn first_match_counts_and_leaves_the_rest() {
    let path = with_rules(
        "- { name: loud, blocked_url: 'loud-extension://*', severity: error }\n\
         - { name: fonts, directive: font-src, noise: injected, severity: warn }\n\
         - { blocked_url: '*.addon.example', noise: none, severity: info }\n\
         - { kind: csp-hash, severity: warn }\n\
         - { directive: img-src, noise: none }\n\
         - { user_agent: '*Headless*', noise: none }",
    );
    let of = |members: Value| verdict(&path, &violation(&members));
    assert_eq!(of(json!({})), ["injected", "WARN", "fonts"]);
    assert_eq!(of(json!({"effectiveDirective": "script-src"})), ["none", "INFO", "rules[2]"]);
    let extension = json!({"effectiveDirective": "style-src", "blockedURL": "loud-extension://a/b"});
    assert_eq!(of(extension), ["extension", "ERROR", "loud"], "the class is the built-in one");
    let extension = json!({"effectiveDirective": "style-src", "blockedURL": "new-extension://a/b"});
    assert_eq!(of(extension), ["extension", "INFO", "builtin:extension_scheme"]);
    let extension = json!({"effectiveDirective": "img-src", "blockedURL": "new-extension://a/b"});
    assert_eq!(of(extension), ["none", "ERROR", "rules[4]"], "an exception from the built-in rules");
    let mut headless = violation(&json!({"effectiveDirective": "style-src", "blockedURL": "inline"}));
    headless["user_agent"] = CHROME.replace("Chrome/", "HeadlessChrome/").into();
    assert_eq!(verdict(&path, &headless), ["none", "ERROR", "rules[5]"]);
    let hash = json!({"type": "csp-hash", "url": "https://www.shop.example/", "user_agent": CHROME,
        "body": {"hash": "sha256-A", "destination": "script", "subresourceURL": "https://www.shop.example/a.js"}});
    assert_eq!(verdict(&path, &hash), ["none", "WARN", "rules[3]"]);
}

#[test]
fn console_and_otlp_name_rule_and_page() {
    let path = with_rules("- { name: fonts.of-add_ons, directive: font-src, noise: extension }");
    let processed = post(&path, &violation(&json!({})));
    let attributes = in_process::decode(&processed.otlp[0]).attributes;
    let attribute = |name: &str| {
        let found = attributes.iter().find(|attribute| attribute.key == name)?;
        match found.value.clone()?.value? {
            Any::StringValue(text) => Some(text),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(attribute("lookout.rule").as_deref(), Some("fonts.of-add_ons"));
    assert_eq!(attribute("lookout.page").as_deref(), Some("checkout"));
    let line: Value = serde_json::from_slice(&processed.console[0]).unwrap();
    assert_eq!(line["lookout"]["rule"], "fonts.of-add_ons");
    assert_eq!(line["lookout"]["page"], "checkout");
}

/// The report counts in metrics, findings and clients as any other; its event reaches no exporter.
#[test]
fn event_dropped_by_a_rule_is_filtered_at_every_exporter() {
    let path = with_rules("- { kind: csp-violation, directive: font-src, event: drop }");
    let processed = post(&path, &violation(&json!({})));
    assert!(processed.console.is_empty() && processed.otlp.is_empty());
    let kept = post(&path, &violation(&json!({"effectiveDirective": "img-src"})));
    assert_eq!((kept.console.len(), kept.otlp.len()), (1, 1));
    for exporter in [ExporterId::Console, ExporterId::Otlp] {
        assert_eq!(
            path.pipeline.registry.self_metrics.export.events[exporter][EventOutcome::Filtered].get(),
            1
        );
    }
    let series = path.series();
    for start in [
        "lookout_reports_total{site=\"shop\",kind=\"csp-violation\",browser=\"chrome\"} 2",
        "lookout_csp_violations_total{site=\"shop\",disposition=\"enforce\",directive=\"font-src\"",
        "lookout_affected_clients_total{site=\"shop\",what=\"enforced\",noise=\"none\"} 1",
        "lookout_new_findings_total{site=\"shop\",kind=\"csp-violation\",disposition=\"enforce\",class=\"other\",noise=\"none\",clients=\"1\"} 2",
    ] {
        assert!(series.iter().any(|series| series.starts_with(start)), "{start}\n{series:#?}");
    }
}

#[test]
fn daemon_balances_the_accounts_of_dropped_events() {
    let yaml = "rules: [{ name: quiet, kind: csp-*, event: drop }]\n\
                otlp: { endpoint: http://127.0.0.1:9, logs: { exporters: [otlp, console] } }\n";
    let daemon = Setup::yaml(yaml).start();
    for exporter in ["console", "otlp"] {
        daemon.until("lookout_events_total", &[("exporter", exporter), ("outcome", "filtered")], 0.0);
    }
    for _ in 0..3 {
        assert_eq!(daemon.post("/report", violation(&json!({})).to_string()).status, 204);
    }
    for exporter in ["console", "otlp"] {
        daemon.until("lookout_events_total", &[("exporter", exporter), ("outcome", "filtered")], 3.0);
    }
    let answer = daemon.get_admin("/api/v1/events?detail=true").text();
    let events: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(events["items"].as_array().unwrap().len(), 3, "the window has what no exporter gets");
    assert_eq!(events["items"][0]["rule"], json!({"name": "quiet"}));
    assert_eq!(events["items"][0]["event"]["lookout"]["rule"], "quiet");
    assert!(daemon.stop().is_empty());
}

#[test]
fn check_and_start_warn_of_a_rule_that_never_matches() {
    let yaml = "sites: [{ name: shop }]\nrules:\n- { kind: crash, noise: bot }\n- kind: crash\n  site: shpo\n  event: drop\n";
    let output = Setup::yaml(yaml).argument("check").output();
    let stderr = String::from_utf8(output.stderr).unwrap();
    let expected = [
        "lookoutd: warning: lookoutd.yaml:5: rules[1].site: \"shpo\" never matches: no such site is configured; did you mean shop?",
        "lookoutd: warning: lookoutd.yaml:4: rules[1]: never matches: rules[0] comes first and matches all that it would",
    ];
    assert_eq!((output.status.code(), stderr.lines().collect::<Vec<_>>()), (Some(0), expected.to_vec()));
    let daemon = Setup::yaml(yaml).start();
    daemon.stderr.containing("did you mean shop?");
    daemon.stderr.containing("rules[0] comes first");
    daemon.stop();
}

#[test]
fn explain_names_the_rule_and_the_page() {
    let yaml = format!("{SITES}rules: [{{ directive: font-src, severity: warn, event: drop }}]");
    let setup = Setup::yaml(&yaml).file("report.json", &violation(&json!({})).to_string());
    let output = setup.argument("explain").argument("report.json").output();
    let explained: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(explained["rule"], json!(["rules[0]"]));
    assert_eq!(explained["events"][0]["lookout"]["page"], "checkout");
    let series = explained["series"].as_array().unwrap();
    let of = |name: &str| &series.iter().find(|series| series["name"] == name).unwrap()["labels"];
    assert_eq!(of("lookout_csp_violations_total")["page"], "checkout");
}

/// An index of rules finds what a comparison with each of them finds.
#[test]
fn many_rules_match_as_each_alone() {
    let choices: [(&str, &[&str]); 8] = [
        ("site", &["a.example", "*.example", "!b.example"]),
        ("kind", &["csp-violation", "csp-*", "network-error", "!crash"]),
        ("disposition", &["enforce", "report"]),
        ("directive", &["font-src", "img-src", "!img-src"]),
        (
            "blocked_url",
            &["inline", "*.cdn.example", "x.cdn.example", "https://y.cdn.example/*", "!*", "*.js"],
        ),
        ("document_url", &["a.example", "https://b.example/*", "*/cart"]),
        ("sample", &["alert(1)", "alert*", "!alert*"]),
        ("browser", &["chrome", "chrome<119", "!firefox", "other"]),
    ];
    let mut state = 7_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as usize % below
    };
    let mut yaml = String::from("rules:\n");
    for number in 0..400 {
        yaml.push_str(&format!("- {{ name: r{number}, noise: bot"));
        let first = next(choices.len());
        for step in 0..=next(4) {
            let (field, values) = choices[(first + step) % choices.len()];
            let values: Vec<_> = (0..=next(2)).map(|_| format!("'{}'", values[next(values.len())])).collect();
            yaml.push_str(&format!(", {field}: [{}]", values.join(", ")));
        }
        yaml.push_str(" }\n");
    }
    let rules = config(&yaml).rules;
    let each: Vec<Rules> = rules.iter().map(|rule| Rules::new(std::slice::from_ref(rule))).collect();
    let privacy = lookoutd::config::defaults().privacy;
    let sites = SiteIndex::default();
    let mut matched = std::collections::BTreeSet::new();
    for number in 0..1200 {
        // Without those at the start, so that others come first.
        let start = number % rules.len();
        let mut pick = |values: &[&str]| values[next(values.len())].to_owned();
        let report = json!({
            "type": pick(&["csp-violation", "csp-hash", "network-error", "crash"]),
            "url": pick(&["https://a.example/cart", "https://b.example/", "https://c.d.example/cart", "about:blank"]),
            "user_agent": pick(&[CHROME, &CHROME.replace("119", "80"), "", "Mozilla/5.0 Firefox/1"]),
            "body": {
                "blockedURL": pick(&["inline", "https://x.cdn.example/a.js", "https://y.cdn.example/b", "https://z.example/c.js", ""]),
                "effectiveDirective": pick(&["font-src", "img-src", "style-src"]),
                "sample": pick(&["", "alert(1)", "alert(2)", "eval"]),
                "disposition": pick(&["enforce", "report", ""]),
            },
        });
        decode(report.to_string().as_bytes(), 9, |item| {
            let upload = UploadContext { user_agent: None, ..context() };
            let report = normalize(item.unwrap(), &upload, privacy, Mode::Full);
            let found =
                |rules| classify(&report, &upload, &sites, rules).rule.filter(|name| name.starts_with('r'));
            let expected = each[start..].iter().find_map(found).map(str::to_owned);
            let all = Rules::new(&rules[start..]);
            assert_eq!(found(&all), expected.as_deref(), "{number}: {report:?}");
            matched.extend(expected);
        })
        .unwrap();
    }
    assert!(matched.len() > 100, "{matched:?}");
}

#[test]
fn page_is_a_label_of_three_families_and_absent_without_one() {
    let daemon = Setup::yaml(&format!("{SITES}privacy: {{ query: keep }}")).start();
    let kinds = [
        (
            "csp-violation",
            json!({"effectiveDirective": "font-src", "blockedURL": "inline", "disposition": "enforce"}),
        ),
        (
            "csp-hash",
            json!({"hash": "sha256-A", "destination": "script", "subresourceURL": "https://a.example/a.js"}),
        ),
        (
            "integrity-violation",
            json!({"destination": "script", "blockedURL": "https://a.example/a.js", "reportOnly": true}),
        ),
        ("crash", json!({"reason": "oom"})),
    ];
    for path in ["/checkout?next=/x", "/checkout/pay", "/cart", "/", ""] {
        for (kind, body) in &kinds {
            let report =
                json!({"type": kind, "url": format!("https://www.shop.example{path}"), "body": body});
            assert_eq!(daemon.send(&Request::post("/report", report.to_string()), 1).status, 204);
        }
    }
    let families =
        ["lookout_csp_violations_total", "lookout_csp_hashes_total", "lookout_integrity_violations_total"];
    for family in families {
        for (page, count) in [("checkout", 2.0), ("all", 1.0)] {
            daemon.until(family, &[("site", "shop"), ("page", page)], count);
        }
        daemon.until(family, &[("site", "shop")], 5.0);
    }
    let text = daemon.get_admin("/metrics").text();
    assert!(!text.contains("page=\"\""), "an absent label is not there");
    for family in families {
        let of_family =
            text.lines().filter(|line| line.starts_with(&format!("{family}{{"))).collect::<Vec<_>>();
        assert_eq!(of_family.iter().filter(|line| line.contains("page=")).count(), 2, "{of_family:#?}");
        assert_eq!(of_family.len(), 3, "{of_family:#?}");
    }
    assert!(!text.lines().any(|line| line.starts_with("lookout_crashes_total{") && line.contains("page=")));
    let pages: Vec<Value> = daemon
        .stop()
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["lookout"]["page"].take())
        .collect();
    let expected = ["checkout", "checkout", "all", "-", "-"]
        .map(|page| if page == "-" { Value::Null } else { page.into() });
    assert_eq!(pages, expected.iter().flat_map(|page| vec![page.clone(); kinds.len()]).collect::<Vec<_>>());
}
