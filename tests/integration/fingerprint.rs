//! Fingerprints: equal for reports of one problem, whatever else differs, and in every version.

use std::collections::BTreeSet;

use lookoutd::classify::{Rules, SiteIndex, classify};
use lookoutd::config::{PathSecrets, Privacy, QueryPrivacy};
use lookoutd::decode::decode;
use lookoutd::docs::section;
use lookoutd::kinds;
use lookoutd::model::{Class, FieldType, Finding, LabelEnum, REPORT_TYPE, SERVER_HOST, UploadContext, What};
use lookoutd::normalize::{Mode, normalize};
use proptest::prelude::*;
use serde_json::{Value, json};
use twox_hash::XxHash64;

use crate::support::capture::{self, tests_path};
use crate::support::in_process::{InProcess, context};

/// Returns the findings of a body.
fn findings_in(body: &str, privacy: Privacy, mode: Mode, context: &UploadContext<'_>) -> Vec<Finding> {
    let (sites, rules) = (SiteIndex::default(), Rules::default());
    let mut found = Vec::new();
    decode(body.as_bytes(), 256, |item| {
        let report = normalize(item.unwrap(), context, privacy, mode);
        found.push(Finding::new(&report, &classify(&report, context, &sites, &rules)));
    })
    .unwrap();
    found
}

fn finding(body: &Value) -> Finding {
    let found = findings_in(&body.to_string(), Privacy::default(), Mode::Full, &context());
    assert_eq!(found.len(), 1, "{body}");
    found[0]
}

fn fingerprint(body: &Value) -> String {
    finding(body).fingerprint.to_string()
}

/// Every setting of privacy that matters for texts.
fn privacies() -> Vec<Privacy> {
    let queries = [QueryPrivacy::Strip, QueryPrivacy::Names, QueryPrivacy::Keep];
    let all = queries.iter().flat_map(|query| {
        [PathSecrets::Redact, PathSecrets::Keep].map(|path_secrets| (*query, path_secrets))
    });
    all.map(|(query, path_secrets)| Privacy { query, path_secrets, ..Privacy::default() }).collect()
}

/// A violation whose texts have something private.
fn violation() -> Value {
    json!({"type": "csp-violation", "age": 5, "url": "https://shop.example/cart?session=1", "user_agent": "UA", "body": {
        "documentURL": "https://shop.example/cart?session=1", "referrer": "https://shop.example/",
        "blockedURL": "https://cdn.example/reset/a81bc81b/lib.js?v=3", "effectiveDirective": "script-src-elem",
        "originalPolicy": "script-src 'self'", "sourceFile": "https://shop.example/js/main.3f2a9c1b.js?v=3",
        "sample": "", "disposition": "enforce", "statusCode": 200, "lineNumber": 3, "columnNumber": 7}})
}

/// A violation by code in the page.
fn inline(sample: &str) -> Value {
    json!({"type": "csp-violation", "url": "https://shop.example/cart", "body": {"blockedURL": "inline",
        "effectiveDirective": "script-src-elem", "disposition": "report", "sample": sample}})
}

fn with(mut report: Value, pointer: &str, value: impl Into<Value>) -> Value {
    *report.pointer_mut(pointer).expect(pointer) = value.into();
    report
}

#[test]
fn fingerprints_in_the_documentation_are_those_of_its_reports() {
    let page = std::fs::read_to_string(tests_path("../docs/events.md")).unwrap();
    let table = section(&page, "fingerprints").unwrap();
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split(" | ").map(|cell| cell.trim_matches(['|', ' ', '`'])).collect())
        .collect();
    assert!(rows.len() >= 8, "{table}");
    let mut hashes = BTreeSet::new();
    for row in rows {
        let [report, hashed, fingerprint] = row[..] else { panic!("{row:?}") };
        let processed = InProcess::default().process(report.as_bytes(), &context());
        let event: Value = serde_json::from_slice(&processed.console[0]).unwrap();
        assert_eq!(event["lookout"]["fingerprint"], fingerprint, "{report}");
        // A comma and a blank, and a dash for an empty value: no value here has them.
        let values = hashed.split(", ").map(|value| value.trim_matches('–'));
        let bytes: String = values.map(|value| format!("{value}\0")).collect();
        assert_eq!(format!("{:016x}", XxHash64::oneshot(0, bytes.as_bytes())), fingerprint, "{hashed}");
        hashes.insert(fingerprint.to_owned());
    }
    assert!(hashes.len() >= 7, "{hashes:?}");
}

#[test]
fn every_byte_of_long_values_counts() {
    for length in [1, 300, 511, 512, 513, 1900] {
        let url = format!("https://cdn.example/{}", "ab/".repeat(length / 3 + 1));
        let file = format!("https://shop.example/{}x.js", "c".repeat(length));
        let report = with(with(violation(), "/body/blockedURL", &*url), "/body/sourceFile", &*file);
        let bytes = format!("csp-violation\0shop.example\0enforce\0script-src-elem\0{url}\0{file}\0\0");
        assert_eq!(
            fingerprint(&report),
            format!("{:016x}", XxHash64::oneshot(0, bytes.as_bytes())),
            "{length}"
        );
    }
}

#[test]
fn events_of_both_exporters_have_the_fingerprint() {
    use opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue;
    let body = violation().to_string();
    let processed = InProcess::default().process(body.as_bytes(), &context());
    let line: Value = serde_json::from_slice(&processed.console[0]).unwrap();
    let expected = fingerprint(&violation());
    assert_eq!(line["lookout"]["fingerprint"], *expected);
    let record = crate::support::in_process::decode(&processed.otlp[0]);
    let attribute = record.attributes.iter().find(|pair| pair.key == "lookout.fingerprint").unwrap();
    assert_eq!(attribute.value.as_ref().unwrap().value, Some(StringValue(expected)));
}

/// What cannot be configured is what no report may depend on: two runs, all modes, all settings of privacy.
#[test]
fn findings_of_captures_do_not_depend_on_settings_or_time() {
    let mut distinct = BTreeSet::new();
    let mut reports = 0;
    for capture in capture::uploads() {
        let agent = capture.header("user-agent");
        let context = UploadContext { received: capture.received(), user_agent: agent, ..context() };
        let expected = findings_in(&capture.body, Privacy::default(), Mode::Full, &context);
        for privacy in privacies() {
            for mode in [Mode::Full, Mode::MetricsOnly] {
                let received = capture.received() + jiff::SignedDuration::from_hours(30);
                let later = UploadContext { received, user_agent: Some("other"), ..context };
                let found = findings_in(&capture.body, privacy, mode, &later);
                assert_eq!(found, expected, "{} with {privacy:?} in {mode:?}", capture.name);
            }
        }
        reports += expected.len();
        distinct.extend(expected.iter().map(|finding| finding.fingerprint));
    }
    assert!(
        reports > 300 && distinct.len() > 60 && distinct.len() < reports * 2 / 3,
        "{}/{reports}",
        distinct.len()
    );
}

#[test]
fn report_of_another_format_or_engine_has_the_same_fingerprint() {
    let firefox = json!({"csp-report": {"blocked-uri": "inline", "column-number": 1, "disposition": "report",
        "document-uri": "https://shop.example/cart", "effective-directive": "script-src-elem", "line-number": 3,
        "original-policy": "script-src 'self'", "referrer": "", "source-file": "https://shop.example/cart",
        "status-code": 200, "violated-directive": "script-src-elem",
        "script-sample": "window.started = true; /* a longer scri…"}});
    let chromium = json!([{"type": "csp-violation", "age": 3, "url": "https://shop.example/cart", "user_agent": "C",
        "body": {"blockedURL": "inline", "columnNumber": 9, "disposition": "report", "lineNumber": 3,
        "documentURL": "https://shop.example/cart", "effectiveDirective": "script-src-elem",
        "originalPolicy": "script-src-elem 'none'", "referrer": "", "statusCode": 200,
        "sample": "window.started = true; /* a longer scri"}}]);
    let snake = json!({"csp-report": {"blocked_uri": "inline", "document_uri": "https://shop.example/blog?x",
        "disposition": "report", "violated_directive": "script-src-elem 'self' https:",
        "script_sample": "window.started = true; /* a longer script"}});
    assert_eq!(fingerprint(&firefox), fingerprint(&chromium));
    assert_eq!(fingerprint(&firefox), fingerprint(&snake));
    // Real captures of one page: the two formats of an engine, and two engines.
    for (first, second) in [
        (
            "chromium/025-csp-inline-handler-sample-uri-POST-csp-report",
            "firefox/025-csp-inline-handler-sample-uri-POST-csp-report",
        ),
        (
            "chromium/052-csp-eval-sample-to-POST-csp-violation",
            "firefox/045-csp-eval-sample-uri-POST-csp-report",
        ),
        (
            "firefox/045-csp-eval-sample-uri-POST-csp-report",
            "firefox/047-csp-eval-sample-to-POST-csp-violation",
        ),
        (
            "firefox/047-csp-eval-sample-to-POST-csp-violation",
            "webkit/032-csp-eval-sample-to-POST-csp-violation",
        ),
    ] {
        let [first, second] = [first, second].map(|name| {
            let captures = capture::uploads();
            let capture =
                captures.iter().find(|capture| capture.name == name).unwrap_or_else(|| panic!("{name}"));
            fingerprint(&serde_json::from_str(&capture.body).unwrap())
        });
        assert_eq!(first, second);
    }
}

#[test]
fn fingerprint_differs_if_a_part_of_the_identity_does() {
    let csp = |pointer: &str, value: &str| fingerprint(&with(violation(), pointer, value));
    let mut all = vec![
        csp("/body/effectiveDirective", "script-src"),
        csp("/body/disposition", "report"),
        csp("/body/disposition", ""),
        csp("/url", "https://blog.example/cart"),
        csp("/body/blockedURL", "https://cdn.example/reset/a81bc81b/other.js"),
        csp("/body/blockedURL", "https://cdn.example/lib.js"),
        csp("/body/blockedURL", "https://cdn.example/reset/a81bc81b/lib.js/x"),
        csp("/body/blockedURL", "https://cdn2.example/reset/a81bc81b/lib.js"),
        csp("/body/blockedURL", "https://cdn.example:8443/reset/a81bc81b/lib.js"),
        csp("/body/blockedURL", "http://cdn.example/reset/a81bc81b/lib.js"),
        csp("/body/blockedURL", "inline"),
        csp("/body/blockedURL", "eval"),
        csp("/body/sourceFile", "https://shop.example/js/pay.js"),
        csp("/body/sourceFile", "https://cdn.example/js/main.3f2a9c1b.js"),
        csp("/body/sourceFile", ""),
        csp("/body/sourceFile", "https://evil.example/page"),
        csp("/type", "integrity-violation"),
        fingerprint(&violation()),
    ];
    let starts = [
        "alert(1)",
        "alert(2)",
        "track(\"buy\")",
        "document.getElementById(\"a\").x",
        "document.getElementById(\"b\").x",
    ];
    all.extend(starts.map(|sample| fingerprint(&inline(sample))));
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:#?}");
}

#[test]
fn identity_of_a_kind_is_texts_and_numbers_that_every_mode_keeps() {
    for kind in kinds::ALL {
        assert!(!kind.identity.is_empty() || kind.name == "test", "{} has no identity", kind.name);
        for name in kind.identity.iter().filter(|name| ![SERVER_HOST, REPORT_TYPE].contains(name)) {
            let field = kind.field(name).unwrap_or_else(|| panic!("{} {name}", kind.name));
            let types = [FieldType::Url, FieldType::Token, FieldType::Sample, FieldType::NonZeroInt];
            assert!(field.name == *name && types.contains(&field.field_type), "{} {name}", kind.name);
            assert!(field.field_type.is_metric_relevant());
        }
    }
}

/// Every field of every kind alone.
#[test]
fn fingerprint_differs_exactly_if_a_field_of_the_identity_does() {
    for kind in kinds::ALL {
        let report = |changed: &str| {
            let mut body = json!({});
            for field in kind.fields {
                let word = if changed == field.name { "other" } else { "thing" };
                body[field.name] = match field.field_type {
                    FieldType::NonZeroInt | FieldType::Int => json!(word.bytes().map(u32::from).sum::<u32>()),
                    FieldType::Number => json!(f64::from(word.as_bytes()[0]) / 256.0),
                    // Of a URL, the sample takes no part.
                    FieldType::Url if field.name != "blockedURL" => {
                        json!(format!("https://cdn.example/{word}.js"))
                    }
                    FieldType::Bool if kind.disposition != Some(field.name) => json!(word == "other"),
                    _ if kind.disposition == Some(field.name) => json!("enforce"),
                    _ => json!(word),
                };
            }
            fingerprint(&json!({"type": kind.name, "url": "https://shop.example/", "body": body}))
        };
        let expected = report("");
        for field in kind.fields {
            let counts = kind.identity.contains(&field.name);
            assert_eq!(report(field.name) != expected, counts, "{} {}", kind.name, field.name);
        }
    }
}

#[test]
fn generated_names_do_not_make_another_finding() {
    let of = |url: &str| {
        let blocked = fingerprint(&with(violation(), "/body/blockedURL", url));
        let source = fingerprint(&with(violation(), "/body/sourceFile", url));
        (blocked, source)
    };
    for names in [
        ["main.3f2a9c1b.js", "main.7d8e9f0a.js"],
        ["chunk-ABCDEF.js", "chunk-QRSTUV.js"],
        ["index-BxYzKqWe.js", "index-a-Q_TxbR.js"],
        ["jquery-3.7.1.min.js", "jquery-3.7.2.min.js"],
        ["4711.js", "4712.js"],
    ] {
        let [a, b] = names.map(|name| of(&format!("https://cdn.example/assets/{name}")));
        assert_eq!(a, b, "{names:?}");
    }
    let [a, b] = ["8f0c1f4e-1111-4222-8333-444455556666", "0a1b2c3d-7777-4888-9999-aaaabbbbcccc"]
        .map(|id| of(&format!("moz-extension://{id}/content.js")));
    assert_eq!(a, b);
    for names in
        [["app.js", "lib.js"], ["user-profile.js", "user-settings.js"], ["jquery.min.js", "jquery.js"]]
    {
        let [a, b] = names.map(|name| of(&format!("https://cdn.example/assets/{name}")));
        assert!(a.0 != b.0 && a.1 != b.1, "{names:?}");
    }
}

#[test]
fn numbers_in_a_sample_do_not_make_another_finding() {
    for samples in [
        ["setTimeout(f, 0); window.t = 1699999999999;", "setTimeout(f, 0); window.t = 1700000000123;"],
        ["window.id='8f3a9c2b0d';start()", "window.id='0d1e2f3a4b5';start()"],
        ["<script nonce=\"abcdef\">go()", "<script nonce=\"ghijkl\">go()"],
        ["  go( x )", "go(x)"],
    ] {
        let [a, b] = samples.map(|sample| fingerprint(&inline(sample)));
        assert_eq!(a, b, "{samples:?}");
    }
}

#[test]
fn page_takes_no_part() {
    let on = |page: &str| {
        let report = with(violation(), "/url", page);
        let report = with(report, "/body/documentURL", page);
        [fingerprint(&report), fingerprint(&with(report, "/body/sourceFile", page))]
    };
    let expected = on("https://shop.example/cart");
    for page in
        ["https://shop.example/", "https://shop.example/blog/shoes", "https://shop.example/a/index.html"]
    {
        assert_eq!(on(page), expected, "{page}");
    }
}

#[test]
fn what_and_class_follow_from_kind_and_directive() {
    let of = |report_type: &str, body: Value| {
        let finding = finding(&json!({"type": report_type, "url": "https://shop.example/", "body": body}));
        (finding.what.as_str(), finding.class.as_str())
    };
    let csp = |directive: &str, disposition: &str| {
        of("csp-violation", json!({"effectiveDirective": directive, "disposition": disposition}))
    };
    for directive in [
        "script-src",
        "script-src-elem",
        "script-src-attr",
        "worker-src",
        "object-src",
        "frame-src",
        "child-src",
        "base-uri",
    ] {
        assert_eq!(csp(directive, "enforce"), ("enforced", "runs"));
    }
    for directive in ["connect-src", "form-action", "prefetch-src", "webrtc"] {
        assert_eq!(csp(directive, "report"), ("report_only", "exfiltrates"));
    }
    assert_eq!(csp("img-src", ""), ("report_only", "other"));
    assert_eq!(of("network-error", json!({"type": "ok"})), ("network_ok", "other"));
    assert_eq!(of("network-error", json!({"type": "tcp.refused"})), ("network", "other"));
    assert_eq!(of("crash", json!({"reason": "oom"})), ("crash", "other"));
    assert_eq!(of("deprecation", json!({"id": "x"})), ("other", "other"));
    assert_eq!(of("integrity-violation", json!({"reportOnly": false})), ("enforced", "other"));
    assert_eq!(of("connection-allowlist", json!({"connection": "webrtc"})), ("report_only", "exfiltrates"));
    assert_eq!(of("novel", json!({})), ("other", "other"));
    assert_eq!((What::ALL.len(), Class::ALL.len()), (6, 3));
}

fn query() -> impl Strategy<Value = String> {
    "(\\?[a-z]{1,5}=[a-zA-Z0-9%.-]{0,20}(&token=[a-z0-9]{5,30})?)?(#[a-z]{0,9})?"
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn fingerprint_is_of_the_identity_alone(
        (page, blocked, source) in (query(), query(), query()),
        (line, column, age, status) in (0..9999_u32, 0..9999_u32, 0..90_000_000_u32, 0..600_u16),
        agent in "[ -~]{0,40}",
        policy in "[ -~]{0,80}",
        referrer in "https://[a-z]{1,9}\\.example/[a-z]{0,9}",
        privacy in prop::sample::select(privacies()),
        mode in prop::sample::select(vec![Mode::Full, Mode::MetricsOnly]),
        secret in "[a-f0-9]{30}",
    ) {
        let url = |url: &str, query: &str| format!("{url}{query}");
        let page = url("https://shop.example/cart", &page);
        let report = json!({"type": "csp-violation", "age": age, "url": page, "user_agent": agent, "body": {
            "documentURL": page, "referrer": referrer, "effectiveDirective": "script-src-elem",
            "blockedURL": url("https://cdn.example/reset/a81bc81b/lib.js", &blocked), "originalPolicy": policy,
            "sourceFile": url("https://shop.example/js/main.3f2a9c1b.js", &source), "disposition": "enforce",
            "statusCode": status, "lineNumber": line, "columnNumber": column, "novel": secret}});
        let found = findings_in(&report.to_string(), privacy, mode, &context());
        prop_assert_eq!(found, vec![finding(&violation())]);
    }

    /// Texts of any form, among them secrets that are longer than what is kept of a URL.
    #[test]
    fn fingerprint_does_not_depend_on_privacy(
        path in "(/[a-zA-Z0-9%;=@._-]{0,30}){0,6}",
        long in ("[a-zA-Z0-9]{40}", 0..60_usize).prop_map(|(part, times)| format!("/{}/end?k=v", part.repeat(times))),
        sample in "[ -~]{0,80}(\\?token=[a-zA-Z0-9]{10,300})?[ -~]{0,40}",
        report_type in "csp-violation|integrity-violation|[a-z]{1,5}\\?k=[a-z0-9]{30}",
        privacy in prop::sample::select(privacies()),
        mode in prop::sample::select(vec![Mode::Full, Mode::MetricsOnly]),
    ) {
        for blocked in [format!("https://cdn.example{path}?q=1"), format!("https://cdn.example{long}"), "eval".to_owned()] {
            let report = json!({"type": report_type, "url": format!("https://shop.example{path}"), "body": {
                "blockedURL": blocked, "sourceFile": format!("https://a.example{long}"), "sample": sample}}).to_string();
            let expected = findings_in(&report, Privacy::default(), Mode::Full, &context());
            prop_assert_eq!(findings_in(&report, privacy, mode, &context()), expected);
        }
    }
}
