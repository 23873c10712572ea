//! The command line: commands and flags. All output goes through the given writers, so that tests can
//! read it.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, Parser, Subcommand, ValueHint};
use clap_complete::Shell;
use http::Uri;

use crate::commands::{self, Policy, Send, Tail};
use crate::config::{self, Config, ConfigErrors, Flag, Flags, Loaded, Setting};
use crate::docs;
use crate::explain::explain;
use crate::intake;
use crate::model::{LabelEnum, UploadOutcome};
use crate::probe::{self, Probe};

const EXIT_INVALID: u8 = 2;
const EXIT_FAILED: u8 = 1;
#[rustfmt::skip]
const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("LOOKOUTD_REVISION"), ", rustc ", env!("LOOKOUTD_RUSTC"), ")");

/// What the process does after the command line is parsed.
#[derive(Debug)]
pub enum Action {
    /// Serve with this configuration.
    Serve(Box<Loaded>),
    /// Exit with this code.
    Exit(u8),
}

/// Receives every report a browser can send and turns each into one log event and labeled counters.
#[derive(Debug, Parser)]
#[command(name = "lookoutd", version = VERSION, subcommand_value_name = "COMMAND")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks the configuration, and loads every file that it names. Exit code 0: valid; 2: invalid.
    Check,
    /// Prints every setting as YAML, with its effective value, source and default.
    Config {
        /// Prints the JSON Schema of the configuration file instead.
        #[arg(long)]
        schema: bool,
    },
    /// Probes the running lookoutd with the same configuration. Exit code 0: healthy; 1: unhealthy.
    Health {
        /// Probes readiness (intake accepts, no export has failed for too long) instead of liveness.
        #[arg(long)]
        ready: bool,
    },
    /// Prints what becomes of an upload: events, series, what was redacted, by which rule. Exit code 0: a report
    /// was taken; 1: none was.
    Explain {
        /// File with the body of the upload; - for stdin.
        #[arg(value_name = "FILE", default_value = "-", value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Path of the upload, with its query.
        #[arg(long, value_name = "PATH", default_value = "/report")]
        path: Uri,
        /// User-Agent of the upload.
        #[arg(long, value_name = "UA")]
        user_agent: Option<String>,
    },
    /// Sends a preflight and reports to an endpoint, as browsers do. Exit code 0: all responses are right; 1: not.
    Send(Send),
    /// Prints the reports of a running lookoutd as they arrive.
    Tail(Tail),
    /// Proposes a Content Security Policy from reports.
    Policy(Policy),
    /// Prints the completions of a shell.
    Completions {
        /// The shell that reads them.
        #[arg(value_name = "bash|zsh|fish", value_parser = ["bash", "zsh", "fish"], hide_possible_values = true)]
        shell: String,
    },
    /// Prints the man page, as roff.
    Man,
    /// Rewrites the generated sections and schemas of the documentation pages.
    Docs {
        /// The directory of the pages.
        #[arg(value_name = "DIRECTORY", default_value = "docs", value_hint = ValueHint::DirPath)]
        directory: PathBuf,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// YAML file with the configuration (also: LOOKOUT_CONFIG).
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, global = true)]
    config: Option<PathBuf>,
    #[arg(long, value_name = "ADDRESS", help = help_of("listen"), global = true)]
    listen: Option<String>,
    #[arg(long, value_name = "ADDRESS", help = help_of("admin_listen"), global = true)]
    admin_listen: Option<String>,
    #[arg(long, value_name = "FORMAT", help = help_of("log.format"), global = true)]
    log_format: Option<String>,
    #[arg(long, value_name = "LEVEL", help = help_of("log.level"), global = true)]
    log_level: Option<String>,
    #[arg(long, help = help_of("watch"), global = true)]
    watch: bool,
    /// Any setting by its key, such as metrics.max_series=20000. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_override, global = true)]
    set: Vec<Flag>,
}

/// Returns the help text of a setting, with its default.
fn help_of(key: &str) -> String {
    let text = |it: &Setting| Some(format!("{} [default: {}]", it.comment, it.default.ok()?));
    config::reference().find(|setting| setting.key == key).and_then(text).unwrap_or_default()
}

fn parse_override(text: &str) -> Result<Flag, String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    let key = key.trim();
    Ok(Flag { name: format!("--set {key}"), key: key.to_owned(), value: value.to_owned() })
}

impl Options {
    /// Returns the overrides. A named flag takes precedence over `--set` of the same key.
    fn into_overrides(self) -> Flags {
        let named = [
            ("--listen", "listen", self.listen),
            ("--admin-listen", "admin_listen", self.admin_listen),
            ("--log-format", "log.format", self.log_format),
            ("--log-level", "log.level", self.log_level),
            ("--watch", "watch", self.watch.then(|| "true".to_owned())),
        ];
        let mut settings = self.set;
        settings.extend(named.into_iter().filter_map(|(name, key, value)| {
            value.map(|value| Flag { name: name.to_owned(), key: key.to_owned(), value })
        }));
        Flags { config: self.config, settings }
    }
}

/// Parses the command line, loads the configuration if the command needs it, and runs every command except
/// serving. `arguments` start with the program's name. Results go to `stdout`, messages to `stderr`.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Iterator<Item = (String, String)>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Action {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() => return exit(write!(stderr, "{error}"), EXIT_INVALID),
        // The help text, or the version.
        Err(error) => return exit(write!(stdout, "{error}"), 0),
    };
    match &arguments.command {
        Some(Command::Completions { shell }) => return exit(write_completions(shell, stdout), 0),
        Some(Command::Man) => return exit(docs::write_man_page(Arguments::command(), stdout), 0),
        Some(Command::Docs { directory }) => return end(docs::write_pages(directory), stderr),
        Some(Command::Config { schema: true }) => {
            return exit(write!(stdout, "{}", config::json_schema()), 0);
        }
        _ => {}
    }
    let loaded = match config::load(&arguments.options.into_overrides(), environment) {
        Ok(loaded) => loaded,
        Err(ConfigErrors(errors, config)) => {
            let mut errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            if matches!(arguments.command, Some(Command::Check)) {
                errors.extend(commands::unusable_files(&config));
            }
            return invalid(&errors, stderr);
        }
    };
    if arguments.command.is_some() {
        for warning in &loaded.config.warnings {
            let _ = writeln!(stderr, "lookoutd: warning: {warning}");
        }
    }
    match arguments.command {
        // The commands that need no configuration have ended above.
        None | Some(Command::Completions { .. } | Command::Man | Command::Docs { .. }) => {
            Action::Serve(Box::new(loaded))
        }
        Some(Command::Check) => match commands::unusable_files(&loaded.config) {
            errors if errors.is_empty() => exit(writeln!(stdout, "ok: {}", loaded.summary()), 0),
            errors => invalid(&errors, stderr),
        },
        Some(Command::Explain { file, path, user_agent }) => {
            match write_explanation(&loaded.config, &file, &path, user_agent.as_deref(), stdout) {
                Ok(UploadOutcome::Accepted) => Action::Exit(0),
                Ok(outcome) => {
                    let detail = intake::problem_detail(outcome).unwrap_or("no report was taken");
                    fail(format!("{}: {detail}", outcome.as_str()), stderr)
                }
                Err(error) => fail(format!("{}: {error}", file.display()), stderr),
            }
        }
        Some(Command::Config { .. }) => exit(loaded.write_yaml(stdout), 0),
        Some(Command::Send(send)) => end(send.run(stdout), stderr),
        Some(Command::Tail(tail)) => end(tail.run(&loaded.config, stdout, stderr), stderr),
        Some(Command::Policy(policy)) => end(policy.run(&loaded.config, stdout, stderr), stderr),
        Some(Command::Health { ready }) => {
            let probe = if ready { Probe::Ready } else { Probe::Healthy };
            end(probe::run(&loaded.config, probe), stderr)
        }
    }
}

/// Explains an upload, and returns its outcome.
fn write_explanation(
    config: &Config,
    file: &Path,
    path: &Uri,
    user_agent: Option<&str>,
    stdout: &mut dyn Write,
) -> io::Result<UploadOutcome> {
    let mut body = Vec::new();
    commands::open(file)?.read_to_end(&mut body)?;
    let (document, outcome) = explain(config, path, user_agent, &body).map_err(io::Error::other)?;
    writeln!(stdout, "{document:#}")?;
    Ok(outcome)
}

/// Lists what is wrong with the configuration.
fn invalid(errors: &[String], stderr: &mut dyn Write) -> Action {
    let written = errors.iter().try_for_each(|error| writeln!(stderr, "lookoutd: {error}"));
    exit(written, EXIT_INVALID)
}

/// Ends a command.
fn end(result: Result<(), impl Display>, stderr: &mut dyn Write) -> Action {
    result.map_or_else(|error| fail(error, stderr), |()| Action::Exit(0))
}

fn write_completions(shell: &str, out: &mut dyn Write) -> io::Result<()> {
    let shell: Shell = shell.parse().map_err(io::Error::other)?;
    // The generator panics where the output fails, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "lookoutd", &mut script);
    out.write_all(&script)
}

fn fail(message: impl Display, stderr: &mut dyn Write) -> Action {
    exit(writeln!(stderr, "lookoutd: {message}"), EXIT_FAILED)
}

fn exit(written: io::Result<()>, code: u8) -> Action {
    Action::Exit(if written.is_ok() { code } else { code.max(EXIT_FAILED) })
}

/// Returns the process environment. Invalid UTF-8 is replaced, so that the check of the setting concerned
/// reports it, and other variables have no effect.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns action, stdout and stderr of a command line.
    fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> (Action, String, String) {
        let arguments = ["lookoutd"].iter().chain(arguments).map(OsString::from);
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut stdout = Vec::new();
        let mut stderr = Vec::new();
        let action = run(arguments, variables, &mut stdout, &mut stderr);
        (action, String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    fn exit_of(arguments: &[&str]) -> (u8, String, String) {
        match run_with(arguments, &[]) {
            (Action::Exit(code), stdout, stderr) => (code, stdout, stderr),
            (Action::Serve(_), ..) => panic!("{arguments:?} serves"),
        }
    }

    #[test]
    fn arguments_definition_is_valid() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn run_without_command_serves_with_flags() {
        let flags = [
            "--listen",
            "127.0.0.1:1",
            "--admin-listen=127.0.0.1:2",
            "--log-format",
            "json",
            "--log-level",
            "warn",
            "--set",
            "metrics.max_series=2000",
            "--set",
            "listen=127.0.0.1:9",
        ];
        let (Action::Serve(loaded), stdout, stderr) = run_with(&flags, &[("LOOKOUT_LISTEN", "127.0.0.1:3")])
        else {
            panic!("it does not serve")
        };
        let config = loaded.config;
        assert_eq!(config.listen, "127.0.0.1:1".parse().unwrap());
        assert_eq!(config.admin_listen, "127.0.0.1:2".parse().unwrap());
        assert_eq!(config.log.format, config::LogFormat::Json);
        assert_eq!(config.log.level, config::LogLevel::Warn);
        assert_eq!(config.metrics.max_series, 2000);
        assert_eq!((stdout.as_str(), stderr.as_str()), ("", ""));
    }

    #[test]
    fn check_valid_or_invalid_file_exits_0_or_2() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        std::fs::write(path, "metrics: { max_series: 2000 }").unwrap();
        let (code, stdout, stderr) = exit_of(&["check", "--config", path]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.starts_with(&format!("ok: settings from {path}: 1, ")), "{stdout}");
        std::fs::write(path, "\nmetrics: { max_serie: 2000 }").unwrap();
        for arguments in [&["check", "--config", path][..], &["--config", path, "check"], &["--config", path]]
        {
            let (code, stdout, stderr) = exit_of(arguments);
            assert_eq!((code, stdout.as_str()), (2, ""));
            let message = "2: metrics.max_serie: unknown key; did you mean metrics.max_series?";
            assert_eq!(stderr, format!("lookoutd: {path}:{message}\n"));
        }
    }

    #[test]
    fn config_command_prints_settings_with_source() {
        let (code, stdout, stderr) = exit_of(&["config", "--log-level", "debug"]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.contains("  level: debug # flag --log-level (default info)\n"), "{stdout}");
    }

    #[test]
    fn health_without_daemon_exits_1() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let (code, stdout, stderr) = exit_of(&["health", "--ready", "--admin-listen", &address]);
        assert_eq!((code, stdout.as_str()), (1, ""));
        let message = format!("lookoutd: no answer from http://{address}/-/ready: ");
        assert!(stderr.starts_with(&message), "{stderr}");
        assert_eq!(exit_of(&["health", "--admin-listen", "here"]).0, 2);
    }

    #[test]
    fn run_invalid_flag_is_named() {
        let (code, _, stderr) = exit_of(&["--listen", "here"]);
        let message = "--listen: expected an address and a port such as 0.0.0.0:8480, [::]:8480, :8480 or localhost:8480, or a socket \
             such as unix:/run/lookoutd/intake.sock, found \"here\"";
        assert_eq!((code, stderr), (2, format!("lookoutd: {message}\n")));
        let (code, _, stderr) = exit_of(&["--set", "metrics"]);
        assert_eq!(code, 2);
        assert!(stderr.contains("expected KEY=VALUE"), "{stderr}");
        assert_eq!(exit_of(&["--lissten", "x"]).0, 2);
        assert_eq!(exit_of(&["serve-me"]).0, 2);
    }

    #[test]
    fn completions_and_man_need_no_valid_configuration() {
        let broken = [("LOOKOUT_NO_SUCH_SETTING", "1")];
        for (shell, start) in [("bash", "_lookoutd()"), ("zsh", "#compdef lookoutd"), ("fish", "# Print an")]
        {
            let (action, stdout, stderr) = run_with(&["completions", shell], &broken);
            assert!(matches!(action, Action::Exit(0)) && stderr.is_empty(), "{stderr}");
            assert!(stdout.starts_with(start), "{stdout}");
            assert!(stdout.contains("admin-listen") && stdout.contains("health"), "{stdout}");
        }
        let (action, page, stderr) = run_with(&["man"], &broken);
        assert!(matches!(action, Action::Exit(0)) && stderr.is_empty(), "{stderr}");
        let page = page.replace("\\-", "-").replace("\\*(Aq", "'");
        for section in
            ["NAME", "SYNOPSIS", "COMMANDS", "OPTIONS", "ENVIRONMENT", "EXIT STATUS", "SIGNALS", "FILES"]
        {
            let quoted = format!("\"{section}\"");
            let heading = if section.contains(' ') { &quoted } else { section };
            assert!(page.contains(&format!(".SH {heading}\n")), "{section}: {page}");
        }
        let command = Arguments::command();
        for verb in command.get_subcommands() {
            assert!(page.contains(&format!("\\fBlookoutd {}\\fR", verb.get_name())), "{verb}");
        }
        for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(page.contains(&format!("\\fB--{flag}\\fR")), "{flag}");
        }
        for setting in config::reference() {
            assert!(page.contains(&setting.variable) && page.contains(setting.comment), "{}", setting.key);
        }
        assert_eq!(exit_of(&["completions", "elvish"]).0, 2);
    }

    #[test]
    fn help_and_version_exit_0() {
        let (code, stdout, stderr) = exit_of(&["--version"]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert_eq!(stdout, format!("lookoutd {VERSION}\n"));
        let (code, stdout, _) = exit_of(&["--help"]);
        assert_eq!(code, 0);
        for word in [
            "check",
            "config",
            "health",
            "--config",
            "--listen",
            "--admin-listen",
            "--log-format",
            "--log-level",
            "--set",
        ] {
            assert!(stdout.contains(word), "{word}");
        }
        for key in ["listen", "admin_listen", "log.format", "log.level"] {
            assert!(help_of(key).contains("[default: "), "{key}");
        }
    }

    #[test]
    fn config_command_with_full_disk_exits_1() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let arguments = ["lookoutd", "config"].map(OsString::from);
        let action = run(arguments, std::iter::empty(), &mut Full, &mut Vec::new());
        assert!(matches!(action, Action::Exit(EXIT_FAILED)));
    }
}
