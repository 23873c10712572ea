//! `lookoutd policy`: proposes a policy from saved events or from the findings of a running lookoutd.

use std::io::{self, BufReader, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum, ValueHint};
use serde_json::Value;

use super::admin::{Admin, CommandError, open, write_line};
use crate::config::Config;
use crate::policy::{self, Proposer, Source};

const TIMEOUT: Duration = Duration::from_secs(30);
/// Length from which servers and proxies may not accept a header.
const LONG_HEADER: usize = 4096;

/// Proposes a policy.
#[derive(Debug, Args)]
pub struct Policy {
    /// The site whose reports are read.
    #[arg(long, value_name = "SITE")]
    site: String,
    /// File with lines of the console export, or with findings of the API; - is stdin. Otherwise the findings of a
    /// running lookoutd are read.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "admin")]
    from: Option<PathBuf>,
    #[command(flatten)]
    admin: Admin,
    /// Value of the present header, which is extended.
    #[arg(long, value_name = "HEADER", default_value = "", hide_default_value = true)]
    baseline: String,
    /// Clients that have to report a source before it is proposed [default: 5, and of saved events, which have no
    /// clients, everything].
    #[arg(long, value_name = "NUMBER")]
    min_clients: Option<u64>,
    /// The header's value, with the reasons on stderr, or everything.
    #[arg(long, value_enum, default_value = "header")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Header,
    Json,
}

impl Policy {
    /// Reads the reports, and prints the policy.
    ///
    /// # Errors
    /// Returns an error if the reports cannot be read, or there are none of the site.
    pub fn run(
        self,
        config: &Config,
        out: &mut dyn Write,
        reasons: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let invalid = |error| CommandError(format!("--baseline: {error}"));
        let mut proposer = Proposer::new(&self.site, &self.baseline, self.min_clients).map_err(invalid)?;
        let from = self.from.as_ref().map_or("the findings".to_owned(), |path| path.display().to_string());
        let cannot = |error| CommandError::cannot(&format!("read {from}"), error);
        let unread = match &self.from {
            Some(path) => open(path).and_then(|file| read(file, &mut proposer, reasons)).map_err(cannot)?,
            None => ["csp-violation", "csp-hash"].iter().try_fold(0, |unread, kind| {
                let parameters =
                    [("site", &*self.site), ("kind", kind), ("sort", "clients"), ("limit", "1000")];
                let path = "/api/v1/findings";
                let response = self.admin.get(path, &parameters, "application/json", TIMEOUT, config)?;
                Ok(unread + read(response.body, &mut proposer, reasons).map_err(cannot)?)
            })?,
        };
        if unread > 0 {
            write_line(&format!("lookoutd: {from}: left out {unread} values that are no events"), reasons)?;
        }
        let policy = proposer.finish();
        if policy.directives.is_empty() {
            let message = format!("{from}: expected a csp-violation of site {}, found none", self.site);
            return Err(CommandError(message));
        }
        if matches!(self.format, Format::Json) {
            let json = serde_json::to_string_pretty(&policy).map_err(io::Error::other);
            let written = json.and_then(|json| writeln!(out, "{json}"));
            return written.map_err(|error| CommandError::cannot("write", error));
        }
        write_reasons(&policy, reasons)?;
        write_line(&policy.value, out).map(|_| ())
    }
}

/// Adds JSON values, each on a line or several. Returns the number of those that are no events.
fn read(input: impl Read, proposer: &mut Proposer, progress: &mut dyn Write) -> io::Result<u64> {
    let (mut unread, mut shown) = (0, Instant::now());
    let values = serde_json::Deserializer::from_reader(BufReader::new(input)).into_iter::<Value>();
    for (index, value) in values.enumerate() {
        match value {
            // The last line of a file that is still being written.
            Err(error) if error.is_eof() => unread += 1,
            value => unread += u64::from(!proposer.add(&value?)),
        }
        if shown.elapsed() > Duration::from_secs(1) && io::stderr().is_terminal() {
            shown = Instant::now();
            write!(progress, "lookoutd: {index} values read\r")?;
        }
    }
    Ok(unread)
}

fn write_reasons(policy: &policy::Policy, out: &mut dyn Write) -> Result<(), CommandError> {
    for directive in &policy.directives {
        for source in &directive.sources {
            let sign = if source.proposed { '+' } else { '-' };
            let count = |number: u64, what| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
            let clients = source.clients.map_or(String::new(), |clients| count(clients, "client") + ", ");
            let reports = count(source.count, "report");
            let pages: Vec<_> = source.pages.iter().map(|page| page.url.as_str()).collect();
            let (name, pages) = (&directive.directive, pages.join(" "));
            let Source { source, reason, first_seen, last_seen, .. } = source;
            let seen = format!("{reports}, {clients}{first_seen} to {last_seen}, on {pages}");
            write_line(&format!("{sign} {name} {source}: {reason} ({seen})"), out)?;
        }
    }
    let length = policy.value.len();
    if length > LONG_HEADER {
        write_line(&format!("lookoutd: servers and proxies may not accept a header of {length} bytes"), out)?;
    }
    Ok(())
}
