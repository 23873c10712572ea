//! `lookoutd tail`: the reports of a running lookoutd as they arrive, one line for each.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::admin::{Admin, CommandError, write_json, write_line};
use crate::config::Config;
use crate::signals;

/// Time without data after which the connection counts as lost; admin sends a comment every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Longest line of the stream, far above that of an event.
const MAX_LINE: u64 = 4 << 20;

/// Prints reports as they arrive.
#[derive(Debug, Args)]
pub struct Tail {
    /// Only reports of this site.
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Only reports of this kind.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only reports of this noise class; none is what is no noise.
    #[arg(long, value_name = "CLASS")]
    noise: Option<String>,
    /// Prints the lines of the console export instead of a summary.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: Admin,
}

impl Tail {
    /// Prints reports until the output is closed. SIGINT ends the process with code 0.
    ///
    /// # Errors
    /// Returns an error if admin does not answer, or ends the stream.
    pub fn run(
        self,
        config: &Config,
        out: &mut dyn Write,
        progress: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let interrupted = signals::listen(Duration::ZERO, Arc::default());
        let interrupted = interrupted.map_err(|error| CommandError::cannot("listen for signals", error))?;
        std::thread::spawn(move || {
            let _ = interrupted.blocking_recv();
            std::process::exit(0)
        });
        let filter = [("site", &self.site), ("kind", &self.kind), ("noise", &self.noise)];
        let filter: Vec<_> =
            filter.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?))).collect();
        let response = self.admin.get("/api/v1/events", &filter, "text/event-stream", SILENCE, config)?;
        if io::stderr().is_terminal() {
            write_line("lookoutd: connected, waiting for reports; Ctrl+C ends", progress)?;
        }
        self.print(response.body, out)
    }

    fn print(&self, mut stream: impl BufRead, out: &mut dyn Write) -> Result<(), CommandError> {
        let (mut event, mut data, mut line) = (String::new(), String::new(), String::new());
        loop {
            line.clear();
            let read = stream.by_ref().take(MAX_LINE).read_line(&mut line);
            if read.map_err(|error| CommandError::cannot("read the stream", error))? == 0 {
                return Err(CommandError("the daemon ended the stream".to_owned()));
            }
            match line.trim_end().split_once(':') {
                Some(("event", value)) => value.trim_start().clone_into(&mut event),
                Some(("data", value)) => data.push_str(value.trim_start()),
                Some(_) => {}
                None => {
                    let write = if self.json { write_json } else { write_line };
                    let shown = self.describe(&event, &data);
                    if !shown.map_or(Ok(true), |shown| write(&shown, out))? {
                        return Ok(());
                    }
                    event.clear();
                    data.clear();
                }
            }
        }
    }

    /// Returns the line that is shown for an event of the stream.
    fn describe(&self, event: &str, data: &str) -> Option<String> {
        let value: Value = serde_json::from_str(data).ok()?;
        if event == "missed" {
            return Some(format!("… {} events missed", value["count"])).filter(|_| !self.json);
        }
        if self.json {
            return Some(data.to_owned());
        }
        let text = |name: &str| value["lookout"][name].as_str().unwrap_or_default();
        let noise = Some(text("noise")).filter(|class| *class != "none").map(|class| format!("[{class}] "));
        let time = text("occurred").get(11..19).unwrap_or_default();
        let [site, kind, severity, summary] = ["site", "kind", "severity", "summary"].map(text);
        Some(format!("{time} {site} {kind} {severity} {}{summary}", noise.unwrap_or_default()))
    }
}
