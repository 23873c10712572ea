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
        ("intake: 5", "l.yaml:1: intake: expected a map, found \"5\""),
        ("- a", "l.yaml:1: settings: expected a map, found a list"),
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
        (
            "OTEL_BSP_SCHEDULE_DELAY",
            "5",
            "unknown variable; unset it for this process (lookoutd config prints all settings)",
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINTS",
            "x",
            "unknown variable; did you mean OTEL_EXPORTER_OTLP_ENDPOINT? (lookoutd config prints all settings)",
        ),
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
        ("metrics", "1", "--set metrics: this is a section; its keys are max_series, series_ttl"),
        ("a.b.c", "1", "--set a.b.c: unknown key; lookoutd config prints all keys"),
        ("listen", "", "--set listen: no value given"),
        (
            "metrics.max_series",
            "1",
            "--set metrics.max_series: expected a whole number from 1000 to 10000000, found \"1\"",
        ),
        (
            "delivery.spool",
            "/x",
            "--set delivery.spool: this is a section; its keys are directory, max_bytes, after",
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
