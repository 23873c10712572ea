//! Requests to admin, with the credentials of the settings.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueHint};

use crate::admin;
use crate::config::Config;
use crate::http_client::{Request, Response};
use crate::model::escape_hidden;
use crate::probe;

/// Most bytes of a response that is no success.
const MAX_PROBLEM: u64 = 4096;

/// Why a command failed, with what was expected and found.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CommandError(pub(super) String);

impl CommandError {
    /// Returns the error of an action, such as "read FILE".
    pub(super) fn cannot(action: &str, error: impl std::fmt::Display) -> CommandError {
        CommandError(format!("cannot {action}: {error}"))
    }
}

/// Opens a file, or stdin by the name `-`.
///
/// # Errors
/// Returns an error if the file cannot be opened.
pub fn open(file: &Path) -> io::Result<Box<dyn Read>> {
    Ok(if file.as_os_str() == "-" { Box::new(io::stdin()) } else { Box::new(File::open(file)?) })
}

/// Writes a line. Returns whether the output is still open: a reader may close it when it has what it needs.
pub(super) fn write_line(line: &str, out: &mut dyn Write) -> Result<bool, CommandError> {
    write_json(&escape_hidden(line.into(), false), out)
}

/// Writes a line of JSON, in which the daemon has escaped such characters. Returns whether there is still a reader.
pub(super) fn write_json(line: &str, out: &mut dyn Write) -> Result<bool, CommandError> {
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CommandError::cannot("write", error)),
    }
}

/// The admin of a running lookoutd. Its credentials are those of the settings.
#[derive(Debug, Args)]
pub(super) struct Admin {
    /// URL of admin, or unix: and a path [default: that of the settings].
    #[arg(long, value_name = "URL", value_hint = ValueHint::Url)]
    admin: Option<String>,
    /// PEM file with the only trusted root certificates, instead of the system's.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    ca: Option<PathBuf>,
}

impl Admin {
    /// Requests a path with these parameters. Returns the response with status 200.
    pub(super) fn get(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        accept: &str,
        timeout: Duration,
        config: &Config,
    ) -> Result<Response, CommandError> {
        let unknown = || CommandError("admin_listen has port 0: name the daemon by --admin URL".to_owned());
        let (base, socket) = match self.admin.as_deref().map(|url| (url, url.strip_prefix("unix:"))) {
            Some((_, Some(socket))) => ("http://localhost".to_owned(), Some(Path::new(socket))),
            Some((url, None)) => (url.to_owned(), None),
            None => (probe::admin_url(config).ok_or_else(unknown)?, config.admin_listen.path()),
        };
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let url = format!("{}{path}?{query}", base.trim_end_matches('/'));
        let authorization = admin::authorization(&config.admin.auth);
        let authorization = authorization.map_err(|error| CommandError(error.to_string()))?;
        let mut headers = vec![("Accept", accept)];
        headers.extend(authorization.as_deref().map(|value| ("Authorization", value)));
        let ca = self.ca.as_deref();
        let own = config.admin.tls.files().filter(|_| self.admin.is_none());
        let (own, url, headers) = (own.as_ref(), &*url, &*headers);
        let request = Request { method: "GET", url, socket, headers, body: "", ca, own, timeout };
        let response = request.send();
        let response = response.map_err(|error| CommandError::cannot(&format!("read {url}"), error))?;
        if response.status.starts_with("200") {
            return Ok(response);
        }
        let (status, text) = (response.status.clone(), response.text(MAX_PROBLEM).unwrap_or_default());
        let message = format!("{url} answers {status}: {}", text.trim());
        Err(CommandError(escape_hidden(message.into(), false).into_owned()))
    }
}
