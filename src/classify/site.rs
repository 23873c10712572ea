//! Resolves the site of a report: the one in its endpoint's path, else the configured one of its host,
//! else `unknown`. Without configured sites, the host of every http document is a site. A frame without
//! an address of its own belongs to the site that its referrer or source file names.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use ring::digest::{Digest, SHA256, digest};
use subtle::ConstantTimeEq;

use crate::config::{Field, PageConfig, Pattern, Secret, SiteConfig, is_key_byte};
use crate::model::{Label, Names, Report, SiteLabel, has_no_address, host_and_port, path};

/// The configured sites, indexed by host.
#[derive(Debug, Default)]
pub struct SiteIndex {
    /// Their names, and those of sites that were configured earlier. A site's id is that of its name.
    pub names: Names,
    pub(crate) page_names: Names,
    is_configured: Vec<bool>,
    /// By site, each page and a path of it.
    pages: Vec<Vec<(&'static str, Pattern)>>,
    exact: HashMap<String, usize, foldhash::fast::RandomState>,
    /// `*.suffix` by `suffix`.
    suffixes: HashMap<String, usize, foldhash::fast::RandomState>,
    /// The hashes of a site's keys, of a single one twice, so that a comparison takes the same time whatever
    /// their length and their difference.
    keys: Vec<Option<[Digest; 2]>>,
    /// The keys of all sites, to remove them from what leaves the process.
    secrets: HashSet<Vec<u8>, foldhash::quality::RandomState>,
}

impl SiteIndex {
    /// Indexes the configured sites.
    #[cfg(test)]
    pub(crate) fn new(sites: &[SiteConfig]) -> SiteIndex {
        SiteIndex::default().change(sites)
    }

    /// Indexes other sites, in which a name keeps its id.
    #[must_use]
    pub fn change(&self, sites: &[SiteConfig]) -> SiteIndex {
        let names = self.names.change(sites.iter().map(|site| &*site.name));
        let page_names = sites.iter().flat_map(|site| &site.pages).map(|page| &*page.name);
        let total = names.total();
        let mut index = SiteIndex {
            page_names: self.page_names.change(page_names),
            is_configured: names.is_configured(),
            names,
            pages: std::iter::repeat_with(Vec::new).take(total).collect(),
            keys: vec![None; total],
            ..SiteIndex::default()
        };
        let mut page_ids = index.page_names.configured().iter();
        for (id, site) in index.names.configured().iter().zip(sites) {
            let paths = |(page, id): (&PageConfig, &usize)| {
                let name = index.page_names.name(*id);
                let patterns = page.paths.iter().map(|path| Pattern::new(path, Field::Page));
                patterns.map(|path| (name, path)).collect::<Vec<_>>()
            };
            index.pages[*id] = site.pages.iter().zip(&mut page_ids).flat_map(paths).collect();
            let keys = || site.keys.iter().map(|Secret(key)| key.as_bytes());
            let hashes = keys().next().zip(keys().next_back());
            index.keys[*id] = hashes.map(|(first, last)| [first, last].map(|key| digest(&SHA256, key)));
            index.secrets.extend(keys().map(<[u8]>::to_vec));
            for host in &site.hosts {
                match host.strip_prefix("*.") {
                    Some(suffix) => index.suffixes.insert(suffix.to_owned(), *id),
                    // The host of a URL has no brackets.
                    None => index.exact.insert(host.trim_matches(['[', ']']).to_owned(), *id),
                };
            }
        }
        index
    }

    /// Returns whether any site is configured.
    pub fn configured(&self) -> bool {
        !self.names.configured().is_empty()
    }

    /// Returns the configured sites.
    pub(crate) fn labels(&self) -> impl Iterator<Item = SiteLabel<'static>> {
        self.names.configured().iter().map(|id| self.label(*id))
    }

    fn label(&self, id: usize) -> SiteLabel<'static> {
        SiteLabel { label: Label::bounded(self.names.name(id)), configured: Some(id) }
    }

    /// Returns the first page of a configured site whose path matches that of the document.
    pub(crate) fn page(&self, site: usize, document: &str) -> Option<&'static str> {
        let pages = self.pages.get(site).filter(|pages| !pages.is_empty())?;
        let path = Some(path(document)).filter(|path| !path.is_empty())?;
        pages.iter().find(|(_, pattern)| pattern.matches(path, 0)).map(|(name, _)| *name)
    }

    /// Returns the id of the site of this name.
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.names.id(name).filter(|id| self.is_configured[*id])
    }

    /// Returns whether `/report/{site}/{key}` is a path of this site. Of an unknown one it is too, so that it
    /// does not differ from a site with keys.
    pub(crate) fn takes_key(&self, site: &str) -> bool {
        !self.secrets.is_empty() && self.by_name(site).is_none_or(|site| self.keys[site].is_some())
    }

    /// Returns the hash of a key as sent, or of none; absent if no site has keys.
    pub(crate) fn hash_key(&self, key: Option<&[u8]>) -> Option<Digest> {
        (!self.secrets.is_empty()).then(|| digest(&SHA256, key.unwrap_or_default()))
    }

    /// Returns whether a site has no keys, or the hash is that of one. The time depends on neither.
    pub fn accepts_key(&self, site: Option<usize>, sent: Option<Digest>) -> bool {
        let keys = site.and_then(|site| self.keys[site]);
        let Some(sent) = sent else { return keys.is_none() };
        let [first, last] = keys.unwrap_or([sent; 2]);
        (first.as_ref().ct_eq(sent.as_ref()) | last.as_ref().ct_eq(sent.as_ref())).into()
    }

    /// Returns a body or a path without the keys in its URLs: browsers send the site's policy, which contains the
    /// endpoint. In JSON, `/` and `=` are only in texts.
    pub fn redact_keys<'t>(&self, text: &'t [u8]) -> Cow<'t, [u8]> {
        if self.secrets.is_empty() {
            return text.into();
        }
        let mut redacted = Vec::with_capacity(text.len());
        for piece in text.split_inclusive(|byte| matches!(byte, b'/' | b'=')) {
            let end = piece.iter().position(|byte| !is_key_byte(*byte)).unwrap_or(piece.len());
            let (start, rest) = piece.split_at(end);
            redacted.extend_from_slice(if self.secrets.contains(start) { b":redacted" } else { start });
            redacted.extend_from_slice(rest);
        }
        redacted.into()
    }

    /// Returns whether the settings name this host.
    pub(crate) fn names_host(&self, host: &str) -> bool {
        self.configured() && self.by_host(host).is_some()
    }

    /// Returns the site of a report.
    pub(crate) fn resolve<'r>(&self, report: &'r Report<'_>, endpoint_site: Option<&str>) -> SiteLabel<'r> {
        let resolve = |url: &'r str| {
            let host = if self.configured() { host_and_port(url).0 } else { http_host(url) };
            self.resolve_host(host, endpoint_site)
        };
        let site = resolve(&report.url);
        if site != SiteLabel::UNKNOWN || !has_no_address(&report.url) {
            return site;
        }
        let embedders = ["referrer", "sourceFile"].into_iter().filter_map(|name| report.body.get_str(name));
        embedders.map(resolve).find(|site| *site != SiteLabel::UNKNOWN).unwrap_or(site)
    }

    /// Returns the site of any host in a report.
    pub fn resolve_host<'h>(&self, host: &'h str, endpoint_site: Option<&str>) -> SiteLabel<'h> {
        if !self.configured() {
            return if is_host_label(host) { SiteLabel::host(host) } else { SiteLabel::UNKNOWN };
        }
        let id = endpoint_site.and_then(|name| self.by_name(name)).or_else(|| self.by_host(host));
        id.map_or(SiteLabel::UNKNOWN, |id| self.label(id))
    }

    fn by_host(&self, host: &str) -> Option<usize> {
        if let Some(id) = self.exact.get(host) {
            return Some(*id);
        }
        // The longest suffix is the most specific.
        host.match_indices('.').find_map(|(dot, _)| self.suffixes.get(&host[dot + 1..]).copied())
    }
}

/// Returns the host of an http URL, or of the origin in a blob's; other schemes have no site, because what
/// stands in the place of their host is no host.
fn http_host(url: &str) -> &str {
    let origin = url.strip_prefix("blob:").or_else(|| url.strip_prefix("filesystem:")).unwrap_or(url);
    let is_http = origin.starts_with("https://") || origin.starts_with("http://");
    if is_http { host_and_port(origin).0 } else { "" }
}

/// Returns whether a host may be a label: DNS names and address literals of at most 253 bytes.
fn is_host_label(host: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    !host.is_empty() && host.len() <= 253 && host.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites() -> SiteIndex {
        let site = |name: &str, hosts: &[&str]| SiteConfig {
            name: name.into(),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            ..SiteConfig::default()
        };
        SiteIndex::new(&[
            site("shop", &["shop.example", "*.shop.example"]),
            site("pay", &["*.pay.shop.example"]),
        ])
    }

    #[test]
    fn host_in_several_sites_belongs_to_the_most_specific() {
        let sites = sites();
        assert_eq!(sites.by_host("shop.example"), Some(0));
        assert_eq!(sites.by_host("www.shop.example"), Some(0));
        assert_eq!(sites.by_host("eu.pay.shop.example"), Some(1));
        assert_eq!(sites.by_host("pay.shop.example"), Some(0));
        assert_eq!(sites.by_host("evilshop.example"), None);
        assert_eq!(sites.by_host(""), None);
    }

    #[test]
    fn host_label_is_a_dns_name_or_an_address() {
        assert!(is_host_label("shop.example") && is_host_label("2001:db8::1"));
        for text in ["", "a b", "ä.example", &"a".repeat(254)] {
            assert!(!is_host_label(text), "{text}");
        }
    }
}
