//! The layers that settings come from, each turned into the same thing: assignments of a node to a
//! setting. What no setting answers to is refused here, with the name that was probably meant.

use std::path::Path;

use super::complaint::{Complaint, ConfigError, Origin};
use super::node::{self, Node, Value};
use super::read::Read;
use super::table::{self, Setting, Shape};
use super::{near, otlp};

/// A value for a setting.
#[derive(Debug)]
pub(super) struct Assignment {
    pub(super) setting: &'static Setting,
    pub(super) node: Node,
    pub(super) origin: Origin,
}

/// The file's assignments. A key without a value counts as not written.
pub(super) fn from_file(path: &Path, source: &str) -> Result<Vec<Assignment>, ConfigError> {
    let root = node::parse(source).map_err(|error| {
        let line = error.line.map(|line| format!(":{line}")).unwrap_or_default();
        ConfigError(format!("{}{line}: not valid YAML: {}", path.display(), error.message))
    })?;
    let mut assignments = Vec::new();
    let origin = |line| Origin::File(path.to_owned(), line);
    walk("", &root, &origin, &mut assignments)?;
    Ok(assignments)
}

fn walk(
    section: &str,
    node: &Node,
    origin: &impl Fn(usize) -> Origin,
    assignments: &mut Vec<Assignment>,
) -> Result<(), ConfigError> {
    let entries = match &node.value {
        Value::Null => return Ok(()),
        Value::Map(entries) => entries,
        _ => {
            let name = if section.is_empty() { "settings" } else { section };
            return Err(Complaint::expected("a map", node).about(name, &origin(node.line)));
        }
    };
    for (key, value) in entries {
        let full = if section.is_empty() { key.text.clone() } else { format!("{section}.{}", key.text) };
        if key.text.contains('.') {
            let message = "unknown key: write the sections as nested maps, not with dots";
            return Err(Complaint::new(message).about(&full, &origin(key.line)));
        } else if let Some(setting) = table::find(&full) {
            if value.value != Value::Null {
                assignments.push(Assignment { setting, node: value.clone(), origin: origin(value.line) });
            }
        } else if table::is_section(&full) {
            walk(&full, value, origin, assignments)?;
        } else {
            return Err(unknown(&full).about(&full, &origin(key.line)));
        }
    }
    Ok(())
}

/// The assignments of `--set KEY=VALUE` and of the flags that have a name of their own.
pub(super) fn from_flags(flags: &[super::Flag]) -> Result<Vec<Assignment>, ConfigError> {
    let assign = |flag: &super::Flag| {
        let origin = Origin::Flag(flag.name.clone());
        let setting = table::find(&flag.key).ok_or_else(|| unknown(&flag.key).about(&flag.key, &origin))?;
        let complain = |complaint: Complaint| complaint.about(setting.key, &origin);
        if flag.value.is_empty() {
            return Err(complain(Complaint::new("no value given")));
        }
        let node = from_text(setting.shape, &flag.value).map_err(complain)?;
        Ok(Assignment { setting, node, origin: origin.clone() })
    };
    flags.iter().map(assign).collect()
}

/// A variable's or a flag's text as a node.
pub(super) fn from_text(shape: Shape, text: &str) -> Read<Node> {
    let trimmed = text.trim();
    match shape {
        Shape::Scalar => Ok(Node::text(trimmed)),
        Shape::Records => yaml(trimmed),
        Shape::List if trimmed.starts_with('[') => yaml(trimmed),
        Shape::List => {
            let items = trimmed.split(',').map(str::trim).filter(|item| !item.is_empty());
            Ok(Node { line: 1, value: Value::List(items.map(Node::text).collect()) })
        }
        Shape::Map if trimmed.starts_with('{') => yaml(trimmed),
        Shape::Map => Ok(map(otlp::pairs(trimmed)?)),
    }
}

fn yaml(text: &str) -> Read<Node> {
    node::parse(text).map_err(|error| Complaint::new(format!("not valid YAML: {}", error.message)))
}

fn map(pairs: Vec<(String, String)>) -> Node {
    let entry = |(name, value): (String, String)| (node::Key { line: 1, text: name }, Node::text(value));
    Node { line: 1, value: Value::Map(pairs.into_iter().map(entry).collect()) }
}

/// The complaint about a key that is in no table.
fn unknown(key: &str) -> Complaint {
    if table::is_section(key) {
        return Complaint::new(format!("this is a section; known in it are {}", children(key).join(", ")));
    }
    let (section, leaf) = key.rsplit_once('.').unwrap_or(("", key));
    let siblings = children(section);
    let near = near::nearest(leaf, siblings.iter().copied()).map(|leaf| match section {
        "" => leaf.to_owned(),
        section => format!("{section}.{leaf}"),
    });
    let elsewhere = || {
        let same_leaf = |setting: &&Setting| setting.key.rsplit('.').next() == Some(leaf);
        table::all().find(same_leaf).map(|setting| setting.key.to_owned())
    };
    Complaint::new(match near.or_else(elsewhere) {
        Some(known) => format!("unknown key; did you mean {known}?"),
        None if siblings.is_empty() => "unknown key; lookoutd config prints all there are".to_owned(),
        None => format!("unknown key; known here are {}", siblings.join(", ")),
    })
}

/// The names that stand directly in a section.
fn children(section: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for setting in table::all() {
        let rest = match section {
            "" => Some(setting.key),
            section => setting.key.strip_prefix(section).and_then(|rest| rest.strip_prefix('.')),
        };
        let name = rest.map(|rest| rest.split('.').next().unwrap_or(rest));
        names.extend(name.filter(|name| !names.contains(name)));
    }
    names
}
