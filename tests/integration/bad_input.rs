//! Input that browsers do not send, but other clients do. Each case checks the response, the counters, that the
//! process still serves, and that the scrape is valid.

use std::time::Duration;

use lookoutd::model::{FieldType, UploadOutcome, is_hidden};
use serde_json::Value;

use crate::support::daemon::Daemon;
use crate::support::http::Request;
use crate::support::in_process::{InProcess, context, decode};
use crate::support::{REPORT, cpu_time};

/// Expected result of one upload: the response, and how its items are counted.
struct Expected {
    status: u16,
    outcome: &'static str,
    reports: u64,
    rejected: &'static [(&'static str, u64)],
}

const NOT_JSON: Expected = Expected { status: 400, outcome: "invalid_json", reports: 0, rejected: &[] };

const fn no_report(rejected: &'static [(&'static str, u64)]) -> Expected {
    Expected { status: 400, outcome: "no_reports", reports: 0, rejected }
}

const fn accepted(reports: u64, rejected: &'static [(&'static str, u64)]) -> Expected {
    Expected { status: 204, outcome: "accepted", reports, rejected }
}

/// Sends a body to a new daemon. Returns the event lines.
fn send(body: impl AsRef<[u8]>, expected: &Expected) -> Vec<Value> {
    let daemon = Daemon::start();
    let items = expected.reports + expected.rejected.iter().map(|(_, items)| items).sum::<u64>();
    let answer = daemon.send(&Request::post("/report", body), items);
    assert_eq!(answer.status, expected.status);
    let scrape = daemon.settle();
    assert_eq!(scrape.sum("lookout_uploads_total", &[("outcome", expected.outcome)]), 1.0);
    assert_eq!(scrape.sum("lookout_reports_total", &[]), expected.reports as f64);
    for (reason, items) in expected.rejected {
        let found = scrape.sum("lookout_reports_rejected_total", &[("reason", *reason)]);
        assert_eq!(found, *items as f64, "{reason}");
    }
    // The next report is accepted as usual.
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    let mut lines = daemon.stop();
    lines.pop();
    lines.iter().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn empty_body_is_not_json() {
    send("", &NOT_JSON);
    send(" \n", &NOT_JSON);
}

#[test]
fn json_without_reports_is_rejected() {
    send("null", &no_report(&[("not_an_object", 1)]));
    send("\"text\"", &no_report(&[("not_an_object", 1)]));
    send("[]", &no_report(&[]));
    send("[[],7,{},{\"type\":\"\"}]", &no_report(&[("not_an_object", 2), ("missing_type", 2)]));
    send(r#"[{"type":"x","body":7}]"#, &no_report(&[("invalid_body", 1)]));
}

#[test]
fn deep_nesting_is_unparsable() {
    let open = "[".repeat(100_000);
    let close = "]".repeat(100_000);
    send(format!("{open}{close}"), &no_report(&[("unparsable", 1)]));
    send(format!("{{\"type\":\"x\",\"body\":{{\"x\":{open}{close}}}}}"), &no_report(&[("unparsable", 1)]));
    send(&open, &NOT_JSON);
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    send(format!("[{objects},{}]", &REPORT[1..REPORT.len() - 1]), &accepted(1, &[("unparsable", 1)]));
}

#[test]
fn body_of_ten_megabytes_is_too_large() {
    send(vec![b'['; 10 << 20], &Expected { status: 413, outcome: "too_large", reports: 0, rejected: &[] });
}

#[test]
fn half_a_surrogate_pair_is_replaced() {
    let lines = send(r#"{"type":"csp-violation","body":{"sample":"a\ud83d"}}"#, &accepted(1, &[]));
    assert_eq!(lines[0]["body"]["sample"], "a\u{fffd}");
}

#[test]
fn byte_order_mark_is_ignored() {
    send(format!("\u{feff}{REPORT}"), &accepted(1, &[]));
}

#[test]
fn invalid_utf_8_is_replaced() {
    let lines = send(b"{\"type\":\"csp-violation\",\"body\":{\"sample\":\"a\xff\"}}", &accepted(1, &[]));
    assert_eq!(lines[0]["body"]["sample"], "a\u{fffd}");
    send(b"\xff\xfe\x00", &NOT_JSON);
}

#[test]
fn duplicate_members_keep_the_last_value() {
    let body = r#"{"type":"a","type":"csp-violation","body":{},"body":{"statusCode":1,"statusCode":404,"status-code":500}}"#;
    let lines = send(body, &accepted(1, &[]));
    assert_eq!(lines[0]["type"], "csp-violation");
    assert_eq!(lines[0]["body"], serde_json::json!({ "statusCode": 500 }));
}

/// Bodies of scripts that rename members or post the event itself, and of Firefox 4 to 13.
#[test]
fn reports_of_scripts_and_old_browsers_have_a_site_and_a_directive() {
    for (body, blocked, directive) in [
        (
            r#"{"csp-report":{"effective_directive":"script-src-elem","blocked_uri":"https://cdn.example/a.js",
                "document_uri":"https://shop.example/x","violated_directive":"script-src-elem",
                "disposition":"report"}}"#,
            "https://cdn.example/a.js",
            "script-src-elem",
        ),
        (
            r#"{"blockedURI":"inline","documentURI":"https://shop.example/","violatedDirective":"script-src-elem",
                "effectiveDirective":"script-src-elem","disposition":"enforce"}"#,
            "inline",
            "script-src-elem",
        ),
        (
            r#"{"csp-report":{"request":"GET https://shop.example/csp HTTP/1.1",
                "request-headers":"Host: shop.example\nCookie: session=abc\n",
                "blocked-uri":"http://cdn.example/","violated-directive":"default-src https:"}}"#,
            "http://cdn.example/",
            "default-src",
        ),
    ] {
        let lines = send(body, &accepted(1, &[]));
        assert_eq!(lines[0]["lookout"]["kind"], "csp-violation", "{body}");
        assert_eq!(lines[0]["lookout"]["site"], "shop.example", "{body}");
        assert_eq!(lines[0]["body"]["blockedURL"], blocked, "{body}");
        assert_eq!(lines[0]["body"]["effectiveDirective"], directive, "{body}");
        assert!(!lines[0].to_string().contains("session"), "{}", lines[0]);
    }
}

#[test]
fn integers_in_other_notations_are_parsed() {
    for (number, line) in [("1.0", Some(1)), ("\"1\"", Some(1)), ("-1226665688", None), ("1e999", None)] {
        let body = format!(r#"[{{"type":"csp-violation","age":{number},"body":{{"lineNumber":{number}}}}}]"#);
        if number == "1e999" {
            send(body, &no_report(&[("unparsable", 1)]));
            continue;
        }
        let lines = send(body, &accepted(1, &[]));
        assert_eq!(lines[0]["age"], line.unwrap_or(0), "{number}");
        assert_eq!(lines[0]["body"].get("lineNumber").and_then(Value::as_u64), line, "{number}");
    }
}

#[test]
fn fields_of_wrong_types_are_accepted() {
    const WRONG: [&str; 6] = ["null", "true", "-7.5", "\"\\u0000\\u202e\"", "[[]]", "{\"a\":{}}"];
    let members = lookoutd::kinds::ALL.iter().flat_map(|kind| kind.fields).map(|field| field.name);
    let members: Vec<_> = members.collect();
    let mut items = Vec::new();
    for wrong in WRONG {
        let body: Vec<_> = members.iter().map(|name| format!("\"{name}\":{wrong}")).collect();
        for kind in lookoutd::kinds::ALL {
            let name = kind.name;
            let body = body.join(",");
            items.push(format!(
                r#"{{"type":"{name}","age":{wrong},"url":{wrong},"user_agent":{wrong},"body":{{{body}}}}}"#
            ));
        }
    }
    let count = items.len() as u64;
    assert_eq!(send(format!("[{}]", items.join(",")), &accepted(count, &[])).len() as u64, count);
}

#[test]
fn invalid_items_of_a_large_body_are_rejected_alone() {
    let good = &REPORT[1..REPORT.len() - 1];
    let items: Vec<_> = (0..300).map(|n| if n % 3 == 2 { "{\"type\":7}" } else { good }).collect();
    let rejected = &[("missing_type", 85), ("over_limit", 44)];
    assert_eq!(send(format!("[{}]", items.join(",")), &accepted(171, rejected)).len(), 171);
}

/// Control characters, quotes and line breaks in what becomes labels.
#[test]
fn labels_with_control_characters_keep_the_scrape_valid() {
    let nasty = r#"a\"b\\c\nd\u0000\u2028é"#;
    let hosts = ["https://x{}.example/", "https://x\\u0000/", "https://{}/", "https://\\\"} 1\\n/"];
    let items: Vec<_> = hosts
        .iter()
        .map(|host| {
            let url = host.replace("{}", nasty);
            format!(
                r#"{{"type":"csp-violation","url":"{url}","body":{{"blockedURL":"{url}","effectiveDirective":"{nasty}","disposition":"{nasty}"}}}},
                   {{"type":"network-error","url":"{url}","body":{{"type":"{nasty}","phase":"{nasty}","protocol":"{nasty}"}}}},
                   {{"type":"{nasty}","url":"{url}","body":{{"{nasty}":"{nasty}"}}}}"#
            )
        })
        .collect();
    send(format!("[{}]", items.join(",")), &accepted(12, &[]));
}

#[test]
fn bodies_of_many_members_or_items_are_limited() {
    let body = |name: &str, count: usize| {
        let members: Vec<_> = (0..count).map(|n| format!("\"{name}{n}\":{n}")).collect();
        format!(r#"{{"type":"novel","body":{{{}}}}}"#, members.join(","))
    };
    let lines = send(body("member-of-a-report-", 20_000), &accepted(1, &[]));
    assert_eq!(lines[0]["body"], serde_json::json!({}));
    let unknown = lines[0]["lookout"]["unknown_members"].as_str().unwrap();
    assert!(unknown.ends_with("\"member-of-a-report-30\":30,\"…\":\"…\"}"), "{unknown}");
    assert_eq!(lines[0]["lookout"]["dropped_members"], 20_000 - 31);
    let many = body("", 60_000);
    let one = r#"{"type":"novel"}"#;
    send(&many, &no_report(&[("too_many_values", 1)]));
    send(format!("[{one},{many},{one}]"), &accepted(2, &[("too_many_values", 1)]));
    send(
        format!("[{}7]", "7,".repeat(99_999)),
        &no_report(&[("not_an_object", 256), ("over_limit", 99_744)]),
    );
}

/// The members and attributes of events are those of the kinds, whatever is sent.
#[test]
fn sender_does_not_determine_the_members_of_events() {
    let path = InProcess::default();
    for kind in lookoutd::kinds::ALL {
        // More lists and objects exceed the memory of an upload.
        for (value, count) in [("{\"x\":1}", 60), ("[1]", 60), ("7", 1431), ("true", 1431)] {
            let members: Vec<_> =
                kind.fields.iter().map(|field| format!("\"{}\":{value}", field.name)).collect();
            let unknown: Vec<_> = (0..count).map(|at| format!("\"unknown-member-{at}\":{value}")).collect();
            let body = [members, unknown].concat().join(",");
            let processed = path
                .process(format!(r#"{{"type":"{}","body":{{{body}}}}}"#, kind.name).as_bytes(), &context());
            let line: Value = serde_json::from_slice(&processed.console[0]).unwrap();
            for (name, value) in line["body"].as_object().unwrap() {
                let field =
                    kind.fields.iter().find(|field| field.name == name).unwrap_or_else(|| panic!("{name}"));
                let is_valid = match field.field_type {
                    FieldType::Any | FieldType::MetricSource => true,
                    FieldType::Bool => value.is_boolean(),
                    FieldType::Int | FieldType::NonZeroInt | FieldType::Number => value.is_number(),
                    _ => value.is_string(),
                };
                assert!(is_valid, "{}.{name} is {value}", kind.name);
            }
            let unknown = line["lookout"]["unknown_members"].as_str().unwrap();
            assert!(unknown.len() <= 4096 && unknown.contains('…'), "{unknown}");
            let record = decode(&processed.otlp[0]);
            assert!(record.attributes.len() < 40, "{:?}", record.attributes);
        }
    }
}

/// Control, separator and bidirectional characters in every text: none leaves as it is, except for the lines of
/// samples and stack traces over OTLP.
#[test]
fn hidden_characters_are_escaped_in_every_output() {
    const HIDDEN: &str = r"a\r\nb\u0085\u2028\u2029\u202e\u2066\u200f\u061c\u009b\u001bc";
    let path = InProcess::default();
    for kind in lookoutd::kinds::ALL {
        for around in
            [HIDDEN.to_owned(), format!("https://shop.example/{HIDDEN}?q"), format!("https://{HIDDEN}/")]
        {
            let members: Vec<_> =
                kind.fields.iter().map(|field| format!("\"{}\":\"{around}\"", field.name)).collect();
            let members =
                [members, vec![format!("\"n{HIDDEN}\":[\"{around}\",{{\"{HIDDEN}\":1}}]")]].concat();
            let body = format!(
                r#"{{"type":"{}","url":"{around}","user_agent":"{HIDDEN}","body":{{{}}}}}"#,
                kind.name,
                members.join(",")
            );
            let processed = path.process(body.as_bytes(), &context());
            let line = String::from_utf8(processed.console[0].clone()).unwrap();
            assert!(!line.trim_end().contains(is_hidden), "{line:?}");
            let record = format!("{:?}", decode(&processed.otlp[0]));
            // As written by `Debug`: `\\u{85}` is the escape of an escape.
            for raw in ["\\r", "\\u{85}", "\\u{2028}", "\\u{202e}", "\\u{1b}"] {
                let found = record.match_indices(raw).any(|(at, _)| !record[..at].ends_with('\\'));
                assert!(!found, "{raw} in {record}");
            }
            assert!(!decode(&processed.otlp[0]).body.is_some_and(|body| format!("{body:?}").contains("\\n")));
        }
    }
    let novel = path.process(format!(r#"{{"type":"x{HIDDEN}","body":{{}}}}"#).as_bytes(), &context());
    let line: Value = serde_json::from_slice(&novel.console[0]).unwrap();
    assert!(!line.to_string().contains(is_hidden));
    assert!(
        line["lookout"]["summary"].as_str().unwrap().starts_with(r"xa\u{D}\u{A}b\u{85}\u{2028}"),
        "{line}"
    );
}

/// A megabyte of each pattern that redaction examines. The limit of CPU time is generous for linear time and far
/// too short for quadratic time.
#[test]
fn pathological_text_takes_linear_time() {
    let texts = [
        "?a",
        "://",
        "#",
        "#a=",
        "blob:",
        "/a",
        "/?a",
        "nonce-",
        "eyJ",
        "a://b?",
        "file:/",
        "e:\\\"",
        "%40/",
        "%2525",
        "\\x2f",
        "&#47;",
        "aB1-",
        "/reset/ab-cd/",
        "\u{202e}",
    ];
    let path = InProcess::default();
    for text in texts {
        let text = text.replace('\\', "\\\\").replace('"', "\\\"");
        for (kind, member) in PLACES {
            let long = text.repeat((1 << 20) / text.len());
            let body = match *member {
                "" => format!(r#"{{"type":"{kind}","body":{{"{long}":1}}}}"#),
                "url" => format!(r#"{{"type":"{kind}","url":"{long}","body":{{}}}}"#),
                member => format!(r#"{{"type":"{kind}","body":{{"{member}":"{long}"}}}}"#),
            };
            let started = cpu_time();
            assert_eq!(path.process(body.as_bytes(), &context()).outcome, UploadOutcome::Accepted);
            let took = cpu_time() - started;
            assert!(took < Duration::from_secs(2), "{kind}.{member} of {text:?}… took {took:?}");
        }
    }
}

/// The envelope's URL, and one member for each way of redaction; the last is the name of a member.
const PLACES: &[(&str, &str)] = &[
    ("csp-violation", "url"),
    ("csp-violation", "blockedURL"),
    ("csp-violation", "effectiveDirective"),
    ("csp-violation", "sample"),
    ("csp-violation", "novel"),
    ("novel", "novel"),
    ("novel", ""),
];
