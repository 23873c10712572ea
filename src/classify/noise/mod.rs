//! Classifies noise: reports that probably do not concern the site. Precision comes before recall: an
//! unknown foreign script is not noise.
//!
//! Noise is a label and never a reason to drop a report, because reports can be forged, and a page's
//! script determines how its samples start.

mod index;
mod rules;
mod signals;

use schemars::JsonSchema;
use serde::Serialize;

use crate::classify::site::SiteIndex;
use crate::model::{Browser, Noise, Report, has_no_address, host_and_port, path, scheme};
use index::Index;
use signals::{is_local, is_loopback};

pub(crate) use index::INDEX;
use rules::Signal;
pub(crate) use rules::{Field, Match};
pub(crate) use signals::{Signals, UserAgent};

/// A rule that matched, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MatchedRule {
    /// The rule's name in the settings or `rules[N]`; of a built-in one `builtin:` and its name.
    pub name: String,
    /// Where the fact is from.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub source: &'static str,
}

impl MatchedRule {
    /// Returns the rule of this name.
    pub fn new(name: &str) -> MatchedRule {
        let source = rules::NAMES.iter().find(|(known, _)| known == name).map_or("", |(_, source)| source);
        MatchedRule { name: name.to_owned(), source }
    }
}

/// Returns the name of a match's rule; `None` for no rule.
pub(super) fn rule_name(matched: Match) -> Option<&'static str> {
    rules::NAMES.get(usize::from(matched.rule.checked_sub(1)?)).map(|(name, _)| &**name)
}

/// Returns the class by the built-in rules. Of several matches the first in the order of [`Noise`]
/// counts; `bot` only if there is no other. A host that the settings name is never noise: a built-in
/// guess does not override a setting.
pub(super) fn built_in(
    report: &Report<'_>,
    signals: &Signals<'_>,
    agent: UserAgent,
    sites: &SiteIndex,
) -> Match {
    let rules = BuiltIn { index: &INDEX, sites };
    let matches = [
        report.in_extensions_folder.then_some(Signal::ExtensionsFolder.is(Noise::Extension)),
        rules.blocked(signals),
        rules.source(signals, agent.family),
        sample(rules.index, signals),
        rules.document(signals),
        signals.is_implicit_favicon(agent.family).then_some(Signal::ImplicitFavicon.is(Noise::Browser)),
    ];
    let automated = agent.bot || (agent.headless && !is_test_site(signals.document_host));
    let default = match automated {
        true => Signal::UserAgent.is(Noise::Bot),
        false => Match { class: Noise::None, rule: 0 },
    };
    matches.into_iter().flatten().min().unwrap_or(default)
}

/// Returns whether a headless browser may be testing a policy there: under `.test` (RFC 6761), which no
/// public site has, or in a document without a host (`about`, `blob`), which may belong to such a site.
fn is_test_site(host: &str) -> bool {
    host.is_empty() || host.ends_with(".test")
}

struct BuiltIn<'i> {
    index: &'i Index,
    sites: &'i SiteIndex,
}

impl BuiltIn<'_> {
    fn blocked(&self, signals: &Signals<'_>) -> Option<Match> {
        let scheme = scheme(signals.blocked);
        let by_server = || self.foreign_server(signals.blocked, signals);
        match scheme {
            "" | "inline" | "eval" | "data" | "blob" => None,
            "http" | "https" | "ws" | "wss" => by_server(),
            _ => self.index.blocked(signals.blocked, scheme).or_else(by_server),
        }
    }

    fn source(&self, signals: &Signals<'_>, browser: Browser) -> Option<Match> {
        // Most reports come from the document's own code.
        if signals.source.is_empty() || signals.source == signals.document {
            return None;
        }
        let scheme = scheme(signals.source);
        if !matches!(scheme, "http" | "https") {
            // Only Firefox writes `<anonymous code>`; in other browsers a page may have made it up.
            let may_be_gecko = matches!(browser, Browser::Firefox | Browser::Other);
            let is_icon = || matches!(scheme, "resource" | "chrome") && signals.is_foreign_icon();
            return self.index.source(scheme, may_be_gecko).filter(|_| !is_icon());
        }
        let host = host_and_port(signals.source).0;
        if host == signals.document_host {
            return self.index.same_origin_path(path(signals.source));
        }
        let by_host =
            || self.index.get_domain(Field::SourceDomain, host).filter(|_| !self.sites.names_host(host));
        self.foreign_server(signals.source, signals).or_else(by_host)
    }

    /// Returns the class by the document: by its host, or by a scheme that no site's document has.
    fn document(&self, signals: &Signals<'_>) -> Option<Match> {
        if signals.document.is_empty() {
            return None;
        }
        let host = signals.document_host;
        let scheme = scheme(signals.document);
        let by_scheme = match scheme {
            "" | "http" | "https" | "blob" => None,
            _ if has_no_address(signals.document) || signals.document == "about:blank" => None,
            _ => self.index.scheme(scheme, || self.index.get(Field::DocumentScheme, scheme)),
        };
        let by_local = || is_local(host).then_some(Signal::LocalHost.is(Noise::Local));
        let by_host = || self.index.get_domain(Field::Document, host).or_else(by_local);
        by_scheme.or_else(|| by_host().filter(|_| !self.sites.names_host(host)))
    }

    /// Returns the class by a foreign server. A document's own host is skipped, because its operator
    /// needs these reports.
    fn foreign_server(&self, url: &str, signals: &Signals<'_>) -> Option<Match> {
        let host = host_and_port(url).0;
        if host.is_empty() || host == signals.document_host {
            return None;
        }
        let known = self.index.server(host, || path(url));
        let matched = known
            .or_else(|| self.is_local_server(host, signals).then_some(Signal::LocalHost.is(Noise::Local)))?;
        (!self.sites.names_host(host)).then_some(matched)
    }

    /// Returns whether a server is on the visitor's machine or network. Within an intranet that the
    /// settings name, other private hosts are part of it, but the visitor's own machine is not.
    fn is_local_server(&self, host: &str, signals: &Signals<'_>) -> bool {
        if !is_local(host) {
            return false;
        }
        let document = signals.document_host;
        let in_intranet = is_local(document) && self.sites.names_host(document);
        !in_intranet || (is_loopback(host) && !is_loopback(document))
    }
}

/// Returns the class by the sample of inline or evaluated code. Loaded code is classified by its URL.
/// Inline code is `self` in Firefox before 58, and empty in Safari before 15.
fn sample(index: &Index, signals: &Signals<'_>) -> Option<Match> {
    if signals.sample.is_empty() || !matches!(signals.blocked, "inline" | "eval" | "self" | "") {
        return None;
    }
    let any = matches!(signals.directive, "default-src" | "");
    let script = any || signals.directive.starts_with("script-src");
    let style = any || signals.directive.starts_with("style-src");
    let by_script = script.then(|| index.script(signals.sample)).flatten();
    by_script.or_else(|| style.then(|| index.style(signals.sample)).flatten())
}

#[cfg(test)]
mod tests;
