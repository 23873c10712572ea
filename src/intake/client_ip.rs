//! The client's IP address, for the rate limit and by `privacy.client_address` for the event. So that a
//! client cannot choose it, headers count only as far as trusted proxies wrote them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::header::FORWARDED;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::config::ClientAddress;
use crate::intake::forwarded::{X_FORWARDED_FOR, addresses_rtl, for_node, trim};
use crate::model::ClientKey;

/// The address of a connection's peer; `None` over a Unix socket, whose peer is a proxy.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddr(pub(super) Option<IpAddr>);

impl PeerAddr {
    pub(super) fn is_proxy(self, trusted: &[IpNet]) -> bool {
        self.0.is_none_or(|address| is_trusted(address.to_canonical(), trusted))
    }
}

/// Returns the address of the client behind `peer`; an IPv4-mapped IPv6 address as IPv4. `None` is a proxy over a Unix
/// socket, which is trusted, and a client that such a proxy does not name.
///
/// A peer outside `trusted` is the client. Behind a trusted proxy, the hops in `Forwarded` or
/// `X-Forwarded-For` are read from right to left: the first that is not trusted is the client. If a hop has
/// no address, the client is the proxy that added it. If both headers are present and differ, the client is
/// the peer, because most proxies append to one and forward the other as the client wrote it.
pub(super) fn resolve(peer: Option<IpAddr>, headers: &HeaderMap, trusted: &[IpNet]) -> Option<IpAddr> {
    let peer = peer.map(|peer| peer.to_canonical());
    if !PeerAddr(peer).is_proxy(trusted) {
        return peer;
    }
    let client = |name: &HeaderName, node: fn(&str) -> Option<&str>| {
        let mut client = peer;
        let mut hops = addresses_rtl(headers, name, node);
        while PeerAddr(client).is_proxy(trusted)
            && let Some(Some(hop)) = hops.next()
        {
            client = Some(hop);
        }
        headers.contains_key(name).then_some(client)
    };
    match (client(&FORWARDED, for_node), client(&X_FORWARDED_FOR, |element| Some(trim(element)))) {
        (Some(one), Some(other)) if one != other => peer,
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => peer,
    }
}

/// Returns whether a network contains the address. Networks may be IPv4-mapped, too.
pub(super) fn is_trusted(address: IpAddr, trusted: &[IpNet]) -> bool {
    let mapped = match address {
        IpAddr::V4(address) => IpAddr::V6(address.to_ipv6_mapped()),
        IpAddr::V6(_) => address,
    };
    trusted.iter().any(|network| network.contains(&address) || network.contains(&mapped))
}

/// Returns the key of an address: for IPv4 `ffff:ffff:a.b:c.d::/64`, which is multicast and never a source.
pub(super) fn client_key(address: IpAddr) -> ClientKey {
    ClientKey(match embedded_ipv4(address) {
        IpAddr::V4(address) => 0xffff_ffff_0000_0000 | u64::from(address.to_bits()),
        IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
    })
}

/// Returns the IPv4 address in an IPv4-mapped or NAT64 address (64:ff9b::/96, RFC 6052), or else the address.
fn embedded_ipv4(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => match address.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, ..] => IpAddr::V4(Ipv4Addr::from_bits(address.to_bits() as u32)),
            _ => IpAddr::V6(address),
        },
        address => address,
    }
}

/// Returns what may leave the process. Truncated, it is at most the /24 of an IPv4 address, even embedded.
pub(super) fn anonymize(address: IpAddr, privacy: ClientAddress) -> Option<String> {
    match (privacy, address.to_canonical()) {
        (ClientAddress::None, _) => None,
        (ClientAddress::Full, address) => Some(address.to_string()),
        (ClientAddress::Truncated, IpAddr::V4(address)) => {
            let [a, b, c, _] = address.octets();
            Some(format!("{a}.{b}.{c}.0"))
        }
        (ClientAddress::Truncated, IpAddr::V6(address)) => {
            let [a, b, c, ..] = address.segments();
            // Only a /48 of 6to4 contains a whole IPv4 address (RFC 3056).
            let c = if a == 0x2002 { c & 0xff00 } else { c };
            Some(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_string())
        }
    }
}

#[cfg(test)]
mod tests;
