//! Prints the effective settings as a YAML file that can be loaded again, with what each is for,
//! where its value came from and what it would be otherwise.

use std::io::{self, Write};

use super::Loaded;
use super::error::Source;
use super::table::{DefaultValue, Setting};
use super::yaml::{SpannedValue, Value};

/// What stands for a secret.
const REDACTED: &str = "***";

/// Writes every setting. Secret values are masked; with those, the file cannot be loaded as it is.
pub(super) fn write(loaded: &Loaded, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# Every setting of lookoutd {}, as in effect.", env!("CARGO_PKG_VERSION"))?;
    writeln!(
        out,
        "# A setting's variable is LOOKOUT_ and its key, INTAKE_MAX_BODY_BYTES; its flag --set KEY=VALUE."
    )?;
    let mut open: Vec<&str> = Vec::new();
    for resolved in &loaded.resolved {
        let mut sections: Vec<&str> = resolved.setting.key.split('.').collect();
        let leaf = sections.pop().unwrap_or_default();
        let common = open.iter().zip(&sections).take_while(|(a, b)| a == b).count();
        for (depth, section) in sections.iter().enumerate().skip(common) {
            writeln!(out, "{:indent$}{section}:", "", indent = depth * 2)?;
        }
        write_setting(resolved.setting, &resolved.node, &resolved.source, leaf, sections.len() * 2, out)?;
        open = sections;
    }
    Ok(())
}

fn write_setting(
    setting: &Setting,
    node: &SpannedValue,
    source: &Source,
    leaf: &str,
    indent: usize,
    out: &mut dyn Write,
) -> io::Result<()> {
    let margin = " ".repeat(indent);
    writeln!(out, "{margin}# {}", setting.comment)?;
    let also: Vec<&str> = setting.otel.iter().map(super::table::Otel::name).collect();
    if !also.is_empty() {
        writeln!(out, "{margin}# Also set by {}.", also.join(", "))?;
    }
    let provenance = provenance(setting, source);
    match &node.value {
        Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))) => {
            writeln!(out, "{margin}{leaf}: # {provenance}")?;
            items.iter().try_for_each(|item| writeln!(out, "{margin}  - {}", yaml(item, false)))
        }
        Value::Null => writeln!(out, "{margin}{leaf}: # {provenance}"),
        _ => writeln!(out, "{margin}{leaf}: {} # {provenance}", yaml(node, setting.secret)),
    }
}

fn provenance(setting: &Setting, source: &Source) -> String {
    let provenance = match (source, setting.default) {
        (Source::Default, DefaultValue::Yaml(_)) => "default".to_owned(),
        (Source::Default, DefaultValue::Unset(meaning)) => format!("not set: {meaning}"),
        (source, DefaultValue::Yaml(default)) => format!("{source} (default {default})"),
        (source, DefaultValue::Unset(meaning)) => format!("{source} (default not set: {meaning})"),
    };
    // A file's name may hold anything; a comment ends where the line does.
    provenance.replace(char::is_control, "?")
}

/// A node on one line.
fn yaml(node: &SpannedValue, masked: bool) -> String {
    match &node.value {
        Value::Null => "~".to_owned(),
        Value::Text(_) if masked => quoted(REDACTED),
        Value::Text(text) => scalar(text),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| yaml(item, masked)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let entry = |(key, item): &(super::yaml::Key, SpannedValue)| {
                format!("{}: {}", scalar(&key.text), yaml(item, masked))
            };
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Plain where nothing in it could mean something else to YAML, else in double quotes.
fn scalar(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_./:-".contains(&b);
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let null = text.eq_ignore_ascii_case("null");
    if starts_plain && !null && text.bytes().all(plain) && !text.ends_with(':') {
        return text.to_owned();
    }
    quoted(text)
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            c if c.is_alphanumeric() => out.push(c),
            c => out.push_str(&format!("\\U{:08X}", u32::from(c))),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::yaml::parse;
    use super::*;

    #[test]
    fn any_text_survives_printing_and_reading() {
        for text in [
            "",
            "a",
            "null",
            "~",
            "true",
            "007",
            "1e3",
            "a: b",
            "a:",
            "- a",
            "#",
            "a #b",
            "a\"b\\c",
            "a\nb",
            "\u{85}",
            "é",
            "\u{1f600}",
            "***",
            "*.a",
            "{a}",
            "[::1]:80",
            "http://a:80/b?c=d,e",
            " a ",
            "\t",
            "---",
            "'",
            "%",
            "@",
        ] {
            let node = SpannedValue {
                line: 1,
                value: Value::Map(vec![(
                    super::super::yaml::Key { line: 1, text: "k".into() },
                    SpannedValue {
                        line: 1,
                        value: Value::List(vec![SpannedValue::text(text), SpannedValue::text(text)]),
                    },
                )]),
            };
            let printed = yaml(&node, false);
            assert_eq!(parse(&printed).map_err(|e| e.message), Ok(node), "{printed}");
            let alone = parse(&scalar(text)).map_err(|e| e.message);
            assert_eq!(alone.map(|node| node.value), Ok(Value::Text(text.to_owned())), "{text:?}");
        }
    }
}
