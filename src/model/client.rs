//! What distinguishes one client from another.

use std::fmt;

/// A client: an IPv4 address, or an IPv6 /64, which is all addresses of one host. The default stands for all
/// clients without a known address.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClientKey(
    /// The first half of the IPv6 address. For IPv4 `ffff:ffff:a.b:c.d`, which is multicast and never a source.
    pub u64,
);

impl ClientKey {
    /// Returns the /48 of an IPv6 client, and the subnet in it.
    pub fn ipv6_subnet(self) -> Option<(u64, u16)> {
        (self.0 >> 32 != 0xffff_ffff).then_some((self.0 >> 16, self.0 as u16))
    }
}

/// Without the address, because it must not get into a log line.
impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientKey")
    }
}
