//! The commands that are clients: send, tail and policy, each against a server or a file.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Setup};
use crate::support::{capture, eventually};

/// Returns the exit code, stdout and stderr of a command.
fn run(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut child = command(arguments).stdin(Stdio::piped()).spawn().unwrap();
    // A command that reads no input may have ended.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lookoutd"));
    command.args(arguments).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Serves one connection after the other with these responses. Returns the URL, and the heads that arrived.
fn serve(responses: Vec<String>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let answer = |response: String| {
            let (stream, _) = listener.accept().unwrap();
            let head = read_request(&stream);
            // The client may close the stream before all of it was read.
            let _ = (&stream).write_all(response.as_bytes());
            head
        };
        responses.into_iter().map(answer).collect()
    });
    (url, server)
}

/// Reads a request with its body, and returns the head.
fn read_request(stream: &TcpStream) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut head).unwrap() > 0, "{head}");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    reader.read_exact(&mut body).unwrap();
    head
}

#[test]
fn send_all_kinds_to_a_daemon_succeeds() {
    let daemon = Daemon::start();
    let url = format!("http://{}/report", daemon.intake);
    let (code, stdout, stderr) = run(&["send", &url, "--all"], "");
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let kinds: Vec<&str> = lookoutd::kinds::ALL.iter().map(|kind| kind.name).collect();
    for kind in &kinds {
        assert!(stdout.contains(&format!("ok {kind} as application/")), "{kind}: {stdout}");
    }
    assert_eq!(stdout.lines().count(), 1 + kinds.len());
    daemon.count(kinds.len() as u64);
    let scrape = daemon.settle();
    for kind in kinds {
        assert_eq!(scrape.sum("lookout_reports_total", &[("kind", kind)]), 1.0, "{kind}");
    }
}

#[test]
fn tail_and_policy_read_from_a_daemon() {
    let daemon = Setup::yaml("admin: { auth: { username: admin, password: pass } }")
        .authorized("Basic YWRtaW46cGFzcw==")
        .start();
    let admin = format!("http://{}", daemon.admin);
    let auth = ["--admin", &admin, "--set", "admin.auth.username=admin", "--set", "admin.auth.password=pass"];
    let mut child = command(&[&["tail", "--kind", "csp-violation"], &auth[..]].concat()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let (sender, first) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        sender.send(line).unwrap();
    });
    // Until the stream is open.
    let url = format!("http://{}/report", daemon.intake);
    let line = eventually("a line of tail", || {
        assert_eq!(run(&["send", &url], "").0, 0);
        daemon.count(1);
        first.recv_timeout(std::time::Duration::from_millis(200)).map_err(|error| error.to_string())
    });
    reader.join().unwrap();
    assert!(line.contains(" www.shop.example csp-violation WARN report-only script-src-elem"), "{line}");
    let policy = ["policy", "--site", "www.shop.example", "--min-clients", "1"];
    let (code, stdout, stderr) = run(&[&policy, &auth[..]].concat(), "");
    assert_eq!(
        (code, stdout.as_str()),
        (0, "default-src 'none'; script-src https://cdn.example\n"),
        "{stderr}"
    );
    let (_, stdout, stderr) = run(&[&policy[..3], &auth[..]].concat(), "");
    assert_eq!(stdout, "default-src 'none'\n");
    assert!(stderr.contains("might be an attack: 1 client ("), "{stderr}");
    let (code, _, stderr) = run(&[&policy, &auth[..2]].concat(), "");
    assert!(code == 1 && stderr.contains(" answers 401 Unauthorized: "), "{stderr}");
    daemon.stop();
    assert_eq!(child.wait().unwrap().code(), Some(1), "the daemon ended the stream");
}

#[test]
fn send_reports_each_wrong_response() {
    let daemon = Daemon::start();
    let (code, stdout, stderr) = run(&["send", &format!("http://{}/nowhere", daemon.intake)], "");
    assert_eq!((code, stderr.as_str()), (1, "lookoutd: 2 of 2 steps failed\n"), "{stdout}");
    assert!(
        stdout.contains("failed csp-violation as application/reports+json: expected 204, found 404"),
        "{stdout}"
    );
    let cors = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Methods: POST\r\n";
    for (preflight, post, expected) in [
        (
            "",
            cors,
            "failed preflight: expected Access-Control-Allow-Origin: https://www.shop.example or *, found \"\"",
        ),
        (
            cors,
            cors,
            "failed preflight: expected Access-Control-Allow-Headers: content-type or *, found \"\"",
        ),
        (
            "access-control-allow-origin: *\r\nAccess-Control-Allow-Methods: GET, post\r\nAccess-Control-Allow-Headers: *\r\n",
            "",
            "failed csp-violation as application/reports+json: expected Access-Control-Allow-Origin: ",
        ),
    ] {
        let response = |headers: &str| format!("HTTP/1.1 204 No Content\r\n{headers}\r\n");
        let (url, server) = serve(vec![response(preflight), response(post)]);
        let (code, stdout, stderr) = run(&["send", &format!("{url}/r"), "--kind", "csp-violation"], "");
        assert_eq!((code, stderr.as_str()), (1, "lookoutd: 1 of 2 steps failed\n"), "{stdout}");
        assert!(stdout.contains(expected), "{expected}: {stdout}");
        let heads = server.join().unwrap();
        assert!(
            heads[0].starts_with("OPTIONS /r HTTP/1.1\r\n") && heads[1].starts_with("POST /r HTTP/1.1\r\n")
        );
        assert!(heads[0].contains("Access-Control-Request-Headers: content-type\r\n"), "{}", heads[0]);
    }
    let (code, _, stderr) = run(&["send", "http://127.0.0.1:1/", "--kind", "csp"], "");
    assert_eq!(code, 1);
    assert!(stderr.starts_with("lookoutd: --kind: expected csp-violation, network-error, "), "{stderr}");
}

#[test]
fn send_over_tls_verifies_the_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let key = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    std::fs::write(file("tls.crt"), key.cert.pem()).unwrap();
    std::fs::write(file("tls.key"), key.signing_key.serialize_pem()).unwrap();
    let yaml =
        format!("intake: {{ tls: {{ certificate: {:?}, key: {:?} }} }}", file("tls.crt"), file("tls.key"));
    let daemon = Setup::yaml(&yaml).start();
    let url = format!("https://{}/report", daemon.intake);
    let (code, stdout, stderr) = run(&["send", &url, "--ca", &file("tls.crt")], "");
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    daemon.count(1);
    let (code, stdout, _) = run(&["send", &url], "");
    assert_eq!(code, 1);
    assert!(stdout.contains("failed preflight: no response: "), "{stdout}");
    let (code, _, stderr) = run(
        &[
            "check",
            "--set",
            &format!("intake.tls.certificate={}", file("tls.crt")),
            "--set",
            "intake.tls.key=absent",
            "--set",
            "otlp.endpoint=http://127.0.0.1:1",
            "--set",
            &format!("otlp.metrics.headers_file={}", file("tls.key")),
        ],
        "",
    );
    assert_eq!(code, 2);
    assert!(stderr.starts_with("lookoutd: intake.tls.key: absent cannot be read: "), "{stderr}");
    let headers = format!("\nlookoutd: otlp.metrics: headers_file: {}: line 1 is no header", file("tls.key"));
    assert!(stderr.contains(&headers), "{stderr}");
}

fn event(directive: &str, blocked: &str) -> Value {
    json!({
        "age": 0, "type": "csp-violation", "url": "https://shop.example/cart", "user_agent": "",
        "body": {
            "documentURL": "https://shop.example/cart", "effectiveDirective": directive, "blockedURL": blocked,
        },
        "lookout": {
            "received": "2026-11-22T12:00:01.000Z", "occurred": "2026-11-22T12:00:00.000Z", "kind": "csp-violation",
            "site": "shop", "severity": "WARN", "noise": "none",
            "summary": format!("{directive} blocked {blocked} \u{1b}[31m\u{202e}"),
        },
    })
}

/// A stream of admin: two reports and a gap, then its end.
fn stream() -> String {
    let mut bot = event("img-src", "https://b.example");
    bot["lookout"]["noise"] = "bot".into();
    format!(
        "HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n: hello\n\nid: 1\nevent: report\ndata: {}\n\n\
         event: missed\ndata: {{\"count\":7}}\n\nid: 9\r\nevent: report\r\ndata: {bot}\r\n\r\n",
        event("font-src", "https://a.example"),
    )
}

#[test]
fn tail_prints_a_line_per_report() {
    let (url, server) = serve(vec![stream()]);
    let arguments = ["tail", "--admin", &url, "--site", "a&b", "--set", "admin.auth.bearer=t0ken"];
    let (code, stdout, stderr) = run(&arguments, "");
    assert_eq!((code, stderr.as_str()), (1, "lookoutd: the daemon ended the stream\n"));
    assert_eq!(
        stdout,
        "12:00:00 shop csp-violation WARN font-src blocked https://a.example \\u{1B}[31m\\u{202E}\n\
         … 7 events missed\n\
         12:00:00 shop csp-violation WARN [bot] img-src blocked https://b.example \\u{1B}[31m\\u{202E}\n"
    );
    let head = server.join().unwrap().remove(0);
    assert!(head.starts_with("GET /api/v1/events?site=a%26b HTTP/1.0\r\n"), "{head}");
    for header in ["Accept: text/event-stream\r\n", "Authorization: Bearer t0ken\r\n"] {
        assert!(head.contains(header), "{head}");
    }
}

#[test]
fn tail_as_json_prints_events() {
    let (url, server) = serve(vec![stream()]);
    let (code, stdout, _) = run(&["tail", "--json", "--admin", &url], "");
    assert_eq!(code, 1);
    server.join().unwrap();
    let sites =
        stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["lookout"]["site"].clone());
    assert_eq!(sites.collect::<Vec<_>>(), ["shop", "shop"]);
}

#[test]
fn tail_ends_on_sigint_and_on_closed_output() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    for closes_output in [false, true] {
        let mut child = command(&["tail", "--admin", &url]).spawn().unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        read_request(&stream);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stream.write_all(self::stream().as_bytes()).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(line.starts_with("12:00:00 shop "), "{line}");
        if closes_output {
            drop(stdout);
            // Until it has noticed.
            let data = format!("data: {}\n\n", event("font-src", "https://a.example"));
            while stream.write_all(data.as_bytes()).is_ok() && child.try_wait().unwrap().is_none() {}
        } else {
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "closes_output: {closes_output}");
    }
}

#[test]
fn tail_without_stream_shows_the_problem() {
    let body = "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"detail\":\"eight readers\"}";
    let (url, server) = serve(vec![body.to_owned()]);
    let (code, _, stderr) = run(&["tail", "--admin", &url], "");
    server.join().unwrap();
    assert_eq!(code, 1);
    assert!(
        stderr.ends_with("answers 503 Service Unavailable: {\"detail\":\"eight readers\"}\n"),
        "{stderr}"
    );
}

#[test]
fn policy_from_lines_prints_the_header_alone() {
    let lines = format!(
        "{}\n\n{}\n{{\"a\":1}}\n{{\"torn",
        event("font-src", "https://a.example/f.woff2"),
        event("script-src-attr", "inline"),
    );
    let (code, stdout, stderr) = run(&["policy", "--site", "shop", "--from", "-"], &lines);
    assert_eq!((code, stdout.as_str()), (0, "default-src 'none'; font-src https://a.example\n"), "{stderr}");
    let reasons: Vec<&str> = stderr.lines().collect();
    assert_eq!(reasons.len(), 3, "{stderr}");
    assert_eq!(reasons[0], "lookoutd: -: left out 2 values that are no events");
    assert!(reasons[1].starts_with("- script-src inline attribute: not proposed: "), "{stderr}");
    assert!(reasons[2].starts_with("+ font-src https://a.example: clients unknown"), "{stderr}");
    assert!(reasons[2].ends_with(" to 2026-11-22T12:00:01.000Z, on https://shop.example/cart)"), "{stderr}");
    let (code, stdout, stderr) = run(&["policy", "--site", "blog", "--from", "-"], &lines);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.ends_with("-: expected a csp-violation of site blog, found none\n"), "{stderr}");
    let (code, _, stderr) = run(&["policy", "--site", "shop", "--from", "-", "--baseline", "a, b"], &lines);
    assert_eq!(code, 1);
    assert!(stderr.starts_with("lookoutd: --baseline: "), "{stderr}");
    let (code, _, stderr) = run(&["policy", "--site", "shop", "--from", "-"], "no JSON");
    assert_eq!(code, 1);
    assert!(stderr.starts_with("lookoutd: cannot read -: expected ident at line 1"), "{stderr}");
}

#[test]
fn policy_from_admin_reads_the_findings() {
    let finding = json!({
        "fingerprint": "00112233445566aa", "kind": "csp-violation", "site": "shop", "noise": "none", "count": 9,
        "clients": 6, "first_seen": "2026-11-21T12:00:00.000Z", "last_seen": "2026-11-22T12:00:00.000Z",
        "pages": [{"url": "https://shop.example/cart", "count": 9}],
        "sample": event("img-src", "https://a.example/i.png"),
    });
    let response = |items: Value| format!("HTTP/1.0 200 OK\r\n\r\n{}", json!({ "items": items }));
    let (url, server) = serve(vec![response(json!([finding])), response(json!([]))]);
    let baseline = "default-src 'self'; report-to csp";
    let arguments = ["policy", "--site", "shop", "--admin", &url, "--baseline", baseline, "--format", "json"];
    let (code, stdout, stderr) = run(&arguments, "");
    assert_eq!((code, stderr.as_str()), (0, ""));
    let policy: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(policy["value"], "default-src 'self'; report-to csp; img-src 'self' https://a.example");
    assert_eq!(policy["directives"][0]["sources"][0]["clients"], 6);
    let heads = server.join().unwrap();
    let query = "/api/v1/findings?site=shop&kind=csp-violation&sort=clients&limit=1000";
    assert!(heads[0].starts_with(&format!("GET {query} HTTP/1.0\r\n")), "{}", heads[0]);
}

/// A policy from a part of the findings would block what the others say is used.
#[test]
fn policy_from_admin_says_what_it_cannot_read() {
    let items = json!({ "items": [{ "sample": event("img-src", "https://a.example/i.png") }] }).to_string();
    let response = |body: &str| format!("HTTP/1.0 200 OK\r\n\r\n{body}");
    let (url, server) = serve(vec![response(&format!("{items} no JSON"))]);
    let (code, stdout, stderr) = run(&["policy", "--site", "shop", "--admin", &url], "");
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("lookoutd: cannot read the findings: expected ident"), "{stderr}");
    server.join().unwrap();
    let (url, server) = serve(vec![response(&items[..20]), response(&items)]);
    let (_, _, stderr) = run(&["policy", "--site", "shop", "--admin", &url], "");
    assert!(stderr.contains("the findings: left out 2 values that are no events"), "{stderr}");
    server.join().unwrap();
}

/// Real captures of three engines, as the daemon writes them.
#[test]
fn policy_from_captures_of_browsers() {
    let daemon = Daemon::start();
    for capture in capture::uploads().iter().filter(|capture| capture.name.contains("-csp-")) {
        daemon.post("/report", &capture.body);
    }
    let lines = daemon.stop().join("\n");
    let (code, stdout, stderr) = run(&["policy", "--site", "site.test", "--from", "-"], &lines);
    assert_eq!(code, 0, "{stderr}");
    let policy: Vec<&str> = stdout.trim_end().split("; ").collect();
    for expected in [
        "default-src 'none'",
        "style-src 'self' https://cdn.test",
        "font-src https://cdn.test",
        "connect-src 'self' https://cdn.test wss://cdn.test",
        "media-src 'self' https://cdn.test",
        "object-src 'self' https://cdn.test",
        "worker-src 'self'",
        "base-uri https://cdn.test",
    ] {
        assert!(policy.contains(&expected), "{expected}: {policy:#?}");
    }
    assert!(!stdout.contains("unsafe") && !stdout.contains('*') && !stdout.contains(":443"), "{stdout}");
}

#[test]
fn explain_shows_the_whole_path_of_an_upload() {
    let secrets = json!([
        { "type": "csp-violation", "url": "https://u:SECRET@shop.example/cart?SECRET#SECRET", "body": {
            "effectiveDirective": "script-src", "disposition": "enforce",
            "blockedURL": "chrome-extension://SECRET/x.js?SECRET", "originalPolicy": "script-src 'nonce-SECRET'" } },
        { "type": "crash", "url": "https://shop.example/" },
        5,
    ]);
    let (code, stdout, stderr) = run(&["explain"], &secrets.to_string());
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(!stdout.replace("chrome-extension://SECRET", "").contains("SECRET"), "{stdout}");
    let document: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(document["rejected"], json!([{ "index": 2, "reason": "not_an_object" }]));
    assert_eq!(document["rule"], json!(["builtin:scheme:chrome-extension", null]));
    let redacted = |pointer: &str| -> Vec<&str> {
        assert!(document.pointer(pointer).is_some(), "{pointer} is in the document");
        let all = document["redacted"].as_array().unwrap().iter();
        all.filter(|it| it["pointer"] == pointer).map(|it| it["rule"].as_str().unwrap()).collect()
    };
    assert_eq!(redacted("/events/0/url"), ["query", "fragment", "credentials"]);
    assert_eq!(redacted("/events/0/body/blockedURL"), ["query"]);
    assert_eq!(redacted("/events/0/body/originalPolicy"), ["nonce"]);
    assert_eq!(redacted("/events/1/url"), [] as [&str; 0]);
    let labels = json!({ "site": "shop.example", "kind": "crash", "browser": "other" });
    let counted = json!({ "name": "lookout_reports_total", "labels": labels, "value": 1 });
    assert!(document["series"].as_array().unwrap().contains(&counted), "{stdout}");
    for capture in capture::uploads() {
        let (code, stdout, _) = run(&["explain", "-", "--path", "/csp/report-only"], &capture.body);
        let events = serde_json::from_str::<Value>(&stdout).unwrap()["events"].as_array().unwrap().len();
        assert_eq!((code, events > 0), (0, true), "{}", capture.name);
    }
    for (arguments, body, outcome) in [
        (&["explain"][..], "no JSON", "invalid_json: "),
        (&["explain"], "{}", "no_reports: "),
        (&["explain", "--path", "/report/shop"], "{}", "unknown_site: "),
        (&["explain", "--path", "/nowhere"], "{}", "unknown_path: "),
    ] {
        let (code, stdout, stderr) = run(arguments, body);
        assert_eq!((code, &serde_json::from_str::<Value>(&stdout).unwrap()["events"]), (1, &json!([])));
        assert!(stderr.starts_with(&format!("lookoutd: {outcome}")), "{stderr}");
    }
}
