//! Tests of the configuration as a whole: layers, defaults, the sample file and printing.

mod errors;
mod formats;
mod otel;

use std::io::Write as _;
use std::time::Duration;

use super::*;
use crate::model::Noise;

/// Loads this file, these variables and these `--set` flags. In messages the file is `l.yaml`.
fn load_all(yaml: &str, variables: &[(&str, &str)], sets: &[(&str, &str)]) -> Result<Loaded, String> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(yaml.as_bytes()).unwrap();
    let flag = |(key, value): &(&str, &str)| Flag {
        name: format!("--set {key}"),
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    let config = (!yaml.is_empty()).then(|| file.path().to_owned());
    let flags = Flags { config, settings: sets.iter().map(flag).collect() };
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(&flags, variables)
        .map_err(|error| error.to_string().replace(&file.path().display().to_string(), "l.yaml"))
}

fn from_yaml(yaml: &str) -> Result<Config, String> {
    load_all(yaml, &[], &[]).map(|loaded| loaded.config)
}

fn from_variables(variables: &[(&str, &str)]) -> Result<Config, String> {
    load_all("", variables, &[]).map(|loaded| loaded.config)
}

fn printed(loaded: &Loaded) -> String {
    let mut out = Vec::new();
    loaded.write_yaml(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

/// A file with most settings.
const SAMPLE: &str = r#"
listen: 0.0.0.0:8480
admin_listen: 127.0.0.1:18480
sites:
  - name: shop
    hosts: [www.shop.example, "*.shop.example"]
    events_per_second: 500      # counters stay exact
    min_sampling_fraction: 0.05
    pages: [ { name: checkout, paths: ["/checkout/*"] } ]
    sample: { csp-hash: 0.1, "*": 1 }
intake: { max_body_bytes: 1MiB, max_reports: 256, max_connections: 4096, max_in_flight: 1024,
          unknown_sites: accept, query_attributes: [release], retired: [],
          trusted_proxies: [10.0.0.0/8], rate_limit: { per_second: 50, burst: 500 },
          tls: { certificate: /etc/lookoutd/tls.crt, key: /etc/lookoutd/tls.key } }
privacy: { query: strip, path_secrets: redact, client_address: none }
rules: [ { name: av, blocked_url: "*.antivirus.example", browser: ["chrome<120", "!edge"], noise: injected, event: drop } ]
events: { max_per_second: 20000, max_unknown_per_second: off, fold: 1m }
findings: { max: 20000, max_bytes: 16MiB, max_clients: 65536, new_for: 24h, state_file: /var/lib/findings, ttl: 30d }
metrics: { max_series: 10000, series_ttl: 24h }
otlp: { endpoint: http://127.0.0.1:4318, protocol: http/protobuf, headers: {}, compression: gzip }
delivery: { memory_bytes: 32MiB, shutdown_timeout: 10s, spool: { directory: /var/lib/lookoutd, max_bytes: 1GiB, after: 0 } }
admin: { hosts: [Status.shop.example, "*.corp.example"] }
"#;

#[test]
fn defaults_of_unset_settings_turn_features_off() {
    let Config { intake, delivery, admin, otlp, events, .. } = defaults();
    assert_eq!(
        (intake.rate_limit.per_second, intake.tls.files(), delivery.spool.directory),
        (None, None, None)
    );
    assert_eq!(admin, Admin::default());
    assert_eq!(
        events,
        Events { max_per_second: Some(10_000), max_unknown_per_second: Some(500), fold: None }
    );
    assert_eq!(otlp.logs, Logs { console: true, otlp: None });
    assert_eq!((otlp.metrics.otlp, otlp.traces), (None, None));
    assert_eq!(otlp.service_name, "lookoutd");
}

#[test]
fn defaults_of_each_setting_load_from_every_source() {
    for setting in reference() {
        let Ok(default) = setting.default else { continue };
        let by_flag = load_all("", &[], &[(setting.key, default)]).unwrap().config;
        assert_eq!(by_flag, defaults(), "{}", setting.key);
        let by_variable = from_variables(&[(&setting.variable, default)]).unwrap();
        assert_eq!(by_variable, defaults(), "{}", setting.key);
    }
}

#[test]
fn load_sample_file_sets_every_value() {
    let s = from_yaml(SAMPLE).unwrap();
    let site = SiteConfig {
        name: "shop".into(),
        hosts: vec!["www.shop.example".into(), "*.shop.example".into()],
        events_per_second: Some(500),
        min_sampling_fraction: 0.05,
        pages: vec![PageConfig { name: "checkout".into(), paths: vec!["/checkout/*".into()] }],
        sample: [("csp-hash".to_owned(), 0.1), ("*".to_owned(), 1.0)].into(),
        ..SiteConfig::default()
    };
    assert_eq!(s.sites, [site]);
    assert_eq!(s.intake.query_attributes, ["release"]);
    assert_eq!(s.intake.trusted_proxies, ["10.0.0.0/8".parse().unwrap()]);
    assert_eq!(s.intake.rate_limit, RateLimit { per_second: Some(50), burst: Some(500) });
    let tls = TlsFiles {
        certificate: "/etc/lookoutd/tls.crt".into(),
        key: "/etc/lookoutd/tls.key".into(),
        client_ca: None,
    };
    assert_eq!(s.intake.tls.files(), Some(tls));
    let rule = Rule {
        name: Some("av".into()),
        blocked_url: vec!["*.antivirus.example".into()],
        browser: vec!["chrome<120".into(), "!edge".into()],
        noise: Some(Noise::Injected),
        event: Some(EventAction::Drop),
        ..Rule::default()
    };
    assert_eq!(s.rules, [rule]);
    let logs = s.otlp.logs.otlp.unwrap();
    assert_eq!((logs.url.as_str(), logs.compression), ("http://127.0.0.1:4318/v1/logs", Compression::Gzip));
    assert_eq!(s.otlp.metrics.otlp.unwrap().url, "http://127.0.0.1:4318/v1/metrics");
    assert!(!s.otlp.logs.console);
    let directory = Some("/var/lib/lookoutd".into());
    assert_eq!(s.delivery.spool, Spool { directory, max_bytes: 1 << 30, after: Duration::ZERO });
    let fold = Some(Duration::from_secs(60));
    assert_eq!(s.events, Events { max_per_second: Some(20_000), max_unknown_per_second: None, fold });
    assert_eq!((s.findings.max, s.findings.max_bytes, s.findings.max_clients), (20_000, 16 << 20, 65_536));
    assert_eq!(s.findings.state_file, Some("/var/lib/findings".into()));
    assert_eq!((s.findings.new_for.as_secs(), s.findings.ttl.as_secs()), (86_400, 30 * 86_400));
    assert_eq!(s.admin.hosts, ["status.shop.example", "*.corp.example"]);
}

#[test]
fn load_of_several_sources_applies_precedence() {
    let yaml = "metrics: { max_series: 2000 }\nservice: { name: file }";
    let series =
        |variables: &[_], sets: &[_]| load_all(yaml, variables, sets).unwrap().config.metrics.max_series;
    assert_eq!(series(&[], &[]), 2000);
    assert_eq!(series(&[("LOOKOUT_METRICS_MAX_SERIES", "3000")], &[]), 3000);
    assert_eq!(series(&[("LOOKOUT_METRICS_MAX_SERIES", "3000")], &[("metrics.max_series", "4000")]), 4000);
    assert_eq!(series(&[("LOOKOUT_METRICS_MAX_SERIES", "")], &[]), 2000);
    assert_eq!(series(&[], &[("metrics.max_series", "4000"), ("metrics.max_series", "5000")]), 5000);
    let name = |variables: &[_]| load_all(yaml, variables, &[]).unwrap().config.otlp.service_name;
    assert_eq!(name(&[]), "file");
    assert_eq!(name(&[("OTEL_SERVICE_NAME", "otel")]), "otel");
    assert_eq!(name(&[("OTEL_SERVICE_NAME", "otel"), ("LOOKOUT_SERVICE_NAME", "own")]), "own");
}

#[test]
fn load_overridden_invalid_value_fails() {
    let message =
        load_all("metrics: { max_series: lots }", &[], &[("metrics.max_series", "4000")]).unwrap_err();
    assert!(message.starts_with("l.yaml:1: metrics.max_series: expected"), "{message}");
}

#[test]
fn load_list_or_map_in_variable_or_flag_is_parsed() {
    for list in ["a, b", "[a, b]", "a,b,"] {
        let s = from_variables(&[("LOOKOUT_INTAKE_QUERY_ATTRIBUTES", list)]).unwrap();
        assert_eq!(s.intake.query_attributes, ["a", "b"]);
    }
    for headers in ["a=x%20y,B=z", "{a: x y, b: z}"] {
        let s = from_variables(&[("LOOKOUT_OTLP_HEADERS", headers), ("LOOKOUT_OTLP_ENDPOINT", "http://c")]);
        let headers = s.unwrap().otlp.logs.otlp.unwrap().headers;
        assert_eq!(headers, [("a".into(), "x y".into()), ("b".into(), "z".into())]);
    }
    let sites = ("sites", "[{name: a, hosts: [a.example]}]");
    assert_eq!(load_all("", &[], &[sites]).unwrap().config.sites[0].name, "a");
    let s = from_variables(&[("LOOKOUT_SITES", "- name: a\n- name: b")]).unwrap();
    assert_eq!(s.sites.len(), 2);
}

#[test]
fn load_empty_section_or_key_counts_as_absent() {
    assert_eq!(from_yaml("intake:\nmetrics:\n  max_series:\nsites: ~\n").unwrap(), defaults());
    assert_eq!(from_yaml("# a comment\n").unwrap(), defaults());
}

#[test]
fn load_config_variable_names_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"metrics: { max_series: 2000 }").unwrap();
    let path = file.path().display().to_string();
    let variables = [("LOOKOUT_CONFIG".to_owned(), path)];
    let loaded = load(&Flags::default(), variables.into_iter()).unwrap();
    assert_eq!(loaded.config.metrics.max_series, 2000);
}

#[test]
fn load_kubernetes_service_variables_are_ignored() {
    let links = [
        ("LOOKOUT_SERVICE_HOST", "10.0.0.1"),
        ("LOOKOUT_SERVICE_PORT", "8480"),
        ("LOOKOUT_SERVICE_PORT_INTAKE", "8480"),
        ("LOOKOUT_PORT", "tcp://10.0.0.1:8480"),
        ("LOOKOUT_PORT_8480_TCP", "tcp://10.0.0.1:8480"),
        ("LOOKOUT_PORT_8480_TCP_ADDR", "10.0.0.1"),
        ("LOOKOUT_INTAKE_PORT_8480_TCP_PROTO", "tcp"),
        ("OTEL_COLLECTOR_SERVICE_HOST", "10.0.0.2"),
        ("OTEL_COLLECTOR_PORT", "tcp://10.0.0.2:4317"),
        ("OTEL_COLLECTOR_PORT_4317_TCP_ADDR", "10.0.0.2"),
    ];
    assert_eq!(from_variables(&links).unwrap(), defaults());
    assert!(from_variables(&[("LOOKOUT_PORT", "8480")]).is_err());
    assert!(!from_variables(&[("OTEL_EXPORTER_PROMETHEUS_PORT", "9464")]).unwrap().warnings.is_empty());
}

#[test]
fn write_yaml_output_loads_to_same_config() {
    let every_form = "otlp: { logs: { endpoint: 'https://c/x?y=z', exporters: [otlp, console] },\n\
        metrics: { protocol: grpc, endpoint: 'c:4317', insecure: true }, traces: { exporter: otlp } }\n\
        service: { resource_attributes: { a: 'x: y', 'b c': \"\\\"\\u0085é\" } }\n\
        admin: { unready_after: 5m }\nsites: [{ name: '007', hosts: ['[::1]'] }]\nlog: { format: json }";
    for yaml in ["", SAMPLE, every_form] {
        let variables = [("OTEL_METRIC_EXPORT_INTERVAL", "1500"), ("OTEL_RESOURCE_ATTRIBUTES", "k=v%20w")];
        for variables in [&variables[..], &[]] {
            let loaded = load_all(yaml, variables, &[("metrics.max_series", "2000")]).unwrap();
            let text = printed(&loaded);
            let again = load_all(&text, &[], &[]).unwrap_or_else(|error| panic!("{error}\n{text}"));
            assert_eq!(again.config, loaded.config, "{text}");
        }
    }
}

#[test]
fn write_yaml_value_is_followed_by_source() {
    let yaml = "\nmetrics:\n  max_series: 2000\notlp: { headers: { authorization: Bearer s3cret } }";
    let variables = [("OTEL_METRIC_EXPORT_INTERVAL", "1500"), ("LOOKOUT_LOG_LEVEL", "debug")];
    let text = printed(&load_all(yaml, &variables, &[("listen", "[::1]:1")]).unwrap());
    let has = |line: &str| assert!(text.lines().any(|l| l.contains(line)), "{line} is not in\n{text}");
    has("listen: \"[::1]:1\" # flag --set listen (default 0.0.0.0:8480)");
    has("  level: debug # environment LOOKOUT_LOG_LEVEL (default info)");
    has("    interval: 1500ms # environment OTEL_METRIC_EXPORT_INTERVAL (default 60s)");
    has("    # Also set by OTEL_METRIC_EXPORT_INTERVAL.");
    has(":3 (default 10000)");
    has("  max_body_bytes: 1MiB # default");
    has("    protocol: # not set: otlp.protocol");
    has("  headers: # {authorization: \"***\"} is a secret, and not printed; ");
    assert!(!text.contains("s3cret"));
    for setting in reference() {
        // A setting of one signal is explained once, with that of all; two listeners have settings of the same text.
        let mark = if setting.is_reloadable() { " [reload]" } else { "" };
        let times = text.matches(&format!("# {}{mark}\n", setting.comment)).count();
        let is_same = |it: &&Setting| it.general().is_none() && it.comment == setting.comment;
        assert_eq!(times, reference().filter(is_same).count(), "{}", setting.key);
    }
}

#[test]
fn write_yaml_secret_never_loads_as_its_mask() {
    let yaml = "admin: { auth: { bearer: t0ken } }\notlp: { headers: { authorization: Bearer s3cret } }";
    let text = printed(&load_all(yaml, &[], &[]).unwrap());
    assert!(!text.contains("t0ken") && !text.contains("s3cret"), "{text}");
    let config = load_all(&text, &[], &[]).unwrap().config;
    assert_eq!((config.admin.auth.bearer, config.otlp_settings.general.headers), (None, Some(Vec::new())));
    // Half of a pair is an error that names the other half.
    let pair = "admin: { auth: { username: scraper, password: pass-w0rd } }";
    let text = printed(&load_all(pair, &[], &[]).unwrap());
    let error = load_all(&text, &[], &[]).unwrap_err().to_string();
    assert!(error.contains("requires admin.auth.password"), "{error}");
}

#[test]
fn summary_of_several_sources_counts_each() {
    let loaded =
        load_all("metrics: { max_series: 2000 }", &[("OTEL_SERVICE_NAME", "x")], &[("log.level", "warn")])
            .unwrap();
    let rest = reference().count() - 3;
    let end = format!(": 1, environment: 1, flags: 1, defaults: {rest}");
    assert!(loaded.summary().ends_with(&end), "{}", loaded.summary());
}
