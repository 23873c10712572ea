//! Which site a report belongs to: the one its endpoint names, else the configured one that lists its
//! host, else `unknown`; and where no sites are configured, its host itself.

use std::collections::HashMap;

use crate::config::settings::SiteConfig;
use crate::model::{Label, Report, SiteLabel, host_and_port};

/// The configured sites, indexed by host.
///
/// Their names live as long as the process, since they are labels: a handful of short texts, leaked
/// once at start.
#[derive(Debug, Default)]
pub struct SiteIndex {
    names: Vec<&'static str>,
    exact: HashMap<String, usize, foldhash::fast::RandomState>,
    /// `*.suffix` by `suffix`.
    suffixes: HashMap<String, usize, foldhash::fast::RandomState>,
}

impl SiteIndex {
    /// Indexes the settings' sites.
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

    /// Whether any site is configured; if not, hosts are sites.
    pub fn configured(&self) -> bool {
        !self.names.is_empty()
    }

    /// The position of the site of this name.
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| *known == name)
    }

    /// The report's site.
    pub(super) fn resolve<'r>(&self, report: &'r Report<'_>, endpoint_site: Option<&str>) -> SiteLabel<'r> {
        self.resolve_host(host_and_port(&report.url).0, endpoint_site)
    }

    /// The same for a host that a report names besides its own.
    pub fn resolve_host<'h>(&self, host: &'h str, endpoint_site: Option<&str>) -> SiteLabel<'h> {
        if !self.configured() {
            return if is_host(host) { SiteLabel::host(host) } else { SiteLabel::UNKNOWN };
        }
        match endpoint_site.and_then(|name| self.by_name(name)).or_else(|| self.by_host(host)) {
            None => SiteLabel::UNKNOWN,
            Some(position) => {
                SiteLabel { label: Label::bounded(self.names[position]), configured: Some(position) }
            }
        }
    }

    fn by_host(&self, host: &str) -> Option<usize> {
        if let Some(position) = self.exact.get(host) {
            return Some(*position);
        }
        // The longest suffix is the most specific.
        host.match_indices('.').find_map(|(dot, _)| self.suffixes.get(&host[dot + 1..]).copied())
    }
}

/// Fit to be a label: what DNS and address literals are made of, no longer than a name may be.
fn is_host(host: &str) -> bool {
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
    fn the_most_specific_host_wins() {
        let sites = sites();
        assert_eq!(sites.by_host("shop.example"), Some(0));
        assert_eq!(sites.by_host("www.shop.example"), Some(0));
        assert_eq!(sites.by_host("eu.pay.shop.example"), Some(1));
        assert_eq!(sites.by_host("pay.shop.example"), Some(0));
        assert_eq!(sites.by_host("evilshop.example"), None);
        assert_eq!(sites.by_host(""), None);
    }

    #[test]
    fn only_a_host_can_be_a_label() {
        assert!(is_host("shop.example") && is_host("2001:db8::1"));
        assert!(!is_host("") && !is_host("a b") && !is_host("ä.example") && !is_host(&"a".repeat(254)));
    }
}
