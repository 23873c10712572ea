//! Validation: from the partial to the whole configuration, with the rules that span several settings.

use std::path::PathBuf;

use super::error::ConflictError;
use super::otlp;
use super::partial::{PartialConfig, Parts};
use super::settings::{Auth, Config, RateLimit, Secret, Spool, TlsFiles, UnknownSites};

/// Builds the configuration.
///
/// # Errors
///
/// Returns an error if two settings conflict.
pub(super) fn validate(partial: PartialConfig) -> Result<Config, ConflictError> {
    let PartialConfig { mut config, otlp, mut parts } = partial;
    check(&config)?;
    config.intake.rate_limit = rate_limit(&parts)?;
    config.intake.tls = tls(&mut parts)?;
    otlp::resolve(otlp, &mut config.otlp)?;
    let (max_bytes, after) = (parts.spool_max_bytes as u64, parts.spool_after);
    config.delivery.spool =
        parts.spool_directory.take().map(|directory| Spool { directory, max_bytes, after });
    if let (Some(file), Some(spool)) = (&config.findings.state_file, &config.delivery.spool)
        && file.starts_with(&spool.directory)
    {
        let message = "is inside delivery.spool.directory; the spool moves every other file away";
        return Err(ConflictError::at("findings.state_file", message));
    }
    config.admin.auth = auth(parts)?;
    Ok(config)
}

/// Checks the settings that need no conversion.
fn check(config: &Config) -> Result<(), ConflictError> {
    let intake = &config.intake;
    if config.listen.port() != 0 && config.listen == config.admin_listen {
        let message = format!("listen is {} too; intake and admin need different addresses", config.listen);
        return Err(ConflictError::at("admin_listen", message));
    }
    let is_known =
        |entry: &String| entry.starts_with('/') || config.sites.iter().any(|site| site.name == *entry);
    if let Some(entry) = intake.retired.iter().find(|entry| !is_known(entry)) {
        let message = format!("{entry:?} is neither a configured site nor a path that starts with /");
        return Err(ConflictError::at("intake.retired", message));
    }
    if config.sites.is_empty() && intake.unknown_sites == UnknownSites::Reject {
        let message = "reject requires sites: without sites, each report's own host is its site";
        return Err(ConflictError::at("intake.unknown_sites", message));
    }
    if intake.proxy_protocol && intake.trusted_proxies.is_empty() {
        let message = "requires intake.trusted_proxies: only connections from those have the header";
        return Err(ConflictError::at("intake.proxy_protocol", message));
    }
    Ok(())
}

fn rate_limit(parts: &Parts) -> Result<Option<RateLimit>, ConflictError> {
    if parts.rate_burst.is_some() && parts.rate_per_second.is_none() {
        return Err(ConflictError::at("intake.rate_limit.burst", "requires intake.rate_limit.per_second"));
    }
    Ok(parts.rate_per_second.map(|per_second| {
        let burst = parts.rate_burst.unwrap_or(per_second.saturating_mul(10));
        RateLimit { per_second, burst }
    }))
}

fn tls(parts: &mut Parts) -> Result<Option<TlsFiles>, ConflictError> {
    match (parts.tls_certificate.take(), parts.tls_key.take()) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (Some(_), None) => Err(ConflictError::at("intake.tls.certificate", "requires intake.tls.key")),
        (None, Some(_)) => Err(ConflictError::at("intake.tls.key", "requires intake.tls.certificate")),
    }
}

fn auth(parts: Parts) -> Result<Option<Auth>, ConflictError> {
    let bearer = at_most_one("bearer", parts.bearer, parts.bearer_file)?;
    let basic = match (parts.username, at_most_one("password", parts.password, parts.password_file)?) {
        (Some(username), Some(password)) => Some((username, password)),
        (None, None) => None,
        (Some(_), None) => {
            let message = "requires admin.auth.password or password_file";
            return Err(ConflictError::at("admin.auth.username", message));
        }
        (None, Some(password)) => {
            let key = match password {
                Secret::Given(_) => "admin.auth.password",
                Secret::File(_) => "admin.auth.password_file",
            };
            return Err(ConflictError::at(key, "requires admin.auth.username"));
        }
    };
    Ok((bearer.is_some() || basic.is_some()).then_some(Auth { bearer, basic }))
}

fn at_most_one(
    key: &str,
    given: Option<Secret>,
    file: Option<PathBuf>,
) -> Result<Option<Secret>, ConflictError> {
    match (given, file) {
        (Some(_), Some(_)) => {
            let message = format!("admin.auth.{key} is set too; only one of the two is allowed");
            Err(ConflictError::at(format!("admin.auth.{key}_file"), message))
        }
        (given, file) => Ok(given.or(file.map(Secret::File))),
    }
}
