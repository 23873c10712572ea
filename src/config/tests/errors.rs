//! Every error message, word for word.

use super::sources::MAX_FILE_BYTES;
use super::*;

#[test]
fn load_invalid_value_in_file_names_line_and_key() {
    for (yaml, message) in [
        (
            "\n\nintake:\n  max_body_bytes: lots",
            "l.yaml:4: intake.max_body_bytes: expected a size such as 1MiB or 65536, found \"lots\"",
        ),
        (
            "intake: { max_body_bytes: 0 }",
            "l.yaml:1: intake.max_body_bytes: expected a size of at least 1B, found \"0\"",
        ),
        (
            "intake: { max_reports: 0 }",
            "l.yaml:1: intake.max_reports: expected a whole number from 1 to 1000000, found \"0\"",
        ),
        (
            "intake: { max_reports: [1] }",
            "l.yaml:1: intake.max_reports: expected a whole number from 1 to 1000000, found a list",
        ),
        (
            "metrics: { max_series: 999 }",
            "l.yaml:1: metrics.max_series: expected a whole number from 1000 to 10000000, found \"999\"",
        ),
        (
            "delivery: { memory_bytes: 1023KiB }",
            "l.yaml:1: delivery.memory_bytes: expected a size of at least 1MiB, found \"1023KiB\"",
        ),
        (
            "intake:\n  trusted_proxies:\n    - 10.0.0.0/8\n    - nowhere",
            "l.yaml:4: intake.trusted_proxies[1]: expected a network such as 10.0.0.0/8 or an address, \
             found \"nowhere\"",
        ),
        ("privacy: { query: no }", "l.yaml:1: privacy.query: expected strip, names or keep, found \"no\""),
        ("log: 5", "l.yaml:1: log: expected a map with format, level, found \"5\""),
        (
            "- a",
            "l.yaml:1: settings: expected a map with admin, admin_listen, delivery, events, findings, intake, listen, log, metrics, \
             otlp, privacy, rules, service, sites, watch, found a list",
        ),
        ("sites: { name: a }", "l.yaml:1: sites: expected a list, found a map"),
    ] {
        assert_eq!(from_yaml(yaml), Err(message.to_owned()));
    }
}

#[test]
fn load_unknown_key_in_file_is_named_with_suggestion() {
    for (yaml, message) in [
        (
            "metrics:\n  max_serie: 1",
            "l.yaml:2: metrics.max_serie: unknown key; did you mean metrics.max_series?",
        ),
        ("intak: {}", "l.yaml:1: intak: unknown key; did you mean intake?"),
        ("max_body_bytes: 1", "l.yaml:1: max_body_bytes: unknown key; did you mean intake.max_body_bytes?"),
        (
            "metrics: { color: red }",
            "l.yaml:1: metrics.color: unknown key; the keys here are max_series, series_ttl",
        ),
        (
            "intake.max_reports: 5",
            "l.yaml:1: intake.max_reports: unknown key: write the sections as nested maps, not with dots",
        ),
    ] {
        assert_eq!(from_yaml(yaml), Err(message.to_owned()));
    }
}

#[test]
fn load_invalid_yaml_names_line() {
    let message = from_yaml("metrics:\n  max_series: 1\n  max_series: 2\n").unwrap_err();
    assert!(message.starts_with("l.yaml:3: not valid YAML: duplicate"), "{message}");
    let message = from_yaml("metrics: [").unwrap_err();
    assert!(message.starts_with("l.yaml:1: not valid YAML: "), "{message}");
}

#[test]
fn load_unreadable_file_names_reason() {
    let flags = Flags { config: Some("/nonexistent/l.yaml".into()), ..Flags::default() };
    let message = load(&flags, std::iter::empty()).unwrap_err().to_string();
    assert!(message.starts_with("/nonexistent/l.yaml: cannot be read: "), "{message}");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"\xff\xfe").unwrap();
    let flags = Flags { config: Some(file.path().to_owned()), ..Flags::default() };
    let message = load(&flags, std::iter::empty()).unwrap_err().to_string();
    assert!(message.ends_with("cannot be read: stream did not contain valid UTF-8"), "{message}");
    std::fs::write(file.path(), vec![b' '; MAX_FILE_BYTES as usize + 1]).unwrap();
    let message = load(&flags, std::iter::empty()).unwrap_err().to_string();
    assert!(message.ends_with("cannot be read: it is larger than 4194304 bytes"), "{message}");
}

#[test]
fn load_invalid_variable_is_named() {
    for (name, value, message) in [
        (
            "LOOKOUT_METRICS_MAX_SERIES",
            "lots",
            "expected a whole number from 1000 to 10000000, found \"lots\"",
        ),
        ("LOOKOUT_SITES", "[", "not valid YAML: "),
        ("LOOKOUT_METRIC_MAX_SERIES", "2000", "unknown variable; did you mean LOOKOUT_METRICS_MAX_SERIES? "),
        (
            "LOOKOUT_COLOR",
            "red",
            "unknown variable; unset it for this process (lookoutd config prints all settings)",
        ),
        ("LOOKOUT_DELIVERY_SPOOL_MAX_BYTES", "1KiB", "expected a size of at least 64KiB, found \"1KiB\""),
        ("LOOKOUT_OTLP_HEADERS", "a", "entry 1: expected NAME=VALUE"),
    ] {
        let found = from_variables(&[(name, value)]).unwrap_err();
        assert!(found.starts_with(&format!("{name}: {message}")), "{found}");
        assert!(from_variables(&[(name, "")]).is_ok(), "an empty {name} is an unset one");
    }
}

#[test]
fn load_invalid_flag_is_named() {
    for (key, value, message) in [
        ("metrics.max_serie", "1", "--set metrics.max_serie: unknown key; did you mean metrics.max_series?"),
        ("metrics", "1", "--set metrics: expected a map with max_series, series_ttl, found \"1\""),
        (
            "color.b.c",
            "1",
            "--set color.b.c: unknown key; the keys here are listen, admin_listen, watch, log, sites, intake, privacy, rules, \
             events, findings, metrics, delivery, admin, service, otlp",
        ),
        ("listen", "", "--set listen: no value given"),
        (
            "metrics.max_series",
            "1",
            "--set metrics.max_series: expected a whole number from 1000 to 10000000, found \"1\"",
        ),
        (
            "delivery.spool",
            "/x",
            "--set delivery.spool: expected a map with after, directory, max_bytes, found \"/x\"",
        ),
    ] {
        assert_eq!(load_all("", &[], &[(key, value)]).unwrap_err(), message);
    }
}

#[test]
fn load_conflicting_settings_name_key() {
    for (yaml, message) in [
        (
            "listen: 127.0.0.1:18480",
            "admin_listen: listen is 127.0.0.1:18480 too; intake and admin need different addresses",
        ),
        ("intake:\n  tls:\n    certificate: /x", "l.yaml:3: intake.tls.certificate: requires intake.tls.key"),
        ("intake: { tls: { key: /x } }", "l.yaml:1: intake.tls.key: requires intake.tls.certificate"),
        (
            "intake: { rate_limit: { burst: 5 } }",
            "l.yaml:1: intake.rate_limit.burst: requires intake.rate_limit.per_second",
        ),
        (
            "sites: [{ name: a }]\nintake: { retired: [/csp, a, b] }",
            "l.yaml:2: intake.retired: \"b\" is neither a configured site nor a path that starts with /",
        ),
        (
            "sites: [{ name: a }]\nintake: { paths: { /x: { site: a }, /x-y: { site: a }, /x/: { site: a } } }",
            "l.yaml:2: intake.paths: /x/: the path is used twice; a slash at its end changes nothing",
        ),
        (
            "intake: { proxy_protocol: true }",
            "l.yaml:1: intake.proxy_protocol: requires intake.trusted_proxies: only connections from those have the header",
        ),
        (
            "intake: { unknown_sites: reject }",
            "l.yaml:1: intake.unknown_sites: reject requires sites: without sites, each report's own host is its \
             site",
        ),
        (
            "delivery: { spool: { directory: /var/spool } }\nfindings: { state_file: /var/spool/findings }",
            "l.yaml:2: findings.state_file: is inside delivery.spool.directory; the spool moves every other file away",
        ),
        (
            "events: { fold: 999ms }",
            "l.yaml:1: events.fold: expected off or a duration from 1s to 1h, found 999ms",
        ),
        (
            "events: { fold: 2h }",
            "l.yaml:1: events.fold: expected off or a duration from 1s to 1h, found 7200s",
        ),
        ("otlp: { client_certificate: /x }", "l.yaml:1: otlp.client_certificate: requires client_key"),
        (
            "admin: { auth: { username: a } }",
            "l.yaml:1: admin.auth.username: requires admin.auth.password or password_file",
        ),
        ("admin: { auth: { password: S } }", "l.yaml:1: admin.auth.password: requires admin.auth.username"),
        (
            "admin: { auth: { password_file: /x } }",
            "l.yaml:1: admin.auth.password_file: requires admin.auth.username",
        ),
        (
            "admin: { auth: { bearer: S, bearer_file: /x } }",
            "l.yaml:1: admin.auth.bearer_file: admin.auth.bearer is set too; only one of the two is allowed",
        ),
        ("otlp: { logs: { client_key: /x } }", "l.yaml:1: otlp.logs.client_key: requires client_certificate"),
    ] {
        assert_eq!(from_yaml(yaml), Err(message.to_owned()));
    }
    assert!(from_yaml("listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0").is_ok());
}

/// Checks the only error of the file `KEY:` with this list.
fn check_entries(key: &str, cases: &[(&str, &str)]) {
    for (entries, message) in cases {
        let section = key.replace('.', ":\n ");
        let indented = entries.replace('\n', "\n  ");
        let found = from_yaml(&format!("{section}:\n  {indented}")).unwrap_err();
        let (_, found) = found.split_once(": ").unwrap();
        assert_eq!(found, format!("{key}{message}"));
    }
}

#[test]
fn load_invalid_site_is_named() {
    check_entries(
        "sites",
        &[
            ("x", ": expected a list, found \"x\""),
            (
                "- shop",
                "[0]: expected a map with events_per_second, hosts, keys, min_sampling_fraction, name, pages, sample, found \"shop\"",
            ),
            ("- hosts: [a]", "[0]: name is missing"),
            ("- name: a b", "[0].name: expected a name of 1 to 64 of A-Z a-z 0-9 . _ -, found \"a b\""),
            ("- name: unknown", "[0].name: expected a name that is not reserved, found \"unknown\""),
            (
                "- {name: a}\n- {name: a}",
                "[1].name: the name \"a\" is used twice; a name belongs to one site",
            ),
            (
                "- {name: a, hosts: [x.y]}\n- {name: b, hosts: [X.y]}",
                "[1].hosts: the host \"x.y\" is used twice; a host belongs to one site",
            ),
            ("- name: a\n  host: x", "[0].host: unknown key; did you mean sites[0].hosts?"),
            (
                "- name: a\n  color: x",
                "[0].color: unknown key; the keys here are events_per_second, hosts, keys, min_sampling_fraction, \
                 name, pages, sample",
            ),
            (
                "- name: a\n  events_per_second: 0",
                "[0].events_per_second: expected a whole number from 1 to 1000000, found \"0\"",
            ),
            (
                "- name: a\n  min_sampling_fraction: 0",
                "[0].min_sampling_fraction: expected a fraction from 0.000001 to 1, such as 0.01, found \"0\"",
            ),
            (
                "- name: a\n  sample: { csp-hahs: 0.1 }",
                "[0].sample.csp-hahs: unknown key; did you mean sites[0].sample.csp-hash?",
            ),
            (
                "- name: a\n  sample: { csp-hash: 0 }",
                "[0].sample.csp-hash: expected a fraction from 0.000001 to 1, such as 0.01, found \"0\"",
            ),
            (
                "- name: a\n  sample: { \"*\": 2 }",
                "[0].sample[\"*\"]: expected a fraction from 0.000001 to 1, such as 0.01, found \"2\"",
            ),
        ],
    );
}

#[test]
fn load_invalid_rule_is_named() {
    let keys = "blocked_url, browser, directive, disposition, document_url, event, kind, name, noise, page, sample, \
                severity, site, source_file, user_agent";
    check_entries(
        "rules",
        &[
            ("[x]", &format!("[0]: expected a map with {keys}, found \"x\"")),
            (
                "[{sample: x, noise: junk}]",
                "[0].noise: expected none, extension, injected, intermediary, browser, local or bot, found \"junk\"",
            ),
            ("[{sample: x, severity: fatal}]", "[0].severity: expected info, warn or error, found \"fatal\""),
            ("[{sample: x, event: keep}]", "[0].event: expected drop, found \"keep\""),
            ("[{sample: '', noise: bot}]", "[0].sample: expected a text that is not empty, found \"\""),
            ("[{sample: [a, '!'], noise: bot}]", "[0].sample[1]: expected a text after the !, found \"!\""),
            (
                "[{kind: csp-violaton, noise: bot}]",
                "[0].kind: expected a kind such as csp-violation, found \"csp-violaton\"",
            ),
            (
                "[{disposition: '!reprot', noise: bot}]",
                "[0].disposition: expected a disposition such as report, found \"!reprot\"",
            ),
            (
                "[{disposition: x, noise: bot}]",
                "[0].disposition: expected enforce, report or unknown, found \"x\"",
            ),
            (
                "[{browser: [chrome<120, 'firefx>1'], noise: bot}]",
                "[0].browser[1]: expected a browser such as firefox or firefox>=120, found \"firefx>1\"",
            ),
            (
                "[{browser: chrome<new, noise: bot}]",
                "[0].browser: expected a browser such as chrome or chrome>=120, found \"chrome<new\"",
            ),
            (
                "[{name: a b, sample: x, noise: bot}]",
                "[0].name: expected a name of 1 to 64 of A-Z a-z 0-9 . _ -, found \"a b\"",
            ),
            (
                "[{name: a, sample: x, noise: bot}, {name: a, sample: y, noise: bot}]",
                "[1].name: the name \"a\" is used twice; a name belongs to one rule",
            ),
            ("[{sampel: x, noise: bot}]", "[0].sampel: unknown key; did you mean rules[0].sample?"),
            ("[{sample: x}]", "[0]: sets nothing; expected noise, severity or event"),
            (
                "[{sample: [], noise: bot}]",
                "[0]: has no condition; expected one of site, page, kind, disposition, directive, blocked_url, \
                 document_url, source_file, sample, user_agent, browser",
            ),
        ],
    );
}

#[test]
fn load_former_noise_rules_shows_the_new_form() {
    let former = "l: x\nnoise: { rules: [{ field: sample, match: x, class: bot }] }";
    let message = from_yaml(former).unwrap_err();
    let start = "l.yaml:2: noise: noise.rules was replaced by rules; write rules: [{ blocked_url: ";
    assert!(message.lines().any(|line| line.starts_with(start)), "{message}");
    let message = from_variables(&[("LOOKOUT_NOISE_RULES", "[]")]).unwrap_err();
    assert!(message.contains("did you mean LOOKOUT_RULES?"), "{message}");
    let message = load_all("", &[], &[("noise.rules", "[]")]).unwrap_err();
    assert!(message.contains("was replaced by rules"), "{message}");
}

/// The line is that of the key.
#[test]
fn load_rule_that_can_never_match_warns() {
    let sites =
        "sites:\n- { name: shop, pages: [{ name: checkout, paths: [/c*] }] }\n- { name: blog }\nrules:\n";
    let warnings = |rules: &str| {
        let config = from_yaml(&format!("{sites}{rules}")).unwrap();
        let place = tempfile::env::temp_dir().display().to_string();
        let own = config.warnings.iter().map(|warning| {
            assert!(warning.starts_with(&place), "{warning}");
            warning.split_once(':').unwrap().1.to_owned()
        });
        own.collect::<Vec<_>>()
    };
    for (rules, expected) in [
        (
            "- noise: bot\n  site: shpo",
            "6: rules[0].site: \"shpo\" never matches: no such site is configured; did you mean shop?",
        ),
        (
            "- { site: [shop, x.example], noise: bot }",
            "5: rules[0].site: \"x.example\" never matches: no such site is configured",
        ),
        (
            "- { page: chekout, noise: bot }",
            "5: rules[0].page: \"chekout\" never matches: no such page is configured; did you mean checkout?",
        ),
        (
            "- { site: blog, page: checkout, noise: bot }",
            "5: rules[0].page: \"checkout\" never matches: no such page is configured",
        ),
        (
            "- { kind: csp-hash, directive: font-src, noise: bot }",
            "5: rules[0]: never matches: no kind of report has all that its conditions are about",
        ),
        (
            "- { kind: csp-hash, disposition: report, noise: bot }",
            "5: rules[0]: never matches: no kind of report has all that its conditions are about",
        ),
        (
            "- { kind: '!*', noise: bot }",
            "5: rules[0]: never matches: no kind of report has all that its conditions are about",
        ),
    ] {
        assert_eq!(warnings(rules), [expected], "{rules}");
    }
    for (earlier, later, is_shadowed) in [
        ("kind: crash", "kind: crash, site: shop", true),
        ("kind: crash, site: shop", "kind: crash", false),
        ("sample: 'a*'", "sample: 'ab*'", true),
        ("sample: 'a*'", "sample: '*ab'", false),
        ("sample: 'a*'", "sample: ['ab', 'b']", false),
        ("sample: ['a*', 'b']", "sample: ['ab', 'b']", true),
        ("sample: '*'", "sample: '!x'", false),
        ("sample: '!x*'", "sample: 'y'", true),
        ("sample: '!x*'", "sample: '*y'", false),
        ("sample: '!xy'", "sample: '!x*'", true),
        ("sample: '!x*'", "sample: '!xy'", false),
        ("blocked_url: '*.cdn.example'", "blocked_url: 'https://a.cdn.example/*'", true),
        ("blocked_url: '*.cdn.example'", "blocked_url: 'https://a.cdn.example*'", false),
        ("blocked_url: '*.cdn.example'", "blocked_url: '*.a.cdn.example'", true),
        ("blocked_url: '*.cdn.example'", "blocked_url: cdn.example", false),
        ("blocked_url: cdn.example", "blocked_url: cdn.example", true),
        ("blocked_url: cdn.example", "blocked_url: '*.cdn.example'", false),
        ("blocked_url: '*'", "blocked_url: cdn.example", true),
        ("browser: chrome", "browser: chrome<120", true),
        ("browser: chrome<120", "browser: chrome<=119", true),
        ("browser: chrome<120", "browser: chrome<121", false),
        ("browser: chrome<120", "browser: chrome", false),
        ("browser: chrome>100", "browser: chrome=100", false),
        ("browser: '!chrome'", "browser: firefox>=3", true),
        ("browser: '!chrome'", "browser: [firefox, chrome>5]", false),
        ("browser: '!chrome<120'", "browser: chrome<100", false),
    ] {
        let found =
            warnings(&format!("- {{ name: first, {earlier}, noise: bot }}\n- {{ {later}, event: drop }}"));
        let warning = "6: rules[1]: never matches: first comes first and matches all that it would";
        assert_eq!(found, if is_shadowed { vec![warning] } else { vec![] }, "{earlier} before {later}");
    }
    let without_sites = from_yaml("rules: [{ site: shop.example, noise: bot }]").unwrap();
    assert!(without_sites.warnings.is_empty(), "{:?}", without_sites.warnings);
}

#[test]
fn load_lists_all_errors_at_once() {
    let yaml = "log: { level: loud }\nintake:\n  max_reports: 0\n  size: red\n  tls: { key: /x }\nsites:\n\
        - { name: a, hosts: [b.example, 'a b', 'c:1'], host: x }\n- hosts: [c.example]\n- { name: 'd e', \
        hosts: [b.example] }\n- { name: a }\nrules: [{ directive: fnt-src, noise: x }]\n\
        otlp: { endpoint: c, logs: { headers: { 'a b': x, c: [d] } } }";
    let variables =
        [("LOOKOUT_METRICS_MAX_SERIES", "1"), ("LOOKOUT_COLOR", "red"), ("OTEL_BSP_SCHEDULE_DELAY", "5")];
    let message = load_all(yaml, &variables, &[("intake.max_reports", "x"), ("color", "b")]).unwrap_err();
    let host = "expected a host without scheme and port, such as www.shop.example or *.shop.example, found";
    let keys = reference()
        .filter_map(|setting| setting.key.strip_prefix("intake."))
        .filter(|key| !key.contains('.'));
    let keys = [keys.collect::<Vec<_>>().join(", "), ", rate_limit, tls".to_owned()].concat();
    let expected = [
        "l.yaml:1: log.level: expected error, warn, info, debug or trace, found \"loud\"",
        "l.yaml:3: intake.max_reports: expected a whole number from 1 to 1000000, found \"0\"",
        &format!("l.yaml:4: intake.size: unknown key; the keys here are {keys}"),
        &format!("l.yaml:7: sites[0].hosts[1]: {host} \"a b\""),
        &format!("l.yaml:7: sites[0].hosts[2]: {host} \"c:1\""),
        "l.yaml:7: sites[0].host: unknown key; did you mean sites[0].hosts?",
        "l.yaml:8: sites[1]: name is missing",
        "l.yaml:9: sites[2].name: expected a name of 1 to 64 of A-Z a-z 0-9 . _ -, found \"d e\"",
        "l.yaml:11: rules[0].directive: expected a directive such as font-src, found \"fnt-src\"",
        "l.yaml:11: rules[0].noise: expected none, extension, injected, intermediary, browser, local or bot, \
         found \"x\"",
        "l.yaml:12: otlp.logs.headers[\"a b\"]: not a valid header name",
        "l.yaml:12: otlp.logs.headers.c: expected a text",
        "LOOKOUT_COLOR: unknown variable; unset it for this process (lookoutd config prints all settings)",
        "LOOKOUT_METRICS_MAX_SERIES: expected a whole number from 1000 to 10000000, found \"1\"",
        "--set intake.max_reports: expected a whole number from 1 to 1000000, found \"x\"",
        "--set color: unknown key; the keys here are listen, admin_listen, watch, log, sites, intake, privacy, rules, events, \
         findings, metrics, delivery, admin, service, otlp",
        "l.yaml:5: intake.tls.key: requires intake.tls.certificate",
        "l.yaml:10: sites[3].name: the name \"a\" is used twice; a name belongs to one site",
    ];
    assert_eq!(message.lines().collect::<Vec<_>>(), expected);
}
