//! The client address in events: absent, truncated or whole, for IPv4 and IPv6, and behind proxies.

use crate::support::REPORT;
use crate::support::daemon::{Daemon, Setup};
use crate::support::http::Request;

/// Name and value of a trusted proxy's header; the client address truncated, and whole.
const CLIENTS: [(&str, &str, &str, &str); 10] = [
    ("x-forwarded-for", "203.0.113.9", "203.0.113.0", "203.0.113.9"),
    ("x-forwarded-for", "203.0.113.9:4711", "203.0.113.0", "203.0.113.9"),
    ("x-forwarded-for", "198.51.100.1, 203.0.113.9, 10.1.2.3", "203.0.113.0", "203.0.113.9"),
    ("x-forwarded-for", "::ffff:203.0.113.9", "203.0.113.0", "203.0.113.9"),
    ("x-forwarded-for", "2001:db8:1:2:3:4:5:6", "2001:db8:1::", "2001:db8:1:2:3:4:5:6"),
    // 203.0.113.9 by 6to4: its /48 would reveal all of it.
    ("x-forwarded-for", "2002:cb00:7109:1::2", "2002:cb00:7100::", "2002:cb00:7109:1::2"),
    ("forwarded", "for=203.0.113.9;proto=https", "203.0.113.0", "203.0.113.9"),
    ("forwarded", "for=\"[2001:db8:1:2:3:4:5:6]:4711\"", "2001:db8:1::", "2001:db8:1:2:3:4:5:6"),
    ("forwarded", "for=\"[::ffff:203.0.113.9]\"", "203.0.113.0", "203.0.113.9"),
    (
        "forwarded",
        "for=198.51.100.1, for=\"[2001:db8:1::9]\", for=\"[fd00::2]\"",
        "2001:db8:1::",
        "2001:db8:1::9",
    ),
];

fn daemon(client_address: &str, trusted: &str) -> Daemon {
    Setup::yaml(&format!(
        "privacy: {{ client_address: {client_address} }}\nintake: {{ trusted_proxies: [{trusted}] }}"
    ))
    .start()
}

const PROXIES: &str = "127.0.0.0/8, 10.0.0.0/8, \"fd00::/8\"";

/// Returns the addresses in the events of one upload for each of [`CLIENTS`], and the whole output.
fn client_addresses(daemon: Daemon) -> (Vec<Option<String>>, String) {
    for (name, value, ..) in CLIENTS {
        let upload = Request::post("/report", REPORT).header(name, value);
        assert_eq!(daemon.send(&upload, 1).status, 204);
    }
    let scrape = daemon.get_admin("/metrics").text();
    let lines = daemon.stop();
    let address = |line: &String| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["lookout"]["client_address"].as_str().map(str::to_owned)
    };
    (lines.iter().map(address).collect(), lines.concat() + &scrape)
}

#[test]
fn client_address_by_default_is_absent() {
    let defaults = Daemon::start();
    for daemon in [defaults, daemon("none", PROXIES)] {
        let (addresses, everything) = client_addresses(daemon);
        assert_eq!(addresses, [const { None }; CLIENTS.len()]);
        for part in ["203.0.113", "2001:db8", "2002:cb00", "198.51.100", "127.0.0.1"] {
            assert!(!everything.contains(part), "{part} in {everything}");
        }
    }
}

#[test]
fn client_address_truncated_is_a_network() {
    let (addresses, everything) = client_addresses(daemon("truncated", PROXIES));
    assert_eq!(addresses, CLIENTS.map(|(_, _, truncated, _)| Some(truncated.to_owned())));
    for rest in ["203.0.113.9", "2001:db8:1:2", "2002:cb00:7109", "::9", "198.51.100"] {
        assert!(!everything.contains(rest), "{rest} in {everything}");
    }
}

#[test]
fn client_address_full_is_whole() {
    let (addresses, _) = client_addresses(daemon("full", PROXIES));
    assert_eq!(addresses, CLIENTS.map(|(.., full)| Some(full.to_owned())));
}

/// A peer that is not a trusted proxy is the client.
#[test]
fn client_address_of_an_untrusted_peer_ignores_headers() {
    let (addresses, everything) = client_addresses(daemon("full", "10.0.0.0/8"));
    assert_eq!(addresses, CLIENTS.map(|_| Some("127.0.0.1".to_owned())));
    assert!(!everything.contains("203.0.113"), "{everything}");
    let (addresses, _) = client_addresses(daemon("truncated", ""));
    assert_eq!(addresses, CLIENTS.map(|_| Some("127.0.0.0".to_owned())));
}
