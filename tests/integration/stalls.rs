//! Outputs that are full and not read, and starts that are blocked: they cost lines, but no upload, no probe
//! and no deadline.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, Setup, kill};
use crate::support::http::Connection;
use crate::support::{REPORT, eventually};

/// Enough for connections on every thread that serves.
const CONNECTIONS: usize = 32;

/// Has the daemon log, a line per SIGHUP, until lines had to be dropped.
fn provoke_dropped_lines(daemon: &Daemon) {
    eventually("dropped lines", || {
        daemon.signal_often("HUP");
        match daemon.scrape().sum("lookout_log_lines_dropped_total", &[]) {
            0.0 => Err("none".to_owned()),
            _ => Ok(()),
        }
    });
}

/// Sends what is no TLS handshake, on every thread; each connection is closed.
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

/// Ends it with SIGTERM while its outputs are still unread.
fn terminate(daemon: &mut Daemon, within: Duration) {
    daemon.signal("TERM");
    let begin = Instant::now();
    assert_eq!(daemon.wait(), Some(0));
    assert!(begin.elapsed() < within, "{:?}", begin.elapsed());
}

#[test]
fn diagnostics_that_are_not_read_hold_up_no_upload() {
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
fn dropped_lines_are_reported_once_stderr_is_read_again() {
    let (daemon, stalled) = Setup::default().start_unread(false);
    provoke_dropped_lines(&daemon);
    drop(stalled);
    let warning = daemon.stderr.containing("log lines dropped");
    assert!(warning.contains(" WARN ") && warning.contains("count="), "{warning}");
}

#[test]
fn failed_handshakes_that_cannot_be_logged_hold_up_no_thread() {
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
fn outputs_that_are_not_read_do_not_hold_up_the_shutdown() {
    let (mut daemon, stalled) = Setup::yaml("delivery: { shutdown_timeout: 1s }").start_unread(true);
    provoke_dropped_lines(&daemon);
    assert_eq!(daemon.post("/report", REPORT).status, 204);
    assert_eq!(daemon.scrape().sum("lookout_events_total", &[("outcome", "delivered")]), 0.0);
    terminate(&mut daemon, Duration::from_secs(10));
    drop(stalled);
    daemon.leave();
}

/// A start that does not end: admin's token is to be read from a pipe that has no writer.
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
        None => Err("it runs on".to_owned()),
    })
}

#[test]
fn a_blocked_process_ends_after_the_shutdown_timeout() {
    let (mut child, _directory) = blocked_start("100ms");
    kill(&child, "TERM");
    assert_eq!(exit_code(&mut child), Some(1));
}

#[test]
fn a_second_sigterm_ends_a_blocked_process_at_once() {
    let (mut child, _directory) = blocked_start("1h");
    kill(&child, "TERM");
    kill(&child, "INT");
    assert_eq!(exit_code(&mut child), Some(1));
}

#[test]
fn connections_up_to_the_limit_make_intake_unready_until_one_is_closed() {
    let daemon = Setup::yaml("intake: { max_connections: 1, head_timeout: 5m }").start();
    let readiness = |wanted: u16| {
        eventually("readiness", || {
            let answer = daemon.get_admin("/-/ready");
            if answer.status == wanted { Ok(answer.text()) } else { Err(answer.text()) }
        })
    };
    readiness(200);
    let first = Connection::open(daemon.intake);
    daemon.until("lookout_connections", &[], 1.0);
    let second = Connection::open(daemon.intake);
    let reason = readiness(503);
    assert!(reason.contains("accept has waited for "), "{reason}");
    drop(first);
    readiness(200);
    drop(second);
}
