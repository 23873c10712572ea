//! From the draft to the settings: what takes more than one setting to decide or to check.

use std::path::PathBuf;

use super::complaint::Complaint;
use super::draft::{AuthDraft, Draft};
use super::exports;
use super::settings::{
    Admin, Auth, Delivery, Intake, RateLimit, Secret, Settings, Spool, TlsFiles, UnknownSites,
};

/// Two settings that do not go together; the message stands where `key` was set.
#[derive(Debug)]
pub(super) struct Conflict {
    pub(super) key: String,
    pub(super) complaint: Complaint,
}

impl Conflict {
    /// A conflict to be solved at `key`.
    pub(super) fn at(key: impl Into<String>, message: impl Into<String>) -> Conflict {
        Conflict { key: key.into(), complaint: Complaint::new(message) }
    }
}

/// Puts the settings together, or says which do not go together.
pub(super) fn finish(draft: Draft) -> Result<Settings, Conflict> {
    check_listeners(&draft)?;
    check_sites(&draft)?;
    check_proxies(&draft)?;
    let intake = Intake { rate_limit: rate_limit(&draft)?, tls: tls(&draft)?, ..draft.intake };
    let max_bytes = draft.spool_max_bytes;
    let spool = draft.spool_directory.map(|directory| Spool { directory, max_bytes });
    Ok(Settings {
        listen: draft.listen,
        admin_listen: draft.admin_listen,
        log: draft.log,
        sites: draft.sites,
        intake,
        privacy: draft.privacy,
        noise: draft.noise,
        limits: draft.limits,
        otlp: exports::finish(draft.otlp)?,
        delivery: Delivery { spool, ..draft.delivery },
        admin: Admin { auth: auth(draft.auth)?, ..draft.admin },
    })
}

fn check_listeners(draft: &Draft) -> Result<(), Conflict> {
    if draft.listen.port() != 0 && draft.listen == draft.admin_listen {
        let message = format!("listen is {} as well; intake and admin take one address each", draft.listen);
        return Err(Conflict::at("admin_listen", message));
    }
    Ok(())
}

fn check_sites(draft: &Draft) -> Result<(), Conflict> {
    let known = |name: &str| draft.sites.iter().any(|site| site.name == name);
    for entry in &draft.intake.retired {
        if !entry.starts_with('/') && !known(entry) {
            let message = format!("{entry:?} is neither a configured site nor a path that starts with /");
            return Err(Conflict::at("intake.retired", message));
        }
    }
    if draft.sites.is_empty() && draft.intake.unknown_sites == UnknownSites::Reject {
        let message = "reject needs sites: without any, every report's own host is its site";
        return Err(Conflict::at("intake.unknown_sites", message));
    }
    Ok(())
}

fn check_proxies(draft: &Draft) -> Result<(), Conflict> {
    if draft.intake.proxy_protocol && draft.intake.trusted_proxies.is_empty() {
        let message = "needs intake.trusted_proxies: the header is read from those only";
        return Err(Conflict::at("intake.proxy_protocol", message));
    }
    Ok(())
}

fn rate_limit(draft: &Draft) -> Result<Option<RateLimit>, Conflict> {
    match (draft.rate_per_second, draft.rate_burst) {
        (None, None) => Ok(None),
        (Some(per_second), burst) => {
            Ok(Some(RateLimit { per_second, burst: burst.unwrap_or(per_second.saturating_mul(10)) }))
        }
        (None, Some(_)) => {
            let message = "needs intake.rate_limit.per_second beside it";
            Err(Conflict::at("intake.rate_limit.burst", message))
        }
    }
}

fn tls(draft: &Draft) -> Result<Option<TlsFiles>, Conflict> {
    match (draft.tls_certificate.clone(), draft.tls_key.clone()) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(TlsFiles { certificate, key })),
        (Some(_), None) => Err(Conflict::at("intake.tls.certificate", "needs intake.tls.key beside it")),
        (None, Some(_)) => Err(Conflict::at("intake.tls.key", "needs intake.tls.certificate beside it")),
    }
}

fn auth(draft: AuthDraft) -> Result<Option<Auth>, Conflict> {
    let bearer = one_secret("bearer", draft.bearer, draft.bearer_file)?;
    let basic = match (draft.username, one_secret("password", draft.password, draft.password_file)?) {
        (Some(username), Some(password)) => Some((username, password)),
        (None, None) => None,
        (Some(_), None) => {
            return Err(Conflict::at(
                "admin.auth.username",
                "needs admin.auth.password or password_file beside it",
            ));
        }
        (None, Some(Secret::Given(_))) => {
            return Err(Conflict::at("admin.auth.password", "needs admin.auth.username beside it"));
        }
        (None, Some(Secret::File(_))) => {
            return Err(Conflict::at("admin.auth.password_file", "needs admin.auth.username beside it"));
        }
    };
    Ok((bearer.is_some() || basic.is_some()).then_some(Auth { bearer, basic }))
}

fn one_secret(key: &str, given: Option<Secret>, file: Option<PathBuf>) -> Result<Option<Secret>, Conflict> {
    match (given, file) {
        (Some(_), Some(_)) => {
            let message = format!("admin.auth.{key} is set as well; one of the two is enough");
            Err(Conflict::at(format!("admin.auth.{key}_file"), message))
        }
        (given, file) => Ok(given.or(file.map(Secret::File))),
    }
}
