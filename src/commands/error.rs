//! Errors of commands.

use std::io;

use crate::policy::BaselineError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the messages describe the variants
pub enum CommandError {
    #[error("cannot {0}: {1}")]
    Io(String, io::Error),
    #[error("{0} answers {1}: {2}")]
    Status(String, String, String),
    #[error("{0}")]
    Failed(String),
    #[error("--baseline: {0}")]
    Baseline(#[from] BaselineError),
}

/// Returns the result of an output. A closed one is no error, because its reader has what it needs.
pub(super) fn written(result: io::Result<()>) -> Result<(), CommandError> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::Io("write".to_owned(), error))
        }
        _ => Ok(()),
    }
}
