//! The facts of `noise_rules`, arranged for looking up: a few hashes for every report, no allocation.

use std::collections::HashMap;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::classify::noise::rules::{Field, RULES};
use crate::model::Noise;

/// Texts with their class. Nearly all that is asked for is not there, which the filter mostly knows
/// without hashing.
#[derive(Debug)]
struct Map {
    classes: HashMap<&'static str, Noise, foldhash::fast::RandomState>,
    /// By first byte, the lengths there are, as bits.
    lengths: [u64; 256],
}

impl Default for Map {
    fn default() -> Map {
        Map { classes: HashMap::default(), lengths: [0; 256] }
    }
}

impl Map {
    fn insert(&mut self, text: &'static str, class: Noise) {
        self.lengths[usize::from(first(text))] |= length_bit(text);
        self.classes.insert(text, class);
    }

    fn get(&self, text: &str) -> Option<Noise> {
        let possible = self.lengths[usize::from(first(text))] & length_bit(text) != 0;
        if possible { self.classes.get(text).copied() } else { None }
    }
}

fn first(text: &str) -> u8 {
    text.as_bytes().first().copied().unwrap_or_default()
}

fn length_bit(text: &str) -> u64 {
    1 << text.len().min(63)
}

/// How samples may start.
#[derive(Debug)]
struct SamplePrefixes {
    /// The patterns by their first byte.
    patterns: [Vec<(&'static str, Noise)>; 256],
    /// Bytes behind which text is not code.
    stops: &'static [u8],
}

/// Built at the first report.
pub(in crate::classify) static INDEX: LazyLock<Index> = LazyLock::new(Index::new);

/// One map or list for each kind of field.
#[derive(Debug)]
pub(in crate::classify) struct Index {
    schemes: Map,
    blocked_url_schemes: Map,
    source_schemes: Map,
    blocked: Map,
    gecko_sources: Map,
    hosts: Map,
    domains: Map,
    documents: Map,
    agents: Map,
    headless_agents: Map,
    paths: Vec<(&'static str, &'static str, Noise)>,
    same_origin_path_ends: Vec<(&'static str, Noise)>,
    scripts: SamplePrefixes,
    styles: SamplePrefixes,
    in_style: Vec<(Finder<'static>, Noise)>,
}

impl Index {
    fn new() -> Index {
        let mut index = Index {
            schemes: Map::default(),
            blocked_url_schemes: Map::default(),
            source_schemes: Map::default(),
            blocked: Map::default(),
            gecko_sources: Map::default(),
            hosts: Map::default(),
            domains: Map::default(),
            documents: Map::default(),
            agents: Map::default(),
            headless_agents: Map::default(),
            paths: Vec::new(),
            same_origin_path_ends: Vec::new(),
            scripts: SamplePrefixes::new(b"\"'`/"),
            styles: SamplePrefixes::new(b"\"'"),
            in_style: Vec::new(),
        };
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
                Field::HeadlessAgent => &mut index.headless_agents,
                Field::Path => {
                    if let Some(slash) = rule.pattern.find('/') {
                        let (host, path) = rule.pattern.split_at(slash);
                        index.paths.push((host, path, rule.class));
                    }
                    continue;
                }
                Field::OwnPathEnd => {
                    index.same_origin_path_ends.push((rule.pattern, rule.class));
                    continue;
                }
                Field::Script => {
                    index.scripts.push(rule.pattern, rule.class);
                    continue;
                }
                Field::Style => {
                    index.styles.push(rule.pattern, rule.class);
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
    pub(in crate::classify) fn blocked(&self, blocked: &str, scheme: &str) -> Option<Noise> {
        let whole = || self.blocked.get(blocked);
        let is_url = blocked[scheme.len()..].starts_with("://");
        let as_url = || self.blocked_url_schemes.get(scheme).filter(|_| is_url);
        self.schemes.get(scheme).or_else(whole).or_else(as_url)
    }

    /// By a source file that is no http URL.
    pub(in crate::classify) fn source(
        &self,
        source: &str,
        scheme: &str,
        may_be_gecko: bool,
    ) -> Option<Noise> {
        let whole = || self.gecko_sources.get(source).filter(|_| may_be_gecko);
        self.schemes.get(scheme).or_else(|| self.source_schemes.get(scheme)).or_else(whole)
    }

    /// By the host of something blocked or of a source file, and by the URL's path.
    pub(in crate::classify) fn server<'u>(&self, host: &str, path: impl Fn() -> &'u str) -> Option<Noise> {
        let by_path = || {
            let mut rules = self.paths.iter().filter(|(known, ..)| *known == host);
            rules.find(|(_, start, _)| path().starts_with(start)).map(|(.., class)| *class)
        };
        lookup_domain(&self.domains, host).or_else(|| self.hosts.get(host)).or_else(by_path)
    }

    /// By the host that served the document.
    pub(in crate::classify) fn document(&self, host: &str) -> Option<Noise> {
        lookup_domain(&self.documents, host)
    }

    /// By a source file's path on the document's own host.
    pub(in crate::classify) fn same_origin_path(&self, path: &str) -> Option<Noise> {
        self.same_origin_path_ends.iter().find(|(end, _)| path.ends_with(end)).map(|(_, class)| *class)
    }

    /// By how an inline script starts.
    pub(in crate::classify) fn script(&self, sample: &str) -> Option<Noise> {
        self.scripts.find(sample)
    }

    /// By how an inline style starts, or what it names.
    pub(in crate::classify) fn style(&self, sample: &str) -> Option<Noise> {
        let named = self.in_style.iter().find(|(text, _)| text.find(sample.as_bytes()).is_some());
        named.map(|(_, class)| *class).or_else(|| self.styles.find(sample))
    }

    /// Whether a product name of a user agent is a headless browser's.
    pub(in crate::classify) fn is_headless(&self, name: &str) -> bool {
        self.headless_agents.get(name).is_some()
    }

    /// Whether a product name of a user agent is a crawler's or a monitor's.
    pub(in crate::classify) fn is_bot(&self, name: &str) -> bool {
        let of_kind = match name.as_bytes() {
            // Cubot makes telephones.
            [.., b'b' | b'B', b'o', b't'] => !name.eq_ignore_ascii_case("cubot"),
            [.., b'e', b'r'] => name.ends_with("rawler") || name.ends_with("pider"),
            _ => false,
        };
        of_kind || self.agents.get(name).is_some()
    }
}

/// `x.example` for itself and every host below it.
fn lookup_domain(map: &Map, host: &str) -> Option<Noise> {
    if let Some(class) = map.get(host) {
        return Some(class);
    }
    let dots = host.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
    let class = dots.map(|(dot, _)| &host[dot + 1..]).find_map(|above| map.get(above))?;
    // Under `privacy.query: keep` a query may stand directly behind the host, and hold anything.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    host.bytes().all(plain).then_some(class)
}

/// How much of a sample may be syntax: engines cut samples at 40 characters.
const MAX_PREFIX: usize = 64;

/// Words that may come before the one that tells. Anything else could be an attack's own code.
#[rustfmt::skip]
fn is_syntax(word: &[u8]) -> bool {
    matches!(
        word,
        b"function" | b"var" | b"let" | b"const" | b"window" | b"self" | b"this" | b"return" | b"try"
            | b"void" | b"typeof" | b"media" | b"print" | b"body" | b"Copyright" | b"2014"
    )
}

impl SamplePrefixes {
    fn new(stops: &'static [u8]) -> SamplePrefixes {
        SamplePrefixes { patterns: [const { Vec::new() }; 256], stops }
    }

    fn push(&mut self, pattern: &'static str, class: Noise) {
        self.patterns[usize::from(first(pattern))].push((pattern, class));
    }

    /// The class of the pattern that stands where the sample starts to say something: behind
    /// punctuation, keywords and names as short as only minifiers make them.
    fn find(&self, sample: &str) -> Option<Noise> {
        let bytes = &sample.as_bytes()[..sample.len().min(MAX_PREFIX)];
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$';
        let mut at = 0;
        while at < bytes.len() {
            if !is_word(bytes[at]) {
                if self.stops.contains(&bytes[at]) {
                    return None;
                }
                at += 1;
                continue;
            }
            let rest = &sample.as_bytes()[at..];
            let mut patterns = self.patterns[usize::from(rest[0])].iter();
            if let Some((_, class)) = patterns.find(|(pattern, _)| rest.starts_with(pattern.as_bytes())) {
                return Some(*class);
            }
            let end = rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len());
            if end > 2 && !is_syntax(&rest[..end]) {
                return None;
            }
            at += end;
        }
        None
    }
}
