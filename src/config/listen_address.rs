//! Address of a listener: an IP address with a port, or the path of a Unix socket.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Address of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum ListenAddress {
    /// IP address and port. The unspecified address of IPv6 stands for all addresses, those of IPv4 included.
    Tcp(SocketAddr),
    /// Path of a socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// What would be valid.
    pub(super) const EXPECTED: &str = "an address and a port such as 0.0.0.0:8480, [::]:8480, :8480 or \
        localhost:8480, or a socket such as unix:/run/lookoutd/intake.sock";
    /// Maximum length of a socket's path, in bytes.
    const MAX_PATH: usize = 107;

    /// Returns its URL, or unix: and a path.
    pub fn url(&self, scheme: &str) -> String {
        match self {
            ListenAddress::Tcp(address) => format!("{scheme}://{address}"),
            ListenAddress::Unix(_) => self.to_string(),
        }
    }

    /// Returns the path, if it is a Unix socket.
    pub fn path(&self) -> Option<&Path> {
        match self {
            ListenAddress::Unix(path) => Some(path),
            ListenAddress::Tcp(_) => None,
        }
    }
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            let is_valid = path.starts_with('/') && path.len() <= Self::MAX_PATH;
            return if is_valid { Ok(Self::Unix(path.into())) } else { Err(Self::EXPECTED) };
        }
        let address = match text.rsplit_once(':') {
            Some(("", port)) => format!("[::]:{port}").parse(),
            Some(("localhost", port)) => format!("{}:{port}", Ipv4Addr::LOCALHOST).parse(),
            _ => text.parse(),
        };
        address.map(Self::Tcp).map_err(|_| Self::EXPECTED)
    }
}

impl TryFrom<String> for ListenAddress {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> String {
        address.to_string()
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_address_in_every_form_is_read_or_malformed() {
        for (text, expected) in [
            ("0.0.0.0:8480", Some("0.0.0.0:8480")),
            (":8480", Some("[::]:8480")),
            ("[::]:8480", Some("[::]:8480")),
            ("localhost:0", Some("127.0.0.1:0")),
            ("unix:/run/lookoutd/intake.sock", Some("unix:/run/lookoutd/intake.sock")),
            ("unix:intake.sock", None),
            ("unix:", None),
            ("8480", None),
            (":", None),
            (":65536", None),
            ("reports.example:8480", None),
            ("::1:8480", None),
        ] {
            let found = text.parse::<ListenAddress>().ok().map(|address| address.to_string());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        assert!(format!("unix:/{}", "x".repeat(107)).parse::<ListenAddress>().is_err());
    }
}
