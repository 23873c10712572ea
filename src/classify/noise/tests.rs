//! Noise classes of labeled cases (`cases.txt`) and of the corpus, decoded and normalized first.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::Pattern;
use super::rules::RULES;
use crate::classify::{Rules, SiteIndex, classify};
use crate::config::{ClientAddress, NoiseField, NoiseRule, PathSecrets, Privacy, QueryPrivacy};
use crate::decode::decode;
use crate::model::{LabelEnum, Noise, UploadContext};
use crate::normalize::{Mode, normalize};

const STRICT: Privacy = Privacy {
    query: QueryPrivacy::Strip,
    path_secrets: PathSecrets::Redact,
    client_address: ClientAddress::None,
};

/// Returns the classes of a body's reports.
fn classes(body: &str, user_agent: Option<&str>, privacy: Privacy, rules: &Rules) -> Vec<Noise> {
    let context = UploadContext {
        received: Timestamp::from_second(1_800_000_000).unwrap(),
        uptime: 1,
        user_agent,
        disposition: None,
        site: None,
        query: &[],
        client_address: None,
    };
    let sites = SiteIndex::default();
    let mut found = Vec::new();
    let _ = decode(body.as_bytes(), 1000, |item| {
        if let Ok(envelope) = item {
            let report = normalize(envelope, &context, privacy, Mode::Full);
            found.push(classify(&report, &context, &sites, rules).noise);
        }
    });
    found
}

struct Case {
    line: &'static str,
    class: &'static str,
    body: String,
    user_agent: Option<&'static str>,
}

fn user_agent(name: &'static str) -> Option<&'static str> {
    let agent = match name {
        "-" => return None,
        "chrome" => {
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 \
             Safari/537.36"
        }
        "headless" => {
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
             HeadlessChrome/156.0.0.0 Safari/537.36"
        }
        "edge" => {
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0"
        }
        "opera" => {
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/142.0.0.0 Safari/537.36 OPR/120.0.0.0"
        }
        "yandex" => {
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
             Chrome/142.0.0.0 YaBrowser/25.10.0.0 Safari/537.36"
        }
        "firefox" => "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0",
        "safari" => {
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/26.0 Safari/605.1.15"
        }
        "webview" => {
            "Mozilla/5.0 (Linux; Android 14; Pixel 8; wv) AppleWebKit/537.36 (KHTML, like Gecko) \
             Version/4.0 Chrome/142.0.0.0 Mobile Safari/537.36 [FB_IAB/FB4A;FBAV/500.0.0.0;]"
        }
        "ie" => "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko",
        "googlebot" => {
            "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like \
             Gecko) Chrome/142.0.0.0 Mobile Safari/537.36 (compatible; Googlebot/2.1; \
             +http://www.google.com/bot.html)"
        }
        text => text,
    };
    Some(agent)
}

fn cases() -> Vec<Case> {
    let lines = include_str!("cases.txt").lines();
    lines.filter(|line| !line.starts_with('#') && !line.is_empty()).map(case).collect()
}

fn case(line: &'static str) -> Case {
    const PAGE: &str = "https://shop.example/cart";
    let columns: Vec<&str> = line.split(" | ").collect();
    let [class, directive, blocked, source, sample, agent, document] = columns[..] else {
        panic!("seven columns: {line}")
    };
    let page = |text: &'static str| if text == "*" { PAGE } else { text };
    let mut report = serde_json::Map::new();
    for (name, value) in [
        ("document-uri", page(document)),
        ("effective-directive", directive),
        ("blocked-uri", blocked),
        ("source-file", page(source)),
        ("script-sample", sample),
    ] {
        if value != "-" {
            let value = value.replace("\\n", "\n").replace("\\r", "\r");
            report.insert(name.to_owned(), value.into());
        }
    }
    Case { line, class, body: json!({ "csp-report": report }).to_string(), user_agent: user_agent(agent) }
}

#[test]
fn labeled_case_gets_its_class() {
    let mut wrong = Vec::new();
    let mut noise = 0;
    let mut found = 0;
    let cases = cases();
    for case in &cases {
        let privacy = [STRICT, Privacy { query: QueryPrivacy::Keep, ..STRICT }];
        for privacy in privacy {
            let class = classes(&case.body, case.user_agent, privacy, &Rules::default());
            let [class] = class[..] else { panic!("one report: {}", case.line) };
            let expected = case.class;
            noise += usize::from(expected != "none");
            found += usize::from(expected != "none" && class != Noise::None);
            if class.as_str() != expected {
                wrong.push(format!("{} for {}", class.as_str(), case.line));
            }
        }
    }
    assert!(cases.len() >= 150, "{}", cases.len());
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), 2 * cases.len(), wrong.join("\n"));
    assert_eq!(found, noise);
}

/// No other capture is noise, because the headless browsers of the corpus are on test sites.
#[test]
fn capture_gets_its_class() {
    let mut found: BTreeMap<String, BTreeMap<&str, usize>> = BTreeMap::new();
    for engine in ["chromium", "firefox", "webkit"] {
        let folder = format!("{}/tests/corpus/{engine}", env!("CARGO_MANIFEST_DIR"));
        for file in std::fs::read_dir(folder).unwrap() {
            let file = file.unwrap();
            let capture: serde_json::Value =
                serde_json::from_slice(&std::fs::read(file.path()).unwrap()).unwrap();
            let body = capture["request"]["body"].as_str().unwrap_or_default();
            let headers = capture["request"]["headers"].to_string();
            let agent = headers.split('"').find(|text| text.starts_with("Mozilla/"));
            for class in classes(body, agent, STRICT, &Rules::default()) {
                let name = file.file_name().into_string().unwrap();
                let number = name.split('-').next().unwrap();
                *found.entry(format!("{engine}/{number}")).or_default().entry(class.as_str()).or_default() +=
                    1;
            }
        }
    }
    let mut noise: Vec<String> = Vec::new();
    for (capture, classes) in &found {
        for (class, count) in classes.iter().filter(|(class, _)| **class != "none") {
            noise.push(format!("{capture} {class} {count}"));
        }
    }
    // Firefox's `browser` is its favicon loader, except for 649, 651 and 653: scripts of add-ons in the
    // page's own world.
    let expected = [
        "chromium/654 extension 1",
        "chromium/662 extension 1",
        "chromium/673 extension 1",
        "firefox/345 browser 1",
        "firefox/408 browser 1",
        "firefox/410 browser 1",
        "firefox/426 browser 1",
        "firefox/428 browser 1",
        "firefox/443 browser 1",
        "firefox/445 browser 1",
        "firefox/559 browser 1",
        "firefox/620 browser 1",
        "firefox/649 browser 1",
        "firefox/651 browser 1",
        "firefox/652 extension 1",
        "firefox/653 browser 1",
        "firefox/655 extension 1",
        "firefox/656 extension 1",
        "firefox/661 extension 1",
        "firefox/665 extension 1",
    ];
    assert_eq!(noise, expected);
}

#[test]
fn user_rule_comes_before_built_in_rules() {
    let rule = |field, pattern: &str, class: &str| NoiseRule {
        field,
        pattern: pattern.to_owned(),
        class: class.to_owned(),
    };
    let rules = Rules::new(&[
        rule(NoiseField::UserAgent, "*HeadlessChrome*", "none"),
        rule(NoiseField::BlockedUrl, "*.kaspersky-labs.com", "none"),
        rule(NoiseField::BlockedUrl, "widget.example", "injected"),
    ]);
    let class = |line| {
        let case = case(line);
        classes(&case.body, case.user_agent, STRICT, &rules)
    };
    assert_eq!(class("- | script-src | inline | - | - | headless | *"), [Noise::None]);
    assert_eq!(
        class("- | script-src | https://gc.kaspersky-labs.com/x.js | - | - | chrome | *"),
        [Noise::None]
    );
    assert_eq!(class("- | script-src | https://widget.example/x | - | - | chrome | *"), [Noise::Injected]);
    assert_eq!(class("- | script-src | https://evil.example/x | - | - | chrome | *"), [Noise::None]);
}

#[test]
fn report_of_another_kind_gets_a_class_by_the_same_rules() {
    let report = |kind: &str, url: &str, body: serde_json::Value| {
        json!([{ "type": kind, "age": 1, "url": url, "user_agent": user_agent("chrome"), "body": body }])
            .to_string()
    };
    let class = |body: String| classes(&body, None, STRICT, &Rules::default());
    let source = json!({ "sourceFile": "chrome-extension://abc/x.js", "message": "x" });
    assert_eq!(class(report("deprecation", "https://shop.example/", source)), [Noise::Extension]);
    let failure = json!({ "type": "tcp.refused", "phase": "connection" });
    assert_eq!(class(report("network-error", "http://localhost:3000/", failure.clone())), [Noise::Local]);
    assert_eq!(class(report("network-error", "https://shop.example/", failure)), [Noise::None]);
}

#[test]
fn rule_has_a_source_and_a_pattern_of_its_own() {
    for (at, rule) in RULES.iter().enumerate() {
        assert!(!rule.source.is_empty() && !rule.pattern.is_empty(), "{rule:?}");
        assert_ne!(rule.class, Noise::None);
        let again =
            RULES[..at].iter().find(|other| (other.field, other.pattern) == (rule.field, rule.pattern));
        assert!(again.is_none(), "twice: {rule:?}");
    }
}

#[test]
fn pattern_matches_a_host_or_text_with_wildcards() {
    let url = |pattern: &str| Pattern::new(pattern, NoiseField::BlockedUrl);
    assert!(url("*.antivirus.example").matches("https://gc.antivirus.example/x.js"));
    assert!(!url("*.antivirus.example").matches("https://antivirus.example/x.js"));
    assert!(url("antivirus.example").matches("https://antivirus.example/x.js"));
    assert!(!url("antivirus.example").matches("https://evil.example/antivirus.example"));
    let text = |pattern: &str| Pattern::new(pattern, NoiseField::Sample);
    assert!(text("*lastpass*").matches("var lastpass_iter = 1"));
    assert!(text("AG_*()").matches("AG_onLoad()"));
    assert!(!text("AG_*()").matches("xAG_onLoad()"));
    assert!(text("exact").matches("exact") && !text("exact").matches("exactly"));
}
