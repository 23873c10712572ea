//! The built-in rules, indexed: a few hash lookups per report, without allocation.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::classify::noise::rules::{Field, Match, Signal, built_in};
use crate::kinds::is_extension_scheme;
use crate::model::Noise;

/// Values by text. Most texts are absent, which the filter mostly detects without hashing.
struct Map<V = Match> {
    values: HashMap<&'static str, V, foldhash::fast::RandomState>,
    /// By first byte, the set of lengths as bits.
    lengths: [u64; 256],
}

impl<V> Map<V> {
    fn new() -> Map<V> {
        Map { values: HashMap::default(), lengths: [0; 256] }
    }

    fn entry(&mut self, text: &'static str) -> Entry<'_, &'static str, V> {
        self.lengths[usize::from(first(text))] |= length_bit(text);
        self.values.entry(text)
    }

    fn find(&self, text: &str) -> Option<&V> {
        let possible = self.lengths[usize::from(first(text))] & length_bit(text) != 0;
        if possible { self.values.get(text) } else { None }
    }
}

impl Map {
    fn get(&self, text: &str) -> Option<Match> {
        self.find(text).copied()
    }

    /// Returns the match of a host or of the nearest domain above it.
    fn get_domain(&self, host: &str) -> Option<Match> {
        if let Some(matched) = self.get(host) {
            return Some(matched);
        }
        let dots = host.bytes().enumerate().filter(|(_, byte)| *byte == b'.');
        let matched = dots.map(|(dot, _)| &host[dot + 1..]).find_map(|domain| self.get(domain))?;
        // Under `privacy.query: keep` a query may follow the host directly, with any content.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        host.bytes().all(plain).then_some(matched)
    }
}

fn first(text: &str) -> u8 {
    text.as_bytes().first().copied().unwrap_or_default()
}

fn length_bit(text: &str) -> u64 {
    1 << text.len().min(63)
}

pub(crate) static INDEX: LazyLock<Index> = LazyLock::new(Index::new);

/// The rules by field.
pub(crate) struct Index {
    /// By [`Field`], the rules that compare whole texts.
    maps: [Map; Field::HeadlessAgent as usize + 1],
    /// By host.
    paths: Map<Vec<PathRule>>,
    same_origin_path_ends: Vec<(&'static str, Match)>,
    scripts: SamplePrefixes,
    styles: SamplePrefixes,
    in_style: Vec<(Finder<'static>, Match)>,
    agent_texts: Vec<Finder<'static>>,
}

/// The start of a path on a host. A `*` stands for one segment.
struct PathRule {
    start: &'static str,
    after_segment: Option<&'static str>,
    matched: Match,
}

impl PathRule {
    fn new(pattern: &'static str, matched: Match) -> PathRule {
        let segment = pattern.split_once('*');
        let (start, after_segment) = segment.map_or((pattern, None), |(start, after)| (start, Some(after)));
        PathRule { start, after_segment, matched }
    }

    fn matches(&self, path: &str) -> bool {
        match (path.strip_prefix(self.start), self.after_segment) {
            (Some(rest), Some(after)) => {
                memchr::memchr(b'/', rest.as_bytes()).is_some_and(|end| rest[end..].starts_with(after))
            }
            (rest, _) => rest.is_some(),
        }
    }
}

impl Index {
    fn new() -> Index {
        let mut index = Index {
            maps: std::array::from_fn(|_| Map::new()),
            paths: Map::new(),
            same_origin_path_ends: Vec::new(),
            scripts: SamplePrefixes::new(b"\"'`/"),
            styles: SamplePrefixes::new(b"\"'"),
            in_style: Vec::new(),
            agent_texts: Vec::new(),
        };
        for rule in built_in() {
            match rule.field {
                Field::Path => {
                    if let Some(slash) = rule.pattern.find('/') {
                        let (host, path) = rule.pattern.split_at(slash);
                        index.paths.entry(host).or_default().push(PathRule::new(path, rule.matched));
                    }
                }
                Field::OwnPathEnd => index.same_origin_path_ends.push((rule.pattern, rule.matched)),
                Field::Script => index.scripts.push(rule.pattern, rule.matched),
                Field::Style => index.styles.push(rule.pattern, rule.matched),
                Field::InStyle => index.in_style.push((Finder::new(rule.pattern), rule.matched)),
                Field::AgentText => index.agent_texts.push(Finder::new(rule.pattern)),
                field => {
                    index.maps[field as usize].entry(rule.pattern).or_insert(rule.matched);
                }
            }
        }
        index
    }

    /// Returns the match of a whole text.
    pub(crate) fn get(&self, field: Field, text: &str) -> Option<Match> {
        self.maps[field as usize].get(text)
    }

    /// Returns the match of a host or of the nearest domain above it.
    pub(super) fn get_domain(&self, field: Field, host: &str) -> Option<Match> {
        self.maps[field as usize].get_domain(host)
    }

    /// Returns the match of a scheme, alone or in any URL, else what `others` finds, else that of an extension.
    pub(super) fn scheme(&self, scheme: &str, others: impl FnOnce() -> Option<Match>) -> Option<Match> {
        let extension =
            || is_extension_scheme(scheme).then_some(Signal::ExtensionScheme.is(Noise::Extension));
        self.get(Field::Scheme, scheme).or_else(others).or_else(extension)
    }

    /// Returns the match of a blocked URL without a host: a bare scheme, a keyword, another scheme's URL.
    pub(super) fn blocked(&self, blocked: &str, scheme: &str) -> Option<Match> {
        let is_url = blocked[scheme.len()..].starts_with("://");
        let as_url = || self.get(Field::BlockedUrlScheme, scheme).filter(|_| is_url);
        self.scheme(scheme, || self.get(Field::Blocked, blocked).or_else(as_url))
    }

    /// Returns the match of a source file that is not an http URL.
    pub(super) fn source(&self, scheme: &str, may_be_gecko: bool) -> Option<Match> {
        let by_gecko = || self.get(Field::GeckoSource, scheme).filter(|_| may_be_gecko);
        self.scheme(scheme, || self.get(Field::SourceScheme, scheme).or_else(by_gecko))
    }

    /// Returns the match of a blocked URL or a source file by its host and path.
    pub(super) fn server<'u>(&self, host: &str, path: impl Fn() -> &'u str) -> Option<Match> {
        let by_host = || self.get(Field::Host, host);
        let by_path = || {
            let rules = self.paths.find(host)?;
            rules.iter().find(|rule| rule.matches(path())).map(|rule| rule.matched)
        };
        self.get_domain(Field::Domain, host).or_else(by_host).or_else(by_path)
    }

    /// Returns the match of a source file's path on the document's own host.
    pub(super) fn same_origin_path(&self, path: &str) -> Option<Match> {
        self.same_origin_path_ends.iter().find(|(end, _)| path.ends_with(end)).map(|(_, matched)| *matched)
    }

    pub(super) fn script(&self, sample: &str) -> Option<Match> {
        self.scripts.find(sample)
    }

    pub(super) fn style(&self, sample: &str) -> Option<Match> {
        let named = self.in_style.iter().find(|(text, _)| text.find(sample.as_bytes()).is_some());
        named.map(|(_, matched)| *matched).or_else(|| self.styles.find(sample))
    }

    /// Returns whether a user agent contains a name of several words.
    pub(crate) fn contains_bot(&self, user_agent: &str) -> bool {
        self.agent_texts.iter().any(|text| text.find(user_agent.as_bytes()).is_some())
    }
}

/// Bytes of a sample that are searched for its first word; browsers truncate samples at 40 characters.
const MAX_PREFIX: usize = 64;

/// Minimum length of a pattern's start at the end of a sample.
const MIN_CUT: usize = 9;

/// Returns whether a word may stand before a pattern. Any other word could be an attack's own code.
#[rustfmt::skip]
fn is_syntax(word: &[u8]) -> bool {
    matches!(
        word,
        b"function" | b"for" | b"var" | b"let" | b"const" | b"window" | b"self" | b"this" | b"return" | b"try"
            | b"void" | b"typeof" | b"media" | b"print" | b"body" | b"Copyright" | b"2014"
    )
}

/// Patterns that samples may start with.
struct SamplePrefixes {
    /// By first byte.
    patterns: [Vec<(&'static str, Match)>; 256],
    /// Bytes after which text is not code.
    stops: &'static [u8],
}

impl SamplePrefixes {
    fn new(stops: &'static [u8]) -> SamplePrefixes {
        SamplePrefixes { patterns: [const { Vec::new() }; 256], stops }
    }

    fn push(&mut self, pattern: &'static str, matched: Match) {
        self.patterns[usize::from(first(pattern))].push((pattern, matched));
    }

    /// Returns the match of the pattern at the first distinctive word: after punctuation, keywords and
    /// the short names that minifiers generate.
    fn find(&self, sample: &str) -> Option<Match> {
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
            // A sample may end within the known code.
            let text = sample[at..].trim_end_matches(['.', '…']);
            let is_cut = |pattern: &str| text.len() >= MIN_CUT && pattern.starts_with(text);
            let mut patterns = self.patterns[usize::from(rest[0])].iter();
            if let Some((_, matched)) =
                patterns.find(|(pattern, _)| text.starts_with(pattern) || is_cut(pattern))
            {
                return Some(*matched);
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
