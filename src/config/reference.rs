//! The table of settings as documentation needs it, so that what is documented is what is read.

use super::env::CONFIG;
use super::table::{self, DefaultValue, Otel};

/// One setting, for whoever documents it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its place in the file, dotted: `intake.max_body_bytes`.
    pub key: &'static str,
    /// What holds when nobody sets it: YAML, or in words where that is no value of its own.
    pub default: Result<&'static str, &'static str>,
    /// The `LOOKOUT_*` variable that sets it.
    pub variable: String,
    /// The standard variables that set it too.
    pub otel: Vec<&'static str>,
    /// One line that says what it is.
    pub comment: &'static str,
}

/// Every setting, those of one section together.
pub fn reference() -> impl Iterator<Item = Reference> {
    table::all().map(|setting| Reference {
        key: setting.key,
        default: match setting.default {
            DefaultValue::Yaml(yaml) => Ok(yaml),
            DefaultValue::Unset(words) => Err(words),
        },
        variable: setting.environment(),
        otel: setting.otel.iter().map(Otel::name).collect(),
        comment: setting.comment,
    })
}

/// Every environment variable that is read.
pub fn variables() -> impl Iterator<Item = String> {
    let of = |setting: Reference| setting.otel.into_iter().map(str::to_owned).chain([setting.variable]);
    reference().flat_map(of).chain([CONFIG.to_owned()])
}
