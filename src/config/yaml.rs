//! YAML as a tree of texts with line numbers. YAML's own types are ignored, so that `007`, `1e3` or `yes`
//! mean the same in a file, a variable and a flag.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Error, MessageFormatter, Options, Spanned, UserMessageFormatter};

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct SpannedValue {
    /// The line, counted from 1.
    pub(super) line: usize,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Value {
    /// Nothing, `~` or `null`.
    #[default]
    Null,
    /// A scalar's text, unquoted, of any YAML type.
    Text(String),
    List(Vec<SpannedValue>),
    /// A map in the order written, without duplicate keys.
    Map(Vec<(Key, SpannedValue)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) line: usize,
    pub(super) text: String,
}

/// Text that is not valid YAML.
#[derive(Debug, thiserror::Error)]
#[error("not valid YAML: {message}")]
pub(super) struct SyntaxError {
    /// Line of the problem, counted from 1, if known.
    pub(super) line: Option<usize>,
    /// The parser's message, on one line.
    pub(super) message: String,
}

impl SpannedValue {
    /// Creates a scalar that comes from no file.
    pub(super) fn text(text: impl Into<String>) -> SpannedValue {
        SpannedValue { line: 1, value: Value::Text(text.into()) }
    }

    /// Returns it as YAML on one line. By its schema, secret texts are replaced, or left out of maps.
    pub(super) fn to_yaml(&self, schema: &Json) -> String {
        match &self.value {
            Value::Null => "~".to_owned(),
            Value::Text(_) if schema["writeOnly"] == true => quoted("***"),
            Value::Text(text) => scalar(text),
            Value::List(items) => {
                let items: Vec<String> = items.iter().map(|item| item.to_yaml(&schema["items"])).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Map(entries) => {
                let entries = entries.iter().filter_map(|(key, item)| {
                    let schema = schema.get("properties").map_or(schema, |properties| &properties[&key.text]);
                    let is_left_out = schema["writeOnly"] == true && matches!(item.value, Value::List(_));
                    (!is_left_out).then(|| format!("{}: {}", scalar(&key.text), item.to_yaml(schema)))
                });
                format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
        }
    }

    /// Returns what an error message shows of it: a short line, with the text of scalars only.
    pub(super) fn describe(&self) -> String {
        const MAX_SHOWN_CHARS: usize = 60;
        match &self.value {
            Value::Null => "nothing".into(),
            Value::List(_) => "a list".into(),
            Value::Map(_) => "a map".into(),
            Value::Text(text) if text.chars().count() > MAX_SHOWN_CHARS => {
                format!("{:?}", text.chars().take(MAX_SHOWN_CHARS).chain(['…']).collect::<String>())
            }
            Value::Text(text) => format!("{text:?}"),
        }
    }
}

/// Returns the text plain if YAML reads it unchanged, else in double quotes.
fn scalar(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_./:-".contains(&b);
    let starts_plain = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    let null = text.eq_ignore_ascii_case("null");
    let is_plain = starts_plain && !null && text.bytes().all(plain) && !text.ends_with(':');
    if is_plain { text.to_owned() } else { quoted(text) }
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

/// Parses one YAML document within the limits of [`options`]. An empty one is `Null`. Duplicate keys, unknown tags and
/// a second document are errors.
pub(super) fn parse(source: &str) -> Result<SpannedValue, SyntaxError> {
    match serde_saphyr::from_str_with_options::<Spanned<Raw>>(source, options()) {
        Ok(raw) => Ok(raw_to_node(raw, source)),
        Err(error) if is_blank(source) && matches!(error.without_snippet(), Error::Eof { .. }) => {
            Ok(SpannedValue { line: 1, value: Value::Null })
        }
        Err(error) => Err(SyntaxError {
            line: error.location().map(|location| line(&location)),
            message: UserMessageFormatter.format_message(error.without_snippet()).into_owned(),
        }),
    }
}

/// Limits far above any real file, so that nested aliases cannot become gigabytes.
fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_depth: 16, max_nodes: 100_000, max_documents: 1 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
        duplicate_keys: DuplicateKeyPolicy::Error,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        with_snippet: false,
    }
}

fn is_blank(source: &str) -> bool {
    source.lines().map(str::trim).all(|line| line.is_empty() || line.starts_with('#') || line == "---")
}

/// A value as deserialized, before the text of a typed scalar is taken from the source.
enum Raw {
    Plain(Value),
    Typed(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<String>, Spanned<Raw>)>),
}

fn raw_to_node(raw: Spanned<Raw>, source: &str) -> SpannedValue {
    let value = match raw.value {
        Raw::Plain(value) => value,
        Raw::Typed(text) => Value::Text(source_text(&raw.defined, source).unwrap_or(text)),
        Raw::List(items) => Value::List(items.into_iter().map(|item| raw_to_node(item, source)).collect()),
        Raw::Map(items) => {
            let entry = |(key, item): (Spanned<String>, Spanned<Raw>)| {
                (Key { line: line(&key.referenced), text: key.value }, raw_to_node(item, source))
            };
            Value::Map(items.into_iter().map(entry).collect())
        }
    };
    SpannedValue { line: line(&raw.referenced), value }
}

/// Returns the text of a plain scalar that YAML reads as a number or a boolean.
fn source_text(location: &serde_saphyr::Location, source: &str) -> Option<String> {
    let start = usize::try_from(location.span().byte_offset()?).ok()?;
    let end = start.checked_add(usize::try_from(location.span().byte_len()?).ok()?)?;
    source.get(start..end).map(|text| text.trim().to_owned())
}

fn line(location: &serde_saphyr::Location) -> usize {
    usize::try_from(location.line()).unwrap_or(usize::MAX)
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

macro_rules! visit_typed {
    ($($visit:ident: $type:ty,)*) => {
        $(fn $visit<E>(self, value: $type) -> Result<Raw, E> {
            Ok(Raw::Typed(value.to_string()))
        })*
    };
}

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scalar, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Null))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Plain(Value::Text(text.to_owned())))
    }

    visit_typed! {
        visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64,
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let items = std::iter::from_fn(|| items.next_element().transpose());
        items.collect::<Result<_, _>>().map(Raw::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Raw, A::Error> {
        let entries = std::iter::from_fn(|| entries.next_entry().transpose());
        entries.collect::<Result<_, _>>().map(Raw::Map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_of(yaml: &str) -> String {
        let Value::Map(entries) = parse(yaml).unwrap().value else { panic!("{yaml}: not a map") };
        match &entries[0].1.value {
            Value::Text(text) => text.clone(),
            other => panic!("{yaml}: {other:?}"),
        }
    }

    #[test]
    fn parse_scalar_of_any_type_keeps_its_text() {
        for text in [
            "007",
            "1e3",
            "0x10",
            "0o17",
            "yes",
            "off",
            "TRUE",
            "1MiB",
            "1_000",
            "-5",
            "+5",
            "1.50",
            ".inf",
            ".nan",
            "12:30:45",
            "0.0.0.0:8480",
            "99999999999999999999999",
            "2024-01-01",
            "http://a/b?c=d",
        ] {
            assert_eq!(value_of(&format!("é: {text}  # comment")), text);
            assert_eq!(value_of(&format!("k: \"{text}\"")), text);
            assert_eq!(value_of(&format!("k: '{text}'")), text);
        }
        assert_eq!(value_of("k: \"null\""), "null");
        assert_eq!(value_of("k: \"\""), "");
    }

    #[test]
    fn parse_empty_value_or_file_is_null() {
        assert_eq!(parse("").unwrap().value, Value::Null);
        assert_eq!(parse("# a comment\n\n---\n").unwrap().value, Value::Null);
        let Value::Map(entries) = parse("a:\nb: ~\nc: null").unwrap().value else { panic!() };
        assert!(entries.iter().all(|(_, node)| node.value == Value::Null));
    }

    #[test]
    fn parse_nested_values_records_lines() {
        let Value::Map(entries) = parse("# one\na: 1\nb:\n  - x\n  - {y: z}\n").unwrap().value else {
            panic!()
        };
        assert_eq!((entries[0].0.line, entries[0].1.line), (2, 2));
        assert_eq!(entries[1].0.line, 3);
        let Value::List(items) = &entries[1].1.value else { panic!() };
        assert_eq!((items[0].line, items[1].line), (4, 5));
    }

    #[test]
    fn parse_alias_keeps_text_and_own_line() {
        let Value::Map(entries) = parse("a: &n 0x10\nb: *n\n").unwrap().value else { panic!() };
        assert_eq!(entries[1].1, SpannedValue { line: 2, value: Value::Text("0x10".into()) });
    }

    #[test]
    fn parse_invalid_document_names_line() {
        for (yaml, line, word) in [
            ("a: 1\nb: 2\na: 3\n", 3, "duplicate"),
            ("a: [1, 2\nb: 3\n", 2, ""),
            ("a: 1\nb: @2\n", 2, ""),
            ("a: 1\n---\nb: 2\n", 2, "document"),
            ("a: !widget 1\n", 1, "tag"),
            ("a: *nowhere\n", 1, "unknown"),
        ] {
            let error = parse(yaml).unwrap_err();
            assert_eq!(error.line, Some(line), "{yaml:?}: {}", error.message);
            assert!(error.message.contains(word), "{yaml:?}: {}", error.message);
            assert!(!error.message.contains('\n'), "{yaml:?}: {}", error.message);
        }
    }

    #[test]
    fn parse_alias_bomb_or_deep_nesting_fails() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let below = format!("*a{}", level - 1);
            bomb.push_str(&format!("a{level}: &a{level} [{}]\n", [below.as_str(); 9].join(", ")));
        }
        assert!(parse(&bomb).is_err());
        assert!(parse(&"[".repeat(5000)).is_err());
        assert!(parse(&(0..200).map(|d| format!("{}k:\n", " ".repeat(d))).collect::<String>()).is_err());
    }

    #[test]
    fn describe_long_or_nested_value_is_short() {
        assert_eq!(SpannedValue::text("lots").describe(), "\"lots\"");
        assert_eq!(SpannedValue::text("a\nb").describe(), "\"a\\nb\"");
        assert_eq!(SpannedValue::text("x".repeat(100)).describe(), format!("\"{}…\"", "x".repeat(60)));
        assert_eq!(parse("[a]").unwrap().describe(), "a list");
        assert_eq!(parse("{a: b}").unwrap().describe(), "a map");
        assert_eq!(parse("~").unwrap().describe(), "nothing");
    }

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
            let printed = node.to_yaml(&Json::Null);
            assert_eq!(parse(&printed).map_err(|e| e.message), Ok(node), "{printed}");
            let alone = parse(&scalar(text)).map_err(|e| e.message);
            assert_eq!(alone.map(|node| node.value), Ok(Value::Text(text.to_owned())), "{text:?}");
        }
    }
}
