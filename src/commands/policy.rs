//! `lookoutd policy`: proposes a policy from saved events or from the findings of a running lookoutd.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde_json::Value;

use super::admin::AdminClient;
use super::error::{CommandError, written};
use crate::model::escape_hidden;
use crate::policy::{Policy, Proposer};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest response of admin, in bytes: 1,000 findings of at most 4 KiB.
const MAX_RESPONSE: u64 = 16 << 20;
/// Length from which servers and proxies may not accept a header.
const LONG_HEADER: usize = 4096;
/// Lines between two looks at the clock.
const PROGRESS_LINES: u64 = 4096;

/// What the command prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The header's value; the reasons go to stderr.
    Header,
    /// Everything, as the API has it.
    Json,
}

/// Where the reports come from.
#[derive(Debug)]
pub enum Input {
    /// Lines of the console export or a list of the API; `-` is stdin.
    File(PathBuf),
    /// The findings of a running lookoutd.
    Admin(AdminClient),
}

/// Reads the reports, and prints the policy.
///
/// # Errors
/// Returns an error if the reports cannot be read, or there are none of the site.
pub fn propose(
    mut proposer: Proposer,
    input: &Input,
    format: Format,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<(), CommandError> {
    let unread = match input {
        Input::File(path) if path.as_os_str() == "-" => read(io::stdin().lock(), &mut proposer, stderr),
        Input::File(path) => {
            File::open(path).and_then(|file| read(BufReader::new(file), &mut proposer, stderr))
        }
        Input::Admin(admin) => read_findings(admin, &mut proposer)?,
    };
    let source = match input {
        Input::File(path) => path.display().to_string(),
        Input::Admin(_) => "the findings".to_owned(),
    };
    let unread = unread.map_err(|error| CommandError::Io(format!("read {source}"), error))?;
    if unread > 0 {
        let _ = writeln!(stderr, "lookoutd: {source}: {unread} lines that are no events were left out");
    }
    let policy = proposer.finish();
    if policy.directives.is_empty() {
        let message = format!(
            "found no csp-violation of site {} in {source}, so there is nothing to propose",
            policy.site
        );
        return Err(CommandError::Failed(message));
    }
    match format {
        Format::Json => {
            let json = serde_json::to_string_pretty(&policy).map_err(io::Error::other);
            written(json.and_then(|json| writeln!(stdout, "{json}")))
        }
        Format::Header => {
            let _ = write_reasons(&policy, stderr);
            written(writeln!(stdout, "{}", policy.value))
        }
    }
}

fn read_findings(admin: &AdminClient, proposer: &mut Proposer) -> Result<io::Result<u64>, CommandError> {
    for kind in ["csp-violation", "csp-hash"] {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs([
            ("site", proposer.site()),
            ("kind", kind),
            ("sort", "clients"),
            ("limit", "1000"),
        ]);
        let path = format!("/api/v1/findings?{}", query.finish());
        let text = admin.get(&path, "application/json", TIMEOUT)?.text(MAX_RESPONSE);
        match text.and_then(|text| serde_json::from_str::<Value>(&text).map_err(io::Error::other)) {
            Ok(findings) => proposer.add(&findings),
            Err(error) => return Ok(Err(error)),
        };
    }
    Ok(Ok(0))
}

/// Reads a JSON value per line, or one in all. Returns the number of lines that could not be used.
fn read(mut input: impl BufRead, proposer: &mut Proposer, stderr: &mut dyn Write) -> io::Result<u64> {
    let (mut line, mut lines, mut unread) = (Vec::new(), 0, 0);
    let mut shown = io::stderr().is_terminal().then(Instant::now);
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            return Ok(unread);
        }
        lines += 1;
        if lines == 1 && serde_json::from_slice::<Value>(&line).is_err() {
            let mut all = line.clone();
            input.read_to_end(&mut all)?;
            if let Ok(value) = serde_json::from_slice::<Value>(&all) {
                return Ok(u64::from(!proposer.add(&value)));
            }
            // Lines after all, the first of which is none.
            let rest = all.splice(..line.len(), []).count();
            return Ok(read(&all[..], proposer, stderr)? + u64::from(rest > 0));
        }
        let is_blank = line.iter().all(u8::is_ascii_whitespace);
        let is_read = is_blank || serde_json::from_slice(&line).is_ok_and(|value| proposer.add(&value));
        unread += u64::from(!is_read);
        if lines % PROGRESS_LINES == 0
            && let Some(last) = shown.as_mut().filter(|last| last.elapsed() > Duration::from_secs(1))
        {
            *last = Instant::now();
            write!(stderr, "lookoutd: {lines} lines read\r")?;
        }
    }
}

/// Writes a line for each source.
fn write_reasons(policy: &Policy, out: &mut dyn Write) -> io::Result<()> {
    for directive in &policy.directives {
        for source in &directive.sources {
            let clients = source.clients.map_or(String::new(), |clients| format!(", {clients} clients"));
            let pages: Vec<_> = source.pages.iter().map(|page| page.url.as_str()).collect();
            let line = format!(
                "{} {} {}: {} ({} reports{clients}, {} to {}, on {})",
                if source.proposed { "+" } else { "-" },
                directive.directive,
                source.source,
                source.reason,
                source.count,
                source.first_seen,
                source.last_seen,
                pages.join(" "),
            );
            writeln!(out, "{}", escape_hidden(line.into(), false))?;
        }
    }
    if policy.value.len() > LONG_HEADER {
        writeln!(
            out,
            "lookoutd: the header has {} bytes; servers and proxies may not accept it",
            policy.value.len()
        )?;
    }
    Ok(())
}
