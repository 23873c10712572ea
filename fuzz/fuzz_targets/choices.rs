//! The choices that the first two bytes of an input make: the daemon's settings, and the head of the upload. All
//! other bytes are the body. `seeds.py` writes such inputs.

use std::borrow::Cow;
use std::sync::LazyLock;

use jiff::Timestamp;
use lookoutd::config::{Config, PathSecrets, QueryPrivacy, SiteConfig, UnknownSites};
use lookoutd::decode::gunzip_within;
use lookoutd::kinds;
use lookoutd::metrics::Registry;
use lookoutd::model::{ClientKey, Disposition, UploadContext};

/// A site with an exact host and a suffix; the captures' hosts are among them.
const SITE: &str = "shop";
const HOSTS: [&str; 2] = ["site.test", "*.shop.example"];
/// Enough for any body of `-max_len` bytes inflated, and little enough to stay fast.
pub const MAX_INFLATED: usize = 1 << 18;
/// A limit that many bodies exceed.
const FEW_REPORTS: usize = 4;
/// A number of series that no body reaches.
pub const ROOMY: usize = 1_000_000;

/// Splits an input into setup, head and body.
pub fn split(input: &[u8]) -> Option<(Setup, Head, &[u8])> {
    let (&[setup, head], body) = input.split_first_chunk()?;
    Some((Setup(setup & SETUPS), Head(head), body))
}

/// The fewest series that every family can use.
static MIN_LIMIT: LazyLock<usize> =
    LazyLock::new(|| Registry::new(kinds::families(), 0, 0, RECEIVED).unwrap().min_limit());

/// Bits of the first byte that have a meaning.
const SETUPS: u8 = 0b111_1111;

/// Settings of the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Setup(u8);

impl Setup {
    fn has_sites(self) -> bool {
        self.0 & 8 != 0
    }

    /// Replaces defaults by the choices.
    pub fn apply(self, config: &mut Config) {
        config.privacy.query = match self.0 & 3 {
            0 => QueryPrivacy::Strip,
            1 => QueryPrivacy::Names,
            _ => QueryPrivacy::Keep,
        };
        config.privacy.path_secrets = if self.0 & 4 == 0 { PathSecrets::Redact } else { PathSecrets::Keep };
        if self.has_sites() {
            let hosts = HOSTS.map(str::to_owned).to_vec();
            config.sites = vec![SiteConfig { name: SITE.to_owned(), hosts, ..SiteConfig::default() }];
        }
        config.intake.unknown_sites =
            if self.0 & 16 == 0 { UnknownSites::Accept } else { UnknownSites::Reject };
        if self.0 & 32 != 0 {
            config.intake.max_reports = FEW_REPORTS;
        }
        config.metrics.max_series = if self.0 & 64 != 0 { *MIN_LIMIT } else { ROOMY };
    }
}

/// Head of the upload.
#[derive(Clone, Copy)]
pub struct Head(u8);

impl Head {
    /// Returns the body for the path; `None` if its encoding is invalid or it inflates to too much.
    pub fn decompress(self, content: &[u8]) -> Option<Cow<'_, [u8]>> {
        match self.0 & 1 {
            0 => Some(Cow::Borrowed(content)),
            _ => gunzip_within(content, MAX_INFLATED, MAX_INFLATED)
                .ok()
                .flatten()
                .map(|body| Cow::Owned(body.into())),
        }
    }

    /// Returns the context of all reports. It has a site only if one is configured, because intake rejects any
    /// other.
    pub fn context(self, setup: Setup) -> UploadContext<'static> {
        let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0";
        let more = self.0 & 32 != 0;
        UploadContext {
            received: RECEIVED,
            uptime: 1,
            user_agent: (self.0 & 16 != 0).then_some(agent),
            disposition: match self.0 & 6 {
                2 => Some(Disposition::Enforce),
                4 => Some(Disposition::Report),
                _ => None,
            },
            site: (setup.has_sites() && self.0 & 8 != 0).then_some(SITE),
            key: None,
            query: if more { &[("release", Cow::Borrowed("v1 \"2\""))] } else { &[] },
            client: ClientKey(self.0.into()),
            client_address: more.then_some("192.0.2.0"),
            span: None,
        }
    }
}

/// Time of receipt: constant, so that an input always has the same result.
pub const RECEIVED: Timestamp = Timestamp::constant(1_800_000_000, 0);
