//! Where the daemon listens: every form of an address, Unix sockets, sockets that systemd passes; and what systemd is
//! notified of.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Child;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::daemon::{Daemon, Setup, kill};
use crate::support::http::Request;
use crate::support::lines::Lines;
use crate::support::{DEADLINE, REPORT, eventually};

#[test]
fn every_form_of_an_address_listens() {
    for (listen, clients) in [
        (":0", &["127.0.0.1", "[::1]"][..]),
        ("[::]:0", &["127.0.0.1", "[::1]"]),
        ("0.0.0.0:0", &["127.0.0.1"]),
        ("localhost:0", &["127.0.0.1"]),
        ("[::1]:0", &["[::1]"]),
    ] {
        let daemon = Setup::default().listen(listen, "localhost:0").start();
        for client in clients {
            let to: SocketAddr = format!("{client}:{}", daemon.intake.port()).parse().unwrap();
            assert_eq!(Request::post("/report", REPORT).send(to).status, 204, "{listen} {client}");
            daemon.count(1);
        }
    }
}

/// A daemon on two Unix sockets.
struct OnSockets {
    directory: TempDir,
    child: Child,
    _working_directory: TempDir,
    stdout: Lines,
    stderr: Lines,
}

impl OnSockets {
    fn setup(directory: &TempDir) -> Setup {
        let [intake, admin] =
            ["intake", "admin"].map(|name| format!("unix:{}", path(directory, name).display()));
        Setup::yaml("privacy: { client_address: full }\nintake: { max_connections_per_client: 1 }")
            .listen(&intake, &admin)
    }

    fn start(directory: TempDir) -> OnSockets {
        let (mut child, _working_directory) = OnSockets::setup(&directory).spawn(|_| {});
        let [stdout, stderr] =
            [Lines::of(child.stdout.take().unwrap()), Lines::of(child.stderr.take().unwrap())];
        stderr.containing("lookoutd listens");
        OnSockets { directory, child, _working_directory, stdout, stderr }
    }

    fn exit(&mut self, signal: &str) -> Option<i32> {
        kill(&self.child, signal);
        eventually("the end", || self.child.try_wait().unwrap().ok_or("it runs".to_owned())).code()
    }
}

fn path(directory: &TempDir, name: &str) -> PathBuf {
    directory.path().join(format!("{name}.sock"))
}

fn exchange(socket: &Path, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

#[test]
fn unix_sockets_serve_and_their_peer_is_a_trusted_proxy() {
    let mut daemon = OnSockets::start(TempDir::new().unwrap());
    let sockets = ["intake", "admin"].map(|name| path(&daemon.directory, name));
    for socket in &sockets {
        assert_eq!(std::fs::metadata(socket).unwrap().permissions().mode() & 0o777, 0o660);
    }
    let first = &daemon.stderr.all()[0];
    assert!(first.contains(&format!("intake=unix:{}", sockets[0].display())), "{first}");
    let post = |forwarded: &str| {
        let head = "POST /report HTTP/1.1\r\nhost: r\r\nconnection: close\r\n";
        let length = REPORT.len();
        exchange(&sockets[0], &format!("{head}{forwarded}content-length: {length}\r\n\r\n{REPORT}"))
    };
    let mut open = UnixStream::connect(&sockets[0]).unwrap();
    open.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert!(post("x-forwarded-for: 203.0.113.9\r\n").starts_with("HTTP/1.1 204"));
    assert!(post("").starts_with("HTTP/1.1 204"));
    let address = |line: &String| {
        serde_json::from_str::<Value>(line).unwrap()["lookout"]["client_address"].as_str().map(str::to_owned)
    };
    let found: Vec<_> = daemon.stdout.at_least(2).iter().map(address).collect();
    assert_eq!(found, [Some("203.0.113.9".to_owned()), None]);
    let ready = exchange(&sockets[1], "GET /-/ready HTTP/1.0\r\n\r\n");
    assert!(ready.starts_with("HTTP/1.0 200"), "{ready}");
    for (command, code) in [(&["health", "--ready"][..], 0), (&["tail", "--admin", "unix:/nowhere.sock"], 1)]
    {
        let setup = command.iter().fold(Setup::default(), |setup, word| setup.argument(word));
        let admin = format!("--admin-listen=unix:{}", sockets[1].display());
        let output = setup.argument(&admin).output();
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    assert_eq!(daemon.exit("TERM"), Some(0));
    assert!(sockets.iter().all(|socket| !socket.exists()), "a socket's file is left");
}

#[test]
fn file_of_a_dead_socket_is_replaced_and_another_is_not() {
    let mut killed = OnSockets::start(TempDir::new().unwrap());
    killed.exit("KILL");
    assert!(path(&killed.directory, "intake").exists());
    let mut daemon = OnSockets::start(killed.directory);
    let in_use = OnSockets::setup(&daemon.directory).spawn(|_| {}).0.wait_with_output().unwrap();
    assert_eq!(in_use.status.code(), Some(1));
    let message = String::from_utf8(in_use.stderr).unwrap();
    assert!(message.contains("listen: cannot listen on unix:"), "{message}");
    assert_eq!(daemon.exit("TERM"), Some(0));
    std::fs::write(path(&daemon.directory, "intake"), "a file").unwrap();
    let no_socket = OnSockets::setup(&daemon.directory).spawn(|_| {}).0.wait_with_output().unwrap();
    assert_eq!(no_socket.status.code(), Some(1));
    assert_eq!(std::fs::read_to_string(path(&daemon.directory, "intake")).unwrap(), "a file");
}

/// Starts the binary with listening sockets as file descriptors from 3 on.
macro_rules! activate {
    ($sockets:literal, $names:literal) => {
        concat!(
            "exec python3 -c 'import os, socket, sys\nsockets = [",
            $sockets,
            "]\ndescriptors = [os.dup(socket.fileno()) for socket in sockets]\n",
            "for at, descriptor in enumerate(descriptors): os.dup2(descriptor, 20 + at)\n",
            "for at in range(len(sockets)): os.dup2(20 + at, 3 + at); os.close(20 + at)\n",
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(sockets)), LISTEN_FDNAMES=\"",
            $names,
            "\")\nos.execv(sys.argv[1], sys.argv[1:])' \"$0\" \"$@\""
        )
    };
}

#[test]
fn sockets_of_systemd_take_precedence() {
    let daemon = Setup::default()
        .shell(activate!(
            "socket.create_server((\"127.0.0.3\", 0)), socket.create_server((\"127.0.0.2\", 0))",
            "admin:intake"
        ))
        .start();
    assert_eq!(
        [daemon.intake, daemon.admin].map(|address| address.ip().to_string()),
        ["127.0.0.2", "127.0.0.3"]
    );
    assert_eq!(daemon.post("/report", REPORT).status, 204);
}

#[test]
fn socket_of_systemd_without_a_name_is_that_of_intake() {
    let daemon = Setup::default()
        .shell(activate!("socket.create_server((\"127.0.0.2\", 0))", "lookoutd.socket"))
        .start();
    assert_eq!(
        [daemon.intake, daemon.admin].map(|address| address.ip().to_string()),
        ["127.0.0.2", "127.0.0.1"]
    );
    assert_eq!(daemon.post("/report", REPORT).status, 204);
}

#[test]
fn two_sockets_of_systemd_for_one_listener_stop_the_start() {
    let script = activate!(
        "socket.create_server((\"127.0.0.2\", 0)), socket.create_server((\"127.0.0.2\", 0))",
        "intake:intake"
    );
    let output = Setup::default().shell(script).output();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.contains("cannot use the sockets of systemd: two are for one listener"), "{message}");
}

/// Returns what a daemon sends to this socket until its end.
fn notified(socket: &UnixDatagram, name: &str) -> Vec<String> {
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let receive = || {
        let mut buffer = [0; 128];
        let length = socket.recv(&mut buffer).expect("a notification in time");
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let daemon: Daemon = Setup::default().variable("NOTIFY_SOCKET", name).start();
    let ready = receive();
    daemon.signal("HUP");
    let (reloading, reloaded) = (receive(), receive());
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    let age = now.tv_sec * 1_000_000 + now.tv_nsec / 1000 - time.parse::<i64>().unwrap();
    assert!((0..60_000_000).contains(&age), "{age}");
    daemon.stop();
    vec![ready, reloaded, receive()]
}

#[test]
fn service_manager_is_notified_of_start_reload_and_end() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("notify");
    let socket = UnixDatagram::bind(&file).unwrap();
    assert_eq!(notified(&socket, file.to_str().unwrap()), ["READY=1", "READY=1", "STOPPING=1"]);
    let name = format!("lookoutd-test-{}", std::process::id());
    let socket = UnixDatagram::bind_addr(&UnixAddr::from_abstract_name(&name).unwrap()).unwrap();
    assert_eq!(notified(&socket, &format!("@{name}")), ["READY=1", "READY=1", "STOPPING=1"]);
}

#[test]
fn address_that_cannot_be_used_is_explained() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let start = |setup: Setup| {
        let output = setup.spawn(|_| {}).0.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let message = start(Setup::default().listen(&address.to_string(), "127.0.0.1:0"));
    let expected = format!("listen: cannot listen on {address}: Address already in use (os error 98); ");
    assert!(message.contains(&expected), "{message}");
    assert!(message.contains(&format!("ss -ltnp 'sport = :{}'", address.port())), "{message}");
    let first: u16 = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    if first > 1 {
        // As a user that has no capability.
        let shell = "exec python3 -c 'import os, sys\ntry: os.setuid(65534)\nexcept PermissionError: pass\n\
                     os.execv(sys.argv[1], sys.argv[1:])' \"$0\" \"$@\"";
        let message = start(Setup::default().shell(shell).listen("127.0.0.1:1", "127.0.0.1:0"));
        assert!(
            message.contains("a port below 1024 needs a socket of systemd or the capability"),
            "{message}"
        );
    }
}

#[test]
fn network_with_host_bits_warns_and_is_taken_as_the_network() {
    let output =
        Setup::yaml("intake: { trusted_proxies: [10.0.0.5/8, 127.0.0.1] }").argument("check").output();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{message}");
    let warning = "warning: intake.trusted_proxies: 10.0.0.5/8 has host bits; it is taken as 10.0.0.0/8\n";
    assert_eq!(message, format!("lookoutd: {warning}"));
}
