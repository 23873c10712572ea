//! The one table of all settings. Everything that knows a setting by name — the file's reader, the
//! environment's, the flags', the printer and the defaults — goes through here.

mod admin;
mod otlp;
mod server;

use std::fmt;

use super::draft::PartialConfig;
use super::error::ValueError;
use super::yaml::SpannedValue;

/// One setting.
pub(super) struct Setting {
    /// Its place in the file, dotted: `intake.max_body_bytes`.
    pub(super) key: &'static str,
    /// The standard variables that set it too; `LOOKOUT_*` goes before them.
    pub(super) otel: &'static [Otel],
    /// What holds when nobody sets it.
    pub(super) default: DefaultValue,
    /// One line for whoever reads the printed settings.
    pub(super) comment: &'static str,
    /// How a variable's or a flag's text becomes a node.
    pub(super) text_format: TextFormat,
    /// Whether its values are masked when printed.
    pub(super) secret: bool,
    /// Reads the node into the partial configuration.
    pub(super) set: fn(&mut PartialConfig, &SpannedValue) -> Result<(), ValueError>,
}

/// A standard variable, and the unit of a bare number in it.
pub(super) enum Otel {
    /// Its text is as it would be in the file.
    Plain(&'static str),
    /// Its text is a number of milliseconds.
    Milliseconds(&'static str),
}

impl Otel {
    /// The variable's name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Otel::Plain(name) | Otel::Milliseconds(name) => name,
        }
    }
}

/// What holds when nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefaultValue {
    /// This YAML.
    Yaml(&'static str),
    /// Nothing; the words say what that means.
    Unset(&'static str),
}

/// How a variable's or a flag's text becomes a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextFormat {
    /// The text itself.
    Scalar,
    /// `a,b,c`, or YAML where it starts with `[`.
    List,
    /// `a=b,c=d` with percent-encoded values, or YAML where it starts with `{`.
    Map,
    /// YAML: a list of maps.
    Records,
}

impl Setting {
    /// What most settings have in common.
    const BASE: Setting = Setting {
        key: "",
        otel: &[],
        default: DefaultValue::Unset(""),
        comment: "",
        text_format: TextFormat::Scalar,
        secret: false,
        set: |_, _| Ok(()),
    };

    /// The variable that sets it.
    pub(super) fn environment(&self) -> String {
        environment(self.key)
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key)
    }
}

/// The variable of a key: `intake.max_body_bytes` is `LOOKOUT_INTAKE_MAX_BODY_BYTES`.
pub(super) fn environment(key: &str) -> String {
    format!("LOOKOUT_{}", key.replace('.', "_").to_ascii_uppercase())
}

/// Every setting, those of one section together.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    server::SETTINGS.iter().chain(admin::SETTINGS).chain(otlp::settings())
}

/// The setting of that key.
pub(super) fn find(key: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.key == key)
}

/// Whether there are settings under that key.
pub(super) fn is_section(key: &str) -> bool {
    all().any(|setting| setting.key.strip_prefix(key).is_some_and(|rest| rest.starts_with('.')))
}

/// Writes what was read into its field.
fn assign<T>(slot: &mut T, read: Result<T, ValueError>) -> Result<(), ValueError> {
    *slot = read?;
    Ok(())
}

/// The same for an optional field.
fn assign_some<T>(slot: &mut Option<T>, read: Result<T, ValueError>) -> Result<(), ValueError> {
    assign(slot, read.map(Some))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_well_formed() {
        let mut keys = HashSet::new();
        let mut variables = HashSet::new();
        for setting in all() {
            assert!(keys.insert(setting.key), "{} twice", setting.key);
            assert!(!is_section(setting.key), "{} is a section too", setting.key);
            assert!(
                setting.key.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b)),
                "{}",
                setting.key
            );
            assert!(variables.insert(setting.environment()), "{} twice", setting.environment());
            for otel in setting.otel {
                assert!(variables.insert(otel.name().to_owned()), "{} twice", otel.name());
            }
        }
    }

    #[test]
    fn comments_are_one_line_and_defaults_say_something() {
        for setting in all() {
            assert!(setting.comment.ends_with('.') && !setting.comment.contains('\n'), "{}", setting.key);
            let (DefaultValue::Yaml(text) | DefaultValue::Unset(text)) = setting.default;
            assert!(!text.is_empty() && !text.contains('\n'), "{}", setting.key);
        }
    }

    #[test]
    fn settings_of_one_section_stand_together() {
        let mut seen = HashSet::new();
        let mut last = "";
        for setting in all() {
            let section = setting.key.rsplit_once('.').map_or("", |(section, _)| section);
            let top = section.split('.').next().unwrap_or("");
            if top != last {
                assert!(seen.insert(top), "{top} is torn apart at {}", setting.key);
                last = top;
            }
        }
    }
}
