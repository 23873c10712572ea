//! Settings while they are read: what the table's setters write into. Scalars start blank and get
//! their defaults through the same setters as everything else, so that a default cannot differ from
//! what is printed as one.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::otlp::EndpointUrl;
use super::settings::{
    Admin, ClientAddress, Compression, Delivery, Intake, Log, LogFormat, LogLevel, MetricsConfig, Noise,
    PathSecrets, Privacy, Protocol, QueryPrivacy, Secret, SiteConfig, Temporality, UnknownSites,
};

/// Everything that setters write. What depends on more than one setting is still in pieces.
#[derive(Debug)]
pub(super) struct PartialConfig {
    pub(super) listen: SocketAddr,
    pub(super) admin_listen: SocketAddr,
    pub(super) log: Log,
    pub(super) sites: Vec<SiteConfig>,
    /// Without `rate_limit` and `tls`, which are put together from the pieces below.
    pub(super) intake: Intake,
    pub(super) rate_per_second: Option<u32>,
    pub(super) rate_burst: Option<u32>,
    pub(super) tls_certificate: Option<PathBuf>,
    pub(super) tls_key: Option<PathBuf>,
    pub(super) privacy: Privacy,
    pub(super) noise: Noise,
    pub(super) metrics: MetricsConfig,
    pub(super) otlp: PartialOtlp,
    /// Without `spool`, which is put together from the pieces below.
    pub(super) delivery: Delivery,
    pub(super) spool_directory: Option<PathBuf>,
    pub(super) spool_max_bytes: u64,
    /// Without `auth`, which is put together from the pieces below.
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

/// `otlp.*` and `service.*`.
#[derive(Debug)]
pub(super) struct PartialOtlp {
    pub(super) disabled: bool,
    pub(super) general: Destination,
    pub(super) logs: Destination,
    pub(super) metrics: Destination,
    pub(super) traces: Destination,
    pub(super) logs_exporters: Option<Exporters>,
    pub(super) metrics_exporters: Option<Exporters>,
    pub(super) traces_exported: bool,
    pub(super) interval: Duration,
    pub(super) temporality: Temporality,
    pub(super) service_name: Option<String>,
    pub(super) resource_attributes: Vec<(String, String)>,
}

/// Where one signal goes, or all of them: what is absent is inherited or derived.
#[derive(Debug, Default)]
pub(super) struct Destination {
    pub(super) endpoint: Option<EndpointUrl>,
    pub(super) protocol: Option<Protocol>,
    pub(super) headers: Option<Vec<(String, String)>>,
    pub(super) timeout: Option<Duration>,
    pub(super) compression: Option<Compression>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) client_certificate: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) insecure: Option<bool>,
}

/// A signal's exporters, as chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Exporters {
    pub(super) console: bool,
    pub(super) otlp: bool,
}

impl PartialConfig {
    /// Nothing is set yet, not even a default.
    pub(super) fn empty() -> PartialConfig {
        let nowhere = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        PartialConfig {
            listen: nowhere,
            admin_listen: nowhere,
            log: Log { format: LogFormat::Text, level: LogLevel::Info },
            sites: Vec::new(),
            intake: empty_intake(),
            rate_per_second: None,
            rate_burst: None,
            tls_certificate: None,
            tls_key: None,
            privacy: Privacy {
                query: QueryPrivacy::Strip,
                path_secrets: PathSecrets::Redact,
                client_address: ClientAddress::None,
            },
            noise: Noise::default(),
            metrics: MetricsConfig { max_series: 0, series_ttl: Duration::ZERO },
            otlp: PartialOtlp::empty(),
            delivery: Delivery { memory_bytes: 0, shutdown_timeout: Duration::ZERO, spool: None },
            spool_directory: None,
            spool_max_bytes: 0,
            admin: Admin { auth: None, unready_after: None },
            auth: PartialAuth::default(),
        }
    }
}

fn empty_intake() -> Intake {
    Intake {
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
    }
}

impl PartialOtlp {
    fn empty() -> PartialOtlp {
        PartialOtlp {
            disabled: false,
            general: Destination::default(),
            logs: Destination::default(),
            metrics: Destination::default(),
            traces: Destination::default(),
            logs_exporters: None,
            metrics_exporters: None,
            traces_exported: false,
            interval: Duration::ZERO,
            temporality: Temporality::Cumulative,
            service_name: None,
            resource_attributes: Vec::new(),
        }
    }
}
