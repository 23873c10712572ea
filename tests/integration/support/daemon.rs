//! The real binary as a child process, on ports that the system chooses. At the end of every test, the counters
//! must balance and SIGTERM must end the process in order.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use tempfile::TempDir;

use super::eventually;
use super::http::{Answer, Request};
use super::lines::{Lines, Unread, fill};
use super::scrape::Scrape;

/// Setup of a daemon. Its environment has nothing but PATH and what is added here.
#[derive(Default)]
pub(crate) struct Setup {
    arguments: Vec<String>,
    yaml: Option<String>,
    variables: Vec<(String, String)>,
    authorization: Option<String>,
    files: Vec<(&'static str, String)>,
    /// The command of a shell that starts the binary.
    shell: Option<&'static str>,
    /// The addresses of intake and admin, instead of free ports.
    listen: Option<[String; 2]>,
}

impl Setup {
    /// Returns a setup with this settings file.
    pub(crate) fn yaml(yaml: &str) -> Setup {
        Setup { yaml: Some(yaml.to_owned()), ..Setup::default() }
    }

    pub(crate) fn argument(mut self, argument: &str) -> Setup {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Setup {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds credentials for requests to admin.
    pub(crate) fn authorized(mut self, authorization: &str) -> Setup {
        self.authorization = Some(authorization.to_owned());
        self
    }

    /// Adds a file in the working directory.
    pub(crate) fn file(mut self, name: &'static str, content: &str) -> Setup {
        self.files.push((name, content.to_owned()));
        self
    }

    /// Starts the binary through this command of a shell, as `"$0" "$@"`.
    pub(crate) fn shell(mut self, command: &'static str) -> Setup {
        self.shell = Some(command);
        self
    }

    /// Sets the addresses of intake and admin.
    pub(crate) fn listen(mut self, intake: &str, admin: &str) -> Setup {
        self.listen = Some([intake.to_owned(), admin.to_owned()]);
        self
    }

    /// Runs a command that does not serve, to its end.
    pub(crate) fn output(self) -> Output {
        let directory = TempDir::new().unwrap();
        self.command(&directory).output().expect("the binary runs")
    }

    /// Starts a daemon and waits for its startup line.
    pub(crate) fn start(self) -> Daemon {
        let directory = TempDir::new().unwrap();
        let mut child = self.serving(&directory).spawn().expect("the binary runs");
        let stdout = Lines::of(child.stdout.take().unwrap());
        let stderr = Lines::of(child.stderr.take().unwrap());
        self.running(child, stdout, stderr, directory)
    }

    /// Starts a daemon with a stderr that is full and not read after the first line, and with such a stdout if
    /// `stdout`, until the senders are dropped.
    pub(crate) fn start_unread(self, stdout: bool) -> (Daemon, Vec<Sender<()>>) {
        let directory = TempDir::new().unwrap();
        let mut command = self.serving(&directory);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        command.stderr(OwnedFd::from(theirs.try_clone().unwrap()));
        let (sender, release) = channel();
        let stderr = Lines::of(Unread { stream: ours, first_line: true, release });
        let mut senders = vec![sender];
        let (ours, mut their_stdout) = UnixStream::pair().unwrap();
        command.stdout(OwnedFd::from(their_stdout.try_clone().unwrap()));
        let (sender, release) = channel();
        if stdout {
            senders.push(sender);
            fill(&mut their_stdout);
        }
        let stdout = Lines::of(Unread { stream: ours, first_line: false, release });
        let child = command.spawn().expect("the binary runs");
        stderr.at_least(1);
        fill(&mut theirs);
        (self.running(child, stdout, stderr, directory), senders)
    }

    /// Starts a process after `prepare` in its directory, and does not wait for its startup line.
    pub(crate) fn spawn(self, prepare: impl FnOnce(&Path)) -> (Child, TempDir) {
        let directory = TempDir::new().unwrap();
        prepare(directory.path());
        (self.serving(&directory).spawn().expect("the binary runs"), directory)
    }

    fn serving(&self, directory: &TempDir) -> Command {
        let mut command = self.command(directory);
        let [intake, admin] =
            self.listen.as_ref().map_or(["127.0.0.1:0"; 2], |listen| listen.each_ref().map(String::as_str));
        command.args(["--listen", intake, "--admin-listen", admin]);
        command
    }

    fn running(self, child: Child, stdout: Lines, stderr: Lines, directory: TempDir) -> Daemon {
        let first = as_text(&stderr.containing("lookoutd listens"));
        let logs = field(&first, "logs=");
        Daemon {
            intake: address(&first, "intake=http"),
            admin: address(&first, "admin=http"),
            exporters: ["console", "otlp"].into_iter().filter(|name| logs.contains(name)).collect(),
            child,
            stdout,
            stderr,
            items: AtomicU64::new(0),
            ended: false,
            authorization: self.authorization,
            directory,
        }
    }

    fn command(&self, directory: &TempDir) -> Command {
        let mut command = Command::new(self.shell.map_or_else(binary, |_| "sh".into()));
        command.args(self.shell.map(|shell| ["-c", shell]).iter().flatten());
        command.args(self.shell.map(|_| binary()));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.args(&self.arguments).current_dir(directory.path());
        for (name, content) in &self.files {
            std::fs::write(directory.path().join(name), content).unwrap();
        }
        if let Some(yaml) = &self.yaml {
            std::fs::write(directory.path().join("lookoutd.yaml"), yaml).unwrap();
            command.args(["--config", "lookoutd.yaml"]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// Returns the binary under test: that of `LOOKOUTD_BINARY`, else the one that cargo built with the tests.
fn binary() -> OsString {
    std::env::var_os("LOOKOUTD_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_lookoutd").into())
}

/// Returns the fields of the startup line in the text format.
fn as_text(line: &str) -> String {
    match serde_json::from_str::<BTreeMap<String, String>>(line) {
        Ok(fields) => fields.iter().map(|(name, value)| format!("{name}={value} ")).collect(),
        Err(_) => line.to_owned(),
    }
}

fn field<'l>(line: &'l str, prefix: &str) -> &'l str {
    let found = line.split_whitespace().find_map(|word| word.strip_prefix(prefix));
    found.unwrap_or_else(|| panic!("no {prefix} in the first line: {line:?}"))
}

fn address(line: &str, prefix: &str) -> SocketAddr {
    let after = field(line, prefix);
    let after = after.strip_prefix('s').unwrap_or(after).trim_start_matches("://");
    after.parse().unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// A running daemon. It is ended on drop, with all checks.
pub(crate) struct Daemon {
    pub(crate) intake: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) stdout: Lines,
    pub(crate) stderr: Lines,
    exporters: Vec<&'static str>,
    child: Child,
    /// Items of all bodies that were read.
    items: AtomicU64,
    ended: bool,
    authorization: Option<String>,
    directory: TempDir,
}

impl Daemon {
    /// Starts a daemon with default settings.
    pub(crate) fn start() -> Daemon {
        Setup::default().start()
    }

    /// Posts a body and counts its items.
    pub(crate) fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Answer {
        self.send(&Request::post(target, &body), items_in(body.as_ref()))
    }

    /// Sends a request with this number of items, which are counted if the status shows that the body was read.
    /// (Not for rate-limited uploads, which get the same status.)
    pub(crate) fn send(&self, request: &Request, items: u64) -> Answer {
        let answer = request.send(self.intake);
        if matches!(answer.status, 204 | 400) {
            self.count(items);
        }
        answer
    }

    /// Counts items that a test sent without these functions.
    pub(crate) fn count(&self, items: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
    }

    pub(crate) fn get_admin(&self, target: &str) -> Answer {
        let request = Request::new("GET", target);
        match &self.authorization {
            None => request.send(self.admin),
            Some(authorization) => request.header("authorization", authorization).send(self.admin),
        }
    }

    /// Replaces a file in the working directory, as a whole.
    pub(crate) fn write(&self, name: &str, content: &str) {
        let path = self.directory.path().join(name);
        std::fs::write(path.with_extension("new"), content).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
    }

    /// Replaces the settings file, and reloads it.
    pub(crate) fn reload(&self, yaml: &str) -> Answer {
        self.write("lookoutd.yaml", yaml);
        let request = Request::new("POST", "/-/reload");
        match &self.authorization {
            None => request.send(self.admin),
            Some(authorization) => request.header("authorization", authorization).send(self.admin),
        }
    }

    pub(crate) fn scrape(&self) -> Scrape {
        let answer = self.get_admin("/metrics");
        assert_eq!(answer.status, 200);
        Scrape::parse(&answer.text())
    }

    /// Waits until the scrape has this value.
    pub(crate) fn until(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        eventually(name, || {
            let found = self.scrape().sum(name, labels);
            if found == value { Ok(()) } else { Err(format!("{labels:?} is {found} instead of {value}")) }
        });
    }

    /// Waits until no upload is in flight and the counters balance: every item is counted as a report or as
    /// rejected, and every report has an outcome or is pending at every enabled exporter.
    pub(crate) fn settle(&self) -> Scrape {
        eventually("balanced counters", || {
            let scrape = self.scrape();
            self.balance(&scrape).map(|()| scrape)
        })
    }

    fn balance(&self, scrape: &Scrape) -> Result<(), String> {
        let items = self.items.load(Ordering::Relaxed) as f64;
        let reports = reports(scrape);
        let rejected = scrape.sum("lookout_reports_rejected_total", &[]);
        if items != reports + rejected {
            return Err(format!("{items} items, but {reports} reports and {rejected} rejected"));
        }
        if scrape.sum("lookout_uploads_in_flight", &[]) != 0.0 {
            return Err("an upload is still in flight".to_owned());
        }
        self.exporters.iter().try_for_each(|exporter| {
            let labels = [("exporter", *exporter)];
            let ended = scrape.sum("lookout_events_total", &labels);
            let pending = scrape.sum("lookout_events_pending", &labels);
            if reports == ended + pending {
                Ok(())
            } else {
                Err(format!("{exporter}: {reports} reports, {ended} ended, {pending} pending"))
            }
        })
    }

    /// Returns the peak of the process' resident memory. The code of a program that is not optimized, which is three
    /// times as large, counts as that of one that is.
    pub(crate) fn peak_rss_kib(&self) -> u64 {
        const OPTIMIZED_CODE_KIB: u64 = 8 * 1024;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let of = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            line.trim().trim_end_matches(" kB").parse().expect("a number")
        };
        let is_optimized = std::env::var_os("LOOKOUTD_BINARY").is_some();
        let excess = if is_optimized { 0 } else { of("RssFile:").saturating_sub(OPTIMIZED_CODE_KIB) };
        of("VmHWM:") - excess
    }

    /// Returns the CPU time of the process, its threads included.
    pub(crate) fn cpu_time(&self) -> Duration {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let nanoseconds = |task: std::io::Result<std::fs::DirEntry>| -> u64 {
            // A thread may have ended meanwhile.
            let times = std::fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap_or_default();
            times.split(' ').next().unwrap().parse().unwrap_or_default()
        };
        Duration::from_nanos(tasks.map(nanoseconds).sum())
    }

    pub(crate) fn signal(&self, signal: &str) {
        kill(&self.child, signal);
    }

    /// Sends a signal 200 times, with a fork in between, so that few of them coincide.
    pub(crate) fn signal_often(&self, signal: &str) {
        let signals = format!("for i in $(seq 200); do kill -{signal} {}; : $(:); done", self.child.id());
        assert!(Command::new("sh").args(["-c", &signals]).status().unwrap().success());
    }

    /// Stops the daemon in order. Returns the lines of stdout.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.end();
        self.stdout.all()
    }

    /// Skips the checks, for tests that ended the process themselves.
    pub(crate) fn leave(mut self) {
        self.ended = true;
    }

    fn end(&mut self) {
        self.ended = true;
        let scrape = self.settle();
        self.signal("TERM");
        let status = self.wait();
        let stderr = self.stderr.finish();
        assert_eq!(status, Some(0), "exit code; stderr: {stderr:#?}");
        let lines = self.stdout.finish();
        if self.exporters.contains(&"console") {
            let outcome = |outcome| {
                scrape.sum("lookout_events_total", &[("exporter", "console"), ("outcome", outcome)])
            };
            let unwritten = ["capped", "dropped_queue_full", "filtered", "folded", "sampled"].map(outcome);
            let written = reports(&scrape) - unwritten.iter().sum::<f64>();
            assert_eq!(lines.len() as f64, written, "one line on stdout for each event");
        } else {
            assert_eq!(lines, [""; 0], "stdout carries events only");
        }
    }

    /// Waits for the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        eventually("the end of the process", || match self.child.try_wait().unwrap() {
            Some(status) => Ok(status.code()),
            None => Err(format!("it is still running; stderr: {:#?}", self.stderr.all())),
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !self.ended && !std::thread::panicking() {
            self.end();
        }
        // Still running only after a failure.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Sends a signal to a process that the test has started.
pub(crate) fn kill(child: &Child, signal: &str) {
    // The shell's own `kill`, because the program need not be installed.
    let kill = format!("kill -{signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// Returns the number of items in a body.
fn items_in(body: &[u8]) -> u64 {
    match serde_json::from_slice(body) {
        Ok(serde_json::Value::Array(items)) => items.len() as u64,
        Ok(_) => 1,
        Err(_) => 0,
    }
}

/// Returns the number of accepted reports, with those of removed series.
fn reports(scrape: &Scrape) -> f64 {
    let removed = [("family", "lookout_reports_total")];
    scrape.sum("lookout_reports_total", &[]) + scrape.sum("lookout_series_expired_counts_total", &removed)
}
