//! Redaction of everything that a text may quote.

use proptest::prelude::*;

use super::*;
use crate::config::{ClientAddress, PathSecrets};

const STRICT: Privacy = Privacy {
    query: QueryPrivacy::Strip,
    path_secrets: PathSecrets::Redact,
    client_address: ClientAddress::None,
};

#[test]
fn private_parts_of_a_text_are_redacted() {
    for (text, shown) in [
        ("plain text, why? because.", "plain text, why? because."),
        ("script-src 'nonce-r4nd0m+/=' 'self'", "script-src 'nonce-*' 'self'"),
        ("script-src 'NONCE-r4nd0m'; x", "script-src 'NONCE-*'; x"),
        ("<script nonce=\"abc\">", "<script nonce=\"*\">"),
        ("<script nonce=abc>", "<script nonce=*>"),
        ("report-uri /r?key=secret; img-src *", "report-uri /r; img-src *"),
        ("report-uri https://u:p@r.example/r?key=secret", "report-uri https://r.example/r"),
        ("img-src https://*.example:443 wss://x", "img-src https://*.example wss://x"),
        ("at f (https://a.example/x.js?t=1:12:5)\n", "at f (https://a.example/x.js)\n"),
        ("at f (https://a.example/x.js:12:5)\n", "at f (https://a.example/x.js:12:5)\n"),
        (
            "at f (https://a.example/5f4dcc3b5aa765d61d8327deb882cf99:12:5)\n",
            "at f (https://a.example/:redacted:12:5)\n",
        ),
        ("fetch('/api?token=abc')", "fetch('/api')"),
        ("x = a ? b : c", "x = a ? b : c"),
        ("https://a.example/cb?ids=1,2&token=S end", "https://a.example/cb end"),
        ("https://a.example/x?q=(a)&t=S", "https://a.example/x"),
        ("https://us:pa;S@h.example/", "https://h.example/"),
        ("(https://a.example/x.js?v=1,2&token=S:12:5)", "(https://a.example/x.js)"),
        ("fetch(`https://a.example/?a=${b}&token=S`)", "fetch(`https://a.example/`)"),
        ("report-uri https://r.example/r?a=1|2&key=S; x", "report-uri https://r.example/r; x"),
        ("/api?debug&token=S", "/api"),
        ("report-uri /r?S", "report-uri /r"),
        ("/cb#access_token=S", "/cb"),
        ("'nonce-ab.S'", "'nonce-*'"),
        ("s.nonce = \"S\"", "s.nonce = \"*\""),
        ("{\"nonce\":\"S\"}", "{\"nonce\":\"*\"}"),
        (r"https:\/\/us:S@a.example\/x", "https://a.example/x"),
        ("at f (file:///home/jane/x.js:12:5)", "at f (file:12:5)"),
        ("at jar:file:///home/jane/x.xpi!/a.js", "at jar:file"),
        ("open(file:/home/jane/x.js)", "open(file)"),
        ("a profile:/x and a file: x", "a profile:/x and a file: x"),
        ("sha256-1XFeyJE08XndkoxwN6eIa5J89h=", "sha256-1XFeyJE08XndkoxwN6eIa5J89h="),
        ("bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln end", "bearer :redacted end"),
        ("go in/eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln", "go in/:redacted"),
        ("fetch('/reset/a81bc81b')", "fetch('/reset/:redacted')"),
        (r#""\/reset\/a81bc81b""#, "\"\\/reset/:redacted\""),
        ("at /reset/a81bc81b:12:5", "at /reset/:redacted:12:5"),
        ("script-src cdn.example/5f4dcc3b5aa765d61d8327deb882cf99", "script-src cdn.example/:redacted"),
        ("<script src=//us:S@a.example/x?y>", "<script src=//a.example/x>"),
        ("var a = b/c, d = /x/; //@ts-check", "var a = b/c, d = /x/; //@ts-check"),
        (
            "text/html, a.b/c?d:e, 'sha256-eyJ/5f4dcc3b5aa765d61d8327deb882cf99='",
            "text/html, a.b/c?d:e, 'sha256-eyJ/5f4dcc3b5aa765d61d8327deb882cf99='",
        ),
        ("url(/sprite.svg#icon)", "url(/sprite.svg)"),
        ("load 'data:text/html;charset=utf-8,S' because", "load 'data:text/html' because"),
        ("load 'data:;base64,S' because", "load 'data:' because"),
        ("img-src data:; script-src 'self'", "img-src data:; script-src 'self'"),
        ("{data:e,b:c}", "{data:e,b:c}"),
        (r"x.replace(/\d+/, '/')", r"x.replace(/\d+/, '/')"),
        ("s.setAttribute('nonce', 'S')", "s.setAttribute('nonce', '*')"),
        ("s.setAttribute('nonce', S)", "s.setAttribute('nonce', S)"),
        ("(+file:/home/jane/x.js)", "(+file)"),
        ("s.nonce=`S`", "s.nonce=`*`"),
        ("s[`nonce`] = 'S'", "s[`nonce`] = '*'"),
        ("__webpack_nonce__=\"S\"", "__webpack_nonce__=\"*\""),
        ("t=eyJhbGciOiJIUzI1NiJ9%2EeyJzdWIiOiIxIn0%2Ec2ln", "t=:redacted.:redacted"),
        (r"x='https:\x2f\x2fa.example\x2freset\x2fa81bc81b'", "x='https://a.example/reset/:redacted'"),
        ("u=https%3A%2F%2Fu%3Ap%40a.example%2Fx%3Ft=1", "u=https://a.example/x"),
        ("u=https%253A%252F%252Fa.example%252Freset%252Fa81bc81b", "u=https://a.example/reset/:redacted"),
        (r"\d+ 100% &amp; \x41 %20", r"\d+ 100% &amp; \x41 %20"),
    ] {
        assert_eq!(redact(Cow::Borrowed(text), STRICT), shown, "{text}");
    }
}

/// Browsers send only the start of a script, which may be all but a token.
#[test]
fn token_in_a_sample_is_redacted() {
    for (sample, shown) in [
        ("var key='Xk29aLq0Zr81MvBt73Qw'", "var key=':redacted'"),
        ("k=[\"Xk29aLq0Zr81MvBt73Qw\",'Xk29aLq0Zr81MvBt73Qw']", "k=[\":redacted\",':redacted']"),
        ("send({id:5,k:`5f4dcc3b5aa765d61d8327deb882cf99`})", "send({id:5,k:`:redacted`})"),
        ("AWS.key='AKIAQWERTYUIOPASDFGH'", "AWS.key=':redacted'"),
        ("é='Xk29aLq0Zr81MvBt73Qw'é", "é=':redacted'é"),
        (
            "window.__NEXT_DATA__={props:1};(function(e,t,n){",
            "window.__NEXT_DATA__={props:1};(function(e,t,n){",
        ),
        ("document.getElementById('a').style.display=", "document.getElementById('a').style.display="),
    ] {
        assert_eq!(sanitize(sample.into(), FieldType::Sample, STRICT), shown);
        let kept = Privacy { path_secrets: PathSecrets::Keep, ..STRICT };
        assert_eq!(sanitize(sample.into(), FieldType::Sample, kept), sample);
    }
}

#[test]
fn long_sample_is_truncated_by_characters() {
    let sample = sanitize("é".repeat(300).into(), FieldType::Sample, STRICT);
    assert_eq!(sample.chars().count(), MAX_SAMPLE);
    assert!(sample.ends_with('…'));
}

#[test]
fn unchanged_text_is_not_copied() {
    assert!(matches!(sanitize(Cow::Borrowed("no nonsense"), FieldType::Message, STRICT), Cow::Borrowed(_)));
}

/// What follows the last part could be what makes an earlier part of its word private.
#[test]
fn text_with_very_many_private_parts_ends_after_a_whole_word_without_any() {
    for word in ["//us:S@a.example ", "HTTP://us:S@A.example/x?S=S\" "] {
        let shown = redact(Cow::Owned(word.repeat(1000)), STRICT);
        assert!(shown.ends_with('…') && !shown.contains('S') && shown.len() > 1000, "{shown}");
    }
    let parts = "'nonce-S' ".repeat(MIN_PARTS + 100);
    let hidden = format!("{parts}http:%2F%2Fus:p,S,'nonce-S',{}%40host", "'nonce-S',".repeat(1000));
    let shown = redact(Cow::Owned(hidden), STRICT);
    assert!(!shown.contains('S'), "{shown}");
}

/// What stays as it is for one type and one setting is not shown as it is for another.
#[test]
fn text_that_was_seen_before_is_sanitized_by_its_type_and_settings() {
    let kept = Privacy { query: QueryPrivacy::Keep, ..STRICT };
    let text = "https://a.example/x?t=1 eval\n";
    for _ in 0..2 {
        let shown = |field_type, privacy| sanitize(text.into(), field_type, privacy).into_owned();
        assert_eq!(shown(FieldType::Sample, kept), text);
        assert_eq!(shown(FieldType::Sample, STRICT), "https://a.example/x eval\n");
        assert_eq!(shown(FieldType::Token, kept), "https://a.example/x?t=1 eval\\u{A}");
    }
}

/// A source of a policy is passed over at once only if it would stay.
#[test]
fn source_of_a_policy_is_redacted_like_any_url() {
    for scheme in ["https", "ws", "HTTPS", "file", "blob", "xhttps", "a", ""] {
        for rest in
            ["a.example", "10.0.0.1", "", "A.example", "us;er:S@b.example", "a.example:443", &"a".repeat(300)]
        {
            for end in ["", " ", ";", "; x", ";x", "/x", "?t=1", "@b.example", "#t", ",x", "\\/x"] {
                let source = format!("{scheme}://{rest}{end}");
                let padded =
                    redact_quotes(format!("{source} {}", "y".repeat(300)).into(), STRICT).into_owned();
                let shown = redact_quotes(source.as_str().into(), STRICT).into_owned();
                assert_eq!(padded.trim_end_matches('y').trim_end(), shown.trim_end(), "{source}");
                let private = ["S@", "t=1", "#t"].iter().any(|private| shown.contains(private));
                assert!(!private, "{shown}");
            }
        }
    }
}

proptest! {
    /// Short words are not searched.
    #[test]
    fn short_word_has_nothing_private(word in "[A-Za-z0-9]{0,15}|NO[0-9]{13}|eyJ[A-Za-z0-9]{12}|[0-9]{12,15}") {
        for field_type in
            [FieldType::Token, FieldType::Sample, FieldType::Message, FieldType::Stack, FieldType::Policy]
        {
            prop_assert_eq!(&*sanitize_uncached(Cow::Borrowed(&*word), field_type, STRICT), &*word);
        }
    }
}
