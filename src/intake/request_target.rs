//! The URL of an upload: its site, its disposition, and its attributes.

use std::borrow::Cow;

use http::Uri;
use percent_encoding::percent_decode_str;
use ring::digest::Digest;

use crate::classify::SiteIndex;
use crate::config::{INTAKE_PATHS, Intake, PathConfig, Privacy};
use crate::model::Disposition;
use crate::normalize;

const SITE_PREFIX: &str = "/report/";

const REPORT_ONLY: &str = "/report-only";

/// Returns the route of a path that intake serves, as traces name it.
pub(super) fn route(path: &str) -> &'static str {
    let known = INTAKE_PATHS.into_iter().find(|known| *known == trim_slash(path));
    known.unwrap_or(if path.starts_with(SITE_PREFIX) { "/report/{site}" } else { "/{path}" })
}

/// Returns the path without a trailing slash, except `/` itself.
pub(super) fn trim_slash(path: &str) -> &str {
    path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path)
}

/// A parsed URL.
#[derive(Debug, Default)]
pub struct RequestTarget<'u> {
    /// Without a trailing slash.
    pub(super) path: &'u str,
    /// The site in `/report/{site}`, or of the mapped path.
    pub site: Option<&'u str>,
    /// The disposition in the path or the query.
    pub disposition: Option<Disposition>,
    /// The key in the path, as sent.
    key_segment: Option<&'u str>,
    /// SHA-256 of the key in the path, else in the query, if any site has keys.
    pub key: Option<Digest>,
    /// Attributes of the query, by their names in `intake.query_attributes`.
    pub query: Vec<(&'u str, Cow<'u, str>)>,
}

impl<'u> RequestTarget<'u> {
    /// Returns the target of a path, if intake serves it.
    pub(super) fn find(path: &'u str, intake: &'u Intake, sites: &SiteIndex) -> Option<RequestTarget<'u>> {
        let path = trim_slash(path);
        let disposition = path.ends_with(REPORT_ONLY).then_some(Disposition::Report);
        let target = RequestTarget { path, disposition, ..RequestTarget::default() };
        if INTAKE_PATHS.contains(&path) {
            return Some(target);
        }
        if let Some(rest) = path.strip_prefix(SITE_PREFIX) {
            let rest = rest.strip_suffix(REPORT_ONLY).unwrap_or(rest);
            let (site, key) = rest.split_once('/').map_or((rest, None), |(site, key)| (site, Some(key)));
            let is_key = |key: &str| !key.is_empty() && !key.contains('/') && sites.takes_key(site);
            let is_endpoint = !site.is_empty() && key.is_none_or(is_key);
            return is_endpoint.then_some(RequestTarget { site: Some(site), key_segment: key, ..target });
        }
        let matches = |(mapped, _): &(&String, _)| match mapped.strip_suffix('*') {
            Some(start) => path.starts_with(start),
            None => path == trim_slash(mapped),
        };
        // The exact path, else the longest start.
        let best = intake.paths.iter().filter(matches);
        let best = best.max_by_key(|(mapped, _)| (!mapped.ends_with('*'), mapped.len()));
        let (_, PathConfig { site, disposition }) = best?;
        let mut target = RequestTarget { site: site.as_deref(), ..target };
        target.supply(disposition.as_deref());
        Some(target)
    }

    /// Parses the URL of an upload. Absent if intake does not serve its path.
    pub fn parse(
        uri: &'u Uri,
        intake: &'u Intake,
        privacy: Privacy,
        sites: &SiteIndex,
    ) -> Option<RequestTarget<'u>> {
        let mut target = RequestTarget::find(uri.path(), intake, sites)?;
        let mut key: Option<Cow<'_, [u8]>> = target.key_segment.map(|key| percent_decode_str(key).into());
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            if name == "disposition" {
                target.supply(Some(&value));
            }
            if name == "key" {
                key.get_or_insert_with(|| value.into_owned().into_bytes().into());
            } else if let Some(attribute) =
                intake.query_attributes.iter().find(|attribute| **attribute == name)
                && target.query.iter().all(|(earlier, _)| earlier != attribute)
            {
                target.query.push((attribute, normalize::attribute(value, privacy)));
            }
        }
        target.key = sites.hash_key(key.as_deref());
        Some(target)
    }

    /// Sets the disposition, if the word is one.
    fn supply(&mut self, word: Option<&str>) {
        let given = Some(Disposition::parse(word)).filter(|given| *given != Disposition::Unknown);
        self.disposition = given.or(self.disposition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, SiteConfig};

    /// Sites: `shop` with keys, `pay` without.
    fn parse(paths: &[(&str, Option<&str>, Option<&str>)], uri: &'static str) -> Option<Parsed> {
        let mut config = crate::config::defaults();
        config.intake.query_attributes = vec!["release".to_owned()];
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let mapped = paths.iter().map(|(path, site, disposition)| {
            let entry = PathConfig { site: owned(*site), disposition: owned(*disposition) };
            ((*path).to_owned(), entry)
        });
        config.intake.paths = mapped.collect();
        let keys = vec![Secret("abcd-1234".into())];
        config.sites = vec![
            SiteConfig { name: "shop".into(), keys, ..SiteConfig::default() },
            SiteConfig { name: "pay".into(), ..SiteConfig::default() },
        ];
        let (uri, sites) = (Uri::from_static(uri), SiteIndex::new(&config.sites));
        let target = RequestTarget::parse(&uri, &config.intake, config.privacy, &sites)?;
        Some(Parsed {
            site: owned(target.site),
            disposition: target.disposition,
            has_key: sites.accepts_key(Some(0), target.key),
            query: target.query.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        })
    }

    struct Parsed {
        site: Option<String>,
        disposition: Option<Disposition>,
        has_key: bool,
        query: Vec<String>,
    }

    #[test]
    fn parse_of_a_path_is_exact_but_for_a_trailing_slash() {
        let mut paths: Vec<String> = INTAKE_PATHS
            .into_iter()
            .chain(["/report/shop", "/report/report-only"])
            .map(str::to_owned)
            .collect();
        paths.extend(paths.clone().iter().map(|path| format!("{path}/")).filter(|path| path != "//"));
        for path in paths {
            assert!(parse(&[], path.clone().leak()).is_some(), "{path}");
        }
        for path in ["/report//", "/report/pay/b", "/csp//", "/CSP", "/metrics/", "//report", "*"] {
            assert!(parse(&[], path).is_none(), "{path}");
        }
    }

    #[test]
    fn parse_of_path_and_query_returns_the_disposition() {
        for (uri, disposition) in [
            ("/report", None),
            ("/csp/report-only", Some(Disposition::Report)),
            ("/nel/report-only", Some(Disposition::Report)),
            ("/csp/report-only/", Some(Disposition::Report)),
            ("/report?disposition=report", Some(Disposition::Report)),
            ("/csp/report-only?disposition=enforce", Some(Disposition::Enforce)),
            ("/report?disposition=whatever", None),
            ("/report/pay/report-only", Some(Disposition::Report)),
            ("/report/shop/abcd-1234/report-only/", Some(Disposition::Report)),
        ] {
            assert_eq!(parse(&[], uri).unwrap().disposition, disposition, "{uri}");
        }
    }

    #[test]
    fn parse_of_the_query_returns_only_configured_attributes() {
        let target = parse(&[], "/report/shop?release=v1%2E2&secret=1&release=v9&key=a").unwrap();
        assert_eq!(target.query, ["release=v1.2"]);
        assert_eq!(parse(&[], "/report/shop/?a").unwrap().site.as_deref(), Some("shop"));
        assert_eq!(parse(&[], "/report/").unwrap().site, None);
    }

    #[test]
    fn key_is_a_segment_after_the_site_or_a_parameter() {
        for (uri, has_key) in [
            ("/report/shop/abcd-1234", true),
            ("/report/shop/%61bcd%2D1234/", true),
            ("/report/shop/abcd-1234/report-only?key=mistyped", true),
            ("/report/shop?a=b&key=%61bcd-1234&key=mistyped", true),
            ("/report/shop/report-only?key=abcd-1234", true),
            ("/?key=abcd-1234", true),
            ("/report/shop/mistyped?key=abcd-1234", false),
            ("/report/shop?key=mistyped&key=abcd-1234", false),
            ("/report/shop?KEY=abcd-1234", false),
            ("/report/shop?key", false),
            ("/report/shop/abcd-123", false),
            ("/report/shop/report-only", false),
            ("/report/blog/abcd-1234", true),
        ] {
            assert_eq!(parse(&[], uri).unwrap().has_key, has_key, "{uri}");
        }
        for uri in [
            "/report/pay/abcd-1234",
            "/report/shop/abcd-1234/more",
            "/report/shop//report-only",
            "/csp/abcd-1234",
        ] {
            assert!(parse(&[], uri).is_none(), "{uri}");
        }
    }

    #[test]
    fn mapped_path_has_the_site_and_disposition_of_the_best_entry() {
        let paths = [
            ("/r/d/csp/enforce", Some("shop"), Some("enforce")),
            ("/r/d/csp/*", None, Some("report")),
            ("/r/d/*", Some("pay"), None),
            ("/api/42/security/", Some("pay"), None),
        ];
        for (uri, site, disposition) in [
            ("/r/d/csp/enforce", Some("shop"), Some(Disposition::Enforce)),
            ("/r/d/csp/enforce/?disposition=report", Some("shop"), Some(Disposition::Report)),
            ("/r/d/csp/enforced", None, Some(Disposition::Report)),
            ("/r/d/xss", Some("pay"), None),
            ("/r/d/xss/report-only", Some("pay"), Some(Disposition::Report)),
            ("/api/42/security?sentry_key=1&sentry_release=2", Some("pay"), None),
            ("/api/42/security/", Some("pay"), None),
        ] {
            let target = parse(&paths, uri).unwrap();
            assert_eq!((target.site.as_deref(), target.disposition), (site, disposition), "{uri}");
            assert!(target.query.is_empty());
        }
        for uri in ["/r/d", "/api/42/security/more", "/api/43/security/", "/R/d/xss"] {
            assert!(parse(&paths, uri).is_none(), "{uri}");
        }
    }
}
