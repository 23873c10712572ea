//! Texts as they may leave the process. Samples, messages, stacks and policies quote URLs, queries
//! and nonces; those are cut wherever they stand, and every text has an end.

use std::borrow::Cow;

use crate::config::settings::{Privacy, QueryPrivacy};
use crate::model::FieldType;
use crate::normalize::secret::REDACTED;
use crate::normalize::word_scanner::{WordScanner, ends_url};
use crate::normalize::{MAX_MESSAGE, MAX_POLICY, MAX_SAMPLE, MAX_STACK, MAX_TOKEN, url_redact};

/// Redacts and caps a text by what it holds.
pub(super) fn clean<'a>(text: Cow<'a, str>, field_type: FieldType, privacy: Privacy) -> Cow<'a, str> {
    match field_type {
        FieldType::Url | FieldType::PageUrl => url_redact::redact(text, privacy),
        FieldType::Sample => truncate_chars(redact(text, privacy), MAX_SAMPLE),
        FieldType::Stack => truncate(redact(text, privacy), MAX_STACK),
        FieldType::Policy => truncate(redact(text, privacy), MAX_POLICY),
        FieldType::Token => truncate(redact(text, privacy), MAX_TOKEN),
        FieldType::Message
        | FieldType::NonZeroInt
        | FieldType::Int
        | FieldType::Number
        | FieldType::Bool
        | FieldType::MetricSource
        | FieldType::Any => truncate(redact(text, privacy), MAX_MESSAGE),
    }
}

/// At most `max` bytes; what was longer ends in `…`.
pub(super) fn truncate(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text;
    }
    let end = text.floor_char_boundary(max - '…'.len_utf8());
    Cow::Owned(format!("{}…", &text[..end]))
}

fn truncate_chars(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    if text.len() <= max || text.chars().count() <= max {
        return text;
    }
    Cow::Owned(text.chars().take(max - 1).chain(['…']).collect())
}

/// Cuts what a running text quotes: URLs' secret parts, those of relative URLs too, nonces, JWTs. One
/// pass that stops only at bytes that could be the middle of one; untouched text is not copied.
pub(super) fn redact(text: Cow<'_, str>, privacy: Privacy) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut done, mut at) = (0, 0);
    let mut scanner = WordScanner::default();
    while let Some(trigger) = next_trigger(text.as_bytes(), at) {
        let Some(redaction) = Redaction::detect(&text, done, trigger, &mut scanner, privacy) else {
            at = trigger + 1;
            continue;
        };
        if let Some(new) = redaction.new {
            out.reserve(text.len());
            out.push_str(&text[done..redaction.start]);
            out.push_str(&new);
            done = redaction.end;
        }
        at = redaction.end;
    }
    if done == 0 {
        return text;
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// Bytes at which something private can be recognised: `://`, `?name=`, `/path`, `nonce-` or `nonce=`, `eyJ`.
const TRIGGER_BYTES: [bool; 256] = {
    let mut trigger = [false; 256];
    let mut at = 0;
    let bytes = b":?#/-=,Jj";
    while at < bytes.len() {
        trigger[bytes[at] as usize] = true;
        at += 1;
    }
    trigger
};

/// The next byte from there on at which something private can be recognised, judged by it and one
/// neighbour: policies are full of hyphens and colons that are nothing.
fn next_trigger(bytes: &[u8], from: usize) -> Option<usize> {
    let plausible = |at: usize| match bytes[at] {
        b':' if matches!(bytes.get(at + 1), Some(b'/' | b'\\')) || follows_data(bytes, at) => true,
        b'?' | b'#' | b'/' => true,
        b'-' => at > 0 && matches!(bytes[at - 1], b'e' | b'E'),
        b':' | b'=' => at > 0 && matches!(bytes[at - 1], b'e' | b'E' | b' ' | b'"' | b'\'' | b'\\'),
        b',' => at > 0 && matches!(bytes[at - 1], b'"' | b'\''),
        _ => at > 0 && matches!(bytes[at - 1], b'y' | b'Y'),
    };
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| TRIGGER_BYTES[usize::from(*byte)])?;
        if plausible(at) {
            return Some(at);
        }
        at += 1;
    }
}

/// How far behind a suspect byte its word is looked at, in bytes.
const MAX_LOOKAHEAD: usize = 256;

/// A part of a text, and what takes its place; `None`: it may stay.
struct Redaction {
    start: usize,
    end: usize,
    new: Option<Cow<'static, str>>,
}

impl Redaction {
    /// What stands around a suspect byte, if it is what it looks like. Nothing before `from` is part
    /// of it any more.
    fn detect(
        text: &str,
        from: usize,
        at: usize,
        scanner: &mut WordScanner,
        privacy: Privacy,
    ) -> Option<Redaction> {
        let bytes = text.as_bytes();
        match bytes[at] {
            b':' if bytes[at..].starts_with(b"://")
                || bytes[at..].starts_with(b":\\/\\/")
                || is_file_url(&bytes[from..], at - from) =>
            {
                Some(Redaction::url(text, from, at, privacy))
            }
            b':' if follows_data(bytes, at) => Redaction::data(text, at, scanner),
            b'?' if privacy.query != QueryPrivacy::Keep => Redaction::query(text, at, scanner),
            b'#' => Redaction::query(text, at, scanner),
            b'/' => Redaction::path(text, at, scanner, privacy),
            b'-' | b'=' | b':' | b',' if follows_nonce(bytes, from, at) => Redaction::nonce(bytes, at),
            b'J' | b'j' if at >= from + 2 && bytes[at - 2..at].eq_ignore_ascii_case(b"ey") => {
                Redaction::jwt(bytes, at - 2)
            }
            _ => None,
        }
    }

    /// `scheme://…`, from its scheme to whatever cannot belong to it. Slashes may be escaped, as in JSON
    /// within a script.
    fn url(text: &str, from: usize, marker: usize, privacy: Privacy) -> Redaction {
        let in_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let before = &text.as_bytes()[from..marker];
        let scheme = before.iter().rev().take_while(|byte| in_scheme(byte)).count();
        let scheme = &before[before.len() - scheme..];
        let start = marker - scheme.iter().skip_while(|byte| !byte.is_ascii_alphabetic()).count();
        // What a user name or a query holds may look like the end of the URL. Looking for one is bounded,
        // so that a text full of markers costs no more than its length; cutting it is not.
        let window = &text.as_bytes()[marker..text.len().min(marker + MAX_LOOKAHEAD)];
        let near_end = window.iter().position(|byte| matches!(byte, 0..=b' ' | b'"' | b'`' | b'<' | b'>'));
        let private = window[..near_end.unwrap_or(window.len())].iter().any(|byte| b"@?#".contains(byte));
        let near = word_end(text, marker);
        let end = if private { sensitive_end(text, start, marker).max(near) } else { near };
        let quoted = &text[start..end];
        let new = match quoted.contains("\\/") {
            false => quoted_url(quoted, privacy).filter(|new| new != quoted),
            true => {
                let unescaped = quoted.replace("\\/", "/");
                Some(quoted_url(&unescaped, privacy).unwrap_or(unescaped))
            }
        };
        Redaction { start, end, new: new.map(Cow::Owned) }
    }

    /// The query of a relative URL (`?name=…`, `?flag&…`, or anything behind a path) or its fragment
    /// (`#name=…`, or anything behind a path), up to the end of the word.
    fn query(text: &str, start: usize, scanner: &mut WordScanner) -> Option<Redaction> {
        let bytes = text.as_bytes();
        let name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.[]%".contains(byte);
        let length = bytes[start + 1..].iter().take_while(name).count();
        let (after, next) = (bytes.get(start + 1 + length), bytes.get(start + 1));
        let named = length > 0 && (after == Some(&b'=') || (bytes[start] == b'?' && after == Some(&b'&')));
        let word = scanner.word_at(bytes, start);
        // `a.b/c?d:e` is code.
        let behind_path = if bytes[start] == b'?' { word.is_rooted_path() } else { word.is_path() };
        (named || (behind_path && next.is_some_and(|byte| !ends_url(byte)))).then(|| Redaction {
            start,
            end: sensitive_end(text, word.start(), start).max(start + 1),
            new: Some(Cow::Borrowed("")),
        })
    }

    /// The path of a URL without scheme, if there is a secret in it, or a user and a password before it.
    fn path(text: &str, start: usize, scanner: &mut WordScanner, privacy: Privacy) -> Option<Redaction> {
        let bytes = text.as_bytes();
        let word = scanner.word_at(bytes, start);
        // `//@` begins a comment.
        if !word.path_begins_at(start) || bytes[start..].starts_with(b"//@") {
            return None;
        }
        // Behind a host, two slashes begin no other one.
        let more = bytes[start + 1..].iter().take_while(|byte| **byte == b'/').count();
        let start = if word.is_empty_before(start) { start } else { start + more };
        let ends = |byte: &u8| ends_url(byte) || b"?#=&".contains(byte);
        let mut end = bytes[start..].iter().position(ends).map_or(text.len(), |at| start + at);
        let has_user = has_user(&bytes[start..]);
        if has_user {
            end = sensitive_end(text, word.start(), start).max(end);
        }
        let quoted = &text[start..end];
        let (path, position) = quoted.split_at(line_and_column_start(quoted));
        let path = if path.contains("\\/") { path.replace("\\/", "/") } else { path.to_owned() };
        (has_user || url_redact::path_has_secret(&path, privacy)).then(|| {
            let new = url_redact::redact_complete(Cow::Owned(path), privacy);
            Redaction { start, end, new: Some(Cow::Owned(format!("{new}{position}"))) }
        })
    }

    /// What a `data:` URL carries, behind its media type.
    fn data(text: &str, colon: usize, scanner: &mut WordScanner) -> Option<Redaction> {
        let rest = &text.as_bytes()[colon + 1..];
        let in_type = |byte: &&u8| byte.is_ascii_alphanumeric() || b"/+.-".contains(byte);
        let length = rest.iter().take(MAX_MEDIA_TYPE).take_while(in_type).count();
        // In a script `data:` is a name, in a policy it stands alone.
        let is_type = rest[..length].contains(&b'/') || (length == 0 && has_parameter(rest));
        if !is_type || !matches!(rest.get(length), Some(b';' | b',')) {
            return None;
        }
        let start = colon + 1 + length;
        let end = sensitive_end(text, scanner.word_at(text.as_bytes(), colon).start(), start);
        (end > start).then_some(Redaction { start, end, new: Some(Cow::Borrowed("")) })
    }

    /// The value of a nonce: `'nonce-…'` of a policy, `nonce="…"` of markup, `nonce: "…"` and
    /// `"nonce", "…"` of a script.
    fn nonce(bytes: &[u8], at: usize) -> Option<Redaction> {
        let opening = |byte: &&u8| matches!(byte, b' ' | b'"' | b'\'' | b'\\');
        let quotes = match bytes[at] {
            b'-' => 0,
            _ => bytes[at + 1..].iter().take(4).take_while(opening).count(),
        };
        let start = at + 1 + quotes;
        if bytes[at] == b',' && !bytes[at + 1..start].iter().any(|byte| matches!(byte, b'"' | b'\'')) {
            return None;
        }
        let ends = |byte: &u8| {
            matches!(
                byte,
                0..=b' ' | 0x7f | b'"' | b'\'' | b'`' | b';' | b',' | b'<' | b'>' | b')' | b'}' | b'\\'
            )
        };
        let rest = &bytes[start..];
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        (length > 0 && &rest[..length] != b"*").then_some(Redaction {
            start,
            end: start + length,
            new: Some(Cow::Borrowed("*")),
        })
    }

    /// A JSON Web Token. It begins a word: the same letters within one are a hash's, which has no dots.
    fn jwt(bytes: &[u8], start: usize) -> Option<Redaction> {
        let before = start.checked_sub(1).map_or(b' ', |before| bytes[before]);
        if before.is_ascii_alphanumeric() || before == b'+' {
            return None;
        }
        let token = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let length = bytes[start..].iter().take_while(token).count();
        let may_be_hash = before == b'/' && !bytes[start..start + length].contains(&b'.');
        (length >= 16 && !may_be_hash).then_some(Redaction {
            start,
            end: start + length,
            new: Some(Cow::Borrowed(REDACTED)),
        })
    }
}

/// The longest media type of a `data:` URL that is looked for.
const MAX_MEDIA_TYPE: usize = 128;

/// Whether this colon follows the word `data`.
fn follows_data(bytes: &[u8], colon: usize) -> bool {
    bytes[..colon].last_chunk::<4>().is_some_and(|word| word.eq_ignore_ascii_case(b"data"))
}

/// Whether what follows `data:` is a parameter of a media type that was left out.
fn has_parameter(rest: &[u8]) -> bool {
    [&b";base64"[..], b";charset"]
        .iter()
        .any(|it| rest.get(..it.len()).is_some_and(|start| start.eq_ignore_ascii_case(it)))
}

/// Whether these bytes are `//` and an authority with a user in it. Slashes may be escaped.
fn has_user(bytes: &[u8]) -> bool {
    let slashes = bytes.iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
    let authority = &bytes[slashes..];
    let ends = |byte: &u8| matches!(byte, 0..=b' ' | b'/' | b'\\' | b'?' | b'#' | b'"' | b'`' | b'<' | b'>');
    let end = authority.iter().position(ends).unwrap_or(authority.len());
    slashes > 1 && authority[..end].contains(&b'@')
}

/// Whether this colon is that of a `file:/…`, private with one slash as well as with three.
fn is_file_url(bytes: &[u8], colon: usize) -> bool {
    let before = &bytes[..colon];
    let word = before.iter().rev().take(5).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    before[colon - word..].eq_ignore_ascii_case(b"file") && matches!(bytes.get(colon + 1), Some(b'/' | b'\\'))
}

/// Whether the word `nonce` stands before, directly or with a blank or a quote between.
fn follows_nonce(bytes: &[u8], from: usize, at: usize) -> bool {
    let between = |byte: &&u8| matches!(byte, b' ' | b'"' | b'\'' | b'\\');
    let skipped = match bytes[at] {
        b'-' => 0,
        _ => bytes[from..at].iter().rev().take(4).take_while(between).count(),
    };
    bytes[from..at - skipped].last_chunk::<5>().is_some_and(|word| word.eq_ignore_ascii_case(b"nonce"))
}

/// Where a word that holds something private ends. Rather too late than too early: only a blank, a
/// bracket of markup, or the quote that opened the word ends it, without the punctuation before.
fn sensitive_end(text: &str, word: usize, from: usize) -> usize {
    let bytes = text.as_bytes();
    let opened_by_quote = word > 0 && bytes[word - 1] == b'\'';
    let ends = |byte: &u8| match byte {
        0..=b' ' | 0x7f | b'"' | b'`' | b'<' | b'>' => true,
        b'\'' => opened_by_quote,
        _ => false,
    };
    let end = bytes[from..].iter().position(ends).map_or(text.len(), |at| from + at);
    from + text[from..end].trim_end_matches([')', ']', '}', ',', ';', '.', '\'']).len()
}

/// Where the word that starts there ends.
fn word_end(text: &str, start: usize) -> usize {
    text.as_bytes()[start..].iter().position(ends_url).map_or(text.len(), |at| start + at)
}

/// A URL that a text quotes, redacted; in a stack trace its `:line:column` stays. `None`: it may stay.
fn quoted_url(quoted: &str, privacy: Privacy) -> Option<String> {
    let (url, position) = quoted.split_at(position_suffix_start(quoted));
    // Judged without its position, which would make a secret in the last segment look like none.
    if url_redact::clean_prefix_len(url, privacy) == Some(url.len()) {
        return None;
    }
    // A wildcard source such as `https://*.example` is no URL but passes through unharmed.
    Some(format!("{}{position}", url_redact::redact(Cow::Borrowed(url), privacy)))
}

/// Where the `:line:column` behind a URL's path starts. Behind a host it is a port, behind a query it
/// may be anything.
fn position_suffix_start(quoted: &str) -> usize {
    let end = line_and_column_start(quoted);
    let path = quoted[..end].split_once("://").and_then(|(_, rest)| rest.find('/'));
    if path.is_some() && !quoted[..end].contains(['?', '#']) { end } else { quoted.len() }
}

/// Where up to two numbers at the end start, each behind a colon.
fn line_and_column_start(quoted: &str) -> usize {
    let mut end = quoted.trim_end_matches(':').len();
    for _ in 0..2 {
        let before = quoted[..end].trim_end_matches(|c: char| c.is_ascii_digit());
        match before.strip_suffix(':') {
            Some(url) if before.len() < end => end = url.len(),
            _ => break,
        }
    }
    end
}

#[cfg(test)]
mod tests;
