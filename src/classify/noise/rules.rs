//! The built-in noise rules, which `rules.tsv` has as data, one in a line.

use std::sync::LazyLock;

use strum::{IntoStaticStr, VariantArray};

use crate::model::{LabelEnum, Noise};

/// A noise class, and the rule by which a report has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Match {
    pub(crate) class: Noise,
    /// Its place among all, counted from 1; 0 for none.
    pub(crate) rule: u16,
}

/// What is detected without a rule as data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum Signal {
    /// A file in a browser's folder of extensions.
    ExtensionsFolder,
    /// Any scheme that only extensions have.
    ExtensionScheme,
    /// A host of the visitor's machine or network.
    LocalHost,
    /// `/favicon.ico`, requested by the browser itself.
    ImplicitFavicon,
    /// The user agent of a program, a crawler or a headless browser.
    UserAgent,
}

impl Signal {
    pub(super) fn is(self, class: Noise) -> Match {
        Match { class, rule: 1 + self as u16 }
    }
}

/// The index of the first rule in `rules.tsv`.
const FIRST_RULE: u16 = 1 + Signal::ALL.len() as u16;

/// Names and sources of all rules, by index.
pub(super) static NAMES: LazyLock<Vec<(String, &'static str)>> = LazyLock::new(|| {
    let signals = Signal::ALL.iter().map(|signal| (format!("builtin:{}", signal.as_str()), ""));
    let of_line = |line: &'static str| {
        let mut columns = line.split('\t').skip(1);
        let mut next = || columns.next().unwrap_or_default();
        (format!("builtin:{}:{}", next(), next()), next())
    };
    signals.chain(lines().map(of_line)).collect()
});

/// A noise rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) matched: Match,
    pub(super) field: Field,
    pub(super) pattern: &'static str,
}

/// Returns the built-in rules.
pub(super) fn built_in() -> impl Iterator<Item = Rule> {
    lines().zip(FIRST_RULE..).filter_map(|(line, index)| parse(line, index))
}

/// Returns the lines that have a rule.
pub(super) fn lines() -> impl Iterator<Item = &'static str> {
    include_str!("rules.tsv").lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Returns the rule of a line: class, field, pattern and source, separated by tabs.
pub(super) fn parse(line: &'static str, rule: u16) -> Option<Rule> {
    let mut columns = line.split('\t');
    let (class, field) = (value_of(columns.next()?)?, value_of(columns.next()?)?);
    Some(Rule { matched: Match { class, rule }, field, pattern: columns.next()? })
}

fn value_of<T: LabelEnum>(text: &str) -> Option<T> {
    T::ALL.iter().copied().find(|value| value.as_str() == text)
}

/// What the pattern is compared with. The comparison is exact unless documented otherwise, and never
/// matches within a host, a path or a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum Field {
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
