//! The printed configuration: a YAML file that can be loaded again, with comments.

use std::io::{self, Write};

use super::error::Source;
use super::setting::Setting;
use super::sources::Resolved;
use super::yaml::Value;

const HEAD: &str = "\
# intake.max_body_bytes is also set by LOOKOUT_INTAKE_MAX_BODY_BYTES, and by
# --set intake.max_body_bytes=VALUE; so is every other setting.
# What otlp.logs, otlp.metrics and otlp.traces share with otlp is explained there. It concerns one
# signal; otlp.logs.endpoint is also set by OTEL_EXPORTER_OTLP_LOGS_ENDPOINT, and so on.
# A reload (SIGHUP, POST /-/reload) applies what is marked [reload]; the rest applies at the start.
";

/// Writes every setting. Secrets are comments, so that no mask can be loaded as one.
pub(super) fn write(settings: &[Resolved], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# All settings of lookoutd {}, with the values in effect.", env!("CARGO_PKG_VERSION"))?;
    out.write_all(HEAD.as_bytes())?;
    let mut open: Vec<&str> = Vec::new();
    for resolved in settings {
        let mut sections: Vec<&str> = resolved.setting.key.split('.').collect();
        let leaf = sections.pop().unwrap_or_default();
        let common = open.iter().zip(&sections).take_while(|(a, b)| a == b).count();
        for (depth, section) in sections.iter().enumerate().skip(common) {
            writeln!(out, "{:indent$}{section}:", "", indent = depth * 2)?;
        }
        write_setting(resolved, leaf, &" ".repeat(sections.len() * 2), out)?;
        open = sections;
    }
    Ok(())
}

fn write_setting(resolved: &Resolved, leaf: &str, margin: &str, out: &mut dyn Write) -> io::Result<()> {
    let Resolved { setting, node, source } = resolved;
    if setting.general().is_none() {
        let mark = if setting.is_reloadable() { " [reload]" } else { "" };
        writeln!(out, "{margin}# {}{mark}", setting.comment)?;
        if let Some(otel) = setting.otel {
            writeln!(out, "{margin}# Also set by {otel}.")?;
        }
    }
    let (text, provenance) = (node.to_yaml(setting.schema), provenance(setting, source));
    match &node.value {
        Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))) => {
            writeln!(out, "{margin}{leaf}: # {provenance}")?;
            for item in items {
                writeln!(out, "{margin}  - {}", item.to_yaml(&setting.schema["items"]))?;
            }
            Ok(())
        }
        Value::Null => writeln!(out, "{margin}{leaf}: # {provenance}"),
        _ if setting.schema["writeOnly"] == true && text.contains("***") => {
            writeln!(out, "{margin}{leaf}: # {text} is a secret, and not printed; {provenance}")
        }
        _ => writeln!(out, "{margin}{leaf}: {text} # {provenance}"),
    }
}

fn provenance(setting: &Setting, source: &Source) -> String {
    let provenance = match (source, setting.default) {
        (Source::Default, Ok(_)) => "default".to_owned(),
        (Source::Default, Err(effect)) => format!("not set: {effect}"),
        (source, Ok(default)) => format!("{source} (default {default})"),
        (source, Err(effect)) => format!("{source} (default not set: {effect})"),
    };
    // A file name may contain a line break, which would end the comment.
    provenance.replace(char::is_control, "?")
}
