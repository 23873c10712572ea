//! `lookoutd check`: loads every file that the settings name, without changing or locking any.

use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::admin;
use crate::config::{Auth, Config};
use crate::export::Client;
use crate::intake::Tls;
use crate::model::{CertificateOwner, ExportSignal, LabelEnum};

/// Returns every file that cannot be used, one line each.
pub fn unusable_files(config: &Config) -> Vec<String> {
    let mut errors = Vec::new();
    for (owner, tls) in
        [(CertificateOwner::Intake, &config.intake.tls), (CertificateOwner::Admin, &config.admin.tls)]
    {
        let files = [("certificate", &tls.certificate), ("key", &tls.key), ("client_ca", &tls.client_ca)];
        check(&mut errors, &format!("{}.tls", owner.as_str()), &files, || {
            tls.files().and_then(|files| Tls::load(owner, &files).err()).map(|error| error.to_string())
        });
    }
    let auth = &config.admin.auth;
    let bearer = Auth { bearer_file: auth.bearer_file.clone(), ..Auth::default() };
    let password = Auth { password_file: auth.password_file.clone(), ..Auth::default() };
    for auth in [bearer, password] {
        errors.extend(admin::authorization(&auth).err().map(|error| error.to_string()));
    }
    let otlp = &config.otlp;
    for (signal, endpoint) in
        [("logs", &otlp.logs.otlp), ("metrics", &otlp.metrics.otlp), ("traces", &otlp.traces)]
    {
        let Some(endpoint) = endpoint else { continue };
        let tls = &endpoint.tls;
        let files = [
            ("headers_file", &endpoint.headers_file),
            ("certificate", &tls.certificate),
            ("client_certificate", &tls.client_certificate),
            ("client_key", &tls.client_key),
        ];
        let section = format!("otlp.{signal}");
        check(&mut errors, &section, &files, || {
            let unusable = Client::new(endpoint, ExportSignal::Logs).err();
            unusable.map(|error| format!("{section}: {error}"))
        });
    }
    let state = &config.findings.state_file;
    let existing = state.clone().filter(|file| file.exists());
    check(&mut errors, "findings", &[("state_file", &existing)], || None);
    let spool = config.delivery.spool.directory.as_deref();
    let state = state.as_deref().map(|file| file.parent().unwrap_or(Path::new("")));
    for (key, directory) in [("findings.state_file", state), ("delivery.spool.directory", spool)] {
        errors.extend(directory.and_then(|directory| unwritable(key, directory)));
    }
    errors
}

/// Checks that these files of a section can be read, and if so, that they can be used together.
fn check(
    errors: &mut Vec<String>,
    section: &str,
    files: &[(&str, &Option<PathBuf>)],
    load: impl FnOnce() -> Option<String>,
) {
    let before = errors.len();
    for (key, file) in files.iter().filter_map(|(key, file)| Some((key, file.as_ref()?))) {
        if let Err(error) = File::open(file) {
            errors.push(format!("{section}.{key}: {} cannot be read: {error}", file.display()));
        }
    }
    if errors.len() == before {
        errors.extend(load());
    }
}

/// Returns why no file can be created in a directory, which may itself have to be created.
fn unwritable(key: &str, directory: &Path) -> Option<String> {
    let directory = std::path::absolute(directory).ok()?;
    let existing = directory.ancestors().find(|ancestor| ancestor.exists())?;
    let problem = match access(existing, Access::WRITE_OK | Access::EXEC_OK) {
        _ if !existing.is_dir() => "is not a directory".to_owned(),
        Err(error) => format!("cannot be written: {}", std::io::Error::from(error)),
        Ok(()) => return None,
    };
    Some(format!("{key}: {} {problem}", existing.display()))
}
