//! Settings: flag > environment > file > default. All four write through the same table, so that
//! each setting is read by one function whatever it comes from, and is printed as it was read.

mod complaint;
mod draft;
mod environment;
mod exports;
mod finish;
mod layers;
mod near;
mod node;
mod otlp;
mod print;
mod read;
mod reference;
pub mod settings;
mod sites;
mod table;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

pub use complaint::ConfigError;
use complaint::{Complaint, Origin};
use draft::Draft;
use environment::Environment;
use layers::Assignment;
use node::{Node, Value};
pub use reference::{Reference, reference, variables};
use settings::Settings;
use table::{Fallback, Setting};

/// Largest file that is read: far above any real one, so that a wrong path cannot fill the memory.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// What the command line says about settings.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// The YAML file; without it the one that `LOOKOUT_CONFIG` names, if any.
    pub config: Option<PathBuf>,
    /// Settings by flag. Of two for one key the later counts.
    pub settings: Vec<Flag>,
}

/// A setting given by a flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag as messages call it: `--listen`, `--set limits.series`.
    pub name: String,
    /// The setting's key: `limits.series`.
    pub key: String,
    /// The value's text, as in the setting's environment variable.
    pub value: String,
}

/// The settings, and what is needed to tell where they came from.
#[derive(Debug)]
pub struct Loaded {
    /// The settings to run with.
    pub settings: Settings,
    file: Option<PathBuf>,
    effective: Vec<Effective>,
}

/// A setting's value in effect, as written.
#[derive(Debug)]
struct Effective {
    setting: &'static Setting,
    node: Node,
    origin: Origin,
}

impl Loaded {
    /// Writes every setting as YAML: its comment, its effective value, its origin and its default.
    /// Loading the output again gives the same settings, but for headers, whose values are masked.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_yaml(&self, out: &mut dyn Write) -> io::Result<()> {
        print::write(self, out)
    }

    /// One line that says what was read: the file, and how many settings came from where.
    pub fn summary(&self) -> String {
        let count = |of: fn(&Origin) -> bool| self.effective.iter().filter(|e| of(&e.origin)).count();
        let file = self.file.as_ref().map_or("no file".to_owned(), |path| path.display().to_string());
        format!(
            "settings from {file}: {}, environment: {}, flags: {}, defaults: {}",
            count(|o| matches!(o, Origin::File(..))),
            count(|o| matches!(o, Origin::Environment(_))),
            count(|o| matches!(o, Origin::Flag(_))),
            count(|o| matches!(o, Origin::Default)),
        )
    }
}

/// Merges flags, environment, file and defaults, and checks the outcome. Every value given is
/// checked, also one that a higher layer overrides. Of `environment` only `LOOKOUT_*` and `OTEL_*`
/// are looked at; empty variables count as unset.
///
/// # Errors
///
/// The first thing that is wrong, in one message.
pub fn load(
    flags: &Flags,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, ConfigError> {
    let environment = Environment::new(environment);
    let file = flags.config.clone().or_else(|| environment.config().map(PathBuf::from));
    let mut layers = Vec::new();
    if let Some(path) = &file {
        layers.extend(layers::from_file(path, &read_file(path)?)?);
    }
    layers.extend(environment.assignments()?);
    layers.extend(layers::from_flags(&flags.settings)?);
    let (settings, effective) = merge(layers)?;
    Ok(Loaded { settings, file, effective })
}

/// The settings that hold when nobody sets anything.
#[allow(clippy::expect_used)] // what goes in is the table alone, and a test reads all of it
pub fn defaults() -> Settings {
    merge(Vec::new()).expect("every default is valid").0
}

fn read_file(path: &Path) -> Result<String, ConfigError> {
    let fail =
        |error: &dyn std::fmt::Display| ConfigError(format!("{}: cannot be read: {error}", path.display()));
    let mut source = String::new();
    let file = File::open(path).map_err(|error| fail(&error))?;
    let bytes = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut source).map_err(|error| fail(&error))?;
    if bytes as u64 > MAX_FILE_BYTES {
        return Err(fail(&format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(source)
}

/// Applies the defaults, then the assignments from the lowest layer to the highest.
fn merge(assignments: Vec<Assignment>) -> Result<(Settings, Vec<Effective>), ConfigError> {
    let mut draft = Draft::blank();
    let mut effective = Vec::new();
    for setting in table::all() {
        let entry = Effective { setting, node: default_node(setting), origin: Origin::Default };
        if entry.node.value != Value::Null {
            apply(&mut draft, &entry)?;
        }
        effective.push(entry);
    }
    for Assignment { setting, node, origin } in assignments {
        let entry = Effective { setting, node, origin };
        apply(&mut draft, &entry)?;
        if let Some(place) = effective.iter_mut().find(|e| e.setting.key == entry.setting.key) {
            *place = entry;
        }
    }
    let settings = finish::finish(draft).map_err(|conflict| {
        let entry = effective.iter().find(|entry| entry.setting.key == conflict.key);
        conflict.complaint.about(&conflict.key, entry.map_or(&Origin::Default, |entry| &entry.origin))
    })?;
    Ok((settings, effective))
}

fn apply(draft: &mut Draft, entry: &Effective) -> Result<(), ConfigError> {
    let complain = |complaint: Complaint| complaint.about(entry.setting.key, &entry.origin);
    (entry.setting.set)(draft, &entry.node).map_err(complain)
}

/// The default's node. That each is YAML a test makes sure of; what were not would be refused as the
/// text it is.
fn default_node(setting: &Setting) -> Node {
    match setting.default {
        Fallback::Is(yaml) => node::parse(yaml).unwrap_or_else(|_| Node::text(yaml)),
        Fallback::Unset(_) => Node { line: 1, value: Value::Null },
    }
}
