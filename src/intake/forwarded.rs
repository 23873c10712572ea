//! Parser of `Forwarded` (RFC 7239) and `X-Forwarded-For`: the hops of a header, from the right, because
//! proxies append there. No quote, comma or megabyte on the left changes how the right is read.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName};

const MAX_HOPS: usize = 32;
/// Maximum length of a hop in bytes. One with every parameter of RFC 7239 has about 150.
const MAX_ELEMENT: usize = 512;

pub(super) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Returns the hops of all lines of a header from right to left; `None` for a hop without a valid address. `node`
/// returns that of an element.
pub(super) fn addresses_rtl(
    headers: &HeaderMap,
    name: &HeaderName,
    node: fn(&str) -> Option<&str>,
) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(name).into_iter().rev();
    let elements = lines.flat_map(|line| elements_rtl(line.as_bytes()));
    elements.take(MAX_HOPS).map(move |element| address(node(std::str::from_utf8(element?).ok()?)?))
}

/// Returns the elements of a comma-separated list from right to left; `None`, as the last, for one that is too long.
fn elements_rtl(list: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let list = rest.take()?;
        let start = list.len().saturating_sub(MAX_ELEMENT);
        let mut quoted = false;
        for at in (start..list.len()).rev() {
            match list[at] {
                b'"' if !is_escaped(&list[start..at]) => quoted = !quoted,
                b',' if !quoted => {
                    rest = Some(&list[..at]);
                    return Some(Some(&list[at + 1..]));
                }
                _ => {}
            }
        }
        Some((start == 0).then_some(list))
    })
}

/// Returns whether the byte after `before` is escaped: only inside quotes, in a well-formed element.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// Returns the node of a `Forwarded` element: the value of its only `for`, without quotes.
pub(super) fn for_node(element: &str) -> Option<&str> {
    let mut rest = trim(element);
    let mut node = None;
    while !rest.is_empty() {
        if let Some(next) = rest.strip_prefix(';') {
            rest = trim(next);
            continue;
        }
        let (name, value, next) = split_pair(rest)?;
        if name.eq_ignore_ascii_case("for") && node.replace(value).is_some() {
            return None;
        }
        rest = trim(next);
        if !rest.is_empty() && !rest.starts_with(';') {
            return None;
        }
    }
    node
}

/// Splits off `name=value` or `name="value"`: name, value, rest. Backslashes stay in the value.
fn split_pair(text: &str) -> Option<(&str, &str, &str)> {
    let (name, value) = text.split_once('=')?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        return None;
    }
    if let Some(quoted) = value.strip_prefix('"') {
        let bytes = quoted.as_bytes();
        let end = (0..bytes.len()).find(|at| bytes[*at] == b'"' && !is_escaped(&bytes[..*at]))?;
        return Some((name, &quoted[..end], &quoted[end + 1..]));
    }
    let (value, next) = value.split_at(value.find(';').unwrap_or(value.len()));
    (!value.contains('"')).then_some((name, trim(value), next))
}

/// Returns the address of a node: IPv4, or IPv6 with optional brackets and zone, each with an optional port.
fn address(node: &str) -> Option<IpAddr> {
    if let Some(bracketed) = node.strip_prefix('[') {
        let (inner, port) = bracketed.split_once(']')?;
        let valid = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return if valid { ipv6(inner) } else { None };
    }
    match node.split_once(':') {
        None => node.parse().ok().map(IpAddr::V4),
        Some((host, port)) if is_port(port) => host.parse().ok().map(IpAddr::V4),
        Some(_) => ipv6(node),
    }
}

fn ipv6(text: &str) -> Option<IpAddr> {
    let address = match text.split_once('%') {
        Some((_, "")) => return None,
        Some((address, _)) => address,
        None => text,
    };
    address.parse().ok().map(|address| IpAddr::V6(address).to_canonical())
}

/// Returns whether the text is a `node-port` of RFC 7239: a number, or an obfuscated port.
fn is_port(text: &str) -> bool {
    let obfuscated = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(obfuscated),
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

pub(super) fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_of_a_node_is_found_or_malformed() {
        for (node, expected) in [
            ("192.0.2.1", Some("192.0.2.1")),
            ("192.0.2.1:80", Some("192.0.2.1")),
            ("192.0.2.1:_gazonk", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("::", Some("::")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("[2001:db8::1]:65535", Some("2001:db8::1")),
            ("[fe80::1%eth0]:80", Some("fe80::1")),
            ("fe80::1%25eth0", Some("fe80::1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("[::ffff:c000:201]:1", Some("192.0.2.1")),
            ("", None),
            ("unknown", None),
            ("_hidden", None),
            ("_SEVKISEK:80", None),
            ("unix:", None),
            ("shop.example", None),
            ("192.0.2", None),
            ("192.0.2.256", None),
            ("192.0.02.1", None),
            ("192.0.2.1%eth0", None),
            ("192.0.2.1:", None),
            ("192.0.2.1:65536", None),
            ("192.0.2.1:+80", None),
            ("192.0.2.1:_", None),
            ("192.0.2.1 ", None),
            ("192.0.2.1\\", None),
            ("[192.0.2.1]", None),
            ("[2001:db8::1", None),
            ("[2001:db8::1]80", None),
            ("[2001:db8::1]:", None),
            ("[fe80::1%]", None),
            ("2001:db8::1]", None),
            ("2001:db8::g", None),
        ] {
            assert_eq!(address(node).map(|ip| ip.to_string()).as_deref(), expected, "{node}");
        }
    }

    #[test]
    fn for_node_of_an_element_is_found_or_malformed() {
        for (element, expected) in [
            ("for=192.0.2.43", Some("192.0.2.43")),
            (" For=\"[2001:db8::1]:4711\"\t", Some("[2001:db8::1]:4711")),
            ("proto=http;by=203.0.113.43;FOR=192.0.2.60", Some("192.0.2.60")),
            (";for=192.0.2.60 ; ;secret=\"a;for=1.1.1.1, \\\"\\\\\";", Some("192.0.2.60")),
            ("for=", Some("")),
            ("proto=https", None),
            ("", None),
            ("192.0.2.43", None),
            ("for=192.0.2.43;for=192.0.2.44", None),
            ("for=\"192.0.2.43", None),
            ("for=\"192.0.2.43\"x", None),
            ("for=192.0.2.43;proto=\"", None),
            ("for=192.0.2.43;x=y\"z\"", None),
            ("for =192.0.2.43", None),
            ("=192.0.2.43", None),
        ] {
            assert_eq!(for_node(element), expected, "{element}");
        }
    }
}
