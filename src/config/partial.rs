//! The configuration while it is read: what the setters of the settings table write into.
//!
//! Fields start with placeholders. The table's defaults are then set like any other value, so that a
//! default cannot differ from what is printed as one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::otlp::PartialOtlp;
use super::settings::{
    Admin, Delivery, Intake, Log, MetricsConfig, Noise, Privacy, Secret, SiteConfig, UnknownSites,
};

/// Every setting. What depends on several settings is kept in parts.
#[derive(Debug)]
pub(super) struct PartialConfig {
    pub(super) listen: SocketAddr,
    pub(super) admin_listen: SocketAddr,
    pub(super) log: Log,
    pub(super) sites: Vec<SiteConfig>,
    /// Without `rate_limit` and `tls`.
    pub(super) intake: Intake,
    pub(super) rate_per_second: Option<u32>,
    pub(super) rate_burst: Option<u32>,
    pub(super) tls_certificate: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) privacy: Privacy,
    pub(super) noise: Noise,
    pub(super) metrics: MetricsConfig,
    pub(super) otlp: PartialOtlp,
    /// Without `spool`.
    pub(super) delivery: Delivery,
    pub(super) spool_directory: Option<PathBuf>,
    pub(super) spool_max_bytes: u64,
    /// Without `auth`.
    pub(super) admin: Admin,
    pub(super) auth: PartialAuth,
}

/// `admin.auth.*`.
#[derive(Debug, Default)]
pub(super) struct PartialAuth {
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
        PartialConfig {
            listen: unset,
            admin_listen: unset,
            log: Log::default(),
            sites: Vec::new(),
            intake: Intake {
                max_body_bytes: 0,
                max_reports: 0,
                max_connections: 0,
                max_in_flight: 0,
                max_in_flight_bytes: 0,
                head_timeout: Duration::ZERO,
                body_timeout: Duration::ZERO,
                unknown_sites: UnknownSites::Accept,
                query_attributes: Vec::new(),
                retired: Vec::new(),
                trusted_proxies: Vec::new(),
                proxy_protocol: false,
                rate_limit: None,
                tls: None,
            },
            rate_per_second: None,
            rate_burst: None,
            tls_certificate: None,
            tls_key: None,
            privacy: Privacy::default(),
            noise: Noise::default(),
            metrics: MetricsConfig { max_series: 0, series_ttl: Duration::ZERO },
            otlp: PartialOtlp::default(),
            delivery: Delivery { memory_bytes: 0, shutdown_timeout: Duration::ZERO, spool: None },
            spool_directory: None,
            spool_max_bytes: 0,
            admin: Admin::default(),
            auth: PartialAuth::default(),
        }
    }
}
