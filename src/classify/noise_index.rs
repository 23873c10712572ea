//! The facts of `noise_rules`, arranged for looking up: a few hashes for every report, no allocation.

use std::collections::HashMap;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::classify::noise_rules::{Field, HEADLESS_IS_BOT, RULES};
use crate::report::Noise;

type Map = HashMap<&'static str, Noise, foldhash::fast::RandomState>;

/// Built at the first report.
pub(super) static INDEX: LazyLock<Index> = LazyLock::new(Index::new);

/// One map or list for each kind of field.
#[derive(Debug, Default)]
pub(super) struct Index {
    schemes: Map,
    blocked_url_schemes: Map,
    source_schemes: Map,
    blocked: Map,
    gecko_sources: Map,
    hosts: Map,
    domains: Map,
    documents: Map,
    agents: Map,
    paths: Vec<(&'static str, &'static str, Noise)>,
    own_path_ends: Vec<(&'static str, Noise)>,
    scripts: Vec<(&'static str, Noise)>,
    styles: Vec<(&'static str, Noise)>,
    in_style: Vec<(Finder<'static>, Noise)>,
}

impl Index {
    fn new() -> Index {
        let mut index = Index::default();
        for rule in RULES {
            let map = match rule.field {
                Field::Scheme => &mut index.schemes,
                Field::BlockedUrlScheme => &mut index.blocked_url_schemes,
                Field::SourceScheme => &mut index.source_schemes,
                Field::Blocked => &mut index.blocked,
                Field::GeckoSource => &mut index.gecko_sources,
                Field::Host => &mut index.hosts,
                Field::Domain => &mut index.domains,
                Field::Document => &mut index.documents,
                Field::Agent => &mut index.agents,
                Field::HeadlessAgent if HEADLESS_IS_BOT => &mut index.agents,
                Field::HeadlessAgent => continue,
                Field::Path => {
                    if let Some(slash) = rule.pattern.find('/') {
                        let (host, path) = rule.pattern.split_at(slash);
                        index.paths.push((host, path, rule.class));
                    }
                    continue;
                }
                Field::OwnPathEnd => {
                    index.own_path_ends.push((rule.pattern, rule.class));
                    continue;
                }
                Field::Script => {
                    index.scripts.push((rule.pattern, rule.class));
                    continue;
                }
                Field::Style => {
                    index.styles.push((rule.pattern, rule.class));
                    continue;
                }
                Field::InStyle => {
                    index.in_style.push((Finder::new(rule.pattern), rule.class));
                    continue;
                }
            };
            map.insert(rule.pattern, rule.class);
        }
        index
    }

    /// By a blocked URL without a host: a bare scheme, a keyword, a URL of another scheme.
    pub(super) fn blocked(&self, blocked: &str, scheme: &str) -> Option<Noise> {
        let whole = || self.blocked.get(blocked);
        let is_url = blocked[scheme.len()..].starts_with("://");
        let as_url = || self.blocked_url_schemes.get(scheme).filter(|_| is_url);
        self.schemes.get(scheme).or_else(whole).or_else(as_url).copied()
    }

    /// By a source file that is no http URL.
    pub(super) fn source(&self, source: &str, scheme: &str, may_be_gecko: bool) -> Option<Noise> {
        let whole = || self.gecko_sources.get(source).filter(|_| may_be_gecko);
        self.schemes.get(scheme).or_else(|| self.source_schemes.get(scheme)).or_else(whole).copied()
    }

    /// By the host of something blocked or of a source file, with the URL's path.
    pub(super) fn server(&self, host: &str, path: &str) -> Option<Noise> {
        let known = || self.hosts.get(host).copied();
        let by_path = || {
            let rule = self.paths.iter().find(|(known, start, _)| *known == host && path.starts_with(start));
            rule.map(|(.., class)| *class)
        };
        at_or_below(&self.domains, host).or_else(known).or_else(by_path)
    }

    /// By the host that served the document.
    pub(super) fn document(&self, host: &str) -> Option<Noise> {
        at_or_below(&self.documents, host)
    }

    /// By a source file's path on the document's own host.
    pub(super) fn own_path(&self, path: &str) -> Option<Noise> {
        self.own_path_ends.iter().find(|(end, _)| path.ends_with(end)).map(|(_, class)| *class)
    }

    /// By how an inline script starts.
    pub(super) fn script(&self, sample: &str) -> Option<Noise> {
        starts(&self.scripts, sample, b"\"'`/")
    }

    /// By how an inline style starts, or what it names.
    pub(super) fn style(&self, sample: &str) -> Option<Noise> {
        let named = self.in_style.iter().find(|(text, _)| text.find(sample.as_bytes()).is_some());
        named.map(|(_, class)| *class).or_else(|| starts(&self.styles, sample, b"\"'"))
    }

    /// Whether a user agent is a crawler's, a monitor's or a headless browser's.
    pub(super) fn is_bot(&self, agent: &str) -> bool {
        // What stands before a slash, and the last word: `Chrome-Lighthouse` has no version.
        let slashes = memchr::memchr_iter(b'/', agent.as_bytes());
        if slashes.chain([agent.len()]).any(|end| self.is_bot_name(last_word(&agent[..end]))) {
            return true;
        }
        // Crawlers that name no version name a page about themselves, browsers never do.
        static LINK: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("http"));
        LINK.find(agent.as_bytes()).is_some()
            && agent.split(|c: char| !is_name(c)).any(|word| self.is_bot_name(word))
    }

    fn is_bot_name(&self, name: &str) -> bool {
        // Cubot makes telephones.
        const KINDS: [&str; 6] = ["bot", "Bot", "crawler", "Crawler", "spider", "Spider"];
        let of_kind = matches!(name.as_bytes().last(), Some(b't' | b'r'))
            && KINDS.iter().any(|kind| name.ends_with(kind))
            && !name.eq_ignore_ascii_case("cubot");
        of_kind || self.agents.contains_key(name)
    }
}

/// `x.example` for itself and every host below it.
fn at_or_below(map: &Map, host: &str) -> Option<Noise> {
    if let Some(class) = map.get(host) {
        return Some(*class);
    }
    let mut dots = memchr::memchr_iter(b'.', host.as_bytes());
    let class = dots.find_map(|dot| map.get(&host[dot + 1..]))?;
    // Under `privacy.query: keep` a query may stand directly behind the host, and hold anything.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    host.bytes().all(plain).then_some(*class)
}

fn last_word(text: &str) -> &str {
    let start = memchr::memrchr3(b' ', b'(', b';', text.as_bytes()).map_or(0, |at| at + 1);
    &text[start..]
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.'
}

/// How much of a sample may be syntax: engines cut samples at 40 characters.
const MAX_START: usize = 64;

/// Words that may come before the one that tells. Anything else could be an attack's own code.
const SYNTAX: [&str; 16] = [
    "function",
    "var",
    "window",
    "try",
    "const",
    "let",
    "self",
    "this",
    "return",
    "void",
    "typeof",
    "media",
    "print",
    "body",
    "Copyright",
    "2014",
];

/// Whether one of the patterns stands where the sample starts to say something: behind punctuation,
/// keywords and names as short as only minifiers make them. Stops at these bytes, behind which text
/// is not code.
fn starts(patterns: &[(&str, Noise)], sample: &str, stops: &[u8]) -> Option<Noise> {
    let bytes = &sample.as_bytes()[..sample.len().min(MAX_START)];
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$';
    let mut at = 0;
    while at < bytes.len() {
        if stops.contains(&bytes[at]) {
            return None;
        }
        if !is_word(bytes[at]) {
            at += 1;
            continue;
        }
        let rest = &sample.as_bytes()[at..];
        if let Some((_, class)) = patterns.iter().find(|(pattern, _)| rest.starts_with(pattern.as_bytes())) {
            return Some(*class);
        }
        let end = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
        if end > 2 && !SYNTAX.iter().any(|word| word.as_bytes() == &rest[..end]) {
            return None;
        }
        at += end;
    }
    None
}
