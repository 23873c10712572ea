//! Headers as proxies write them and as attackers would like to; 10.0.0.0/8 and fd00::/8 are trusted.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

/// Resolves a peer that has an address.
fn resolve(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    super::resolve(Some(peer), headers, trusted).unwrap()
}

#[test]
fn resolve_of_a_peer_without_an_address_trusts_its_headers() {
    let resolve = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", value.parse().unwrap());
        super::resolve(None, &headers, &[]).map(|client| client.to_string())
    };
    assert_eq!(resolve("198.51.100.1, 203.0.113.9").as_deref(), Some("203.0.113.9"));
    assert_eq!(resolve("unix:"), None);
    assert_eq!(super::resolve(None, &HeaderMap::new(), &[]), None);
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn trusted() -> Vec<IpNet> {
    ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap()).into()
}

fn headers(lines: &[(&'static str, &[u8])]) -> HeaderMap {
    let line = |(name, value): &(&'static str, &[u8])| {
        (HeaderName::from_static(name), HeaderValue::from_bytes(value).unwrap())
    };
    let mut map = HeaderMap::new();
    for (name, value) in lines.iter().map(line) {
        map.append(name, value);
    }
    map
}

fn behind_proxy(lines: &[(&'static str, &str)]) -> String {
    let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    resolve(ip("10.0.0.1"), &headers(&lines), &trusted()).to_string()
}

fn xff(value: &str) -> String {
    behind_proxy(&[("x-forwarded-for", value)])
}

fn forwarded(value: &str) -> String {
    behind_proxy(&[("forwarded", value)])
}

#[test]
fn resolve_of_an_untrusted_peer_ignores_headers() {
    let both = headers(&[("forwarded", b"for=198.51.100.1"), ("x-forwarded-for", b"198.51.100.1")]);
    assert_eq!(resolve(ip("203.0.113.9"), &both, &trusted()), ip("203.0.113.9"));
    assert_eq!(resolve(ip("10.0.0.1"), &both, &[]), ip("10.0.0.1"));
}

#[test]
fn resolve_without_headers_returns_the_peer() {
    assert_eq!(behind_proxy(&[]), "10.0.0.1");
    assert_eq!(behind_proxy(&[("via", "1.1 proxy")]), "10.0.0.1");
}

#[test]
fn resolve_of_ipv4_mapped_addresses_returns_ipv4() {
    let lines = headers(&[("x-forwarded-for", b"::ffff:203.0.113.9")]);
    assert_eq!(resolve(ip("::ffff:10.0.0.1"), &lines, &trusted()), ip("203.0.113.9"));
    assert_eq!(resolve(ip("::ffff:192.0.2.1"), &lines, &trusted()), ip("192.0.2.1"));
}

#[test]
fn trusted_network_that_is_ipv4_mapped_contains_ipv4() {
    let trusted = ["::ffff:10.0.0.0/104".parse().unwrap()];
    let lines = headers(&[("x-forwarded-for", b"203.0.113.9, 10.9.9.9")]);
    for peer in ["10.0.0.1", "::ffff:10.0.0.1"] {
        assert_eq!(resolve(ip(peer), &lines, &trusted), ip("203.0.113.9"));
    }
    assert_eq!(resolve(ip("11.0.0.1"), &lines, &trusted), ip("11.0.0.1"));
}

#[test]
fn resolve_of_hops_returns_the_rightmost_untrusted() {
    assert_eq!(xff("203.0.113.9"), "203.0.113.9");
    assert_eq!(xff("198.51.100.1, 203.0.113.9"), "203.0.113.9");
    assert_eq!(xff("198.51.100.1,203.0.113.9 ,\t10.1.1.1, [fd00::2]:443"), "203.0.113.9");
    assert_eq!(forwarded("for=198.51.100.1, for=203.0.113.9;proto=https"), "203.0.113.9");
    assert_eq!(forwarded("for=203.0.113.9, for=\"[fd00::2%eth0]:443\";by=10.0.0.9"), "203.0.113.9");
    assert_eq!(forwarded("For=\"[2001:db8:cafe::17]:4711\""), "2001:db8:cafe::17");
}

#[test]
fn resolve_of_several_lines_reads_one_list() {
    let lines = [("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "203.0.113.9, 10.0.0.3")];
    assert_eq!(behind_proxy(&lines), "203.0.113.9");
    let lines =
        [("forwarded", "for=203.0.113.9"), ("forwarded", "for=10.0.0.3"), ("forwarded", "for=10.0.0.2")];
    assert_eq!(behind_proxy(&lines), "203.0.113.9");
}

#[test]
fn resolve_of_only_trusted_hops_returns_the_leftmost() {
    assert_eq!(xff("10.0.0.3, 10.0.0.2"), "10.0.0.3");
    assert_eq!(forwarded("for=\"[fd00::3]\", for=10.0.0.2"), "fd00::3");
}

#[test]
fn resolve_of_a_hop_without_an_address_returns_the_proxy_that_added_it() {
    for bad in ["unknown", "_hidden", "", "unix:", "203.0.113.9:port", "\u{e9}"] {
        assert_eq!(xff(bad), "10.0.0.1", "{bad}");
        assert_eq!(xff(&format!("203.0.113.9, {bad}, 10.0.0.2")), "10.0.0.2", "{bad}");
        assert_eq!(forwarded(&format!("for=203.0.113.9, for=\"{bad}\", for=10.0.0.2")), "10.0.0.2", "{bad}");
    }
    assert_eq!(forwarded("for=203.0.113.9, proto=https, for=10.0.0.2"), "10.0.0.2");
    assert_eq!(forwarded("for=203.0.113.9, for=10.0.0.2;for=10.0.0.3"), "10.0.0.1");
    let latin = headers(&[("x-forwarded-for", b"203.0.113.9, \xe9, 10.0.0.2")]);
    assert_eq!(resolve(ip("10.0.0.1"), &latin, &trusted()), ip("10.0.0.2"));
}

#[test]
fn separators_inside_quotes_are_text() {
    let value = r#"for=198.51.100.1, for=203.0.113.9;note="a, for=1.1.1.1;\", \\", for=10.0.0.2"#;
    assert_eq!(forwarded(value), "203.0.113.9");
}

#[test]
fn resolve_of_headers_that_differ_returns_the_peer() {
    let both = |f, x| behind_proxy(&[("forwarded", f), ("x-forwarded-for", x)]);
    assert_eq!(both("for=203.0.113.9", "203.0.113.9"), "203.0.113.9");
    assert_eq!(both("for=\"203.0.113.9:1\"", "198.51.100.1, ::ffff:203.0.113.9"), "203.0.113.9");
    assert_eq!(both("for=198.51.100.1", "203.0.113.9"), "10.0.0.1");
    assert_eq!(both("for=203.0.113.9", "198.51.100.1, 10.0.0.2"), "10.0.0.1");
}

#[test]
fn resolve_of_an_endless_chain_stops_at_the_limit() {
    let hops = |n: usize| format!("203.0.113.9{}", ", 10.0.0.2".repeat(n));
    assert_eq!(xff(&hops(31)), "203.0.113.9");
    assert_eq!(xff(&hops(32)), "10.0.0.2");
    let padded = |n: usize| format!("203.0.113.9,{}10.0.0.2", " ".repeat(n));
    assert_eq!(xff(&padded(500)), "203.0.113.9");
    assert_eq!(xff(&padded(600)), "10.0.0.1");
    // A hop that is cut at the limit would be another address: 1.2.3.4 of 11.2.3.4.
    assert_eq!(xff(&format!("{}11.2.3.4, 10.0.0.2", " ".repeat(505))), "10.0.0.2");
    assert_eq!(xff(&format!("{}, 203.0.113.9", "\\\"".repeat(100_000))), "203.0.113.9");
}

#[test]
fn client_key_is_the_ipv4_address_or_the_ipv6_subnet() {
    assert_ne!(client_key(ip("192.0.2.1")), client_key(ip("192.0.2.2")));
    assert_eq!(client_key(ip("192.0.2.1")), client_key(ip("::ffff:192.0.2.1")));
    assert_eq!(client_key(ip("2001:db8::1")), client_key(ip("2001:db8::ffff:0:0:2")));
    assert_ne!(client_key(ip("2001:db8::1")), client_key(ip("2001:db8:0:1::1")));
    assert_ne!(client_key(ip("0.0.0.0")), client_key(ip("::")));
    assert_eq!(client_key(ip("64:ff9b::192.0.2.1")), client_key(ip("192.0.2.1")));
    assert_ne!(client_key(ip("64:ff9b::192.0.2.1")), client_key(ip("64:ff9b::192.0.2.2")));
    assert_eq!(client_key(ip("64:ff9b:0:0:1::1")), client_key(ip("64:ff9b:0:0:1::2")));
}

#[test]
fn anonymize_by_setting_returns_nothing_a_network_or_all() {
    use ClientAddress::{Full, None as Absent, Truncated};
    for (address, truncated, full) in [
        ("203.0.113.9", "203.0.113.0", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.0", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1::", "2001:db8:1:2:3:4:5:6"),
        // 203.0.113.9 by 6to4, Teredo (with its bits turned over), NAT64, ISATAP, and as ::203.0.113.9.
        ("2002:cb00:7109:1::2", "2002:cb00:7100::", "2002:cb00:7109:1::2"),
        ("2001:0:c000:201::34ff:8ef6", "2001:0:c000::", "2001:0:c000:201::34ff:8ef6"),
        ("64:ff9b::cb00:7109", "64:ff9b::", "64:ff9b::cb00:7109"),
        ("64:ff9b:1:cb00:71:900::", "64:ff9b:1::", "64:ff9b:1:cb00:71:900::"),
        ("2001:db8:1:2:0:5efe:cb00:7109", "2001:db8:1::", "2001:db8:1:2:0:5efe:cb00:7109"),
        ("::cb00:7109", "::", "::cb00:7109"),
    ] {
        assert_eq!(anonymize(ip(address), Absent), None);
        assert_eq!(anonymize(ip(address), Truncated).as_deref(), Some(truncated));
        assert_eq!(anonymize(ip(address), Full).as_deref(), Some(full));
    }
}

/// Bytes that a header value may hold, the ones that matter to its syntax more often than others.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => prop::sample::select(br#"",;=\[]:.%_ 10f"#.to_vec()),
        1 => 0x20..0x7f_u8,
        1 => 0x80..=0xff_u8,
    ];
    prop::collection::vec(byte, 0..700)
}

proptest! {
    #[test]
    fn resolve_of_any_headers_of_an_untrusted_peer_returns_the_peer(peer: [u8; 4], values in prop::collection::vec((any::<bool>(), value()), 0..4)) {
        let name = |f: bool| if f { "forwarded" } else { "x-forwarded-for" };
        let lines: Vec<_> = values.iter().map(|(f, value)| (name(*f), value.as_slice())).collect();
        let headers = headers(&lines);
        resolve(ip("10.0.0.1"), &headers, &trusted());
        let peer = IpAddr::from(peer);
        prop_assume!(!is_trusted(peer, &trusted()));
        prop_assert_eq!(resolve(peer, &headers, &trusted()), peer);
    }

    #[test]
    fn resolve_behind_a_proxy_ignores_what_the_client_sent(sent in value(), own_line: bool) {
        for (name, hop) in [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=\"203.0.113.9:80\";proto=https")] {
            let appended = [sent.as_slice(), b", ", hop.as_bytes()].concat();
            let lines = if own_line {
                headers(&[(name, &sent), (name, hop.as_bytes())])
            } else {
                headers(&[(name, &appended)])
            };
            prop_assert_eq!(resolve(ip("10.0.0.1"), &lines, &trusted()), ip("203.0.113.9"));
        }
    }
}
