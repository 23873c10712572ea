//! Resolves the site of a report: the one in its endpoint's path, else the configured one of its host,
//! else `unknown`. Without configured sites, every host is a site.

use std::collections::HashMap;

use crate::config::SiteConfig;
use crate::model::{Label, SiteLabel};

/// The configured sites, indexed by host. Their names are leaked once at start, because labels are
/// `'static`.
#[derive(Debug, Default)]
pub struct SiteIndex {
    names: Vec<&'static str>,
    exact: HashMap<String, usize, foldhash::fast::RandomState>,
    /// `*.suffix` by `suffix`.
    suffixes: HashMap<String, usize, foldhash::fast::RandomState>,
}

impl SiteIndex {
    /// Indexes the configured sites.
    pub fn new(sites: &[SiteConfig]) -> SiteIndex {
        let mut index = SiteIndex::default();
        for (position, site) in sites.iter().enumerate() {
            index.names.push(site.name.clone().leak());
            for host in &site.hosts {
                match host.strip_prefix("*.") {
                    Some(suffix) => index.suffixes.insert(suffix.to_owned(), position),
                    None => index.exact.insert(host.clone(), position),
                };
            }
        }
        index
    }

    /// Returns whether any site is configured.
    pub fn configured(&self) -> bool {
        !self.names.is_empty()
    }

    /// Returns the position of the site of this name.
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| *known == name)
    }

    /// Returns the site of any host in a report.
    pub fn resolve_host<'h>(&self, host: &'h str, endpoint_site: Option<&str>) -> SiteLabel<'h> {
        if !self.configured() {
            return if is_host_label(host) { SiteLabel::host(host) } else { SiteLabel::UNKNOWN };
        }
        let position = endpoint_site.and_then(|name| self.by_name(name)).or_else(|| self.by_host(host));
        let Some(position) = position else { return SiteLabel::UNKNOWN };
        SiteLabel { label: Label::bounded(self.names[position]), configured: Some(position) }
    }

    fn by_host(&self, host: &str) -> Option<usize> {
        if let Some(position) = self.exact.get(host) {
            return Some(*position);
        }
        // The longest suffix is the most specific.
        host.match_indices('.').find_map(|(dot, _)| self.suffixes.get(&host[dot + 1..]).copied())
    }
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
            events_per_second: None,
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
