//! A Content Security Policy from reports: what was blocked, without noise, becomes a list of sources. A pure function
//! of saved events or findings.
//!
//! # Design
//!
//! Any client can send any report, so a report only ever adds a source that is built from checked parts (`source`), and
//! only if enough clients sent it. Findings of one source are not added up, because one client can make any number of
//! them: the number of clients of the largest one counts. What is never proposed is answered with what to do instead.

mod header;
mod source;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use header::BaselineError;
use header::Header;
use source::Origin;

/// Number of clients that have to report a source of a finding.
pub const MIN_CLIENTS: u64 = 5;
const MAX_PAGES: usize = 5;
/// Most sources of a directive that are listed without being proposed.
const MAX_REJECTED: usize = 100;
/// Longest text of a report that stands for a source, in characters.
const MAX_TEXT: usize = 120;

/// A proposed policy.
#[derive(Debug, Serialize)]
pub struct Policy {
    /// The site whose reports it is made of.
    pub site: String,
    /// Value of the header; empty if there are neither reports nor a baseline.
    pub value: String,
    /// The directives that were reported.
    pub directives: Vec<Directive>,
}

/// What a directive blocked.
#[derive(Debug, Serialize)]
#[allow(missing_docs)] // as in a policy
pub struct Directive {
    pub directive: String,
    pub sources: Vec<Source>,
}

/// The reports about one source.
#[derive(Debug, Serialize)]
#[allow(missing_docs)] // as of a finding
pub struct Source {
    /// As a policy has it, or what else was blocked.
    pub source: String,
    pub count: u64,
    /// Least number of distinct clients; absent for saved events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<u64>,
    pub first_seen: String,
    pub last_seen: String,
    pub pages: Vec<Page>,
    /// Whether the header has it.
    pub proposed: bool,
    /// Why, or what to do instead.
    pub reason: String,
    #[serde(skip)]
    answer: Answer,
}

/// A page with its reports.
#[derive(Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // as of a finding
pub struct Page {
    pub url: String,
    pub count: u64,
}

/// Whether a source can be proposed.
#[derive(Debug, PartialEq)]
enum Answer {
    /// If enough clients sent it.
    Host,
    /// The same, but not beside `'unsafe-inline'`, which a hash turns off.
    Hash,
    /// The hash of a file, which is needed only if its origin is not allowed.
    FileHash(String),
    Never(&'static str),
    Noise(String),
}

/// Collects reports of one site, and proposes a policy.
#[derive(Debug)]
pub struct Proposer {
    /// The site.
    pub site: String,
    min_clients: Option<u64>,
    baseline: Header,
    has_baseline: bool,
    /// By position of the directive, its name, and the source; hashes of files come after the hosts.
    sources: BTreeMap<(usize, String, bool, String), Source>,
}

impl Proposer {
    /// Creates a proposer that extends the header `baseline`, which may be empty. Without `min_clients`, the limit is 5
    /// for findings, and everything in saved events is proposed.
    ///
    /// # Errors
    /// Returns an error if the baseline is not the value of one header.
    pub fn new(site: &str, baseline: &str, min_clients: Option<u64>) -> Result<Proposer, BaselineError> {
        let has_baseline = !baseline.trim().is_empty();
        let (site, baseline) = (site.to_owned(), Header::parse(baseline)?);
        Ok(Proposer { site, min_clients, baseline, has_baseline, sources: BTreeMap::new() })
    }

    /// Adds a saved event (a line of the console export) or a finding (as the API has it), or a list of these. Returns
    /// whether all are such; those of other sites and kinds have no effect.
    pub fn add(&mut self, value: &Value) -> bool {
        match value.as_array().or_else(|| value["items"].as_array()) {
            Some(items) => items.iter().filter(|item| !self.add(item)).count() == 0,
            None => self.add_one(value).is_some(),
        }
    }

    fn add_one(&mut self, value: &Value) -> Option<()> {
        let is_event = value["lookout"].is_object();
        let (about, line) = if is_event { (&value["lookout"], value) } else { (value, &value["sample"]) };
        let time = |name: &str| Some(format!("{:.3}", about[name].as_str()?.parse::<Timestamp>().ok()?));
        let [first, last] = if is_event { ["received"; 2] } else { ["first_seen", "last_seen"] };
        let (first_seen, last_seen) = (time(first)?, time(last)?);
        let (kind, site) = (about["kind"].as_str()?, about["site"].as_str()?);
        let body = |name: &str| line["body"][name].as_str().unwrap_or_default();
        let page = Some(body("documentURL")).filter(|url| !url.is_empty()).or(line["url"].as_str());
        let page = page.unwrap_or_default();
        let (directive, source, answer) = match kind {
            _ if site != self.site => return Some(()),
            "csp-violation" => self.judge(body, page),
            "csp-hash" => self.judge_hash(body, page),
            _ => return Some(()),
        };
        let answer = match about["noise"].as_str() {
            Some("none") | None => answer,
            Some(class) => Answer::Noise(class.to_owned()),
        };
        let pages = Vec::<Page>::deserialize(&about["pages"]);
        let new = Source {
            source: source.clone(),
            count: about["count"].as_u64().unwrap_or(1),
            clients: about["clients"].as_u64(),
            first_seen,
            last_seen,
            pages: pages.unwrap_or_else(|_| vec![Page { url: page.to_owned(), count: 1 }]),
            proposed: false,
            reason: String::new(),
            answer,
        };
        let is_file = matches!(new.answer, Answer::FileHash(_));
        match self.sources.entry((Header::rank(&directive), directive, is_file, source)) {
            Entry::Vacant(entry) => _ = entry.insert(new),
            Entry::Occupied(mut entry) => entry.get_mut().merge(new),
        }
        Some(())
    }

    /// Returns directive and source of a violation, and whether they can be proposed.
    fn judge<'v>(&self, body: impl Fn(&str) -> &'v str, page: &str) -> (String, String, Answer) {
        let (effective, blocked) = (body("effectiveDirective"), body("blockedURL"));
        let shown = |text: &str| match text {
            "" => "unnamed".to_owned(),
            text => text.chars().take(MAX_TEXT).collect(),
        };
        let Some(directive) = self.baseline.target(effective) else {
            return (shown(effective), shown(blocked), Answer::Never(never_extended(effective)));
        };
        let hash = source::hash_of_sample(body("sample"));
        let (source, answer) = match blocked.split(':').next().unwrap_or_default() {
            "inline" if effective.ends_with("-attr") => {
                ("inline attribute".to_owned(), Answer::Never(ATTRIBUTE))
            }
            "inline" => hash.map_or((shown(blocked), Answer::Never(INLINE)), |hash| (hash, Answer::Hash)),
            "eval" | "wasm-eval" => (shown(blocked), Answer::Never(EVAL)),
            scheme @ ("data" | "blob") if matches!(directive, "img-src" | "font-src" | "media-src") => {
                (format!("{scheme}:"), Answer::Host)
            }
            scheme @ ("data" | "blob") => (format!("{scheme}:"), Answer::Never(SCHEME)),
            _ => match Origin::source(blocked, page) {
                Some(source) => (source, Answer::Host),
                None => (shown(blocked), Answer::Never("not proposed: not the address of a host")),
            },
        };
        (directive.to_owned(), source, answer)
    }

    /// Returns directive and source of a reported hash.
    fn judge_hash<'v>(&self, body: impl Fn(&str) -> &'v str, page: &str) -> (String, String, Answer) {
        let directive = self.baseline.target("script-src-elem").unwrap_or_default().to_owned();
        let origin = Origin::source(body("subresourceURL"), page).unwrap_or_default();
        match source::reported_hash(body("hash")) {
            Some(hash) => (directive, hash, Answer::FileHash(origin)),
            None => (directive, "hash".to_owned(), Answer::Never("not proposed: the browser sent no hash")),
        }
    }

    /// Returns the policy.
    pub fn finish(mut self) -> Policy {
        let mut header = self.baseline.clone();
        let mut directives: Vec<Directive> = Vec::new();
        for ((_, name, ..), source) in std::mem::take(&mut self.sources) {
            match directives.last_mut() {
                Some(last) if last.directive == name => last.sources.push(source),
                _ => directives.push(Directive { directive: name, sources: vec![source] }),
            }
        }
        for directive in &mut directives {
            let granted = self.baseline.granted(&directive.directive);
            let mut tokens = granted.to_vec();
            for source in &mut directive.sources {
                (source.proposed, source.reason) = self.weigh(source, &directive.directive, &tokens);
                if source.proposed && !tokens.contains(&source.source) {
                    tokens.push(source.source.clone());
                }
            }
            if tokens != granted {
                header.set(&directive.directive, tokens);
            }
            // What most clients sent comes first, because one client can send any number of other sources.
            directive.sources.sort_by_key(|source| Reverse((source.proposed, source.clients, source.count)));
            let proposed = directive.sources.iter().filter(|source| source.proposed).count();
            directive.sources.truncate(proposed + MAX_REJECTED);
        }
        let is_empty = directives.is_empty() && !self.has_baseline;
        let value = if is_empty { String::new() } else { header.value() };
        Policy { site: self.site, value, directives }
    }

    /// Returns whether a source is proposed beside these tokens, and why.
    fn weigh(&self, source: &Source, directive: &str, tokens: &[String]) -> (bool, String) {
        let has = |token: &str| tokens.iter().any(|known| known.eq_ignore_ascii_case(token));
        let is_script = directive.starts_with("script-src");
        let never = match &source.answer {
            Answer::Never(reason) => *reason,
            Answer::Noise(class) => return (false, format!("left out as noise: {class}")),
            _ if has(&source.source) => return (true, "is in the baseline".to_owned()),
            Answer::FileHash(origin) if has(origin) => "not needed: the policy allows the file's origin",
            Answer::FileHash(_) if source.clients.is_none() => {
                "not proposed: a reported hash needs the number of its clients"
            }
            Answer::Hash | Answer::FileHash(_) if has("'unsafe-inline'") => {
                "not proposed: a hash would turn off 'unsafe-inline' of the baseline"
            }
            Answer::Host if is_script && has("'strict-dynamic'") => {
                "not proposed: 'strict-dynamic' makes browsers ignore hosts; use a nonce"
            }
            _ => "",
        };
        let note = if source.answer == Answer::Hash { HASH } else { "" };
        let limit = self.min_clients.unwrap_or(MIN_CLIENTS);
        let plural = if source.clients == Some(1) { "" } else { "s" };
        match source.clients {
            _ if !never.is_empty() => (false, never.to_owned()),
            Some(clients) if clients < limit => {
                (false, format!("not proposed, might be an attack: {clients} client{plural}"))
            }
            Some(clients) => (true, format!("sent by at least {clients} client{plural}{note}")),
            None if self.min_clients.is_some() => {
                (false, format!("not proposed, might be an attack: clients unknown, {limit} required"))
            }
            None => (true, format!("clients unknown, and any client can send such a report: check it{note}")),
        }
    }
}

impl Source {
    /// Adds other reports of the same source. Noise does not count beside reports that are none.
    fn merge(&mut self, other: Source) {
        match [&self.answer, &other.answer].map(|answer| matches!(answer, Answer::Noise(_))) {
            [true, false] => return *self = other,
            [false, true] => return,
            _ => {}
        }
        self.count = self.count.saturating_add(other.count);
        // Not the sum, because one client can send reports of many findings.
        self.clients = self.clients.max(other.clients);
        self.first_seen = other.first_seen.min(std::mem::take(&mut self.first_seen));
        self.last_seen = other.last_seen.max(std::mem::take(&mut self.last_seen));
        for page in other.pages {
            match self.pages.iter().position(|known| known.url == page.url) {
                Some(at) => self.pages[at].count = self.pages[at].count.saturating_add(page.count),
                None if self.pages.len() < MAX_PAGES => self.pages.push(page),
                None => {}
            }
        }
    }
}

/// Returns why a directive is not extended.
fn never_extended(directive: &str) -> &'static str {
    match directive {
        "frame-ancestors" => {
            "not proposed: any site that frames the pages causes such reports; add those that may"
        }
        "trusted-types" | "require-trusted-types-for" => {
            "not proposed: review the code, and name its policies in trusted-types"
        }
        "default-src" => "not proposed: a prefetch, which any other directive can allow, or an old browser",
        _ => "not proposed: this directive has no list of hosts",
    }
}

const INLINE: &str = "not proposed: give the element a nonce, or move the code to a file; a hash needs all of the code, \
    and browsers send less than 40 characters of it, with 'report-sample' only. 'unsafe-inline' would also run what an \
    attacker inserts";
const ATTRIBUTE: &str = "not proposed: move the code or style of the attribute to a file. 'unsafe-hashes' or \
    'unsafe-inline' would also run what an attacker inserts";
const EVAL: &str = "not proposed: replace the code that compiles text. 'unsafe-eval' (for WebAssembly \
    'wasm-unsafe-eval') would also compile what an attacker inserts";
const SCHEME: &str = "not proposed: by this scheme, whatever an attacker inserts would load; use a file";
const HASH: &str = "; hash of inline code, without white space around it, which Chromium cuts";
