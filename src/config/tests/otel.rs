//! Tests of the standard variables, by the rules of the OpenTelemetry specification.

use super::*;

fn otlp(variables: &[(&str, &str)]) -> Otlp {
    from_variables(variables).unwrap_or_else(|message| panic!("{message}")).otlp
}

fn logs(variables: &[(&str, &str)]) -> Endpoint {
    otlp(variables).logs.otlp.expect("logs go to OTLP")
}

fn error_of(variables: &[(&str, &str)]) -> String {
    from_variables(variables).expect_err("an error")
}

/// Checks that a value has no effect but a warning.
fn check_ignored(name: &str, value: &str, warning: &str) {
    let config = from_variables(&[(name, value)]).unwrap();
    assert_eq!(config.warnings, [format!("{name}{warning}; it is ignored")]);
    assert_eq!(Config { warnings: Vec::new(), ..config }, defaults());
}

const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c.example:4318");

#[test]
fn endpoint_general_or_own_is_base_or_unchanged() {
    for (base, url) in [
        ("http://c.example:4318", "http://c.example:4318/v1/logs"),
        ("http://c.example:4318/", "http://c.example:4318/v1/logs"),
        ("https://c.example/otlp", "https://c.example/otlp/v1/logs"),
        ("HTTPS://c.example/otlp/", "https://c.example/otlp/v1/logs"),
    ] {
        let otlp = otlp(&[("OTEL_EXPORTER_OTLP_ENDPOINT", base), ("OTEL_TRACES_EXPORTER", "otlp")]);
        assert_eq!(otlp.logs.otlp.unwrap().url, url);
        assert_eq!(otlp.metrics.otlp.unwrap().url, url.replace("logs", "metrics"));
        assert_eq!(otlp.traces.unwrap().url, url.replace("logs", "traces"));
    }
    for (own, url) in
        [("http://l.example/x?y=z", "http://l.example/x?y=z"), ("http://l.example", "http://l.example/")]
    {
        let otlp = otlp(&[
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", own),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", own),
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", own),
            ("OTEL_TRACES_EXPORTER", "otlp"),
        ]);
        assert_eq!(otlp.logs.otlp.unwrap().url, url);
        assert_eq!(otlp.metrics.otlp.unwrap().url, url);
        assert_eq!(otlp.traces.unwrap().url, url);
    }
}

#[test]
fn endpoint_grpc_without_scheme_is_https_unless_insecure() {
    for (endpoint, insecure, url) in [
        ("http://c.example:4317", "", "http://c.example:4317"),
        ("https://c.example:4317/", "true", "https://c.example:4317"),
        ("c.example:4317", "", "https://c.example:4317"),
        ("c.example:4317", "false", "https://c.example:4317"),
        ("c.example:4317", "TRUE", "http://c.example:4317"),
        ("[::1]:4317", "true", "http://[::1]:4317"),
    ] {
        for (signal, other) in [("", "LOGS_"), ("LOGS_", "")] {
            let endpoint = (format!("OTEL_EXPORTER_OTLP_{signal}ENDPOINT"), endpoint);
            let insecure = (format!("OTEL_EXPORTER_OTLP_{other}INSECURE"), insecure);
            let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
            let logs = logs(&[(&endpoint.0, endpoint.1), (&insecure.0, insecure.1), protocol]);
            assert_eq!((logs.url.as_str(), logs.protocol), (url, Protocol::Grpc));
        }
    }
}

#[test]
fn endpoint_invalid_is_rejected() {
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let name = "OTEL_EXPORTER_OTLP_ENDPOINT";
    for (endpoint, message) in [
        (
            "c.example:4318",
            "over HTTP an endpoint starts with http:// or https://, such as http://c.example:4318",
        ),
        ("unix:///x", "expected a URL that starts with http:// or https://, found \"unix:///x\""),
        ("http://", "expected a URL such as http://127.0.0.1:4318, found \"http://\""),
        ("http://a b", "expected a URL such as http://127.0.0.1:4318, found \"http://a b\""),
        ("http://a/#b", "expected a URL such as http://127.0.0.1:4318, found \"http://a/#b\""),
        (
            "http://u:s3cret@a",
            "expected a URL without a user or a password (use headers instead), found something else",
        ),
        (
            "http://a/?b",
            "a base URL must not have a query; set otlp.logs.endpoint and otlp.metrics.endpoint instead",
        ),
    ] {
        assert_eq!(error_of(&[(name, endpoint)]), format!("{name}: {message}"));
    }
    let message = format!("{name}: a grpc endpoint has no path, found \"/v1/logs\"");
    assert_eq!(error_of(&[grpc, (name, "http://a/v1/logs")]), message);
    let own = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT";
    assert_eq!(
        error_of(&[(own, "a:1")]),
        format!("{own}: over HTTP an endpoint starts with http:// or https://, such as http://a:1")
    );
}

#[test]
fn protocol_unsupported_is_rejected() {
    assert_eq!(logs(&[ENDPOINT]).protocol, Protocol::HttpProtobuf);
    for name in ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL"] {
        assert_eq!(logs(&[ENDPOINT, (name, "grpc")]).protocol, Protocol::Grpc);
        assert_eq!(logs(&[ENDPOINT, (name, "http/protobuf")]).protocol, Protocol::HttpProtobuf);
        assert_eq!(
            error_of(&[(name, "http/json")]),
            format!("{name}: expected grpc or http/protobuf, found \"http/json\"")
        );
        check_ignored(name, "http", ": expected grpc or http/protobuf, found \"http\"");
        assert_eq!(logs(&[ENDPOINT, (name, "GRPC")]).protocol, Protocol::Grpc);
    }
    let metrics = otlp(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")]).metrics.otlp;
    assert_eq!(metrics.unwrap().url, "http://c.example:4318");
}

#[test]
fn headers_are_percent_decoded_and_never_in_errors() {
    let name = "OTEL_EXPORTER_OTLP_HEADERS";
    let found = logs(&[ENDPOINT, (name, " Authorization = Bearer%20a%3Db , x=1=2,,")]).headers;
    assert_eq!(found, [("authorization".into(), "Bearer a=b".into()), ("x".into(), "1=2".into())]);
    let own = logs(&[ENDPOINT, (name, "a=1"), ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "b=2")]).headers;
    assert_eq!(own, [("b".into(), "2".into())]);
    // What one destination gets is not sent to another.
    let yaml = "otlp: { endpoint: 'http://c', headers_file: /all, logs: { headers: { a: '1' } } }";
    let of_both = from_yaml(yaml).unwrap().otlp;
    assert_eq!(of_both.logs.otlp.unwrap().headers_file, None);
    assert_eq!(of_both.metrics.otlp.unwrap().headers_file, Some("/all".into()));
    for (text, message) in [
        ("a=1,s3cret", ": entry 2: expected NAME=VALUE"),
        ("a=s3cret%zz", ": entry 1: the value is not percent-encoded UTF-8 (a % is %25)"),
        ("a=s3cret%2", ": entry 1: the value is not percent-encoded UTF-8 (a % is %25)"),
        ("a=s3cret%ff", ": entry 1: the value is not percent-encoded UTF-8 (a % is %25)"),
        ("=s3cret", ": entry 1: the name is empty or not percent-encoded UTF-8"),
        ("a b=s3cret", "[\"a b\"]: not a valid header name"),
        ("a=s3cret%0a", ".a: a header's value must not contain control characters"),
        ("a=1,A=s3cret", ".A: this header is set twice"),
        ("{a: [s3cret]}", ".a: expected a text"),
        ("{s3cret", ": not valid YAML: "),
    ] {
        let found = error_of(&[(name, text)]);
        assert!(found.starts_with(&format!("{name}{message}")), "{found}");
        assert!(!found.contains("s3cret"), "{found}");
    }
    let message = from_yaml("otlp: { headers: s3cret }").unwrap_err();
    assert_eq!(message, "l.yaml:1: otlp.headers: expected a map of names and texts");
}

#[test]
fn timeout_and_interval_in_variables_are_milliseconds() {
    assert_eq!(logs(&[ENDPOINT]).timeout, Duration::from_secs(10));
    assert_eq!(
        logs(&[ENDPOINT, ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500")]).timeout,
        Duration::from_millis(1500)
    );
    let variables = [ENDPOINT, ("OTEL_EXPORTER_OTLP_TIMEOUT", "1"), ("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "2")];
    assert_eq!(logs(&variables).timeout, Duration::from_millis(2));
    assert_eq!(otlp(&[("OTEL_METRIC_EXPORT_INTERVAL", "500")]).metrics.interval, Duration::from_millis(500));
    for name in ["OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_METRIC_EXPORT_INTERVAL"] {
        let message = format!("{name}: expected a number of milliseconds such as 10000, found \"10s\"");
        assert_eq!(error_of(&[(name, "10s")]), message);
        assert_eq!(
            error_of(&[(name, "0")]),
            format!("{name}: expected a duration longer than 0, found \"0ms\"")
        );
    }
}

#[test]
fn compression_unset_is_gzip_except_to_loopback() {
    let compression = |endpoint, more: &[(&str, &str)]| {
        logs(&[&[("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)], more].concat()).compression
    };
    assert_eq!(compression("http://c.example", &[]), Compression::Gzip);
    for here in [
        "http://localhost:1",
        "http://LOCALHOST",
        "http://127.0.0.1:4318/x",
        "http://127.9.9.9",
        "http://[::1]:1",
    ] {
        assert_eq!(compression(here, &[]), Compression::None, "{here}");
        assert_eq!(compression(here, &[("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")]), Compression::Gzip);
    }
    for name in ["OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_EXPORTER_OTLP_LOGS_COMPRESSION"] {
        assert_eq!(compression("http://c.example", &[(name, "none")]), Compression::None);
        assert_eq!(compression("http://c.example", &[(name, "GZIP")]), Compression::Gzip);
        check_ignored(name, "zstd", ": expected gzip or none, found \"zstd\"");
        // A word of another setting.
        check_ignored(name, "console", ": expected gzip or none, found \"console\"");
    }
    assert_eq!(logs(&[("OTEL_LOGS_EXPORTER", "otlp")]).compression, Compression::None);
}

#[test]
fn tls_client_certificate_without_key_is_rejected() {
    for signal in ["", "LOGS_"] {
        let names = ["CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"]
            .map(|name| format!("OTEL_EXPORTER_OTLP_{signal}{name}"));
        let tls = logs(&[ENDPOINT, (&names[0], "/ca"), (&names[1], "/crt"), (&names[2], "/key")]).tls;
        let expected = ClientTls {
            certificate: Some("/ca".into()),
            client_certificate: Some("/crt".into()),
            client_key: Some("/key".into()),
        };
        assert_eq!(tls, expected);
        assert_eq!(error_of(&[(&names[1], "/crt")]), format!("{}: requires client_key", names[1]));
        assert_eq!(error_of(&[(&names[2], "/key")]), format!("{}: requires client_certificate", names[2]));
    }
}

#[test]
fn exporters_unset_follow_endpoint() {
    let exports = |variables: &[(&str, &str)]| {
        let otlp = otlp(variables);
        (otlp.logs.console, otlp.logs.otlp.is_some(), otlp.metrics.otlp.is_some())
    };
    let own = ("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://c/l");
    let disabled = ("OTEL_SDK_DISABLED", "true");
    for (variables, expected) in [
        (&[][..], (true, false, false)),
        (&[ENDPOINT], (false, true, true)),
        (&[own], (false, true, false)),
        (&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c/m")], (true, false, true)),
        (&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], (true, false, false)),
        (&[ENDPOINT, ("OTEL_LOGS_EXPORTER", "console")], (true, false, true)),
        (&[ENDPOINT, ("OTEL_LOGS_EXPORTER", "otlp, console")], (true, true, true)),
        (&[ENDPOINT, ("OTEL_LOGS_EXPORTER", "none")], (false, false, true)),
        (&[ENDPOINT, ("OTEL_METRICS_EXPORTER", "none")], (false, true, false)),
        (&[("OTEL_LOGS_EXPORTER", "otlp"), ("OTEL_METRICS_EXPORTER", "otlp")], (false, true, true)),
        (&[disabled], (true, false, false)),
        (&[disabled, ENDPOINT], (true, false, false)),
        (&[disabled, ENDPOINT, ("OTEL_LOGS_EXPORTER", "otlp")], (false, false, false)),
        (&[disabled, ENDPOINT, ("OTEL_LOGS_EXPORTER", "none")], (false, false, false)),
        (&[("OTEL_SDK_DISABLED", "False"), ENDPOINT], (false, true, true)),
    ] {
        assert_eq!(exports(variables), expected, "{variables:?}");
    }
}

#[test]
fn exporters_without_endpoint_use_localhost() {
    let variables = [("OTEL_LOGS_EXPORTER", "otlp"), ("OTEL_METRICS_EXPORTER", "otlp")];
    let http = otlp(&variables);
    assert_eq!(http.logs.otlp.unwrap().url, "http://localhost:4318/v1/logs");
    assert_eq!(http.metrics.otlp.unwrap().url, "http://localhost:4318/v1/metrics");
    assert_eq!(logs(&[variables[0], ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).url, "http://localhost:4317");
}

#[test]
fn exporters_single_word_needs_no_list() {
    let yaml = "otlp: { endpoint: 'http://c', logs: { exporters: console }, metrics: { exporters: none } }";
    let otlp = from_yaml(yaml).unwrap().otlp;
    assert!(otlp.logs.console && otlp.logs.otlp.is_none() && otlp.metrics.otlp.is_none());
    assert!(from_yaml("otlp: { logs: { exporters: { otlp: true } } }").is_err());
}

#[test]
fn exporters_invalid_are_rejected() {
    for (name, value, message) in [
        ("OTEL_LOGS_EXPORTER", "none,otlp", ": none cannot be combined with another exporter"),
        ("OTEL_LOGS_EXPORTER", ",", ": expected an exporter or none, found an empty list"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "[0]: expected otlp or none, found \"prometheus\""),
        ("OTEL_METRICS_EXPORTER", "console", "[0]: expected otlp or none, found \"console\""),
        ("OTEL_TRACES_EXPORTER", "zipkin", ": expected otlp or none, found \"zipkin\""),
    ] {
        assert_eq!(error_of(&[(name, value)]), format!("{name}{message}"));
    }
}

#[test]
fn words_that_opentelemetry_does_not_define_are_ignored() {
    for (name, value, warning) in [
        ("OTEL_LOGS_EXPORTER", "stdout", "[0]: expected otlp, console or none, found \"stdout\""),
        ("OTEL_TRACES_EXPORTER", "jaeger", ": expected otlp or none, found \"jaeger\""),
        ("OTEL_SDK_DISABLED", "yes", ": expected true or false, found \"yes\""),
        (
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
            "x",
            ": expected cumulative, delta or lowmemory, found \"x\"",
        ),
    ] {
        check_ignored(name, value, warning);
    }
    assert!(from_variables(&[("LOOKOUT_OTLP_DISABLED", "yes")]).is_err());
}

#[test]
fn variables_that_are_no_settings_are_named_in_one_warning() {
    let variables = [
        ("OTEL_BSP_SCHEDULE_DELAY", "5"),
        ("OTEL_EXPORTER_OTLP_ENDPOINTS", "x"),
        // Those of the OpenTelemetry Operator.
        ("OTEL_NODE_IP", "192.0.2.1"),
        ("OTEL_POD_IP", "192.0.2.2"),
        ("OTEL_PROPAGATORS", "tracecontext,baggage"),
        ("OTEL_RESOURCE_ATTRIBUTES_NODE_NAME", "n"),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25"),
    ];
    let warning = "ignoring variables that are no settings: OTEL_BSP_SCHEDULE_DELAY, \
                   OTEL_EXPORTER_OTLP_ENDPOINTS (did you mean OTEL_EXPORTER_OTLP_ENDPOINT?), OTEL_NODE_IP, \
                   OTEL_POD_IP, OTEL_PROPAGATORS, OTEL_RESOURCE_ATTRIBUTES_NODE_NAME, OTEL_TRACES_SAMPLER, \
                   OTEL_TRACES_SAMPLER_ARG";
    assert_eq!(from_variables(&variables).unwrap().warnings, [warning]);
    // No crash loop, and no suggestion, either: a variable of Kubernetes.
    assert!(from_variables(&[("OTEL_COLLECTOR_PORT", "tcp://192.0.2.3:4317")]).unwrap().warnings.is_empty());
    assert!(from_variables(&[("LOOKOUT_PROPAGATORS", "x")]).is_err());
}

#[test]
fn variables_of_the_sdk_are_named_only_without_its_signal_or_a_value_it_takes() {
    let traces =
        ["OTEL_BSP_SCHEDULE_DELAY", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", SAMPLER];
    let diagnostics = traces.map(|name| name.replace("BSP", "BLRP"));
    let all = traces.into_iter().chain(diagnostics[..3].iter().map(|name| &**name));
    for name in all.chain(["OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_EXPORT_TIMEOUT"]) {
        for (signal, read) in [
            (("OTEL_TRACES_EXPORTER", "otlp"), traces.contains(&name)),
            (("LOOKOUT_OTLP_LOGS_DIAGNOSTICS", "true"), diagnostics[..3].iter().any(|of| of == name)),
            (("OTEL_SERVICE_NAME", "x"), false),
        ] {
            let found = from_variables(&[ENDPOINT, signal, (name, "5")]).unwrap().warnings;
            let warning = format!("ignoring variables that are no settings: {name}");
            assert_eq!(found, if read { vec![] } else { vec![warning.clone()] }, "{signal:?}");
            let found = from_variables(&[ENDPOINT, signal, (name, "5s")]).unwrap().warnings;
            assert_eq!(found, if read && name == SAMPLER { vec![] } else { vec![warning] }, "{signal:?}");
        }
    }
}

#[test]
fn exporters_conflicts_in_a_file_are_rejected() {
    for (yaml, message) in [
        (
            "otlp: { logs: { exporters: [] } }",
            "logs.exporters: expected an exporter or none, found an empty list",
        ),
        (
            "otlp: { metrics: { exporters: [otlp, x] } }",
            "metrics.exporters[1]: expected otlp or none, found \"x\"",
        ),
    ] {
        assert_eq!(from_yaml(yaml).unwrap_err(), format!("l.yaml:1: otlp.{message}"));
    }
}

#[test]
fn temporality_of_each_word_is_parsed() {
    let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    assert_eq!(otlp(&[(name, "Cumulative")]).metrics.temporality, Temporality::Cumulative);
    for word in ["delta", "LowMemory"] {
        assert_ne!(otlp(&[(name, word)]).metrics.temporality, Temporality::Cumulative);
    }
}

#[test]
fn traces_are_on_only_if_chosen_and_not_disabled() {
    assert_eq!(otlp(&[ENDPOINT]).traces, None);
    assert!(otlp(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "otlp")]).traces.is_some());
    let variables = [ENDPOINT, ("OTEL_TRACES_EXPORTER", "otlp"), ("OTEL_SDK_DISABLED", "true")];
    assert_eq!(otlp(&variables).traces, None);
}

#[test]
fn diagnostics_go_where_events_go() {
    let on = ("LOOKOUT_OTLP_LOGS_DIAGNOSTICS", "true");
    let found = otlp(&[ENDPOINT, on]);
    assert_eq!(found.diagnostics.unwrap().url, found.logs.otlp.unwrap().url);
    assert_eq!(otlp(&[ENDPOINT]).diagnostics, None);
    assert_eq!(otlp(&[on, ("OTEL_SDK_DISABLED", "true")]).diagnostics, None);
    for variables in [&[on][..], &[ENDPOINT, on, ("OTEL_LOGS_EXPORTER", "console")]] {
        let error = error_of(variables);
        assert!(
            error.contains("LOOKOUT_OTLP_LOGS_DIAGNOSTICS") && error.contains("set otlp.endpoint"),
            "{error}"
        );
    }
}

#[test]
fn resource_attributes_name_the_service() {
    let name = "OTEL_RESOURCE_ATTRIBUTES";
    let found = otlp(&[(name, "deployment.environment.name=prod%20eu, a = x ,a=y,b=SGk==,")]);
    let expected = [("deployment.environment.name", "prod eu"), ("a", "y"), ("b", "SGk==")];
    assert_eq!(found.resource_attributes, expected.map(|(k, v)| (k.into(), v.into())));
    assert_eq!(found.service_name, "lookoutd");
    let found = otlp(&[(name, "service.name=n,a=b")]);
    assert_eq!((found.service_name.as_str(), found.resource_attributes.len()), ("n", 1));
    assert_eq!(otlp(&[(name, "service.name=n"), ("OTEL_SERVICE_NAME", "m")]).service_name, "m");
    assert_eq!(error_of(&[(name, "a")]), format!("{name}: entry 1: expected NAME=VALUE"));
    let message = from_yaml("service: { resource_attributes: { '': x } }").unwrap_err();
    assert_eq!(message, "l.yaml:1: service.resource_attributes[\"\"]: an attribute's name is empty");
}

#[test]
fn table_has_every_documented_standard_variable() {
    let destination = [
        "ENDPOINT",
        "PROTOCOL",
        "HEADERS",
        "TIMEOUT",
        "COMPRESSION",
        "CERTIFICATE",
        "CLIENT_CERTIFICATE",
        "CLIENT_KEY",
        "INSECURE",
    ];
    let of_signals = ["", "LOGS_", "METRICS_", "TRACES_"]
        .iter()
        .flat_map(|signal| destination.map(|name| format!("OTEL_EXPORTER_OTLP_{signal}{name}")));
    let others = [
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "OTEL_METRIC_EXPORT_INTERVAL",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_LOGS_EXPORTER",
        "OTEL_METRICS_EXPORTER",
        "OTEL_TRACES_EXPORTER",
        "OTEL_SDK_DISABLED",
    ];
    for name in of_signals.chain(others.map(str::to_owned)) {
        assert!(reference().any(|setting| setting.otel == Some(&name)), "{name}");
    }
}
