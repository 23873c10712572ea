//! Reports to a path that intake does not serve. A mistyped header of a site, or a proxy that changes paths, loses
//! every report, and browsers show no error. Therefore the path is logged, and clients are counted, each once in a
//! window, so that one client alone causes no alert.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use foldhash::quality::RandomState;
use http::HeaderMap;
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;

use crate::classify::SiteIndex;
use crate::intake::body::is_type;
use crate::intake::client_ip::client_key;
use crate::log_throttle::LogThrottle;
use crate::model::ClientKey;
use crate::normalize;

const MAX_PATH_CHARS: usize = 200;
/// Time in which a client is counted once.
const WINDOW: Duration = Duration::from_secs(3600);
/// Maximum number of clients in a window; further ones are not counted.
const MAX_CLIENTS: usize = 1024;

/// Media types that only senders of reports use. `application/json` is not among them.
const REPORT_TYPES: [&str; 7] = [
    "application/reports+json",
    "application/csp-report",
    "application/expect-ct-report+json",
    "application/expect-staple-report",
    "application/expect-staple-report+json",
    "application/tlsrpt+json",
    "application/tlsrpt+gzip",
];

#[derive(Debug)]
pub(super) struct MisdirectedReports {
    log: LogThrottle,
    clients: Mutex<Clients>,
}

/// The clients of the current window.
#[derive(Debug)]
struct Clients {
    since: Instant,
    counted: HashSet<ClientKey, RandomState>,
}

impl MisdirectedReports {
    pub(super) fn new() -> MisdirectedReports {
        MisdirectedReports {
            log: LogThrottle::new(|uploads| {
                tracing::warn!(uploads, "more reports were sent to paths that intake does not serve");
            }),
            clients: Mutex::new(Clients { since: Instant::now(), counted: HashSet::default() }),
        }
    }

    /// Records an upload to an unknown path, if it is one of reports. Returns whether to count its client.
    pub(super) fn record(&self, path: &str, headers: &HeaderMap, client: Option<IpAddr>) -> bool {
        if !REPORT_TYPES.iter().any(|media_type| is_type(headers, media_type)) {
            return false;
        }
        if let Some(uploads) = self.log.record(1) {
            tracing::warn!(
                uploads,
                path,
                "reports were sent to a path that intake does not serve, and are lost: correct the site's headers"
            );
        }
        client.is_some_and(|client| self.clients.lock().count(client_key(client), Instant::now()))
    }
}

impl Clients {
    fn count(&mut self, client: ClientKey, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= WINDOW {
            *self = Clients { since: now, counted: HashSet::default() };
        }
        self.counted.len() < MAX_CLIENTS && self.counted.insert(client)
    }
}

/// Returns the path without keys, secrets and hidden characters, and bounded.
pub(super) fn loggable(path: &str, sites: &SiteIndex) -> String {
    let path = percent_decode_str(path).decode_utf8_lossy();
    // What follows the site may be a mistyped or an earlier key, also behind the prefix of a proxy.
    let rest = path.split_once("/report/").and_then(|(_, rest)| Some(rest.split_once('/')?.1));
    let rest = rest.filter(|rest| !["", "report-only"].contains(rest));
    let known = rest.map_or(&*path, |rest| &path[..path.len() - rest.len()]);
    let path = [known, rest.map_or("", |_| ":redacted")].concat();
    let path = String::from_utf8_lossy(&sites.redact_keys(path.as_bytes())).into_owned();
    let path = normalize::path(&path);
    let mut characters = path.chars();
    let mut line: String = characters.by_ref().take(MAX_PATH_CHARS).collect();
    line.extend(characters.next().map(|_| '…'));
    line
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;
    use crate::config::{Secret, SiteConfig};

    #[test]
    fn client_of_reports_is_counted_once_in_a_window() {
        let misdirected = MisdirectedReports::new();
        let record = |content_type: &str, client: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, content_type.parse().unwrap())]);
            misdirected.record("/csp-report", &headers, Some(client.parse().unwrap()))
        };
        assert!(!record("application/json", "192.0.2.1"), "any client may send that");
        assert!(record("application/csp-report", "192.0.2.1"));
        assert!(!record("Application/Reports+JSON; charset=utf-8", "192.0.2.1"));
        assert!(record("application/reports+json", "2001:db8::1"));
        assert!(!record("application/reports+json", "2001:db8::2"), "the same /64");
        let mut clients = misdirected.clients.lock();
        let (client, later) = (client_key("192.0.2.1".parse().unwrap()), clients.since + WINDOW);
        assert!(clients.count(client, later));
        assert!(!clients.count(client, later));
    }

    #[test]
    fn clients_beyond_the_limit_are_not_counted() {
        let mut clients = Clients { since: Instant::now(), counted: HashSet::default() };
        let now = Instant::now();
        let counted = (0..10_000_u32).filter(|n| clients.count(client_key(IpAddr::V4((*n).into())), now));
        assert_eq!(counted.count(), MAX_CLIENTS);
        assert_eq!(clients.counted.len(), MAX_CLIENTS);
    }

    #[test]
    fn logged_path_is_redacted_escaped_and_bounded() {
        let keys = vec![Secret("old-key-1".into()), Secret("new.key~2".into())];
        let sites = SiteIndex::new(&[SiteConfig { name: "shop".into(), keys, ..SiteConfig::default() }]);
        let loggable = |path: &str| loggable(path, &sites);
        for (path, logged) in [
            ("/csp-reports", "/csp-reports"),
            ("/reset/5f0c6a3e-7a53-4e0c-9d0b-1a2b3c4d5e6f", "/reset/:redacted"),
            ("/a\u{202e}\u{1b}b", "/a\\u{202E}b"),
            ("/report/shop/", "/report/shop/"),
            ("/report/shop/report-only", "/report/shop/report-only"),
            ("/report/shop/mistyped", "/report/shop/:redacted"),
            ("/report/shop/mistyped/report-only/", "/report/shop/:redacted"),
            ("/prefix//report/shop/old-key-1", "/prefix//report/shop/:redacted"),
            ("/%72eport%2fshop%2Fmistyped", "/report/shop/:redacted"),
            ("/reports/shop/old-key-1", "/reports/shop/:redacted"),
            ("/new%2Ekey~2/", "/:redacted/"),
            ("/csp;key=new.key~2", "/csp"),
            ("/csp%3Fkey=mistyped", "/csp"),
        ] {
            assert_eq!(loggable(path), logged, "{path}");
        }
        let long = loggable(&"/a".repeat(5000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (MAX_PATH_CHARS + 1, true));
    }
}
