//! The commands of the documents: each `sh` fence is run, or the comment before it has the reason why not.
//!
//! | line before the fence | treatment |
//! | --- | --- |
//! | none of these comments | run by `bash -euo pipefail`; its PATH has `lookoutd` and the basic programs of a system |
//! | `<!-- needs: PROGRAM PROGRAM -->` | the same with these programs; left out, by name, where one is missing |
//! | `<!-- tested by: tests/FILE -->` | not run here: that test reads the document, or has the command |
//! | `<!-- not run: REASON -->` | not run in any test |
//!
//! A `text` fence after `<!-- output -->` is compared with the output of the commands before it.
//!
//! A page is a session: its commands share a copy of the repository, the files that its fences show (the first line
//! is a comment with the name), and one daemon. That is the one that its latest command for serving started,
//! such as `lookoutd --config lookoutd.yaml`, else one with default settings. The addresses in a page are those of the
//! default ports, which are replaced by the daemon's.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::daemon::{self, Daemon};
use crate::markdown::{self, Fence};

/// Programs that every command may use: those that a Linux system has.
const BASIC_PROGRAMS: &str = "awk basename bash cat chmod cmp cp cut date diff dirname echo env false find grep gzip \
                              head id install ln ls mkdir mktemp mv printf pwd rm rmdir sed seq sh sleep sort tail \
                              tar tee test touch tr true uname uniq wc xargs";
/// Directories that are searched before those of PATH, because what a version manager puts there is a script that
/// needs the whole PATH.
const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin";
/// Languages of fences with commands other than `sh`, which would hide the commands from this test.
const OTHER_SHELLS: [&str; 5] = ["bash", "shell", "console", "shell-session", "zsh"];
/// Time limit for the commands of one fence: far above what any takes.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Number of pages whose commands run at a time.
const WORKERS: usize = 4;

#[test]
fn commands_of_documents_succeed() {
    let next = Mutex::new(documents().into_iter());
    // Pages share nothing, and mostly wait for processes.
    let worker = || {
        let (mut failures, mut run) = (Vec::new(), 0);
        loop {
            let Some(name) = next.lock().unwrap().next() else { return (failures, run) };
            let text = fs::read_to_string(crate::path(&name)).unwrap();
            let fences = markdown::fences(&text);
            let mut page = Page::new(&name, &fences);
            for fence in &fences {
                match page.treat(fence) {
                    Ok(was_run) => run += usize::from(was_run),
                    Err(error) => failures.push(format!("{name}:{}: {error}", fence.line)),
                }
            }
        }
    };
    let ended: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let failures: Vec<String> = ended.iter().flat_map(|(failures, _)| failures.clone()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(ended.iter().any(|(_, run)| *run > 0), "no command was run");
}

/// The names are those that `packaging/build` makes, which `tests/e2e/test_packages.py` installs.
#[test]
fn readme_names_packages_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    let text = fs::read_to_string(crate::path("README.md")).unwrap();
    let words = text.split(|c: char| c.is_whitespace() || c == '`');
    let named: Vec<&str> =
        words.filter_map(|word| word.split_once("target/packages/")).map(|(_, name)| name).collect();
    let made = [
        format!("lookoutd_{version}-1_amd64.deb"),
        format!("lookoutd-{version}-1.x86_64.rpm"),
        format!("lookoutd-{version}-x86_64-linux.tar.gz"),
        format!("lookoutd-{version}-oci.tar"),
    ];
    assert_eq!(named, made);
}

/// Returns the names of all documents with commands, from the root of the repository.
fn documents() -> Vec<String> {
    let mut names =
        ["README.md", "CONTRIBUTING.md", "SECURITY.md", "dashboards/README.md"].map(String::from).to_vec();
    find_documents("docs", &|name| name.ends_with(".md"), &mut names);
    find_documents("deploy", &|name| name == "README.md", &mut names);
    names.retain(|name| crate::path(name).exists());
    names
}

fn find_documents(folder: &str, wanted: &dyn Fn(&str) -> bool, names: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(crate::path(folder)) else { return };
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.file_type().unwrap().is_dir() {
            find_documents(&path, wanted, names);
        } else if wanted(&name) {
            names.push(path);
        }
    }
}

/// What is done with a fence of commands.
#[derive(Debug, PartialEq)]
enum Treatment<'t> {
    Run { needs: Vec<&'t str> },
    TestedBy(&'t str),
    NotRun,
}

/// Parses the line before a fence.
///
/// # Errors
///
/// Returns an error if it is a comment of another form, or a reason is too short to be one.
fn treatment(before: &str) -> Result<Treatment<'_>, String> {
    let comment = before.trim().strip_prefix("<!--").and_then(|rest| rest.strip_suffix("-->"));
    let Some((keyword, value)) = comment.and_then(|comment| comment.split_once(':')) else {
        return Ok(Treatment::Run { needs: Vec::new() });
    };
    let words: Vec<&str> = value.split_whitespace().collect();
    match (keyword.trim(), words.as_slice()) {
        ("needs", [_, ..]) => Ok(Treatment::Run { needs: words }),
        ("tested by", [file]) => Ok(Treatment::TestedBy(file)),
        ("not run", [_, _, _, ..]) => Ok(Treatment::NotRun),
        _ => Err(format!(
            "the comment before the fence is {before:?}; expected `needs: PROGRAM…`, `tested by: FILE`, or `not run: \
             REASON` with a reason of at least three words"
        )),
    }
}

/// A document whose commands are run.
struct Page<'d> {
    name: &'d str,
    /// All its commands, and the names of all files that it shows.
    commands: String,
    /// Files that the fences so far show, each with its text.
    files: Vec<(String, String)>,
    /// Copy of the repository; made for the first command.
    copy: Option<TempDir>,
    daemon: Option<Daemon>,
    /// Process groups of commands that may have left processes behind.
    groups: Vec<rustix::process::Pid>,
    /// What the latest commands printed, unless they were left out.
    output: Option<String>,
}

impl<'d> Page<'d> {
    fn new<'f>(name: &'d str, fences: &'f [Fence<'_>]) -> Self {
        let used = |fence: &'f Fence<'_>| {
            if fence.language == "sh" { Some(fence.text.as_str()) } else { shown_file(&fence.text) }
        };
        let commands = fences.iter().filter_map(used).collect::<Vec<_>>().join("\n");
        let (files, groups) = (Vec::new(), Vec::new());
        Self { name, commands, files, copy: None, daemon: None, groups, output: None }
    }

    /// Runs a fence of commands, or remembers a file that a fence shows. Returns whether commands were run.
    ///
    /// # Errors
    ///
    /// Returns an error if a command fails, or is neither run nor excused.
    fn treat(&mut self, fence: &Fence<'_>) -> Result<bool, String> {
        if OTHER_SHELLS.contains(&fence.language) {
            return Err(format!(
                "commands in a fence of {:?}, which no test runs: use `sh` for commands and `text` for output",
                fence.language
            ));
        }
        if fence.language != "sh" {
            if fence.before.trim() == "<!-- output -->" {
                return self.compare(&fence.text).map(|()| false);
            }
            self.files.extend(shown_file(&fence.text).map(|name| (name.to_owned(), fence.text.clone())));
            return Ok(false);
        }
        self.output = None;
        match treatment(fence.before)? {
            Treatment::NotRun => Ok(false),
            Treatment::TestedBy(file) => self.check_evidence(file, &fence.text).map(|()| false),
            Treatment::Run { needs } => {
                let missing: Vec<&str> =
                    needs.iter().copied().filter(|name| program(name).is_none()).collect();
                if missing.is_empty() {
                    return self.run(&fence.text, &needs).map(|()| true);
                }
                // Not println!, whose output is hidden when a test passes.
                let line = format!("left out: {}:{} needs {}\n", self.name, fence.line, missing.join(", "));
                io::stderr().write_all(line.as_bytes()).unwrap();
                Ok(false)
            }
        }
    }

    /// Compares what is shown with what the commands before it printed.
    fn compare(&self, shown: &str) -> Result<(), String> {
        match &self.output {
            Some(output) if output != shown => {
                Err(format!("the output of the commands before this is now\n{output}"))
            }
            _ => Ok(()),
        }
    }

    /// Checks that the named test exists, and either names this document or has one of the commands: the line, or
    /// the script of the repository that it runs.
    fn check_evidence(&self, file: &str, commands: &str) -> Result<(), String> {
        let test = fs::read_to_string(crate::path(file))
            .map_err(|error| format!("`tested by` names {file}, which cannot be read: {error}"))?;
        let (folder, document) = self.name.rsplit_once('/').unwrap_or(("", self.name));
        let stem = document.trim_end_matches(".md");
        let names_document =
            test.contains(stem) && (stem != "README" || folder.split('/').all(|part| test.contains(part)));
        let has_command = commands.lines().map(str::trim).filter(|line| !line.starts_with('#')).any(|line| {
            let line = line.trim_end_matches('\\').trim_end();
            let mut scripts =
                line.split_whitespace().filter(|word| word.contains('/') && crate::path(word).is_file());
            !line.is_empty() && test.contains(line)
                || scripts.any(|script| test.contains(script.rsplit('/').next().unwrap_or_default()))
        });
        if names_document || has_command {
            return Ok(());
        }
        Err(format!(
            "`tested by` names {file}, which has neither the name of this document nor one of the commands"
        ))
    }

    fn run(&mut self, commands: &str, needs: &[&str]) -> Result<(), String> {
        if self.copy.is_none() {
            self.copy = Some(copy_of_repository(&self.commands));
        }
        let serving = serving_command(commands);
        if serving.is_some() {
            self.daemon = None; // ends the earlier one
        } else if self.daemon.is_none() {
            self.daemon = Some(daemon::start());
        }
        let ports =
            self.daemon.as_ref().map_or(["0", "0"], |daemon| [daemon.intake(), daemon.admin()].map(port));
        let root = self.copy.as_ref().unwrap().path();
        for (name, text) in &self.files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, with_ports(text, ports)).unwrap();
        }
        let mut command = bash(root, needs);
        if let Some(serving) = serving {
            command.args(["-c", &with_ports(&serving, ports)]);
            command.envs([("LOOKOUT_LISTEN", "127.0.0.1:0"), ("LOOKOUT_ADMIN_LISTEN", "127.0.0.1:0")]);
            self.daemon = Some(daemon::start_by(&mut command)?);
            return Ok(());
        }
        command.args(["-c", &with_ports(commands, ports)]);
        self.run_to_end(&mut command)
    }

    /// Waits for the end of a command, and fails if that is not a success.
    fn run_to_end(&mut self, command: &mut Command) -> Result<(), String> {
        // A file, because a pipe would stay open as long as processes in the background have it.
        let [stdout, stderr] = [(); 2].map(|()| tempfile::NamedTempFile::new().unwrap());
        let writer = |file: &tempfile::NamedTempFile| {
            Stdio::from(File::options().append(true).open(file.path()).unwrap())
        };
        let mut child =
            command.stdout(writer(&stdout)).stderr(writer(&stderr)).process_group(0).spawn().unwrap();
        let group = rustix::process::Pid::from_child(&child);
        self.groups.push(group);
        let started = Instant::now();
        let status: Option<ExitStatus> = loop {
            match child.try_wait().unwrap() {
                None if started.elapsed() < TIME_LIMIT => thread::sleep(Duration::from_millis(5)),
                status => break status,
            }
        };
        if status.is_none() {
            end_group(group);
            child.wait().unwrap();
        }
        let [output, errors] = [stdout, stderr].map(|file| fs::read_to_string(file.path()).unwrap());
        let end = match status {
            Some(status) if status.success() => {
                self.output = Some(output);
                return Ok(());
            }
            Some(status) => status.to_string(),
            None => format!("no end within {TIME_LIMIT:?}"),
        };
        Err(format!(
            "{end}; beside BASIC_PROGRAMS of tests/docs/commands.rs, only programs that `needs` lists are in \
             PATH\n{output}{errors}"
        ))
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        self.groups.iter().copied().for_each(end_group);
    }
}

fn end_group(group: rustix::process::Pid) {
    // Fails if all its processes have ended.
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
}

/// Returns the name of the file that a fence shows: its first line is a comment, and nothing but a relative path.
fn shown_file(text: &str) -> Option<&str> {
    let line = text.lines().next()?;
    let html = line.strip_prefix("<!-- ").and_then(|rest| rest.strip_suffix(" -->"));
    let name = html.or_else(|| line.strip_prefix("# "))?;
    let is_path = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
    (name.contains('.') && !name.contains("..") && !name.starts_with('/') && name.bytes().all(is_path))
        .then_some(name)
}

/// Returns commands of which the last one starts lookoutd, so that its process is the shell's; `None` if the
/// commands do something else.
fn serving_command(commands: &str) -> Option<String> {
    let joined = commands.replace("\\\n", " ");
    let mut lines: Vec<&str> = joined.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let last = lines.pop()?.trim().trim_end_matches('&').trim_end();
    let words: Vec<&str> = last.split_whitespace().collect();
    let variables = words.iter().take_while(|word| is_assignment(word)).count();
    let (variables, program) = words.split_at(variables);
    let arguments = match program {
        ["cargo", "run", "--release", "--", arguments @ ..] | ["lookoutd", arguments @ ..] => arguments,
        ["cargo", "run", "--release"] => &[],
        _ => return None,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let is_option = argument.starts_with("--") && !["--help", "--version"].contains(argument);
        if !is_option || (!argument.contains('=') && rest.next().is_none()) {
            return None; // a verb
        }
    }
    let words: Vec<&str> = [&["exec", "env"], variables, &["lookoutd"], arguments].concat();
    Some(format!("{}\n{}", lines.join("\n"), words.join(" ")))
}

fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Returns the text with the default ports of intake and admin replaced.
fn with_ports(text: &str, [intake, admin]: [&str; 2]) -> String {
    let mut replaced = String::with_capacity(text.len());
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.trim_end_matches(|c: char| !c.is_ascii_digit());
        replaced += match digits {
            "8480" => intake,
            "18480" => admin,
            _ => digits,
        };
        replaced += &part[digits.len()..];
    }
    replaced
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(_, port)| port)
}

/// Returns a shell whose PATH has lookoutd, the basic programs and the needed ones, and whose directory is `root`.
fn bash(root: &Path, needs: &[&str]) -> Command {
    let programs = root.join("target/commands");
    drop(fs::remove_dir_all(&programs)); // of the fence before
    fs::create_dir_all(&programs).unwrap();
    symlink(daemon::binary(), programs.join("lookoutd")).unwrap();
    // cargo runs rustc.
    let more = if needs.contains(&"cargo") { "rustc" } else { "" };
    for name in BASIC_PROGRAMS.split_whitespace().chain(needs.iter().copied()).chain(more.split_whitespace())
    {
        let link = programs.join(name);
        if let Some(path) = program(name).filter(|_| !link.exists()) {
            symlink(path, link).unwrap();
        }
    }
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let mut command =
        Command::new(program("bash").expect("bash is needed to run the commands of the documents"));
    command.args(["-euo", "pipefail"]).current_dir(root).env_clear().stdin(Stdio::null());
    command.env("PATH", &programs).env("HOME", root.join("target"));
    let variables = [
        ("CARGO_HOME", ".cargo"),
        ("RUSTUP_HOME", ".rustup"),
        ("RUSTUP_TOOLCHAIN", ""),
        ("CARGO_NET_OFFLINE", ""),
    ];
    for (name, default) in variables {
        let value =
            std::env::var_os(name).or_else(|| (!default.is_empty()).then(|| home.join(default).into()));
        command.envs(value.map(|value| (name, value)));
    }
    command
}

/// Returns the path of an installed program.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut directories = SYSTEM_PATH.split(':').chain(path.split(':'));
    directories.find_map(|directory| Some(Path::new(directory).join(name)).filter(|path| path.is_file()))
}

/// Copies the repository, so that no command changes it. A folder that no command uses is a link.
fn copy_of_repository(commands: &str) -> TempDir {
    let copy = TempDir::new().unwrap();
    for entry in fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        let (from, to) = (entry.path(), copy.path().join(&name));
        if ["target", ".git"].contains(&name.as_str()) {
            // Large, and no input of a command.
        } else if from.is_dir() && !commands.contains(&format!("{name}/")) {
            symlink(from, to).unwrap();
        } else {
            copy_all(&from, &to);
        }
    }
    copy
}

fn copy_all(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        copy_all(&entry.path(), &to.join(entry.file_name()));
    }
}

#[test]
fn comments_before_fences_are_parsed() {
    let run = |needs: &[&'static str]| Ok(Treatment::Run { needs: needs.to_vec() });
    assert_eq!(treatment("Then run:"), run(&[]));
    assert_eq!(treatment("<!-- /kinds -->"), run(&[]));
    assert_eq!(treatment("<!-- needs: curl jq -->"), run(&["curl", "jq"]));
    assert_eq!(
        treatment("<!-- tested by: tests/e2e/test_x.py -->"),
        Ok(Treatment::TestedBy("tests/e2e/test_x.py"))
    );
    assert_eq!(treatment("<!-- not run: needs a registry -->"), Ok(Treatment::NotRun));
    for wrong in
        ["<!-- not run: no time -->", "<!-- needs: -->", "<!-- need: curl -->", "<!-- tested by: -->"]
    {
        assert!(treatment(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn serving_commands_are_recognized() {
    let exec = |command: &str| Some(format!("\nexec env {command}"));
    assert_eq!(serving_command("cargo run --release\n"), exec("lookoutd"));
    assert_eq!(serving_command("lookoutd --config lookoutd.yaml\n"), exec("lookoutd --config lookoutd.yaml"));
    assert_eq!(serving_command("lookoutd --set a=b &\n"), exec("lookoutd --set a=b"));
    assert_eq!(serving_command("OTEL_X=y lookoutd \\\n  --set=a=b\n"), exec("OTEL_X=y lookoutd --set=a=b"));
    assert_eq!(serving_command("export A=b\nlookoutd\n"), Some("export A=b\nexec env lookoutd".into()));
    for other in
        ["lookoutd check --config lookoutd.yaml", "lookoutd --config a check", "lookoutd --help", "ls"]
    {
        assert_eq!(serving_command(other), None, "{other}");
    }
}

#[test]
fn default_ports_are_replaced() {
    let replaced = with_ports("curl 127.0.0.1:8480/a :18480/b 184800 x8480", ["1", "2"]);
    assert_eq!(replaced, "curl 127.0.0.1:1/a :2/b 184800 x1");
}

#[test]
fn files_are_recognized_by_their_first_line() {
    assert_eq!(shown_file("# lookoutd.yaml\nlisten: x\n"), Some("lookoutd.yaml"));
    assert_eq!(shown_file("<!-- site/index.html -->\n"), Some("site/index.html"));
    for other in ["# a comment.\n", "listen: x\n", "# ../lookoutd.yaml\n", "# /etc/lookoutd.yaml\n", ""] {
        assert_eq!(shown_file(other), None, "{other}");
    }
}
