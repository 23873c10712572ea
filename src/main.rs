//! The binary: parses the command line, loads the configuration, runs the daemon.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use lookoutd::cli::{self, Action};
use lookoutd::{daemon, logging};

fn main() -> ExitCode {
    let mut stdout = std::io::stdout();
    let mut stderr = std::io::stderr();
    let loaded = match cli::run(std::env::args_os(), cli::environment(), &mut stdout, &mut stderr) {
        Action::Exit(code) => return ExitCode::from(code),
        Action::Serve(loaded) => loaded,
    };
    if let Err(error) = logging::init(&loaded.config.log) {
        let _ = writeln!(stderr, "lookoutd: cannot start the log thread: {error}");
        return ExitCode::FAILURE;
    }
    let ended = daemon::run(&Arc::from(loaded)).inspect_err(|error| tracing::error!("{error}"));
    logging::flush();
    ended.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}
