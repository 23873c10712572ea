//! Outputs that are full and not read, and starts that are blocked: log lines are dropped, but uploads, probes
//! and deadlines are not affected.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Setup, kill};
use crate::support::http::Connection;
use crate::support::{REPORT, eventually};

/// Enough for connections on every thread of intake.
const CONNECTIONS: usize = 32;

/// Makes the daemon log, a line per SIGHUP, until it drops lines.
fn provoke_dropped_lines(daemon: &Daemon) {
    eventually("dropped lines", || {
        daemon.signal_often("HUP");
        match daemon.scrape().sum("lookout_log_lines_dropped_total", &[]) {
            0.0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    });
}

/// Sends bytes that are not a TLS handshake, on every thread; each connection is closed.
fn fail_handshakes(daemon: &Daemon) {
    let open = |_| {
        let mut connection = Connection::open(daemon.intake);
        connection.write(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        connection
    };
    for mut connection in (0..CONNECTIONS).map(open).collect::<Vec<_>>() {
        connection.ends_without_success(b"no TLS");
    }
}

/// Ends the daemon with SIGTERM while its outputs are still unread.
fn terminate(daemon: &mut Daemon, within: Duration) {
    daemon.signal("TERM");
    let begin = Instant::now();
    assert_eq!(daemon.wait(), Some(0));
    assert!(begin.elapsed() < within, "{:?}", begin.elapsed());
}

#[test]
fn uploads_with_unread_stderr_are_answered() {
    let (mut daemon, stalled) = Setup::default().start_unread(false);
    provoke_dropped_lines(&daemon);
    for _ in 0..CONNECTIONS {
        assert_eq!(daemon.post("/report", REPORT).status, 204);
    }
    assert_eq!(daemon.get_admin("/-/ready").status, 200);
    terminate(&mut daemon, Duration::from_secs(10));
    assert_eq!(daemon.stdout.finish().len(), CONNECTIONS, "every event was written");
    drop(stalled);
    daemon.leave();
}

#[test]
fn dropped_log_lines_are_reported_when_stderr_is_read_again() {
    let (daemon, stalled) = Setup::default().start_unread(false);
    provoke_dropped_lines(&daemon);
    drop(stalled);
    let warning = daemon.stderr.containing("log lines dropped");
    assert!(warning.contains(" WARN ") && warning.contains("count="), "{warning}");
}

#[test]
fn dropped_events_are_one_warning_for_each_exporter_with_what_to_do() {
    let limits = "events: { max_per_second: off, max_unknown_per_second: off }";
    let yaml = format!("{limits}\ndelivery: {{ memory_bytes: 1MiB, shutdown_timeout: 1s }}");
    let setup = Setup::yaml(&yaml).variable("OTEL_LOGS_EXPORTER", "console,otlp");
    // A port that no collector listens on.
    let setup = setup.variable("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let (mut daemon, mut stalled) = setup.variable("OTEL_METRICS_EXPORTER", "none").start_unread(true);
    let stderr = stalled.remove(0);
    drop(stderr);
    let report = serde_json::json!({
        "type": "csp-violation", "url": "https://shop.example/",
        "body": { "blockedURL": "inline", "effectiveDirective": "style-src", "originalPolicy": "x ".repeat(400) },
    });
    let body = format!("[{}]", vec![report.to_string(); 100].join(","));
    let drop_events = |at_least: f64| {
        eventually("dropped events of both exporters", || {
            assert_eq!(daemon.post("/report", &body).status, 204);
            let scrape = daemon.scrape();
            let dropped = ["console", "otlp"].map(|exporter| {
                let labels = [("exporter", exporter), ("outcome", "dropped_queue_full")];
                scrape.sum("lookout_events_total", &labels)
            });
            if dropped.iter().all(|events| *events >= at_least) {
                Ok(())
            } else {
                Err(format!("{dropped:?}"))
            }
        });
    };
    drop_events(1.0);
    for advice in ["stdout is read too slowly", "set delivery.spool"] {
        let line = daemon.stderr.containing(advice);
        assert!(line.contains(" WARN ") && line.contains("events="), "{line}");
    }
    drop_events(2000.0);
    let warnings = daemon.stderr.all().iter().filter(|line| line.contains("events are dropped")).count();
    assert_eq!(warnings, 2);
    daemon.signal("TERM");
    assert_eq!(daemon.wait(), Some(0));
    drop(stalled);
    daemon.leave();
}

#[test]
fn failed_handshakes_with_unread_stderr_block_no_thread() {
    let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let tls = "intake: { tls: { certificate: cert.pem, key: key.pem } }";
    let setup = Setup::yaml(tls).file("cert.pem", &key.cert.pem());
    let (mut daemon, stalled) = setup.file("key.pem", &key.signing_key.serialize_pem()).start_unread(false);
    for _ in 0..3 {
        fail_handshakes(&daemon);
        provoke_dropped_lines(&daemon);
    }
    assert_eq!(daemon.get_admin("/-/ready").status, 200);
    terminate(&mut daemon, Duration::from_secs(10));
    drop(stalled);
    daemon.leave();
}

#[test]
fn shutdown_with_unread_outputs_ends_in_time() {
    let (mut daemon, stalled) = Setup::yaml("delivery: { shutdown_timeout: 1s }").start_unread(true);
    provoke_dropped_lines(&daemon);
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    assert_eq!(daemon.scrape().sum("lookout_events_total", &[("outcome", "delivered")]), 0.0);
    terminate(&mut daemon, Duration::from_secs(10));
    drop(stalled);
    daemon.leave();
}

/// Starts a process that blocks: the token of admin is read from a pipe without a writer.
fn blocked_start(shutdown_timeout: &str) -> (Child, tempfile::TempDir) {
    let settings = format!(
        "admin: {{ auth: {{ bearer_file: pipe }} }}\ndelivery: {{ shutdown_timeout: {shutdown_timeout} }}"
    );
    let make_pipe = |directory: &std::path::Path| {
        assert!(Command::new("mkfifo").arg(directory.join("pipe")).status().unwrap().success());
    };
    let (child, directory) = Setup::yaml(&settings).spawn(make_pipe);
    let status = format!("/proc/{}/status", child.id());
    eventually("a handler of SIGTERM", || {
        let status = std::fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
        match u64::from_str_radix(caught, 16).unwrap() & (1 << (15 - 1)) {
            0 => Err(status),
            _ => Ok(()),
        }
    });
    (child, directory)
}

fn exit_code(child: &mut Child) -> Option<i32> {
    eventually("the end of the process", || match child.try_wait().unwrap() {
        Some(status) => Ok(status.code()),
        None => Err("it is still running".to_owned()),
    })
}

#[test]
fn sigterm_of_a_blocked_process_ends_it_after_the_timeout() {
    let (mut child, _directory) = blocked_start("100ms");
    kill(&child, "TERM");
    assert_eq!(exit_code(&mut child), Some(1));
}

#[test]
fn second_signal_of_a_blocked_process_ends_it_at_once() {
    let (mut child, _directory) = blocked_start("1h");
    kill(&child, "TERM");
    kill(&child, "INT");
    assert_eq!(exit_code(&mut child), Some(1));
}

#[test]
fn readiness_at_the_connection_limit_is_lost_until_one_closes() {
    let daemon = Setup::yaml("intake: { max_connections: 1, body_timeout: 5m }").start();
    let readiness = |status: u16| {
        eventually("readiness", || {
            let answer = daemon.get_admin("/-/ready");
            if answer.status == status { Ok(answer.text()) } else { Err(answer.text()) }
        })
    };
    readiness(200);
    let mut first = Connection::open(daemon.intake);
    first.write(b"POST /report HTTP/1.1\r\nhost: r\r\ncontent-length: 9\r\n\r\n[").unwrap();
    daemon.until("lookout_uploads_in_flight", &[], 1.0);
    let second = Connection::open(daemon.intake);
    let reason = readiness(503);
    assert!(reason.contains("accept has waited for "), "{reason}");
    drop(first);
    readiness(200);
    drop(second);
}
