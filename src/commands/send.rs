//! `lookoutd send`: sends what browsers send to an endpoint, and checks the responses as browsers do.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::admin::{CommandError, write_line};
use crate::http_client::Request;

/// One report of each kind, as its senders send it.
const SAMPLES: &str = include_str!("samples.json");
const ORIGIN: (&str, &str) = ("Origin", "https://www.shop.example");
const PREFLIGHT: [(&str, &str); 3] =
    [ORIGIN, ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "content-type")];
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

/// Sends reports, by default one csp-violation.
#[derive(Debug, Args)]
pub struct Send {
    /// The endpoint, such as https://reports.example/report/shop.
    #[arg(value_hint = ValueHint::Url)]
    url: String,
    /// Sends a report of this kind.
    #[arg(long, value_name = "KIND", default_value = "csp-violation")]
    kind: String,
    /// Sends a report of every kind.
    #[arg(long, conflicts_with = "kind")]
    all: bool,
    /// PEM file with the only trusted root certificates, instead of the system's.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    ca: Option<PathBuf>,
}

impl Send {
    /// Sends a preflight and reports, and prints a line for each.
    ///
    /// # Errors
    /// Returns an error if a response is not as browsers need it, or the kind is unknown.
    pub fn run(self, out: &mut dyn Write) -> Result<(), CommandError> {
        let samples: Result<Vec<Sample<'_>>, _> = serde_json::from_str(SAMPLES);
        let samples = samples.map_err(|error| CommandError(error.to_string()))?;
        let chosen: Vec<_> = samples.iter().filter(|sample| self.all || sample.kind == self.kind).collect();
        if chosen.is_empty() {
            let known: Vec<_> = samples.iter().map(|sample| sample.kind).collect();
            let message = format!("--kind: expected {}; found {:?}", known.join(", "), self.kind);
            return Err(CommandError(message));
        }
        let mut failed = usize::from(!self.step("preflight", "OPTIONS", &PREFLIGHT, "", out)?);
        for Sample { kind, content_type, body } in &chosen {
            let headers = [ORIGIN, ("Content-Type", *content_type)];
            let name = format!("{kind} as {content_type}");
            failed += usize::from(!self.step(&name, "POST", &headers, body.get(), out)?);
        }
        let message = format!("{failed} of {} steps failed", chosen.len() + 1);
        if failed == 0 { Ok(()) } else { Err(CommandError(message)) }
    }

    /// Sends a request, and prints the result. Returns whether the response is right.
    fn step(
        &self,
        name: &str,
        method: &str,
        headers: &[(&str, &str)],
        body: &str,
        out: &mut dyn Write,
    ) -> Result<bool, CommandError> {
        let (url, ca) = (&*self.url, self.ca.as_deref());
        let (socket, own, timeout) = (None, None, TIMEOUT);
        let problem = check(&Request { method, url, socket, headers, body, ca, own, timeout }).err();
        let line = match &problem {
            Some(problem) => format!("failed {name}: {problem}"),
            None => format!("ok {name}"),
        };
        write_line(&line, out)?;
        Ok(problem.is_none())
    }
}

/// Sends a request. Returns what is wrong with the response.
fn check(request: &Request<'_>) -> Result<(), String> {
    let response = request.send().map_err(|error| format!("no response: {error}"))?;
    if !response.status.starts_with("204") {
        let (status, text) = (response.status.clone(), response.text(MAX_PROBLEM).unwrap_or_default());
        return Err(format!("expected 204, found {status}: {}", text.trim()));
    }
    let required = [("Origin", ORIGIN.1), ("Methods", "POST"), ("Headers", "content-type")];
    for (name, wanted) in required.into_iter().take(if request.method == "OPTIONS" { 3 } else { 1 }) {
        let value = response.header(&format!("Access-Control-Allow-{name}"));
        if !value.split(',').any(|item| item.trim() == "*" || item.trim().eq_ignore_ascii_case(wanted)) {
            return Err(format!("expected Access-Control-Allow-{name}: {wanted} or *, found {value:?}"));
        }
    }
    Ok(())
}
