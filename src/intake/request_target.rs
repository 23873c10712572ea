//! The URL of an upload: its site, its disposition, and its attributes.

use std::borrow::Cow;

use http::Uri;

use crate::config::Privacy;
use crate::model::Disposition;
use crate::normalize;

/// Every path except `/report/{site}`: the canonical one, and those of older collectors.
const PATHS: [&str; 7] =
    ["/report", "/", "/csp", "/csp/report-only", "/reporting-api/csp", "/nel", "/nel/report-only"];

const SITE_PREFIX: &str = "/report/";

/// Returns whether intake serves the path, with or without a trailing slash.
pub fn is_endpoint(path: &str) -> bool {
    let path = trim_slash(path);
    let names_site = |site: &str| !site.is_empty() && !site.contains('/');
    PATHS.contains(&path) || path.strip_prefix(SITE_PREFIX).is_some_and(names_site)
}

/// Returns the route of a path that intake serves, as traces name it.
pub(super) fn route(path: &str) -> &'static str {
    let known = PATHS.into_iter().find(|known| *known == trim_slash(path));
    known.unwrap_or("/report/{site}")
}

/// Returns the path without a trailing slash, except `/` itself.
pub(super) fn trim_slash(path: &str) -> &str {
    path.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(path)
}

/// A parsed URL.
#[derive(Debug, PartialEq, Eq)]
pub struct RequestTarget<'u> {
    /// Without a trailing slash.
    pub(super) path: &'u str,
    /// The last segment of `/report/{site}`.
    pub site: Option<&'u str>,
    /// The disposition in the path or the query.
    pub disposition: Option<Disposition>,
    /// Attributes of the query, by their names in `intake.query_attributes`.
    pub query: Vec<(&'u str, Cow<'u, str>)>,
}

impl<'u> RequestTarget<'u> {
    /// Parses a URL. `attributes`: `intake.query_attributes`.
    pub fn parse(uri: &'u Uri, attributes: &'u [String], privacy: Privacy) -> RequestTarget<'u> {
        let path = trim_slash(uri.path());
        let site = path.strip_prefix(SITE_PREFIX);
        let report_only = site.is_none() && path.ends_with("/report-only");
        let disposition = report_only.then_some(Disposition::Report);
        let mut target = RequestTarget { path, site, disposition, query: Vec::new() };
        for (name, value) in form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()) {
            if name == "disposition" {
                let given = Some(Disposition::parse(Some(&value)));
                target.disposition =
                    given.filter(|given| *given != Disposition::Unknown).or(target.disposition);
            }
            if let Some(attribute) = attributes.iter().find(|attribute| **attribute == name)
                && target.query.iter().all(|(earlier, _)| earlier != attribute)
            {
                target.query.push((attribute, normalize::attribute(value, privacy)));
            }
        }
        target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<'u>(uri: &'u Uri, attributes: &'u [String]) -> RequestTarget<'u> {
        RequestTarget::parse(uri, attributes, crate::config::defaults().privacy)
    }

    #[test]
    fn is_endpoint_of_a_path_is_exact_but_for_a_trailing_slash() {
        for path in PATHS.into_iter().chain(["/report/shop", "/report/report-only"]) {
            assert!(is_endpoint(path), "{path}");
            assert!(is_endpoint(&format!("{path}/")), "{path}/");
        }
        for path in ["", "/report//", "/report/a/b", "/csp//", "/CSP", "/metrics/", "//report", "*"] {
            assert!(!is_endpoint(path), "{path}");
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
            ("/report/report-only", None),
        ] {
            assert_eq!(parse(&Uri::from_static(uri), &[]).disposition, disposition, "{uri}");
        }
    }

    #[test]
    fn parse_of_the_query_returns_only_configured_attributes() {
        let attributes = ["release".to_owned()];
        let uri = Uri::from_static("/report/shop?release=v1%2E2&secret=1&release=v9");
        let target = parse(&uri, &attributes);
        assert_eq!(target.query, vec![("release", Cow::Borrowed("v1.2"))]);
        assert_eq!(target.site, Some("shop"));
        assert_eq!(parse(&Uri::from_static("/report/shop/?a"), &[]).site, Some("shop"));
        assert_eq!(parse(&Uri::from_static("/report/"), &[]).site, None);
    }
}
