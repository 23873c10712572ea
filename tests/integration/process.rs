//! The process: its startup line, its exit codes, its signals.

use std::time::Instant;

use opentelemetry_proto::tonic::common::v1::AnyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use crate::support::collector::Collector;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::{Connection, Request};
use crate::support::{REPORT, eventually};

#[test]
fn startup_line_lists_addresses_and_exporters() {
    let daemon = Daemon::start();
    let first = daemon.stderr.at_least(1).remove(0);
    for word in ["lookoutd listens", "logs=console", "metrics=scrape"] {
        assert!(first.contains(word), "{first}");
    }
    assert_ne!(daemon.intake.port(), 0);
    assert_ne!(daemon.admin.port(), daemon.intake.port());
}

#[test]
fn exporters_follow_the_standard_variables() {
    let first = |setup: Setup| setup.start().stderr.at_least(1).remove(0);
    let none = Setup::default().variable("OTEL_LOGS_EXPORTER", "none");
    assert!(first(none).contains("logs=none"));
    let endpoint = "http://127.0.0.1:9";
    let both = Setup::default()
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        .variable("OTEL_LOGS_EXPORTER", "console,otlp");
    let line = first(both);
    assert!(line.contains(&format!("logs=console,otlp({endpoint}")), "{line}");
    assert!(line.contains(&format!("metrics=scrape,otlp({endpoint}")), "{line}");
}

#[test]
fn diagnostics_over_otlp_are_lines_of_stderr_and_no_export_causes_one() {
    let collector = Collector::start();
    let daemon = Setup::yaml("otlp: { logs: { diagnostics: true } }\nlog: { level: trace }")
        .variable("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address))
        .variable("OTEL_METRICS_EXPORTER", "none")
        .start();
    let received = |text: &str| {
        let wanted = AnyValue { value: Some(Value::StringValue(text.to_owned())) };
        eventually(text, || {
            let found = collector.records().into_iter().find(|record| record.body.as_ref() == Some(&wanted));
            found.ok_or_else(|| format!("{} records", collector.records().len()))
        })
    };
    let record = received("lookoutd listens");
    assert_eq!((record.severity_number, record.event_name.as_str()), (9, ""));
    assert!(record.attributes.iter().any(|attribute| attribute.key == "intake"));
    // Three more exports, each of which would cause further lines.
    for exports in 1..4 {
        daemon.post("/report", REPORT);
        daemon.until(
            "lookout_events_total",
            &[("exporter", "otlp"), ("outcome", "delivered")],
            exports.into(),
        );
    }
    let all = collector.records();
    let own: Vec<_> = all.into_iter().filter(|record| record.event_name.is_empty()).collect();
    assert!(own.len() < 8, "{own:?}");
    for record in own {
        let Some(AnyValue { value: Some(Value::StringValue(body)) }) = record.body else { panic!("no text") };
        daemon.stderr.containing(&body);
    }
    daemon.stop();
}

#[test]
fn invalid_settings_exit_with_code_2() {
    let check = |setup: Setup, words: &[&str]| {
        let output = setup.output();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert_eq!((output.stdout.len(), stderr.lines().count()), (0, 1), "one message: {stderr}");
        for word in words {
            assert!(stderr.contains(word), "{word}: {stderr}");
        }
    };
    let file = "lookoutd.yaml";
    check(
        Setup::yaml("\nintake: { max_bodi_bytes: 1 }"),
        &[file, ":2:", "intake.max_bodi_bytes", "max_body_bytes"],
    );
    check(Setup::yaml("metrics: { max_series: many }"), &[file, ":1:", "metrics.max_series", "many"]);
    check(Setup::yaml("intake: [1"), &[file]);
    check(Setup::default().argument("--listen").argument("nowhere"), &["--listen", "nowhere"]);
    check(
        Setup::default().variable("LOOKOUT_METRICS_MAX_SERIES", "-1"),
        &["LOOKOUT_METRICS_MAX_SERIES", "-1"],
    );
    check(Setup::default().variable("LOOKOUT_LIMIT_SERIES", "2000"), &["LOOKOUT_LIMIT_SERIES"]);
    check(
        Setup::default().variable("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        &["OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"],
    );
    check(Setup::default().argument("--config").argument("absent.yaml"), &["absent.yaml"]);
}

#[test]
fn address_in_use_exits_with_code_1() {
    let daemon = Daemon::start();
    let second = Setup::default()
        .argument("--listen")
        .argument(&daemon.intake.to_string())
        .argument("--admin-listen")
        .argument("127.0.0.1:0");
    let output = second.output();
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(&daemon.intake.to_string()), "{stderr}");
}

#[test]
fn config_output_is_a_valid_file() {
    let yaml = "metrics: { max_series: 4000 }";
    let check = Setup::yaml(yaml).argument("check").output();
    assert_eq!(check.status.code(), Some(0));
    assert!(String::from_utf8(check.stdout).unwrap().starts_with("ok"));
    let config = Setup::yaml(yaml).argument("config").output();
    assert_eq!(config.status.code(), Some(0));
    let printed = String::from_utf8(config.stdout).unwrap();
    assert!(printed.lines().any(|line| line.trim().starts_with("max_series: 4000")), "{printed}");
    let again = Setup::yaml(&printed).argument("check").output();
    assert_eq!(again.status.code(), Some(0), "what config prints is a valid file");
    assert_eq!(Setup::yaml("nonsense: 1").argument("check").output().status.code(), Some(2));
}

/// Tools read the addresses from this line.
#[test]
fn startup_line_is_the_only_one_at_every_level() {
    for level in ["error", "warn"] {
        let daemon = Setup::default().argument("--log-level").argument(level).start();
        daemon.stderr.containing("lookoutd listens");
        daemon.signal("HUP");
        assert_eq!(daemon.post("/report", REPORT).status, 204);
        assert_eq!(daemon.stderr.all().len(), 1, "{level}");
    }
}

#[test]
fn uploads_that_are_not_taken_are_logged_at_debug() {
    let arguments = ["--log-format", "json", "--log-level", "debug"];
    let setup = Setup::yaml("privacy: { client_address: truncated }\nadmin: { page: off }");
    let daemon = arguments.into_iter().fold(setup, Setup::argument).start();
    let path = "/reset/5f0c6a3e-7a53-4e0c-9d0b-1a2b3c4d5e6f?token=s3cret";
    let request = Request::post(path, "{}").header("content-type", "application/csp-report; a=b");
    assert_eq!(daemon.send(&request.header("user-agent", &"Agent ".repeat(100)), 0).status, 404);
    assert_eq!(daemon.post("/report", r#"[{"type":7},null]"#).status, 400);
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    assert_eq!(daemon.post("/report", "{").status, 400);
    let line = |outcome: &str| -> serde_json::Value {
        serde_json::from_str(&daemon.stderr.containing(&format!("\"outcome\":\"{outcome}\""))).unwrap()
    };
    let unknown = line("unknown_path");
    assert_eq!(unknown["message"], "an upload was not taken");
    assert_eq!((&unknown["status"], &unknown["path"]), (&404.into(), &"/reset/:redacted".into()));
    assert_eq!((&unknown["client"], &unknown["content_length"]), (&"127.0.0.0".into(), &"2".into()));
    assert_eq!(unknown["content_type"], "application/csp-report");
    assert_eq!(unknown.get("user_agent"), None);
    assert_eq!(line("no_reports")["reason"], "missing_type");
    assert_eq!(line("invalid_json").get("reason"), None);
    let started = Instant::now();
    for _ in 0..300 {
        assert_eq!(daemon.post("/report", "{").status, 400);
    }
    let lines = daemon.stderr.all().iter().filter(|line| line.contains("an upload was not taken")).count();
    assert!(lines as u64 <= 100 + 10 * (started.elapsed().as_secs() + 2), "{lines}");
    assert!(!daemon.stderr.all().iter().any(|line| line.contains("s3cret") || line.contains("accepted")));
}

#[test]
fn log_format_json_writes_json() {
    let json = ["--log-format", "json", "--log-level", "error"];
    let setup = json.into_iter().fold(Setup::default(), Setup::argument);
    let daemon = setup.start();
    let line = daemon.stderr.at_least(1).remove(0);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["message"], "lookoutd listens");
    assert_eq!(line["intake"], format!("http://{}", daemon.intake));
    assert_eq!(line["logs"], "console");
}

#[test]
fn events_with_a_closed_stdout_are_rejected() {
    let daemon = Setup::default().shell(r#"exec "$0" "$@" >&-"#).start();
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    daemon.until("lookout_events_total", &[("exporter", "console"), ("outcome", "rejected")], 1.0);
    daemon.until("lookout_events_total", &[("outcome", "delivered")], 0.0);
    daemon.stderr.containing("events cannot be written to stdout");
    daemon.leave();
}

#[test]
fn events_with_a_stdout_that_is_discarded_are_delivered() {
    let daemon = Setup::default().shell(r#"exec "$0" "$@" > /dev/null"#).start();
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    daemon.until("lookout_events_total", &[("exporter", "console"), ("outcome", "delivered")], 1.0);
    daemon.leave();
}

/// The system sends SIGXFSZ for such a write, which ends a process without a handler.
#[test]
fn write_beyond_the_limit_of_file_sizes_is_an_error_of_the_disk() {
    let yaml = "otlp: { endpoint: http://127.0.0.1:9 }\ndelivery: { spool: { directory: spool } }";
    let mut daemon = Setup::yaml(yaml).shell(r#"ulimit -f 0; exec "$0" "$@""#).start();
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    daemon.until("lookout_events_pending", &[("exporter", "otlp")], 1.0);
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), Some(0));
    let stderr = daemon.stderr.finish().join("\n");
    assert!(stderr.contains("the spool's disk failed") && stderr.contains("dropped=1 spooled=0"), "{stderr}");
    daemon.leave();
}

/// For SIGTERM, the test support checks this for every daemon.
#[test]
fn sigint_shuts_down_in_order() {
    let mut daemon = Daemon::start();
    daemon.signal("INT");
    assert_eq!(daemon.wait(), Some(0));
    daemon.leave();
}

#[test]
fn sighup_changes_nothing() {
    let daemon = Daemon::start();
    daemon.signal("HUP");
    daemon.stderr.containing("SIGHUP");
    assert_eq!(daemon.post("/report", REPORT).status, 204);
}

#[test]
fn upload_in_flight_at_sigterm_is_finished() {
    let mut daemon = Daemon::start();
    let mut connection = Connection::open(daemon.intake);
    let head = format!("POST /report HTTP/1.1\r\nhost: r\r\ncontent-length: {}\r\n\r\n", REPORT.len());
    connection.write(format!("{head}{}", &REPORT[..10]).as_bytes()).unwrap();
    daemon.until("lookout_uploads_in_flight", &[], 1.0);
    daemon.signal("TERM");
    daemon.stderr.containing("shutting down");
    connection.write(&REPORT.as_bytes()[10..]).unwrap();
    assert_eq!(connection.answer().status, 204);
    assert_eq!(daemon.wait(), Some(0));
    assert_eq!(daemon.stdout.finish().len(), 1, "its event was written");
    daemon.leave();
}

#[test]
fn second_sigterm_exits_at_once() {
    let mut daemon = Daemon::start();
    let mut connection = Connection::open(daemon.intake);
    connection.write(b"POST /report HTTP/1.1\r\nhost: r\r\ncontent-length: 9\r\n\r\n").unwrap();
    daemon.until("lookout_uploads_in_flight", &[], 1.0);
    daemon.signal("TERM");
    daemon.stderr.containing("shutting down");
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), Some(1));
    daemon.leave();
}
