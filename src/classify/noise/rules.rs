//! The built-in noise rules, which `rules.tsv` has as data, one in a line.

use strum::{IntoStaticStr, VariantArray};

use crate::model::{LabelEnum, Noise};

/// A noise rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) class: Noise,
    pub(super) field: Field,
    pub(super) pattern: &'static str,
}

/// Returns the built-in rules.
pub(super) fn built_in() -> impl Iterator<Item = Rule> {
    lines().filter_map(parse)
}

/// Returns the lines that have a rule.
pub(super) fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("rules.tsv").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Returns the rule of a line: class, field, pattern and source, separated by tabs.
pub(super) fn parse(line: &'static str) -> Option<Rule> {
    let mut columns = line.split('\t');
    let (class, field) = (value_of(columns.next()?)?, value_of(columns.next()?)?);
    Some(Rule { class, field, pattern: columns.next()? })
}

fn value_of<T: LabelEnum>(text: &str) -> Option<T> {
    T::ALL.iter().copied().find(|value| value.as_str() == text)
}

/// What the pattern is compared with. The comparison is exact unless documented otherwise, and never
/// matches within a host, a path or a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Field {
    /// The scheme of the blocked URL or of the source file, alone or in a URL.
    Scheme,
    /// The scheme of the blocked URL before `://`, because the word alone has another meaning.
    BlockedUrlScheme,
    /// The scheme of the source file.
    SourceScheme,
    /// The blocked URL as a whole.
    Blocked,
    /// The source file without a line, in Firefox or an unknown browser.
    GeckoSource,
    /// A domain that the source file's host equals or is below, other than the document's own.
    SourceDomain,
    /// The host of the blocked URL or of the source file, other than the document's own.
    Host,
    /// A domain that such a host equals or is below.
    Domain,
    /// `host/path`: such a host, and the start of the path. A `*` in it stands for one segment.
    Path,
    /// The end of the source file's path, where its host is the document's own.
    OwnPathEnd,
    /// A domain that the document's host equals or is below: an intermediary served the page.
    Document,
    /// The scheme of the document, in addition to those of [`Field::Scheme`].
    DocumentScheme,
    /// How an inline or evaluated script starts, after nothing but syntax. More than a name, because an
    /// attack's code can begin with it.
    Script,
    /// How an inline style starts, after nothing but syntax.
    Style,
    /// Anywhere in an inline style.
    InStyle,
    /// A word of the user agent.
    Agent,
    /// A name of several words, anywhere in the user agent.
    AgentText,
    /// A product name of a headless browser. It is a bot unless the site is under `.test`.
    HeadlessAgent,
}
