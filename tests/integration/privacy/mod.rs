//! Canaries: secrets in every shape, planted in every member of every kind under every spelling and
//! in texts around them. None may come out anywhere: not on the console, not over OTLP, not as a label.

mod canary;
mod client_address;
mod drawn;
mod hostile;
mod kept;

use lookoutd::kinds;
use lookoutd::model::{FieldType, ReportKind};
use serde_json::json;

use crate::support::in_process::{InProcess, context};

/// A URL or text, and the part of it that must not come out.
const CANARIES: [(&str, &str); 9] = [
    ("https://user:Kanari3nv0gel@shop.example/cart", "Kanari3nv0gel"),
    ("https://kanarienvogel@shop.example/cart", "kanarienvogel"),
    ("https://shop.example/cart?token=kanarienvogel", "kanarienvogel"),
    ("https://shop.example/cart#kanarienvogel", "kanarienvogel"),
    ("https://shop.example/in/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl/x", "eyJhbGci"),
    ("https://shop.example/f/5f4dcc3b5aa765d61d8327deb882cf99", "5f4dcc3b5aa765d6"),
    ("https://shop.example/users/jane.kanarienvogel@example.com/edit", "kanarienvogel"),
    ("https://shop.example/users/jane.kanarienvogel%40example.com", "kanarienvogel"),
    ("https://shop.example/reset-password/a81bc81bkv", "a81bc81bkv"),
];

/// Texts that quote. Where a URL belongs there is nothing around it but blanks, the first two.
const AROUND: [&str; 6] =
    ["{}", " {} ", "at f ({}:12:5)", "fetch('{}').then()", "Refused to load '{}' because", "{}, {}"];

/// Every name under which a member of this kind may arrive.
fn spellings(kind: &ReportKind) -> impl Iterator<Item = &'static str> {
    let known =
        kind.fields.iter().flat_map(|field| std::iter::once(field.name).chain(field.aliases.iter().copied()));
    known.chain(["novel", "documentURL"])
}

/// Whether a URL belongs there. `documentURL` stands in for a report's own, whatever its kind.
fn holds_url(kind: &ReportKind, member: &str) -> bool {
    member == "documentURL"
        || kind
            .field(member)
            .is_some_and(|field| matches!(field.field_type, FieldType::Url | FieldType::PageUrl))
}

/// What comes out of a body: lines, records as text, series.
fn came_out(body: &str) -> String {
    let output = whatever_came_out(body);
    assert!(!output.is_empty(), "nothing was taken of {body}");
    output
}

/// The same, also where nothing was taken.
fn whatever_came_out(body: &str) -> String {
    out_of(&InProcess::default(), body)
}

fn out_of(path: &InProcess, body: &str) -> String {
    let taken = path.process(body.as_bytes(), &context());
    let bytes = [taken.console.concat(), taken.otlp.concat()].concat();
    String::from_utf8_lossy(&bytes).into_owned() + &path.series().join("\n")
}

fn assert_silent(body: &str, secret: &str) {
    let output = came_out(body);
    assert!(!output.contains(secret), "{secret} came out of\n{body}\nas\n{output}");
}

#[test]
fn no_member_of_any_kind_gives_a_secret_away() {
    for kind in kinds::ALL {
        for member in spellings(kind) {
            for (canary, secret) in CANARIES {
                let quoting = if holds_url(kind, member) { 2 } else { AROUND.len() };
                for around in &AROUND[..quoting] {
                    let value = around.replace("{}", canary);
                    let report = json!({ "type": kind.name, "url": "https://shop.example/", "body": { member: value } });
                    assert_silent(&report.to_string(), secret);
                }
            }
        }
    }
}

#[test]
fn neither_do_lists_and_objects_in_a_member() {
    for kind in kinds::ALL {
        for member in spellings(kind) {
            for (canary, secret) in CANARIES {
                let nested = json!([canary, { "deep": { canary: [canary] } }]);
                let report = json!({ "type": kind.name, "body": { member: nested } });
                assert_silent(&report.to_string(), secret);
            }
        }
    }
}

#[test]
fn neither_does_the_envelope() {
    for (canary, secret) in CANARIES {
        for kind in kinds::ALL {
            for (name, around) in
                [("url", "{}"), ("url", " {} "), ("user_agent", "{}"), ("user_agent", "Mozilla/5.0 (+{})")]
            {
                let mut report = json!({ "type": kind.name, "body": {} });
                report[name] = json!(around.replace("{}", canary));
                assert_silent(&report.to_string(), secret);
            }
        }
        assert_silent(&json!({ "type": canary, "body": {} }).to_string(), secret);
        assert_silent(&json!({ "type": "x", "body": { canary: 1 } }).to_string(), secret);
    }
}

#[test]
fn neither_do_legacy_reports() {
    let members = [
        "document-uri",
        "documentURI",
        "blocked-uri",
        "source-file",
        "referrer",
        "original-policy",
        "script-sample",
        "violated-directive",
    ];
    for (canary, secret) in CANARIES {
        for member in members {
            assert_silent(&json!({ "csp-report": { member: canary } }).to_string(), secret);
        }
        assert_silent(&json!({ "expect-staple-report": { "hostname": canary } }).to_string(), secret);
        assert_silent(&json!({ "hostname": "a.example", "known-pins": [canary] }).to_string(), secret);
    }
}

#[test]
fn nonces_are_cut_wherever_source_or_policy_is_quoted() {
    for text in [
        "script-src 'nonce-kanarienvogel' 'self'",
        "default-src 'self'; script-src 'NONCE-kanarienvogel=='; report-uri /r",
        "<script nonce=\"kanarienvogel\">alert(1)</script>",
        "<script nonce='kanarienvogel'>",
        "<script nonce=kanarienvogel>",
        "bearer eyJhbGciOiJIUzI1NiJ9.eyJrYW5hcmllbnZvZ2VsIjoxfQ.kanarienvogel",
    ] {
        for member in [
            "originalPolicy",
            "original-policy",
            "sample",
            "script-sample",
            "novel",
            "message",
            "disposition",
        ] {
            let report = json!({ "type": "csp-violation", "body": { member: text } });
            assert_silent(&report.to_string(), "kanarienvogel");
        }
    }
}

/// What the tests above look for would be found if it came out.
#[test]
fn canaries_can_be_seen() {
    assert!(came_out(r#"{"type":"x","body":{"novel":"kanarienvogel"}}"#).contains("kanarienvogel"));
}
