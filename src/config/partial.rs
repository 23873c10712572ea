//! The configuration while it is read: what the setters of the settings table write into.
//!
//! Fields start with placeholders. The table's defaults are then set like any other value, so that a
//! default cannot differ from what is printed as one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::otlp::PartialOtlp;
use super::settings::{
    Admin, Config, Delivery, Events, Findings, Intake, Log, MetricsConfig, Noise, Otlp, Privacy, Secret,
};

/// Every setting.
#[derive(Debug)]
pub(super) struct PartialConfig {
    /// Settings with a field of their own.
    pub(super) config: Config,
    pub(super) otlp: PartialOtlp,
    pub(super) parts: Parts,
}

/// Settings of which validation makes `rate_limit`, `tls`, `spool` and `auth`.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub(super) rate_per_second: Option<u32>,
    pub(super) rate_burst: Option<u32>,
    pub(super) tls_certificate: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) spool_directory: Option<PathBuf>,
    pub(super) spool_max_bytes: usize,
    pub(super) spool_after: Duration,
    pub(super) bearer: Option<Secret>,
    pub(super) bearer_file: Option<PathBuf>,
    pub(super) username: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) password_file: Option<PathBuf>,
}

impl PartialConfig {
    /// Creates a configuration of placeholders.
    pub(super) fn empty() -> PartialConfig {
        let unset = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let config = Config {
            listen: unset,
            admin_listen: unset,
            log: Log::default(),
            sites: Vec::new(),
            intake: Intake::default(),
            privacy: Privacy::default(),
            noise: Noise::default(),
            events: Events::default(),
            findings: Findings::default(),
            metrics: MetricsConfig::default(),
            otlp: Otlp::default(),
            delivery: Delivery::default(),
            admin: Admin::default(),
        };
        PartialConfig { config, otlp: PartialOtlp::default(), parts: Parts::default() }
    }
}
