//! Noise classes of labeled cases (`cases.txt`) and of the corpus, decoded and normalized first.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::rules::{self, Signal};
use crate::classify::{MatchedRule, Rules, SiteIndex, classify};
use crate::config::{ClientAddress, PathSecrets, Privacy, QueryPrivacy, Rule, SiteConfig};
use crate::decode::decode;
use crate::model::{ClientKey, LabelEnum, Noise, UploadContext};
use crate::normalize::{Mode, normalize};

const STRICT: Privacy = Privacy {
    query: QueryPrivacy::Strip,
    path_secrets: PathSecrets::Redact,
    client_address: ClientAddress::None,
};

/// Returns the classes of a body's reports.
fn classes(body: &str, user_agent: Option<&str>, privacy: Privacy, rules: &Rules) -> Vec<Noise> {
    let classified = classify_all(body, user_agent, (privacy, Mode::Full), rules, &SiteIndex::default());
    classified.into_iter().map(|(_, noise)| noise).collect()
}

/// Returns the sites and the classes of a body's reports.
fn classify_all(
    body: &str,
    user_agent: Option<&str>,
    (privacy, mode): (Privacy, Mode),
    rules: &Rules,
    sites: &SiteIndex,
) -> Vec<(String, Noise)> {
    let context = UploadContext {
        received: Timestamp::from_second(1_800_000_000).unwrap(),
        uptime: 1,
        user_agent,
        disposition: None,
        site: None,
        key: None,
        query: &[],
        client: ClientKey::default(),
        client_address: None,
        span: None,
    };
    let mut found = Vec::new();
    let _ = decode(body.as_bytes(), 1000, |item| {
        if let Ok(envelope) = item {
            let report = normalize(envelope, &context, privacy, mode);
            let classification = classify(&report, &context, sites, rules);
            found.push((classification.site.as_str().to_owned(), classification.noise));
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

fn cases(text: &'static str) -> Vec<Case> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(case).collect()
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
    let cases = cases(include_str!("cases.txt"));
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

/// Cases that were collected apart from the rules: no real violation may be noise, and 97 in 100 cases of
/// each class must be found.
#[test]
fn labeled_set_has_full_precision_and_high_recall() {
    let cases = cases(include_str!("labeled.txt"));
    let mut of_class: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in &cases {
        let class = classes(&case.body, case.user_agent, STRICT, &Rules::default());
        let [class] = class[..] else { panic!("one report: {}", case.line) };
        let (right, all) = of_class.entry(case.class).or_default();
        *right += usize::from(class.as_str() == case.class);
        *all += 1;
        if class.as_str() != case.class {
            wrong.push(format!("{} for {}", class.as_str(), case.line));
        }
    }
    let wrong = wrong.join("\n");
    assert_eq!(of_class.len(), Noise::ALL.len(), "every class has cases");
    let (real_right, real) = of_class["none"];
    assert!(real >= 150 && cases.len() - real >= 150, "{of_class:?}");
    assert_eq!(real_right, real, "real violations as noise:\n{wrong}");
    for (class, (right, all)) in of_class {
        assert!(100 * right >= 97 * all, "recall of {class}: {right} of {all}\n{wrong}");
    }
}

fn sites(hosts: &[&str]) -> SiteIndex {
    SiteIndex::new(&[SiteConfig {
        name: "intranet".into(),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        ..SiteConfig::default()
    }])
}

#[test]
fn host_that_the_settings_name_is_never_local() {
    let sites = sites(&["portal.corp.local", "*.intra.local", "10.1.2.3", "localhost", "[fd00::7]"]);
    let class = |line| {
        let case = case(line);
        classify_all(&case.body, case.user_agent, (STRICT, Mode::Full), &Rules::default(), &sites)
    };
    let intranet = |noise| vec![("intranet".to_owned(), noise)];
    for document in [
        "https://portal.corp.local/",
        "https://wiki.intra.local/",
        "https://10.1.2.3:8443/x",
        "http://[fd00::7]/",
        "capacitor://localhost/index.html",
        "ionic://localhost/",
        "http://localhost/",
    ] {
        let report = |rest: &str| class(format!("- | script-src-elem | {rest} | {document}").leak());
        assert_eq!(report("https://evil.example/x.js | - | - | chrome"), intranet(Noise::None), "{document}");
        assert_eq!(report("https://files.corp.local/x.js | - | - | chrome"), intranet(Noise::None));
        // The other classes are the same as on any site.
        assert_eq!(report("inline | chrome-extension | - | chrome"), intranet(Noise::Extension));
        assert_eq!(
            report("https://gc.kis.v2.scr.kaspersky-labs.com/a.js | - | - | chrome"),
            intranet(Noise::Injected)
        );
        assert_eq!(report("https://cdn.example/x.js | - | - | googlebot"), intranet(Noise::Bot));
    }
    let line = "- | connect-src | http://127.0.0.1:4001/ | - | - | chrome | https://portal.corp.local/";
    assert_eq!(class(line), intranet(Noise::Local), "the visitor's own machine");
    let line = "- | connect-src | https://10.1.2.3/api | - | - | chrome | https://shop.example/";
    assert_eq!(class(line), [("unknown".to_owned(), Noise::None)], "a named server");
    let line = "- | script-src | inline | - | - | chrome | https://other.corp.local/";
    assert_eq!(class(line), [("unknown".to_owned(), Noise::Local)]);
}

#[test]
fn built_in_rule_does_not_match_a_host_that_the_settings_name() {
    let sites = sites(&["*.zscaler.net", "www.translatetheweb.com"]);
    let class = |line| {
        let case = case(line);
        classify_all(&case.body, case.user_agent, (STRICT, Mode::Full), &Rules::default(), &sites)[0].1
    };
    assert_eq!(class("- | img-src | https://cdn.zscaler.net/i.png | - | - | chrome | *"), Noise::None);
    assert_eq!(
        class("- | img-src | https://cdn.example/i.png | - | - | chrome | https://www.translatetheweb.com/"),
        Noise::None
    );
    assert_eq!(
        class("- | img-src | https://x.zscaler.net/ | chrome-extension | - | chrome | *"),
        Noise::Extension
    );
}

/// The site comes from the document if its scheme is http, and from what embeds a frame without an address.
#[test]
fn document_of_another_scheme_has_no_site() {
    let report = |url: &str, body: serde_json::Value| {
        json!([{ "type": "csp-violation", "age": 1, "url": url, "user_agent": user_agent("chrome"), "body": body }]).to_string()
    };
    let none = SiteIndex::default();
    let shop = sites(&["shop.example"]);
    for mode in [Mode::Full, Mode::MetricsOnly] {
        let class = |url: &str, sites: &SiteIndex, more: &[(&str, &str)]| {
            let mut body =
                json!({ "documentURL": url, "blockedURL": "inline", "effectiveDirective": "script-src" });
            for (name, value) in more {
                body[name] = (*value).into();
            }
            let mut found = classify_all(&report(url, body), None, (STRICT, mode), &Rules::default(), sites);
            found.remove(0)
        };
        let expect = |site: &str, noise| (site.to_owned(), noise);
        for (url, noise) in [
            ("chrome-extension://abcdefghijklmnop/popup.html", Noise::Extension),
            ("moz-extension://1f2e3d4c-0000-4000-8000-aabbccddeeff/a.html", Noise::Extension),
            ("chrome-extension", Noise::Extension),
            ("resource://pdf.js/web/viewer.html", Noise::Browser),
            ("wyciwyg://0/https://shop.example/", Noise::Browser),
            ("view-source:https://shop.example/", Noise::Browser),
            ("about:neterror", Noise::Browser),
            ("intent://shop.example/", Noise::Injected),
            ("file:///home/jane/cart.html", Noise::Local),
            ("capacitor://localhost/", Noise::Local),
            ("about:srcdoc", Noise::None),
            ("about:blank", Noise::None),
            ("data:text/html,x", Noise::None),
            ("blob:null/1-2", Noise::None),
        ] {
            assert_eq!(class(url, &none, &[]), expect("unknown", noise), "{url}");
        }
        for url in [
            "https://shop.example/",
            "http://shop.example/",
            "blob:https://shop.example/1-2",
            "filesystem:https://shop.example/temporary/a.html",
        ] {
            assert_eq!(class(url, &none, &[]), expect("shop.example", Noise::None), "{url}");
        }
        let page = "https://shop.example/cart";
        for url in ["about:srcdoc", "about", "blob:null/1-2", "blob"] {
            for more in [[("referrer", page)], [("sourceFile", page)]] {
                assert_eq!(class(url, &none, &more), expect("shop.example", Noise::None), "{url} {more:?}");
                assert_eq!(class(url, &shop, &more), expect("intranet", Noise::None), "{url} {more:?}");
            }
            let more = [("referrer", "https://other.example/"), ("sourceFile", page)];
            assert_eq!(class(url, &shop, &more), expect("intranet", Noise::None), "{url}");
            assert_eq!(class(url, &shop, &[("referrer", "https://evil.example/")]).0, "unknown");
        }
        assert_eq!(class("about:blank", &none, &[("referrer", page)]).0, "unknown");
        // A page with an address is of its own site only.
        assert_eq!(class("https://other.example/", &shop, &[("referrer", page)]).0, "unknown");
    }
}

#[test]
fn file_in_the_extensions_folder_is_an_extension() {
    let file = "file:///C:/Users/someone/AppData/Local/Google/Chrome/User%20Data/Default/Extensions/\
                boljdehmejbffnfiiicckjhafabdepnd/4.23_0/content/i18n.js";
    for mode in [Mode::Full, Mode::MetricsOnly] {
        let class = |file: &str| {
            let body = json!({ "id": "x", "message": "x", "lineNumber": 26, "sourceFile": file });
            let report =
                json!([{ "type": "deprecation", "age": 1, "url": "https://shop.example/", "body": body }]);
            classify_all(
                &report.to_string(),
                user_agent("chrome"),
                (STRICT, mode),
                &Rules::default(),
                &SiteIndex::default(),
            )[0]
            .1
        };
        assert_eq!(class(file), Noise::Extension);
        assert_eq!(class("file:///home/someone/site/app.js"), Noise::None);
    }
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
    let rule = |blocked: &str, agent: &str, noise| Rule {
        blocked_url: [blocked].iter().filter(|text| !text.is_empty()).map(|text| (*text).into()).collect(),
        user_agent: [agent].iter().filter(|text| !text.is_empty()).map(|text| (*text).into()).collect(),
        noise: Some(noise),
        ..Rule::default()
    };
    let rules = Rules::new(&[
        rule("", "*HeadlessChrome*", Noise::None),
        rule("*.kaspersky-labs.com", "", Noise::None),
        rule("widget.example", "", Noise::Injected),
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

/// Browsers name `Mozilla/` first. A relay's own agent stands only in the head of the upload.
#[test]
fn report_of_an_agent_that_is_no_browser_is_a_bot() {
    let class = |own: Option<&str>, header: Option<&'static str>| {
        let report = json!([{ "type": "csp-violation", "url": "https://shop.example/", "user_agent": own,
            "body": { "blockedURL": "https://cdn.example/x", "effectiveDirective": "img-src" } }]);
        classes(&report.to_string(), header, STRICT, &Rules::default())[0]
    };
    for agent in [
        "python-requests/2.32.3",
        "Python/3.9 aiohttp/3.7.3",
        "curl/8.14.1",
        "Go-http-client/2.0",
        "okhttp/4.12.0",
        "axios/1.7.2",
        "Apache-HttpClient/4.5.10 (Java/1.8.0_201)",
        "Wget/1.20.3 (linux-gnu)",
        "WhatsApp/2.19.330 A",
        "Valve/Steam HTTP Client 1.0 (SteamChatURLLookup)",
        "Feedbin feed-id:2005098 - 2 subscribers",
        "panscient.com",
    ] {
        assert_eq!(class(Some(agent), user_agent("chrome")), Noise::Bot, "{agent}");
        assert_eq!(class(Some(agent), None), Noise::Bot, "{agent}");
    }
    for agent in [
        user_agent("chrome").unwrap(),
        "Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.18",
        "com.shop.app/7.2 (Linux; U; Android 14; en_US; Pixel 8; Build/AP2A; Cronet/119.0.6045.31)",
    ] {
        assert_eq!(class(Some(agent), Some("Go-http-client/1.1")), Noise::None, "{agent}");
    }
    assert_eq!(class(None, Some("curl/8.14.1")), Noise::None, "a relay");
    assert_eq!(class(Some(""), None), Noise::None);
    assert_eq!(class(None, None), Noise::None);
}

#[test]
fn rule_has_a_source_and_a_pattern_of_its_own() {
    let mut rules: Vec<rules::Rule> = Vec::new();
    for line in rules::lines() {
        let rule = rules::parse(line, 0).unwrap_or_else(|| panic!("not a rule: {line}"));
        let columns: Vec<_> = line.split('\t').collect();
        assert!(columns.len() == 4 && columns.iter().all(|column| !column.trim().is_empty()), "{line}");
        assert_ne!(rule.matched.class, Noise::None);
        let again = rules.iter().find(|other| (other.field, other.pattern) == (rule.field, rule.pattern));
        assert!(again.is_none(), "twice: {rule:?}");
        rules.push(rule);
    }
    assert!(rules.len() >= 545, "{}", rules.len());
}

/// A page and an event name the rule, so that a name has to mean one rule.
#[test]
fn every_rule_has_a_name_of_its_own_and_a_source() {
    let mut names = std::collections::BTreeSet::new();
    for (index, (name, source)) in rules::NAMES.iter().enumerate() {
        assert_eq!(source.is_empty(), index < Signal::ALL.len(), "{name}");
        assert!(name.starts_with("builtin:") && names.insert(name.as_str()), "{name}");
        let rule = u16::try_from(index + 1).unwrap();
        assert_eq!(super::rule_name(rules::Match { class: Noise::Bot, rule }), Some(name.as_str()));
        assert_eq!(MatchedRule::new(name), MatchedRule { name: name.clone(), source });
    }
    assert_eq!(names.len(), Signal::ALL.len() + rules::lines().count());
    assert_eq!(super::rule_name(rules::Match { class: Noise::None, rule: 0 }), None);
    assert_eq!(MatchedRule::new("rules[3]").source, "");
    assert!(names.contains("builtin:scheme:moz-extension") && names.contains("builtin:local_host"));
}
