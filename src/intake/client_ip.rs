//! Whose upload it is. The address decides about the rate limit and, if the user wants it, stands in
//! the event, so it must not be a matter of what the client writes into a header: headers count only
//! when the connection comes from a proxy that the user named, and only as far as such proxies vouch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::HeaderMap;
use ipnet::IpNet;

use super::forwarded::ForwardingHeader;
use crate::config::ClientAddress;

/// The address of the client behind `peer`, an IPv4-mapped IPv6 address as IPv4.
///
/// A peer outside `trusted` is the client itself. Behind a trusted one, the hops in `Forwarded` or
/// else `X-Forwarded-For` are walked from the right: the first that is not trusted is the client. At
/// a hop that names no address the walk ends, and the client is the proxy that reported it.
///
/// Most proxies keep one of the two headers and pass the other on as it came. When a request carries
/// both and they disagree, one is likely the client's own invention and nothing says which: then
/// the client is the peer.
pub fn resolve(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    if !is_trusted(peer, trusted) {
        return peer;
    }
    let claim = |header: ForwardingHeader| {
        header.present(headers).then(|| rightmost_untrusted(peer, header.addresses_rtl(headers), trusted))
    };
    match (claim(ForwardingHeader::Forwarded), claim(ForwardingHeader::XForwardedFor)) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => peer,
    }
}

fn rightmost_untrusted(
    mut peer: IpAddr,
    hops: impl Iterator<Item = Option<IpAddr>>,
    trusted: &[IpNet],
) -> IpAddr {
    for hop in hops {
        match hop {
            Some(address) if is_trusted(address, trusted) => peer = address,
            Some(address) => return address,
            None => break,
        }
    }
    peer
}

/// A network may be written as IPv4 in IPv6's clothes, too.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let mapped = match address {
        IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
        IpAddr::V6(_) => address,
    };
    trusted.iter().any(|network| network.contains(&address) || network.contains(&mapped))
}

/// What the rate limit counts by: an IPv4 address, or an IPv6 /64, since whoever has one address of
/// a /64 has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClientKey(u64);

/// The key of an address. IPv4 goes to `ffff:ffff:a.b:c.d::/64`, which is multicast and so never
/// anyone's source.
pub fn client_key(address: IpAddr) -> ClientKey {
    ClientKey(match embedded_ipv4(address) {
        IpAddr::V4(address) => 0xffff_ffff_0000_0000 | u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    })
}

/// An address with one of IPv4 in it as that: mapped, or as a translator in front of servers that speak
/// IPv6 alone shows every client of IPv4 (64:ff9b::/96, RFC 6052), all of them in one /64.
fn embedded_ipv4(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => match address.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, ..] => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() as u32)),
            _ => IpAddr::V6(address),
        },
        address => address,
    }
}

/// What of the address may leave the process, as text. Truncated, it tells no more of an address of IPv4
/// than its /24, also where one of IPv6 is made from it.
pub fn anonymize(address: IpAddr, privacy: ClientAddress) -> Option<String> {
    match (privacy, address.to_canonical()) {
        (ClientAddress::None, _) => None,
        (ClientAddress::Full, address) => Some(address.to_string()),
        (ClientAddress::Truncated, IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            Some(format!("{a}.{b}.{c}.0"))
        }
        (ClientAddress::Truncated, IpAddr::V6(address)) => {
            let [a, b, c, ..] = address.segments();
            // A /48 of 6to4 is the address of one subscriber (RFC 3056). Where others have theirs (Teredo,
            // NAT64, ISATAP), a /48 does not reach.
            let c = if a == 0x2002 { c & 0xff00 } else { c };
            Some(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_string())
        }
    }
}

#[cfg(test)]
mod tests;
