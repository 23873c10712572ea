//! `lookoutd send`: sends what browsers send to an endpoint, and checks the responses as browsers do.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::{CommandError, written};
use crate::http_client::Request;
use crate::model::escape_hidden;

/// One report of each kind, as its senders send it.
const SAMPLES: &str = include_str!("samples.json");
/// Origin of the pages of the samples.
const ORIGIN: &str = "https://www.shop.example";
const TIMEOUT: Duration = Duration::from_secs(10);
/// Most bytes of a response that is shown.
const MAX_PROBLEM: u64 = 512;

#[derive(Deserialize)]
struct Sample<'s> {
    kind: &'s str,
    content_type: &'s str,
    #[serde(borrow)]
    body: &'s RawValue,
}

/// Which reports are sent: one of a kind, by default of csp-violation.
#[derive(Debug, Default, clap::Args)]
#[group(multiple = false)]
pub struct Kinds {
    /// Sends a report of this kind.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Sends a report of every kind.
    #[arg(long)]
    pub all: bool,
}

/// Sends a preflight and reports, and prints a line for each.
///
/// # Errors
/// Returns an error if a response is not as browsers need it, or the kind is unknown.
pub fn send(url: &str, kinds: &Kinds, ca: Option<&Path>, stdout: &mut dyn Write) -> Result<(), CommandError> {
    let samples: Vec<Sample<'_>> =
        serde_json::from_str(SAMPLES).map_err(|error| CommandError::Failed(error.to_string()))?;
    let wanted = kinds.kind.as_deref().unwrap_or("csp-violation");
    let chosen: Vec<_> = samples.iter().filter(|sample| kinds.all || sample.kind == wanted).collect();
    if chosen.is_empty() {
        let known: Vec<_> = samples.iter().map(|sample| sample.kind).collect();
        return Err(CommandError::Failed(format!("--kind: expected {}; found {wanted:?}", known.join(", "))));
    }
    let preflight =
        [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "content-type")];
    let mut failed = 0;
    let mut step = |name: &str, method, headers: &[(&str, &str)], body: &str| {
        let result = check(&Request { method, url, headers, body, ca, timeout: TIMEOUT });
        failed += usize::from(result.is_err());
        let line =
            result.map_or_else(|problem| format!("failed {name}: {problem}"), |()| format!("ok {name}"));
        written(writeln!(stdout, "{}", escape_hidden(line.into(), false)))
    };
    step("preflight", "OPTIONS", &[&[("Origin", ORIGIN)], &preflight[..]].concat(), "")?;
    for sample in &chosen {
        let name = format!("{} as {}", sample.kind, sample.content_type);
        step(&name, "POST", &[("Origin", ORIGIN), ("Content-Type", sample.content_type)], sample.body.get())?;
    }
    let of = chosen.len() + 1;
    if failed == 0 { Ok(()) } else { Err(CommandError::Failed(format!("{failed} of {of} steps failed"))) }
}

/// Sends a request. Returns what is wrong with the response.
fn check(request: &Request<'_>) -> Result<(), String> {
    let response = request.send().map_err(|error| format!("no response: {error}"))?;
    let allows = |name: &str, wanted: &str| {
        let value = response.header(name);
        let is_allowed =
            value.split(',').any(|item| item.trim() == "*" || item.trim().eq_ignore_ascii_case(wanted));
        let problem = || format!("expected {name}: {wanted} or *, found {value:?}");
        is_allowed.then_some(()).ok_or_else(problem)
    };
    if !response.status.starts_with("204") {
        let status = response.status.clone();
        let text = response.text(MAX_PROBLEM).unwrap_or_default();
        return Err(format!("expected 204, found {status}: {}", text.trim()));
    }
    allows("Access-Control-Allow-Origin", ORIGIN)?;
    if request.method == "OPTIONS" {
        allows("Access-Control-Allow-Methods", "POST")?;
        allows("Access-Control-Allow-Headers", "content-type")?;
    }
    Ok(())
}
