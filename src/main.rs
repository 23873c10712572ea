//! The binary: parse, load, run, exit code.

use std::io::Write;
use std::process::ExitCode;

use lookoutd::cli::{self, Task};
use lookoutd::{diagnostics, run};

fn main() -> ExitCode {
    let (mut stdout, mut stderr) = (std::io::stdout(), std::io::stderr());
    let loaded = match cli::run(std::env::args_os(), cli::environment(), &mut stdout, &mut stderr) {
        Task::Exit(code) => return ExitCode::from(code),
        Task::Serve(loaded) => loaded,
    };
    if let Err(error) = diagnostics::start(&loaded.settings.log) {
        let _ = writeln!(stderr, "lookoutd: cannot start the thread for diagnostics: {error}");
        return ExitCode::FAILURE;
    }
    let code = match run::run(&loaded.settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    };
    diagnostics::flush();
    code
}
