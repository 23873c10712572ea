//! Proposals from reports: what is proposed, what is not, and that no report can break out of the header.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Directive, Policy, Proposer, Source};

/// A saved event of a page of the shop.
fn event(directive: &str, blocked: &str) -> Value {
    json!({
        "type": "csp-violation",
        "url": "https://shop.example/cart",
        "body": {
            "documentURL": "https://shop.example/cart",
            "blockedURL": blocked,
            "effectiveDirective": directive,
        },
        "lookout": {"received": "2026-11-22T12:00:00.000Z", "kind": "csp-violation", "site": "shop", "noise": "none"},
    })
}

fn with_sample(directive: &str, sample: &str) -> Value {
    let mut event = event(directive, "inline");
    event["body"]["sample"] = sample.into();
    event
}

/// A finding with such an event.
fn finding(event: Value, clients: u64) -> Value {
    json!({
        "fingerprint": "00112233445566aa",
        "kind": event["lookout"]["kind"],
        "site": "shop",
        "noise": event["lookout"]["noise"],
        "count": 3 * clients,
        "clients": clients,
        "first_seen": "2026-11-21T12:00:00.000Z",
        "last_seen": "2026-11-22T12:00:00.000Z",
        "pages": [{"url": "https://shop.example/cart", "count": 2}],
        "sample": event,
    })
}

fn propose(baseline: &str, min_clients: Option<u64>, items: &[Value]) -> Policy {
    let mut proposer = Proposer::new("shop", baseline, min_clients).unwrap();
    for item in items {
        assert!(proposer.add(item), "{item}");
    }
    proposer.finish()
}

fn value(baseline: &str, items: &[Value]) -> String {
    propose(baseline, None, items).value
}

/// The source of a policy with only one.
fn only(policy: &Policy) -> &Source {
    let [Directive { sources, .. }] = &*policy.directives else { panic!("{policy:?}") };
    let [source] = &**sources else { panic!("{policy:?}") };
    source
}

#[test]
fn blocked_hosts_become_sources_and_self_is_folded() {
    let items = [
        event("script-src-elem", "https://cdn.example/b.js"),
        event("script-src-elem", "https://cdn.example/a.js"),
        event("script-src-elem", "https://shop.example:443/own.js"),
        event("connect-src", "wss://shop.example/live"),
        event("worker-src", "https://shop.example/w.js"),
        event("style-src-elem", "https://cdn.example/a.css"),
        event("img-src", "data"),
        event("font-src", "https://fonts.example:8443/f.woff2"),
        event("frame-src", "https://pay.example"),
        event("base-uri", "https://shop.example/"),
    ];
    let policy = propose("", None, &items);
    assert_eq!(
        policy.value,
        "default-src 'none'; script-src 'self' https://cdn.example; style-src https://cdn.example; img-src data:; \
         font-src https://fonts.example:8443; connect-src 'self'; frame-src https://pay.example; worker-src 'self'; \
         base-uri 'self'"
    );
    let cdn = &policy.directives[0].sources[0];
    assert_eq!((&*cdn.source, cdn.count, cdn.clients, cdn.proposed), ("https://cdn.example", 2, None, true));
    assert!(cdn.reason.starts_with("clients unknown"), "{}", cdn.reason);
    let mut reversed = items.clone();
    reversed.reverse();
    assert_eq!(value("", &reversed), policy.value);
}

#[test]
fn json_has_the_documented_shape() {
    let policy = propose("", None, &[finding(event("img-src", "https://cdn.example/i.png"), 7)]);
    let expected = json!({
        "site": "shop",
        "value": "default-src 'none'; img-src https://cdn.example",
        "directives": [{"directive": "img-src", "sources": [{
            "source": "https://cdn.example",
            "count": 21,
            "clients": 7,
            "first_seen": "2026-11-21T12:00:00.000Z",
            "last_seen": "2026-11-22T12:00:00.000Z",
            "pages": [{"url": "https://shop.example/cart", "count": 2}],
            "proposed": true,
            "reason": "sent by at least 7 clients",
        }]}],
    });
    assert_eq!(serde_json::to_value(&policy).unwrap(), expected);
}

#[test]
fn few_clients_are_listed_and_not_proposed() {
    let one = finding(event("script-src-elem", "https://evil.example/x.js"), 1);
    let policy = propose("", None, std::slice::from_ref(&one));
    assert_eq!(policy.value, "default-src 'none'");
    let source = only(&policy);
    assert_eq!((source.proposed, &*source.reason), (false, "not proposed, might be an attack: 1 client"));
    // Any number of findings of one client remains one client.
    let many: Vec<Value> = (0..50)
        .map(|n| finding(event("script-src-elem", &format!("https://evil.example/{n}.js")), 1))
        .collect();
    let policy = propose("", None, &many);
    assert_eq!((policy.value.as_str(), only(&policy).clients), ("default-src 'none'", Some(1)));
    assert_eq!(propose("", Some(1), &many).value, "default-src 'none'; script-src https://evil.example");
    let four = [finding(event("script-src-elem", "https://evil.example/x.js"), 4)];
    assert_eq!(value("", &four), "default-src 'none'");
}

#[test]
fn explicit_limit_leaves_out_what_has_no_clients() {
    let saved = [event("img-src", "https://cdn.example/i.png")];
    let policy = propose("", Some(1), &saved);
    assert_eq!(policy.value, "default-src 'none'");
    assert!(only(&policy).reason.ends_with("clients unknown, 1 required"), "{policy:?}");
}

#[test]
fn flood_of_forged_reports_changes_nothing() {
    let honest = [
        finding(event("script-src-elem", "https://cdn.example/a.js"), 40),
        finding(event("img-src", "data"), 12),
    ];
    let mut flooded: Vec<Value> = (0..2000)
        .map(|n| finding(event("script-src-elem", &format!("https://evil{n}.example/x.js")), 1))
        .collect();
    flooded.extend((0..50).map(|n| finding(with_sample("script-src-elem", &format!("evil({n})")), 2)));
    flooded.extend(honest.iter().cloned());
    let policy = propose("", None, &flooded);
    assert_eq!(policy.value, value("", &honest));
    let sources = &policy.directives[0].sources;
    assert_eq!(sources.len(), 1 + 100, "what is not proposed is limited");
    let clients: Vec<_> = sources.iter().map(|source| source.clients.unwrap()).collect();
    assert_eq!(clients, [&[40][..], &[2; 50], &[1; 50]].concat(), "what most clients sent comes first");
}

#[test]
fn noise_is_left_out_with_its_class() {
    let mut noise = event("script-src-elem", "https://toolbar.example/x.js");
    noise["lookout"]["noise"] = "injected".into();
    let policy = propose("", None, std::slice::from_ref(&noise));
    assert_eq!(policy.value, "default-src 'none'");
    assert_eq!(only(&policy).reason, "left out as noise: injected");
    let real = event("script-src-elem", "https://toolbar.example/x.js");
    for items in [[noise.clone(), real.clone()], [real, noise]] {
        let policy = propose("", None, &items);
        assert_eq!((only(&policy).proposed, only(&policy).count), (true, 1));
    }
}

#[test]
fn inline_code_is_answered_with_a_hash_or_advice() {
    let hash = "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='";
    for directive in ["script-src-elem", "script-src"] {
        let expected = format!("default-src 'none'; script-src {hash}");
        assert_eq!(value("", &[with_sample(directive, "alert(1)")]), expected);
    }
    for (item, reason) in [
        (event("script-src-elem", "inline"), "give the element a nonce"),
        (with_sample("style-src-elem", &"a".repeat(40)), "give the element a nonce"),
        (with_sample("script-src-attr", "alert(1)"), "'unsafe-hashes'"),
        (event("script-src", "eval"), "'unsafe-eval'"),
        (event("script-src", "wasm-eval"), "'wasm-unsafe-eval'"),
    ] {
        let policy = propose("", None, &[item]);
        assert_eq!(policy.value, "default-src 'none'");
        assert!(only(&policy).reason.contains(reason), "{policy:?}");
    }
    let few = propose("", None, &[finding(with_sample("script-src-elem", "alert(1)"), 1)]);
    assert_eq!(few.value, "default-src 'none'");
    // A hash makes browsers ignore 'unsafe-inline', on which other code of the page depends.
    let baseline = "script-src 'self' 'unsafe-inline'";
    assert_eq!(value(baseline, &[with_sample("script-src-elem", "alert(1)")]), baseline);
}

fn hash_report(url: &str) -> Value {
    let mut event = event("", "");
    event["lookout"]["kind"] = "csp-hash".into();
    event["body"] = json!({
        "documentURL": "https://shop.example/cart",
        "subresourceURL": url,
        "hash": "sha256-ix2vKAN8xpIpJtHQfccokFjorBPUznO82kMn1cs2xnY=",
    });
    event
}

#[test]
fn reported_hash_needs_clients_and_an_origin_that_is_not_allowed() {
    let file = || hash_report("https://cdn.example/a.js");
    assert_eq!(
        value("", &[finding(file(), 5)]),
        "default-src 'none'; script-src 'sha256-ix2vKAN8xpIpJtHQfccokFjorBPUznO82kMn1cs2xnY='"
    );
    for item in [file(), finding(file(), 4)] {
        assert_eq!(value("", &[item]), "default-src 'none'");
    }
    let script = finding(event("script-src-elem", "https://cdn.example/a.js"), 9);
    let policy = propose("", None, &[finding(file(), 5), script]);
    assert_eq!(policy.value, "default-src 'none'; script-src https://cdn.example");
    let own = finding(hash_report("https://shop.example/a.js"), 5);
    assert_eq!(value("script-src 'self'", &[own]), "script-src 'self'");
}

#[test]
fn schemes_are_proposed_for_images_fonts_and_media_only() {
    for directive in ["img-src", "font-src", "media-src"] {
        for (blocked, source) in [("data", "data:"), ("data:image/png;base64,AA", "data:"), ("blob", "blob:")]
        {
            assert_eq!(
                value("", &[event(directive, blocked)]),
                format!("default-src 'none'; {directive} {source}")
            );
        }
    }
    for directive in [
        "script-src-elem",
        "script-src",
        "worker-src",
        "object-src",
        "frame-src",
        "child-src",
        "style-src",
        "connect-src",
    ] {
        for blocked in
            ["data", "blob:https://shop.example", "*", "https:", "https://*.example", "filesystem", ""]
        {
            let policy = propose("", None, &[event(directive, blocked)]);
            assert_eq!(policy.value, "default-src 'none'", "{directive} {blocked}");
            assert!(!only(&policy).proposed);
        }
    }
}

#[test]
fn directives_without_hosts_are_answered() {
    for directive in [
        "frame-ancestors",
        "trusted-types",
        "default-src",
        "sandbox",
        "report-uri",
        "script-src; sandbox",
        "",
        "x-src",
    ] {
        let policy = propose("", None, &[event(directive, "https://evil.example/")]);
        assert_eq!(policy.value, "default-src 'none'", "{directive}");
        assert!(only(&policy).reason.starts_with("not proposed: "), "{policy:?}");
    }
}

#[test]
fn baseline_is_kept_and_extended() {
    let image = || event("img-src", "https://cdn.example/i.png");
    for (baseline, items, expected) in [
        // Everything stays in place: unknown directives, nonces, endpoints.
        (
            "Default-Src 'self';img-src https://a.example;; x-new  a  b; report-to csp; report-uri /r; sandbox",
            vec![image()],
            "default-src 'self'; img-src https://a.example https://cdn.example; x-new a b; report-to csp; report-uri /r; \
             sandbox",
        ),
        // A new directive has what its fallback allowed.
        (
            "default-src 'self' https://a.example; upgrade-insecure-requests",
            vec![image()],
            "default-src 'self' https://a.example; upgrade-insecure-requests; img-src 'self' https://a.example \
             https://cdn.example",
        ),
        (
            "default-src 'none'; script-src 'self' 'nonce-a'",
            vec![event("worker-src", "https://w.example/w.js")],
            "default-src 'none'; script-src 'self' 'nonce-a'; worker-src 'self' 'nonce-a' https://w.example",
        ),
        (
            "child-src https://a.example; default-src 'none'",
            vec![event("frame-src", "https://b.example"), event("child-src", "https://c.example")],
            "child-src https://a.example https://c.example; default-src 'none'; frame-src https://a.example https://b.example",
        ),
        // Without a list of sources, everything is restricted to what was reported.
        (
            "frame-ancestors 'none'",
            vec![image()],
            "default-src 'none'; frame-ancestors 'none'; img-src https://cdn.example",
        ),
        ("script-src 'self'", vec![image()], "script-src 'self'; img-src https://cdn.example"),
        ("img-src 'NONE'", vec![image()], "img-src https://cdn.example"),
        ("img-src", vec![image()], "img-src https://cdn.example"),
        // The directives for elements and attributes are extended only where the baseline has them.
        (
            "script-src 'self'; script-src-elem https://a.example",
            vec![
                event("script-src-elem", "https://b.example/b.js"),
                event("script-src", "https://c.example/c.js"),
            ],
            "script-src 'self' https://c.example; script-src-elem https://a.example https://b.example",
        ),
        // Already allowed.
        ("img-src https://CDN.example", vec![image()], "img-src https://CDN.example https://cdn.example"),
        ("img-src https://cdn.example", vec![image()], "img-src https://cdn.example"),
        // Hosts have no effect beside 'strict-dynamic'.
        (
            "script-src 'nonce-a' 'strict-dynamic'",
            vec![event("script-src-elem", "https://b.example/b.js")],
            "script-src 'nonce-a' 'strict-dynamic'",
        ),
    ] {
        assert_eq!(value(baseline, &items), expected, "{baseline}");
    }
    for wrong in ["img-src 'self', script-src 'self'", "img-src\u{0} a", "img-src é"] {
        assert!(Proposer::new("shop", wrong, None).is_err(), "{wrong}");
    }
    assert_eq!(value("img-src 'self'", &[]), "img-src 'self'");
    assert_eq!(value("", &[]), "");
}

#[test]
fn other_sites_kinds_and_texts_have_no_effect() {
    let mut other = event("img-src", "https://cdn.example/i.png");
    other["lookout"]["site"] = "blog".into();
    let mut crash = event("img-src", "https://cdn.example/i.png");
    crash["lookout"]["kind"] = "crash".into();
    assert!(propose("", None, &[other, crash]).directives.is_empty());
    let mut proposer = Proposer::new("shop", "", None).unwrap();
    for value in [
        json!(1),
        json!({"csp-report": {}}),
        json!({"lookout": {}}),
        json!([1]),
        json!({"kind": "csp-violation"}),
    ] {
        assert!(!proposer.add(&value), "{value}");
    }
    assert!(proposer.add(&json!({"items": [event("img-src", "data")]})));
    assert_eq!(proposer.finish().value, "default-src 'none'; img-src data:");
}

/// Checks every token of a value against a grammar of its own.
fn check_grammar(value: &str) {
    for directive in value.split("; ") {
        let mut tokens = directive.split(' ');
        let name = tokens.next().unwrap();
        assert!(name.ends_with("-src") || name == "base-uri" || name == "form-action", "{value}");
        for token in tokens {
            let is_safe_scheme =
                matches!(token, "data:" | "blob:") && matches!(name, "img-src" | "font-src" | "media-src");
            let is_hash = token.strip_prefix("'sha256-").is_some_and(|rest| {
                rest.len() == 45
                    && rest.ends_with("='")
                    && rest[..43].bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
            });
            let is_host = ["https://", "http://", "wss://", "ws://"].iter().any(|scheme| {
                token.strip_prefix(scheme).is_some_and(|host| {
                    !host.is_empty()
                        && host
                            .bytes()
                            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-:".contains(&b))
                })
            });
            let is_keyword = token == "'self'" || token == "'none'" && name == "default-src";
            assert!(is_safe_scheme || is_hash || is_host || is_keyword, "{token} in {value}");
        }
    }
}

proptest! {
    #[test]
    fn forged_report_cannot_break_out_of_the_header(
        reports in prop::collection::vec((directives(), blocked(), ".{0,45}", blocked()), 1..8),
    ) {
        let mut proposer = Proposer::new("shop", "", None).unwrap();
        for (directive, blocked, sample, page) in reports {
            let mut event = event(&directive, &blocked);
            event["body"]["sample"] = sample.into();
            event["body"]["documentURL"] = page.into();
            proposer.add(&event);
        }
        let policy = proposer.finish();
        check_grammar(&policy.value);
        let scripts = policy.value.split("; ").filter(|directive| directive.starts_with("script-src"));
        for directive in scripts {
            prop_assert!(!directive.contains('*') && !directive.contains(" data:") && !directive.contains("unsafe"));
        }
    }

    #[test]
    fn baseline_loses_no_token(
        baseline in "((default|script|img|frame|child|worker|style)-src( ('self'|https://[a-c]\\.example|'nonce-x')){0,3}; ?){0,4}(report-to csp)?",
        reports in prop::collection::vec((directives(), blocked()), 0..6),
    ) {
        let items: Vec<Value> = reports.iter().map(|(directive, blocked)| event(directive, blocked)).collect();
        let value = value(&baseline, &items);
        let after = super::Header::parse(&value).unwrap();
        let before = super::Header::parse(&baseline).unwrap();
        for name in ["default-src", "script-src", "script-src-elem", "img-src", "frame-src", "child-src", "worker-src", "style-src"] {
            for token in before.granted(name).iter().filter(|token| *token != "'none'") {
                prop_assert!(after.granted(name).contains(token), "{name} loses {token}: {baseline} -> {value}");
            }
        }
        prop_assert_eq!(baseline.contains("report-to csp"), value.contains("report-to csp"));
    }
}

fn directives() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "script-src-elem",
        "script-src-attr",
        "script-src",
        "style-src-elem",
        "img-src",
        "worker-src",
        "frame-src",
        "child-src",
        "base-uri",
        "form-action",
        "font-src",
        "connect-src",
        "default-src",
        "frame-ancestors",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => "[a-z]{1,6}-src[; ,'*]{0,2}", 1 => ".{0,12}"]
}

fn blocked() -> impl Strategy<Value = String> {
    prop_oneof![
        "(https|http|wss|ws|data|blob|javascript|ftp)://[a-c*;,' \"\\n.:0-9_@é-]{0,12}(/[a-z;' ]{0,4})?",
        "(https|http)://[a-c]{1,3}\\.example(:[0-9]{1,6})?/?",
        "(inline|eval|wasm-eval|self|data|blob|data:x; script-src \\*|\\*|'unsafe-inline'|https:|)",
        ".{0,20}",
    ]
}
