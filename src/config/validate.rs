//! Validation: from the partial to the whole configuration, with the rules that span several settings.

use std::path::PathBuf;

use super::error::ConflictError;
use super::otlp;
use super::partial::{PartialAuth, PartialConfig};
use super::settings::{
    Admin, Auth, Config, Delivery, Intake, RateLimit, Secret, Spool, TlsFiles, UnknownSites,
};

/// Builds the configuration.
///
/// # Errors
///
/// Returns an error if two settings conflict.
pub(super) fn validate(partial: PartialConfig) -> Result<Config, ConflictError> {
    check_listeners(&partial)?;
    check_sites(&partial)?;
    check_proxies(&partial)?;
    let intake = Intake { rate_limit: rate_limit(&partial)?, tls: tls(&partial)?, ..partial.intake };
    let max_bytes = partial.spool_max_bytes;
    let spool = partial.spool_directory.map(|directory| Spool { directory, max_bytes });
    Ok(Config {
        listen: partial.listen,
        admin_listen: partial.admin_listen,
        log: partial.log,
        sites: partial.sites,
        intake,
        privacy: partial.privacy,
        noise: partial.noise,
        metrics: partial.metrics,
        otlp: otlp::resolve(partial.otlp)?,
        delivery: Delivery { spool, ..partial.delivery },
        admin: Admin { auth: auth(partial.auth)?, ..partial.admin },
    })
}

fn check_listeners(partial: &PartialConfig) -> Result<(), ConflictError> {
    if partial.listen.port() != 0 && partial.listen == partial.admin_listen {
        let message = format!("listen is {} too; intake and admin need different addresses", partial.listen);
        return Err(ConflictError::at("admin_listen", message));
    }
    Ok(())
}

fn check_sites(partial: &PartialConfig) -> Result<(), ConflictError> {
    let known = |name: &str| partial.sites.iter().any(|site| site.name == name);
    for entry in &partial.intake.retired {
        if !entry.starts_with('/') && !known(entry) {
            let message = format!("{entry:?} is neither a configured site nor a path that starts with /");
            return Err(ConflictError::at("intake.retired", message));
        }
    }
    if partial.sites.is_empty() && partial.intake.unknown_sites == UnknownSites::Reject {
        let message = "reject requires sites: without sites, each report's own host is its site";
        return Err(ConflictError::at("intake.unknown_sites", message));
    }
    Ok(())
}

fn check_proxies(partial: &PartialConfig) -> Result<(), ConflictError> {
    if partial.intake.proxy_protocol && partial.intake.trusted_proxies.is_empty() {
        let message = "requires intake.trusted_proxies: only connections from those have the header";
        return Err(ConflictError::at("intake.proxy_protocol", message));
    }
    Ok(())
}

fn rate_limit(partial: &PartialConfig) -> Result<Option<RateLimit>, ConflictError> {
    match (partial.rate_per_second, partial.rate_burst) {
        (None, None) => Ok(None),
        (Some(per_second), burst) => {
            Ok(Some(RateLimit { per_second, burst: burst.unwrap_or(per_second.saturating_mul(10)) }))
        }
        (None, Some(_)) => {
            Err(ConflictError::at("intake.rate_limit.burst", "requires intake.rate_limit.per_second"))
        }
    }
}

fn tls(partial: &PartialConfig) -> Result<Option<TlsFiles>, ConflictError> {
    match (partial.tls_certificate.clone(), partial.tls_key.clone()) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (Some(_), None) => Err(ConflictError::at("intake.tls.certificate", "requires intake.tls.key")),
        (None, Some(_)) => Err(ConflictError::at("intake.tls.key", "requires intake.tls.certificate")),
    }
}

fn auth(partial: PartialAuth) -> Result<Option<Auth>, ConflictError> {
    let bearer = at_most_one("bearer", partial.bearer, partial.bearer_file)?;
    let basic = match (partial.username, at_most_one("password", partial.password, partial.password_file)?) {
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
