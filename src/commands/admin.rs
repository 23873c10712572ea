//! Requests to admin, with the credentials of the settings.

use std::path::PathBuf;
use std::time::Duration;

use super::error::CommandError;
use crate::admin;
use crate::config::Config;
use crate::http_client::{Request, Response};
use crate::model::escape_hidden;
use crate::probe;

/// Most bytes of a response that is no success.
const MAX_PROBLEM: u64 = 4096;

/// Admin of a running lookoutd.
#[derive(Debug)]
pub struct AdminClient {
    url: String,
    authorization: Option<String>,
    ca: Option<PathBuf>,
}

impl AdminClient {
    /// Uses the admin at `url`, else that of the settings, which also have the credentials.
    ///
    /// # Errors
    /// Returns an error if the file of a secret cannot be read, or the address is unknown.
    pub fn new(url: Option<String>, ca: Option<PathBuf>, config: &Config) -> Result<Self, CommandError> {
        let failed = |error: admin::AuthError| CommandError::Failed(error.to_string());
        let authorization = admin::authorization(&config.admin.auth).map_err(failed)?;
        let unknown =
            || CommandError::Failed("admin_listen has port 0: name the daemon by --admin URL".to_owned());
        let url = url.or_else(|| probe::admin_url(config.admin_listen)).ok_or_else(unknown)?;
        Ok(AdminClient { url: url.trim_end_matches('/').to_owned(), authorization, ca })
    }

    /// Sends a GET.
    ///
    /// # Errors
    /// Returns an error if the response is not 200.
    pub(super) fn get(&self, path: &str, accept: &str, timeout: Duration) -> Result<Response, CommandError> {
        let url = format!("{}{path}", self.url);
        let mut headers = vec![("Accept", accept)];
        headers.extend(self.authorization.as_deref().map(|value| ("Authorization", value)));
        let request = Request {
            method: "GET",
            url: &url,
            headers: &headers,
            body: "",
            ca: self.ca.as_deref(),
            timeout,
        };
        let failed = |error| CommandError::Io(format!("read {url}"), error);
        let response = request.send().map_err(failed)?;
        if response.status.starts_with("200") {
            return Ok(response);
        }
        let status = response.status.clone();
        let text = response.text(MAX_PROBLEM).unwrap_or_default();
        Err(CommandError::Status(url, status, escape_hidden(text.trim().into(), false).into_owned()))
    }
}
