//! Canaries: secrets in every form, in every field of every kind under every name, and in texts around them.
//! None may be in an output: not on the console, not over OTLP, not as a label.

mod canary;
mod client_address;
mod drawn;
mod formats;
mod hostile;
mod kept;
mod ordinary;
mod tokens;

use lookoutd::kinds;
use lookoutd::model::{FieldType, ReportKind};
use serde_json::json;

use crate::support::in_process::{InProcess, context};

/// A URL or text, and the part of it that must not be in an output.
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

/// Texts that quote a URL. The first two, with nothing but blanks, are for fields of a URL.
const AROUND: [&str; 6] =
    ["{}", " {} ", "at f ({}:12:5)", "fetch('{}').then()", "Refused to load '{}' because", "{}, {}"];

/// Returns every name that a field of this kind may have, and two unknown ones.
fn field_names(kind: &ReportKind) -> impl Iterator<Item = &'static str> {
    let known =
        kind.fields.iter().flat_map(|field| std::iter::once(field.name).chain(field.aliases.iter().copied()));
    known.chain(["novel", "documentURL"])
}

/// Returns whether the field is for a URL. `documentURL` replaces a missing URL of a report of any kind.
fn holds_url(kind: &ReportKind, member: &str) -> bool {
    member == "documentURL"
        || kind
            .field(member)
            .is_some_and(|field| matches!(field.field_type, FieldType::Url | FieldType::PageUrl))
}

/// Returns the output for a body: lines, records as text, series.
fn output_of(body: &str) -> String {
    let output = any_output_of(body);
    assert!(!output.is_empty(), "no output for {body}");
    output
}

/// Returns the same, also if there is none.
fn any_output_of(body: &str) -> String {
    output_with(&InProcess::default(), body)
}

fn output_with(path: &InProcess, body: &str) -> String {
    let taken = path.process(body.as_bytes(), &context());
    let bytes = [taken.console.concat(), taken.otlp.concat()].concat();
    String::from_utf8_lossy(&bytes).into_owned() + &path.series().join("\n")
}

fn assert_silent(body: &str, secret: &str) {
    let output = output_of(body);
    assert!(!output.contains(secret), "{secret} of\n{body}\nis in\n{output}");
}

#[test]
fn secrets_in_any_field_are_redacted() {
    for kind in kinds::ALL {
        for member in field_names(kind) {
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
fn secrets_in_nested_values_are_redacted() {
    for kind in kinds::ALL {
        for member in field_names(kind) {
            for (canary, secret) in CANARIES {
                let nested = json!([canary, { "deep": { canary: [canary] } }]);
                let report = json!({ "type": kind.name, "body": { member: nested } });
                assert_silent(&report.to_string(), secret);
            }
        }
    }
}

#[test]
fn secrets_in_the_envelope_are_redacted() {
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
fn secrets_in_legacy_reports_are_redacted() {
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
fn nonces_in_any_field_are_redacted() {
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

/// The tests above would find a secret that is not redacted.
#[test]
fn canaries_without_a_url_are_visible() {
    assert!(output_of(r#"{"type":"x","body":{"novel":"kanarienvogel"}}"#).contains("kanarienvogel"));
}
