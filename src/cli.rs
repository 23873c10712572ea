//! The command line: what is to be done, and with which settings. Everything is written through the
//! writers given, so that tests read what a person would.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{self, Flag, Flags, Loaded};
use crate::probe::{self, Probe};

/// Exit code of a start that the settings or the command line stopped.
const EXIT_INVALID_CONFIG: u8 = 2;
/// Exit code when what was asked for could not be written.
const EXIT_IO_ERROR: u8 = 1;
/// Exit code of `lookoutd health` when the daemon is not well.
const EXIT_UNHEALTHY: u8 = 1;

/// What is left to do once the command line was read.
#[derive(Debug)]
pub enum Action {
    /// Serve with these settings.
    Serve(Box<Loaded>),
    /// Nothing: exit with this code.
    Exit(u8),
}

/// Receives every report a browser can send and turns each into one log event and labelled counters.
#[derive(Debug, Parser)]
#[command(name = "lookoutd", version)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Checks the settings and exits: 0 when lookoutd would start with them, 2 when not.
    Check,
    /// Prints every setting as YAML, with its effective value, its default and where it came from.
    Config,
    /// Asks the lookoutd that runs with the same settings how it is: 0 when well, 1 when not.
    Health {
        /// Whether it is ready (intake accepts, no export has failed for too long), not only whether it runs.
        #[arg(long)]
        ready: bool,
    },
}

#[derive(Debug, Args)]
struct Options {
    /// The YAML file with the settings (also: LOOKOUT_CONFIG).
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Where intake (public) listens [default: 0.0.0.0:8480].
    #[arg(long, value_name = "ADDRESS", global = true)]
    listen: Option<String>,
    /// Where admin (metrics, health; private) listens [default: 127.0.0.1:18480].
    #[arg(long, value_name = "ADDRESS", global = true)]
    admin_listen: Option<String>,
    /// How diagnostics are written: text or json [default: text].
    #[arg(long, value_name = "FORMAT", global = true)]
    log_format: Option<String>,
    /// The least severe diagnostics: error, warn, info, debug or trace [default: info].
    #[arg(long, value_name = "LEVEL", global = true)]
    log_level: Option<String>,
    /// Any setting by its key, such as metrics.max_series=20000; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_override, global = true)]
    set: Vec<Flag>,
}

fn parse_override(text: &str) -> Result<Flag, String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    let key = key.trim();
    Ok(Flag { name: format!("--set {key}"), key: key.to_owned(), value: value.to_owned() })
}

impl Options {
    /// Flags with a name of their own go over `--set` of the same key.
    fn into_overrides(self) -> Flags {
        let named = [
            ("--listen", "listen", self.listen),
            ("--admin-listen", "admin_listen", self.admin_listen),
            ("--log-format", "log.format", self.log_format),
            ("--log-level", "log.level", self.log_level),
        ];
        let mut settings = self.set;
        settings.extend(named.into_iter().filter_map(|(name, key, value)| {
            value.map(|value| Flag { name: name.to_owned(), key: key.to_owned(), value })
        }));
        Flags { config: self.config, settings }
    }
}

/// Reads the command line and the settings, and does everything but serving. `arguments` begins with
/// the program's name. Messages go to `stderr`, what was asked for to `stdout`.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: impl Iterator<Item = (String, String)>,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Action {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => return report_clap_error(&error, stdout, stderr),
    };
    let loaded = match config::load(&arguments.options.into_overrides(), environment) {
        Ok(loaded) => loaded,
        Err(error) => return exit(writeln!(stderr, "lookoutd: {error}"), EXIT_INVALID_CONFIG),
    };
    match arguments.command {
        None => Action::Serve(Box::new(loaded)),
        Some(Command::Check) => exit(writeln!(stdout, "ok: {}", loaded.summary()), 0),
        Some(Command::Config) => exit(loaded.write_yaml(stdout), 0),
        Some(Command::Health { ready }) => {
            let probe = if ready { Probe::Ready } else { Probe::Healthy };
            match probe::run(loaded.config.admin_listen, probe) {
                Ok(()) => Action::Exit(0),
                Err(message) => exit(writeln!(stderr, "lookoutd: {message}"), EXIT_UNHEALTHY),
            }
        }
    }
}

/// Help and version go to stdout and are no failure.
fn report_clap_error(error: &clap::Error, stdout: &mut dyn Write, stderr: &mut dyn Write) -> Action {
    let text = error.render();
    if error.use_stderr() {
        exit(write!(stderr, "{text}"), EXIT_INVALID_CONFIG)
    } else {
        exit(write!(stdout, "{text}"), 0)
    }
}

fn exit(written: io::Result<()>, code: u8) -> Action {
    Action::Exit(if written.is_ok() { code } else { code.max(EXIT_IO_ERROR) })
}

/// The process' environment. What is not UTF-8 is taken with replacement characters: in a variable
/// that is nobody's setting it does not matter, in another the setting's own check says what is wrong.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |text: OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The task, stdout and stderr of a command line.
    fn run_with(arguments: &[&str], variables: &[(&str, &str)]) -> (Action, String, String) {
        let arguments = ["lookoutd"].iter().chain(arguments).map(OsString::from);
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let action = run(arguments, variables, &mut stdout, &mut stderr);
        (action, String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    }

    fn ended(arguments: &[&str]) -> (u8, String, String) {
        match run_with(arguments, &[]) {
            (Action::Exit(code), stdout, stderr) => (code, stdout, stderr),
            (Action::Serve(_), ..) => panic!("{arguments:?} serves"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn without_a_command_it_serves_with_the_flags_settings() {
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
        let settings = loaded.config;
        assert_eq!(settings.listen, "127.0.0.1:1".parse().unwrap());
        assert_eq!(settings.admin_listen, "127.0.0.1:2".parse().unwrap());
        assert_eq!(settings.log.format, config::settings::LogFormat::Json);
        assert_eq!(settings.log.level, config::settings::LogLevel::Warn);
        assert_eq!(settings.metrics.max_series, 2000);
        assert_eq!((stdout.as_str(), stderr.as_str()), ("", ""));
    }

    #[test]
    fn check_says_ok_or_what_is_wrong() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        std::fs::write(path, "metrics: { max_series: 2000 }").unwrap();
        let (code, stdout, stderr) = ended(&["check", "--config", path]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.starts_with(&format!("ok: settings from {path}: 1, ")), "{stdout}");
        std::fs::write(path, "\nmetrics: { max_serie: 2000 }").unwrap();
        for arguments in [&["check", "--config", path][..], &["--config", path, "check"], &["--config", path]]
        {
            let (code, stdout, stderr) = ended(arguments);
            assert_eq!((code, stdout.as_str()), (2, ""));
            let message = "2: metrics.max_serie: unknown key; did you mean metrics.max_series?";
            assert_eq!(stderr, format!("lookoutd: {path}:{message}\n"));
        }
    }

    #[test]
    fn config_prints_every_setting() {
        let (code, stdout, stderr) = ended(&["config", "--log-level", "debug"]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert!(stdout.contains("  level: debug # flag --log-level (default info)\n"), "{stdout}");
    }

    #[test]
    fn health_asks_where_admin_listens() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let (code, stdout, stderr) = ended(&["health", "--ready", "--admin-listen", &address]);
        assert_eq!((code, stdout.as_str()), (1, ""));
        let message = format!("lookoutd: no answer from http://{address}/-/ready: ");
        assert!(stderr.starts_with(&message), "{stderr}");
        assert_eq!(ended(&["health", "--admin-listen", "here"]).0, 2);
    }

    #[test]
    fn messages_name_the_flag() {
        let (code, _, stderr) = ended(&["--listen", "here"]);
        let message =
            "--listen: expected an address and a port such as 0.0.0.0:8480 or [::]:8480, found \"here\"";
        assert_eq!((code, stderr), (2, format!("lookoutd: {message}\n")));
        let (code, _, stderr) = ended(&["--set", "metrics"]);
        assert_eq!(code, 2);
        assert!(stderr.contains("expected KEY=VALUE"), "{stderr}");
        assert_eq!(ended(&["--lissten", "x"]).0, 2);
        assert_eq!(ended(&["serve-me"]).0, 2);
    }

    #[test]
    fn help_and_version_are_no_failure() {
        let (code, stdout, stderr) = ended(&["--version"]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        assert_eq!(stdout, format!("lookoutd {}\n", env!("CARGO_PKG_VERSION")));
        let (code, stdout, _) = ended(&["--help"]);
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
    }

    #[test]
    fn what_cannot_be_written_is_a_failure() {
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
        assert!(matches!(action, Action::Exit(EXIT_IO_ERROR)));
    }
}
