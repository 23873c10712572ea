//! Validation: the rules that span several settings.

use std::collections::HashSet;
use std::time::Duration;

use super::error::Conflict;
use super::exports::{LogsExporter, OtherExporter};
use super::listen_address::ListenAddress;
use super::otlp;
use super::rules::check_rules;
use super::settings::{Config, PageConfig, PathConfig, UnknownSites};

/// Resolves the exporters, and returns all conflicts between settings.
pub(super) fn validate(config: &mut Config) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    let mut check = |is_valid: bool, key: &str, other: &'static str, message: &str| {
        if !is_valid {
            conflicts.push(Conflict::new(key, other, message));
        }
    };
    for network in config.intake.trusted_proxies.iter_mut().filter(|network| **network != network.trunc()) {
        let taken = network.trunc();
        let warning = format!("intake.trusted_proxies: {network} has host bits; it is taken as {taken}");
        config.warnings.push(warning);
        *network = taken;
    }
    let (intake, auth) = (&config.intake, &config.admin.auth);
    let has_port = !matches!(config.listen, ListenAddress::Tcp(address) if address.port() == 0);
    let is_same = has_port && config.listen == config.admin_listen;
    let message = format!("listen is {} too; intake and admin need different addresses", config.listen);
    check(!is_same, "admin_listen", "listen", &message);
    for entry in &intake.retired {
        let is_known = entry.starts_with('/') || config.sites.iter().any(|site| site.name == *entry);
        let message = format!("{entry:?} is neither a configured site nor a path that starts with /");
        check(is_known, "intake.retired", "sites", &message);
    }
    for (path, PathConfig { site, disposition }) in &intake.paths {
        let is_known = |name: &String| config.sites.iter().any(|site| site.name == *name);
        let message = format!("{path}: the site is not configured");
        check(site.as_ref().is_none_or(is_known), "intake.paths", "sites", &message);
        let message = format!("{path}: expected a site or a disposition");
        check(site.is_some() || disposition.is_some(), "intake.paths", "intake.paths", &message);
        let is_twice = path.strip_suffix('/').is_some_and(|other| intake.paths.contains_key(other));
        let message = format!("{path}: the path is used twice; a slash at its end changes nothing");
        check(!is_twice, "intake.paths", "intake.paths", &message);
    }
    let message = "reject requires sites: without sites, each report's own host is its site";
    let accepts = intake.unknown_sites == UnknownSites::Accept;
    check(accepts || !config.sites.is_empty(), "intake.unknown_sites", "sites", message);
    let message = "requires intake.trusted_proxies: only connections from those have the header";
    let has_proxies = !intake.trusted_proxies.is_empty() || config.listen.path().is_some();
    let is_usable = !intake.proxy_protocol || has_proxies;
    check(is_usable, "intake.proxy_protocol", "intake.trusted_proxies", message);
    let is_usable = intake.rate_limit.burst.is_none() || intake.rate_limit.per_second.is_some();
    check(is_usable, "intake.rate_limit.burst", "intake.rate_limit", "requires intake.rate_limit.per_second");
    for (name, tls) in [("intake.tls", &intake.tls), ("admin.tls", &config.admin.tls)] {
        let (certificate, key) = (tls.certificate.is_some(), tls.key.is_some());
        check(!certificate || key, &format!("{name}.certificate"), name, &format!("requires {name}.key"));
        let message = format!("requires {name}.certificate");
        check(!key || certificate, &format!("{name}.key"), name, &message);
        check(tls.client_ca.is_none() || certificate, &format!("{name}.client_ca"), name, &message);
    }
    let (password, password_file) = (auth.password.is_some(), auth.password_file.is_some());
    for (both, name) in [
        (auth.bearer.is_some() && auth.bearer_file.is_some(), "bearer"),
        (password && password_file, "password"),
    ] {
        let message = format!("admin.auth.{name} is set too; only one of the two is allowed");
        check(!both, &format!("admin.auth.{name}_file"), "admin.auth", &message);
    }
    let second = Duration::from_secs(1);
    let window = config.events.fold.unwrap_or(second);
    let message = format!("expected off or a duration from 1s to 1h, found {window:?}");
    check((second..=3600 * second).contains(&window), "events.fold", "", &message);
    let (state, spool) = (&config.findings.state_file, &config.delivery.spool.directory);
    let is_inside = state.as_ref().zip(spool.as_ref()).is_some_and(|(file, spool)| file.starts_with(spool));
    let message = "is inside delivery.spool.directory; the spool moves every other file away";
    check(!is_inside, "findings.state_file", "findings", message);
    let (user, message) = (auth.username.is_some(), "requires admin.auth.username");
    check(!password || user, "admin.auth.password", "admin.auth", message);
    check(!password_file || user, "admin.auth.password_file", "admin.auth", message);
    let message = "requires admin.auth.password or password_file";
    check(!user || password || password_file, "admin.auth.username", "admin.auth", message);
    let (logs, metrics) = (&config.otlp_settings.logs.exporters, &config.otlp_settings.metrics.exporters);
    let logs = problem_of_exporters(logs, LogsExporter::None);
    let metrics = problem_of_exporters(metrics, OtherExporter::None);
    for (problem, key) in [(logs, "otlp.logs.exporters"), (metrics, "otlp.metrics.exporters")] {
        check(problem.is_none(), key, "otlp", problem.unwrap_or_default());
    }
    check_sites(config, &mut conflicts);
    check_rules(config, &mut conflicts);
    config.otlp = otlp::resolve(&config.service, &config.otlp_settings, &mut conflicts);
    conflicts
}

fn problem_of_exporters<T: PartialEq>(exporters: &Option<Vec<T>>, none: T) -> Option<&'static str> {
    match exporters.as_deref()? {
        [] => Some("expected an exporter or none, found an empty list"),
        chosen if !chosen.contains(&none) || chosen.iter().all(|exporter| *exporter == none) => None,
        _ => Some("none cannot be combined with another exporter"),
    }
}

/// Names and hosts belong to one site each.
fn check_sites(config: &Config, conflicts: &mut Vec<Conflict>) {
    let (mut names, mut hosts) = (HashSet::new(), HashSet::new());
    for (index, site) in config.sites.iter().enumerate() {
        let mut add = |at, message| {
            conflicts.push(Conflict { item: Some((index, at)), ..Conflict::new("sites", "", message) });
        };
        if !names.insert(site.name.as_str()) {
            add(".name", format!("the name {:?} is used twice; a name belongs to one site", site.name));
        }
        if site.keys.len() > 2 {
            add(".keys", "expected at most two keys: one in use, and its successor".to_owned());
        }
        for host in site.hosts.iter().filter(|host| !hosts.insert(host.as_str())) {
            add(".hosts", format!("the host {host:?} is used twice; a host belongs to one site"));
        }
        let mut pages = HashSet::new();
        for PageConfig { name, .. } in site.pages.iter().filter(|page| !pages.insert(page.name.as_str())) {
            add(".pages", format!("the name {name:?} is used twice; list all paths of a page together"));
        }
    }
}
