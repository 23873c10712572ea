//! The binary: parse, load, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use lookoutd::cli::{self, Action};
use lookoutd::{diagnostics, run};

fn main() -> ExitCode {
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    let loaded = match cli::run(std::env::args_os(), cli::environment(), &mut stdout, &mut stderr) {
        Action::Exit(code) => return ExitCode::from(code),
        Action::Serve(loaded) => loaded,
    };
    if let Err(error) = diagnostics::init(&loaded.config.log) {
        let _ = writeln!(stderr, "lookoutd: cannot start the thread for diagnostics: {error}");
        return ExitCode::FAILURE;
    }
    let code = match run::run(&loaded.config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    };
    diagnostics::flush();
    code
}
