//! The printed configuration: a YAML file that can be loaded again, with comments.

use std::io::{self, Write};

use super::error::Source;
use super::table::{DefaultValue, ResolvedSetting, Setting};
use super::yaml::{Key, SpannedValue, Value};

/// Writes every setting. Secrets are masked, so a file with secrets cannot be loaded unchanged.
pub(super) fn write(settings: &[ResolvedSetting], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# All settings of lookoutd {}, with the values in effect.", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "# intake.max_body_bytes is also set by LOOKOUT_INTAKE_MAX_BODY_BYTES, and by")?;
    writeln!(out, "# --set intake.max_body_bytes=VALUE; so is every other setting.")?;
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

fn write_setting(
    resolved: &ResolvedSetting,
    leaf: &str,
    margin: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    let ResolvedSetting { setting, node, source } = resolved;
    writeln!(out, "{margin}# {}", setting.comment)?;
    if let Some(otel) = setting.otel {
        writeln!(out, "{margin}# Also set by {}.", otel.name())?;
    }
    let provenance = provenance(setting, source);
    match &node.value {
        Value::List(items) if items.iter().any(|item| matches!(item.value, Value::Map(_))) => {
            writeln!(out, "{margin}{leaf}: # {provenance}")?;
            for item in items {
                writeln!(out, "{margin}  - {}", yaml(item, false))?;
            }
            Ok(())
        }
        Value::Null => writeln!(out, "{margin}{leaf}: # {provenance}"),
        _ => writeln!(out, "{margin}{leaf}: {} # {provenance}", yaml(node, setting.secret)),
    }
}

fn provenance(setting: &Setting, source: &Source) -> String {
    let provenance = match (source, setting.default) {
        (Source::Default, DefaultValue::Yaml(_)) => "default".to_owned(),
        (Source::Default, DefaultValue::Unset(effect)) => format!("not set: {effect}"),
        (source, DefaultValue::Yaml(default)) => format!("{source} (default {default})"),
        (source, DefaultValue::Unset(effect)) => format!("{source} (default not set: {effect})"),
    };
    // A file name may contain a line break, which would end the comment.
    provenance.replace(char::is_control, "?")
}

/// Returns a node on one line.
fn yaml(node: &SpannedValue, masked: bool) -> String {
    match &node.value {
        Value::Null => "~".to_owned(),
        Value::Text(_) if masked => quoted("***"),
        Value::Text(text) => scalar(text),
        Value::List(items) => {
            let items: Vec<String> = items.iter().map(|item| yaml(item, masked)).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Map(entries) => {
            let entry =
                |(key, item): &(Key, SpannedValue)| format!("{}: {}", scalar(&key.text), yaml(item, masked));
            format!("{{{}}}", entries.iter().map(entry).collect::<Vec<_>>().join(", "))
        }
    }
}

/// Returns the text plain if YAML reads it unchanged, else in double quotes.
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
    fn yaml_of_any_text_parses_to_the_same_text() {
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
                    Key { line: 1, text: "k".into() },
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
