//! `lookoutd tail`: the reports of a running lookoutd as they arrive, one line for each.

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::time::Duration;

use serde_json::Value;

use super::admin::AdminClient;
use super::error::{CommandError, written};
use crate::model::escape_hidden;

/// Time without data after which the connection counts as lost; admin sends a comment every 15 s.
const SILENCE: Duration = Duration::from_secs(45);
/// Longest line of the stream, far above that of an event.
const MAX_LINE: u64 = 4 << 20;

/// Which reports are shown; all without any value.
#[derive(Debug, Default, clap::Args)]
pub struct Filter {
    /// Only reports of this site.
    #[arg(long, value_name = "SITE")]
    pub site: Option<String>,
    /// Only reports of this kind.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only reports of this noise class; none is what is no noise.
    #[arg(long, value_name = "CLASS")]
    pub noise: Option<String>,
}

/// Prints reports until the output is closed.
///
/// # Errors
/// Returns an error if admin does not answer, or ends the stream.
pub fn tail(
    admin: &AdminClient,
    filter: &Filter,
    json: bool,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<(), CommandError> {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("site", &filter.site), ("kind", &filter.kind), ("noise", &filter.noise)] {
        query.extend_pairs(value.iter().map(|value| (name, value)));
    }
    let path = format!("/api/v1/events?{}", query.finish());
    let mut stream = admin.get(path.trim_end_matches('?'), "text/event-stream", SILENCE)?.body;
    if io::stderr().is_terminal() {
        let _ = writeln!(stderr, "lookoutd: connected, waiting for reports; Ctrl+C ends");
    }
    let (mut event, mut data, mut line) = (String::new(), String::new(), String::new());
    loop {
        line.clear();
        match stream.by_ref().take(MAX_LINE).read_line(&mut line) {
            Ok(0) => return Err(CommandError::Failed("the daemon ended the stream".to_owned())),
            Err(error) => return Err(CommandError::Io("read the stream".to_owned(), error)),
            Ok(_) => {}
        }
        let text = line.trim_end_matches(['\n', '\r']);
        match text.split_once(':') {
            Some(("event", value)) => value.trim_start().clone_into(&mut event),
            Some(("data", value)) => data.push_str(value.trim_start()),
            None if text.is_empty() => {
                if let Some(shown) = describe(&event, &data, json) {
                    let result = writeln!(stdout, "{}", escape_hidden(shown.into(), false));
                    if let Err(error) = result.and_then(|()| stdout.flush()) {
                        return written(Err(error));
                    }
                }
                (event.clear(), data.clear());
            }
            _ => {}
        }
    }
}

/// Returns the line that is shown for an event of the stream.
fn describe(event: &str, data: &str, json: bool) -> Option<String> {
    let value: Value = serde_json::from_str(data).ok()?;
    if event == "missed" {
        return (!json).then(|| format!("… {} events missed", value["count"]));
    }
    if json {
        return Some(data.to_owned());
    }
    let text = |name: &str| value["lookout"][name].as_str().unwrap_or_default();
    let noise = match text("noise") {
        "none" | "" => String::new(),
        noise => format!("[{noise}] "),
    };
    let time = text("occurred").get(11..19).unwrap_or_default();
    Some(format!("{time} {} {} {} {noise}{}", text("site"), text("kind"), text("severity"), text("summary")))
}
