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

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

pub use header::BaselineError;
use header::Header;
use source::Origin;

/// Number of clients that have to report a source.
pub const MIN_CLIENTS: u64 = 5;
/// Most pages that are listed for a source.
const MAX_PAGES: usize = 5;
/// Most sources of a directive that are listed without being proposed.
const MAX_REJECTED: usize = 100;
/// Longest text of a report that stands for a source, in characters.
const MAX_TEXT: usize = 120;

/// A proposed policy.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Policy {
    /// The site whose reports it is made of.
    pub site: String,
    /// Value of the header; empty if there are neither reports nor a baseline.
    pub value: String,
    /// The directives that were reported.
    pub directives: Vec<Directive>,
}

/// A directive that was reported.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Directive {
    /// Its name in the proposed policy, or as reported if it is not proposed.
    pub directive: String,
    /// What was blocked, by source.
    pub sources: Vec<Source>,
}

/// What was blocked by a directive.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Source {
    /// The source as a policy has it, or what else was blocked.
    pub source: String,
    /// Number of reports.
    pub count: u64,
    /// Least number of distinct clients; absent for saved events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients: Option<u64>,
    /// When the first report was received.
    pub first_seen: String,
    /// When the last report was received.
    pub last_seen: String,
    /// Up to five pages.
    pub pages: Vec<Page>,
    /// Whether the header has it.
    pub proposed: bool,
    /// Why, or what to do instead.
    pub reason: String,
}

/// A page with its reports.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "SourcePage")]
#[allow(missing_docs)] // as of a finding
pub struct Page {
    pub url: String,
    pub count: u64,
}

/// What is known of the reports of one source.
#[derive(Debug)]
struct Row {
    count: u64,
    clients: Option<u64>,
    first_seen: Timestamp,
    last_seen: Timestamp,
    pages: Vec<Page>,
    answer: Answer,
}

/// Position of a directive, its name, and a source of it.
type Key = (usize, String, String);

/// Whether a source can be proposed.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    /// Proposed if enough clients sent it.
    Source,
    /// The hash of inline code: as a source, but not beside `'unsafe-inline'`, which it would turn off.
    Hash,
    /// The hash of a file from this origin, which is needed only if the origin is not proposed.
    FileHash(String),
    /// Not proposed, for this reason.
    Never(String),
}

/// One saved event, or one finding.
struct Evidence<'v> {
    kind: &'v str,
    site: &'v str,
    noise: &'v str,
    body: &'v Value,
    page: &'v str,
    count: u64,
    clients: Option<u64>,
    seen: [Timestamp; 2],
    pages: Vec<Page>,
}

/// Collects reports of one site, and proposes a policy.
#[derive(Debug)]
pub struct Proposer {
    site: String,
    min_clients: Option<u64>,
    header: Header,
    has_baseline: bool,
    rows: BTreeMap<Key, Row>,
}

impl Proposer {
    /// Creates a proposer that extends the header `baseline`, which may be empty. Without `min_clients`, the limit is
    /// [`MIN_CLIENTS`] for findings, and what saved events have is proposed.
    ///
    /// # Errors
    /// Returns an error if the baseline is not the value of one header.
    pub fn new(site: &str, baseline: &str, min_clients: Option<u64>) -> Result<Proposer, BaselineError> {
        let has_baseline = !baseline.trim().is_empty();
        let header = Header::parse(baseline)?;
        Ok(Proposer { site: site.to_owned(), min_clients, header, has_baseline, rows: BTreeMap::new() })
    }

    /// Returns the site.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// Adds a saved event (a line of the console export) or a finding (as the API has it), or the items of a list of
    /// these. Returns whether it is one of them; those of other sites and kinds have no effect.
    pub fn add(&mut self, value: &Value) -> bool {
        if let Some(items) = value.as_array().or_else(|| value["items"].as_array()) {
            return items.iter().fold(true, |known, item| self.add(item) && known);
        }
        let Some(evidence) = Evidence::read(value) else { return false };
        if evidence.site == self.site {
            let (directive, source, answer) = match evidence.kind {
                "csp-violation" => self.judge(&evidence),
                "csp-hash" => self.judge_hash(&evidence),
                _ => return true,
            };
            self.record((Header::rank(&directive), directive, source), answer, evidence);
        }
        true
    }

    /// Returns directive and source of a violation, and whether they can be proposed.
    fn judge(&self, evidence: &Evidence<'_>) -> (String, String, Answer) {
        let text = |name: &str| evidence.body[name].as_str().unwrap_or_default();
        let (effective, blocked) = (text("effectiveDirective"), text("blockedURL"));
        let shown = |text: &str| match text {
            "" => "unnamed".to_owned(),
            text => text.chars().take(MAX_TEXT).collect(),
        };
        let Some(directive) = self.header.target(effective) else {
            let never = Answer::Never(never_extended(effective).to_owned());
            return (shown(effective), shown(blocked), never);
        };
        let never = |reason: &str| Answer::Never(reason.to_owned());
        let page = Origin::parse(evidence.page);
        let (source, answer) = match blocked {
            "inline" => match source::hash_of_sample(text("sample")) {
                _ if effective.ends_with("-attr") => ("inline attribute".to_owned(), never(ATTRIBUTE)),
                Some(hash) => (hash, Answer::Hash),
                None => (shown(blocked), never(INLINE)),
            },
            "eval" | "wasm-eval" => (shown(blocked), never(EVAL)),
            "" => (shown(blocked), never("not proposed: the browser names no address")),
            _ if matches!(blocked.split(':').next(), Some("data" | "blob")) => {
                let scheme = if blocked.starts_with("data") { "data:" } else { "blob:" };
                let is_passive = matches!(directive, "img-src" | "font-src" | "media-src");
                let answer = if is_passive { Answer::Source } else { never(SCHEME) };
                (scheme.to_owned(), answer)
            }
            url => match Origin::parse(url) {
                Some(origin) if page.is_some_and(|page| origin.is_self(&page)) => {
                    ("'self'".to_owned(), Answer::Source)
                }
                Some(origin) => (origin.to_source(), Answer::Source),
                None => (shown(url), never("not proposed: not the address of a host")),
            },
        };
        (directive.to_owned(), source, answer)
    }

    /// Returns directive and source of a reported hash.
    fn judge_hash(&self, evidence: &Evidence<'_>) -> (String, String, Answer) {
        let text = |name: &str| evidence.body[name].as_str().unwrap_or_default();
        let directive = self.header.target("script-src-elem").unwrap_or("script-src").to_owned();
        let origin = Origin::parse(text("subresourceURL"));
        let is_self = origin
            .as_ref()
            .zip(Origin::parse(evidence.page))
            .is_some_and(|(origin, page)| origin.is_self(&page));
        let origin = if is_self {
            "'self'".to_owned()
        } else {
            origin.map(|origin| origin.to_source()).unwrap_or_default()
        };
        match source::reported_hash(text("hash")) {
            Some(hash) => (directive, hash, Answer::FileHash(origin)),
            None => (
                directive,
                "hash".to_owned(),
                Answer::Never("not proposed: the browser sent no hash".to_owned()),
            ),
        }
    }

    fn record(&mut self, key: Key, answer: Answer, evidence: Evidence<'_>) {
        let Evidence { noise, count, clients, seen: [first_seen, last_seen], mut pages, .. } = evidence;
        let is_noise = noise != "none";
        let answer = if is_noise { Answer::Never(format!("{NOISE}{noise}")) } else { answer };
        pages.truncate(MAX_PAGES);
        let row = Row { count, clients, first_seen, last_seen, pages, answer };
        let Some(known) = self.rows.get_mut(&key) else {
            self.rows.insert(key, row);
            return;
        };
        let was_noise = matches!(&known.answer, Answer::Never(reason) if reason.starts_with(NOISE));
        match (was_noise, is_noise) {
            // Noise does not count beside reports of the same source that are none.
            (true, false) => *known = row,
            (false, true) => {}
            _ => known.add(row),
        }
    }

    /// Returns the policy.
    pub fn finish(self) -> Policy {
        let mut directives: Vec<Directive> = Vec::new();
        let mut header = self.header.clone();
        let rows: Vec<_> = self.rows.iter().collect();
        let mut rest = rows.as_slice();
        while let Some((first, _)) = rest.first() {
            let length = rest.partition_point(|(key, _)| key.0 == first.0 && key.1 == first.1);
            let (group, others) = rest.split_at(length);
            directives.push(self.directive(&first.1, group, &mut header));
            rest = others;
        }
        let is_empty = directives.is_empty() && !self.has_baseline;
        let value = if is_empty { String::new() } else { header.value() };
        Policy { site: self.site, value, directives }
    }

    /// Returns a directive of the proposal, and extends `header`.
    fn directive(&self, name: &str, rows: &[(&Key, &Row)], header: &mut Header) -> Directive {
        let granted = self.header.granted(name).to_vec();
        let has = |token: &str| granted.iter().any(|known| known.eq_ignore_ascii_case(token));
        let mut sources: Vec<Source> = Vec::new();
        for ((.., source), row) in rows {
            let (proposed, reason) = match &row.answer {
                Answer::Never(reason) => (false, reason.clone()),
                _ if has(source) => (true, "is in the baseline".to_owned()),
                Answer::Hash | Answer::FileHash(_) if has("'unsafe-inline'") => {
                    (false, "not proposed: a hash would turn off 'unsafe-inline' of the baseline".to_owned())
                }
                Answer::FileHash(_) if row.clients.is_none() => (false, NO_CLIENTS.to_owned()),
                Answer::Source if has("'strict-dynamic'") && name.starts_with("script-src") => (
                    false,
                    "not proposed: 'strict-dynamic' makes browsers ignore hosts; use a nonce".to_owned(),
                ),
                answer => self.weigh(answer, row.clients),
            };
            sources.push(row.source(source, proposed, reason));
        }
        let is_granted = |source: &str| {
            has(source) || sources.iter().any(|known| known.proposed && known.source == source)
        };
        let needless: Vec<bool> = rows
            .iter()
            .map(|(_, row)| matches!(&row.answer, Answer::FileHash(origin) if is_granted(origin)))
            .collect();
        for (source, _) in sources.iter_mut().zip(needless).filter(|(_, needless)| *needless) {
            source.proposed = false;
            "not needed: the policy allows the file's origin".clone_into(&mut source.reason);
        }
        let added: Vec<String> =
            sources.iter().filter(|source| source.proposed).map(|source| source.source.clone()).collect();
        if !added.is_empty() {
            header.extend(name, granted.clone(), added);
        }
        Directive { directive: name.to_owned(), sources: limit_rejected(sources) }
    }

    /// Returns whether enough clients sent a source.
    fn weigh(&self, answer: &Answer, clients: Option<u64>) -> (bool, String) {
        let what = if matches!(answer, Answer::Hash) { HASH } else { "" };
        match (clients, self.min_clients) {
            (Some(clients), limit) if clients < limit.unwrap_or(MIN_CLIENTS) => {
                let plural = if clients == 1 { "" } else { "s" };
                (false, format!("not proposed, might be an attack: {clients} client{plural}"))
            }
            (Some(clients), _) => (true, format!("{what}sent by at least {clients} clients")),
            (None, Some(limit)) => {
                (false, format!("not proposed, might be an attack: clients unknown, {limit} required"))
            }
            (None, None) => (true, format!("{what}{UNKNOWN_CLIENTS}")),
        }
    }
}

impl Row {
    fn add(&mut self, other: Row) {
        self.count = self.count.saturating_add(other.count);
        // Not the sum, because one client can send reports of many findings.
        self.clients = self.clients.max(other.clients);
        self.first_seen = self.first_seen.min(other.first_seen);
        self.last_seen = self.last_seen.max(other.last_seen);
        for page in other.pages {
            if let Some(known) = self.pages.iter_mut().find(|known| known.url == page.url) {
                known.count = known.count.saturating_add(page.count);
            } else if self.pages.len() < MAX_PAGES {
                self.pages.push(page);
            }
        }
    }

    fn source(&self, source: &str, proposed: bool, reason: String) -> Source {
        let Row { count, clients, first_seen, last_seen, ref pages, .. } = *self;
        let [first_seen, last_seen] = [first_seen, last_seen].map(|seen| format!("{seen:.3}"));
        Source {
            source: source.to_owned(),
            count,
            clients,
            first_seen,
            last_seen,
            pages: pages.clone(),
            proposed,
            reason,
        }
    }
}

impl<'v> Evidence<'v> {
    /// Reads an event or a finding. `None` if it is neither.
    fn read(value: &'v Value) -> Option<Evidence<'v>> {
        let is_event = value["lookout"].is_object();
        let line = if is_event { value } else { &value["sample"] };
        let about = if is_event { &value["lookout"] } else { value };
        let text = |value: &'v Value, name: &str| value[name].as_str();
        let time = |name: &str| text(about, name)?.parse::<Timestamp>().ok();
        let page = text(&line["body"], "documentURL").or_else(|| text(line, "url")).unwrap_or_default();
        let page_of = |page: &Value| {
            Some(Page { url: page["url"].as_str()?.to_owned(), count: page["count"].as_u64().unwrap_or(1) })
        };
        let pages = match about["pages"].as_array() {
            Some(pages) => pages.iter().filter_map(page_of).collect(),
            None => vec![Page { url: page.to_owned(), count: 1 }],
        };
        let [first, last] = if is_event { ["received"; 2] } else { ["first_seen", "last_seen"] };
        Some(Evidence {
            kind: text(about, "kind")?,
            site: text(about, "site")?,
            noise: text(about, "noise").unwrap_or("none"),
            body: &line["body"],
            page,
            count: about["count"].as_u64().unwrap_or(1),
            clients: about["clients"].as_u64(),
            seen: [time(first)?, time(last)?],
            pages,
        })
    }
}

/// Keeps the sources without a proposal that the most clients sent, because one client can send any number of them.
fn limit_rejected(mut sources: Vec<Source>) -> Vec<Source> {
    let rank = |source: &Source| std::cmp::Reverse((source.proposed, source.clients, source.count));
    let limit = MAX_REJECTED + sources.iter().filter(|source| source.proposed).count();
    if sources.len() > limit {
        sources.sort_by_key(rank);
        let rest = sources.split_off(limit);
        sources.sort_by(|a, b| a.source.cmp(&b.source));
        let reason = format!("not proposed: {} more sources, of as few clients or fewer", rest.len());
        let count = rest.iter().map(|source| source.count).sum();
        let first = rest.into_iter().next();
        sources.extend(first.map(|first| Source {
            source: "others".to_owned(),
            count,
            pages: Vec::new(),
            reason,
            ..first
        }));
    }
    sources
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
        "default-src" => {
            "not proposed: a prefetch, which any other directive can allow, or an old browser, which does not name the \
             directive"
        }
        _ => "not proposed: this directive has no list of hosts",
    }
}

const NOISE: &str = "left out as noise: ";
const INLINE: &str = "not proposed: give the element a nonce, or move the code to a file; a hash needs all of the code, \
    and browsers send less than 40 characters of it, with 'report-sample' only. 'unsafe-inline' would also run what an \
    attacker inserts";
const ATTRIBUTE: &str = "not proposed: move the code or style of the attribute to a file. 'unsafe-hashes' or \
    'unsafe-inline' would also run what an attacker inserts";
const EVAL: &str = "not proposed: replace the code that compiles text. 'unsafe-eval' (for WebAssembly \
    'wasm-unsafe-eval') would also compile what an attacker inserts";
const SCHEME: &str = "not proposed: by this scheme, whatever an attacker inserts would load; use a file";
const NO_CLIENTS: &str = "not proposed: a reported hash needs the number of its clients";
const UNKNOWN_CLIENTS: &str = "clients unknown, and any client can send such a report: check it before use";
const HASH: &str = "hash of inline code, without white space around it, which Chromium cuts; ";
