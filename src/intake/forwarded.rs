//! The syntax of `Forwarded` (RFC 7239) and `X-Forwarded-For`: the hops that a header lists, nearest
//! first. Only the right end was written by a proxy of ours and everything left of it by whoever
//! sent the request, so the lists are taken apart from the right: no quote, comma or megabyte on the
//! left can change how the right is read. Which hop to believe is `client_ip`'s business.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, header};

/// Hops looked at. No sound chain of proxies is longer.
const MAX_HOPS: usize = 32;

/// Bytes looked at for one hop. Together with `MAX_HOPS` it bounds the work, whatever the length of
/// the header. An element with every parameter of RFC 7239 takes about 150.
const MAX_ELEMENT: usize = 512;

/// A header that lists hops.
#[derive(Debug, Clone, Copy)]
pub(super) enum ForwardingHeader {
    /// RFC 7239's.
    Forwarded,
    /// The one that came before it and stayed.
    XForwardedFor,
}

impl ForwardingHeader {
    fn name(self) -> HeaderName {
        match self {
            ForwardingHeader::Forwarded => header::FORWARDED,
            ForwardingHeader::XForwardedFor => const { HeaderName::from_static("x-forwarded-for") },
        }
    }

    /// Whether the request carries it at all.
    pub(super) fn present(self, headers: &HeaderMap) -> bool {
        headers.contains_key(self.name())
    }

    /// The hops from right to left over all of the header's lines; `None` for one that names no
    /// address: malformed, obfuscated, `unknown`.
    pub(super) fn addresses_rtl(self, headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
        let lines = headers.get_all(self.name()).into_iter().rev();
        let elements = lines.flat_map(|line| ElementsRtl { rest: Some(line.as_bytes()) });
        elements.take(MAX_HOPS).map(move |element| {
            let element = std::str::from_utf8(element?).ok()?;
            match self {
                ForwardingHeader::Forwarded => address(for_node(element)?),
                ForwardingHeader::XForwardedFor => address(trim(element)),
            }
        })
    }
}

/// The elements of a comma-separated list from the last to the first; `None`, and then nothing
/// more, where one is longer than `MAX_ELEMENT`.
struct ElementsRtl<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Iterator for ElementsRtl<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let list = self.rest.take()?;
        let reach = list.len().saturating_sub(MAX_ELEMENT);
        let mut quoted = false;
        for at in (reach..list.len()).rev() {
            match list[at] {
                b'"' if !is_escaped(&list[reach..at]) => quoted = !quoted,
                b',' if !quoted => {
                    self.rest = Some(&list[..at]);
                    return Some(Some(&list[at + 1..]));
                }
                _ => {}
            }
        }
        Some((reach == 0).then_some(list))
    }
}

/// Whether what follows `before` is the second half of a quoted pair. Read from the right, too: in
/// a well-formed element an opening quote follows `=`, so backslashes stand only inside quotes.
fn is_escaped(before: &[u8]) -> bool {
    before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// The node of a `Forwarded` element: the value of its only `for`, without the quotes.
fn for_node(element: &str) -> Option<&str> {
    let (mut rest, mut node) = (trim(element), None);
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

/// Splits `name=value` or `name="value"` off: name, value, what comes after. The value keeps its
/// backslashes: no address is written with any, and one that is counts as malformed.
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

/// The address of a node: IPv4 or IPv6, the latter in brackets or bare, with or without a port.
/// IPv6 may carry a zone, which means something to the proxy only and is dropped. An IPv4 address
/// in IPv6's clothes comes out as IPv4.
fn address(node: &str) -> Option<IpAddr> {
    if let Some(bracketed) = node.strip_prefix('[') {
        let (inner, port) = bracketed.split_once(']')?;
        return (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
            .then(|| ipv6(inner))
            .flatten();
    }
    match node.split_once(':') {
        None => node.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some((host, port)) if !port.contains(':') => {
            is_port(port).then(|| host.parse::<Ipv4Addr>().ok().map(IpAddr::V4)).flatten()
        }
        Some(_) => ipv6(node),
    }
}

fn ipv6(text: &str) -> Option<IpAddr> {
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    if zone == Some("") {
        return None;
    }
    address.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical())
}

/// RFC 7239's `node-port`: a number, or an obfuscated one.
fn is_port(text: &str) -> bool {
    let obfuscated = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    match text.strip_prefix('_') {
        Some(name) => !name.is_empty() && name.bytes().all(obfuscated),
        None => text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok(),
    }
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
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
    fn forwarded_elements() {
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
