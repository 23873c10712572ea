//! Redacts running text: samples, messages, stacks and policies quote URLs, queries and nonces.

use std::borrow::Cow;
use std::cell::RefCell;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::config::{PathSecrets, Privacy, QueryPrivacy};
use crate::model::{FieldType, escape_hidden};
use crate::normalize::limits::{MAX_MESSAGE, MAX_POLICY, MAX_SAMPLE, MAX_STACK, MAX_TOKEN};
use crate::normalize::secret::{MIN_TOKEN, REDACTED, without_tokens};
use crate::normalize::truncate::{TRUNCATION_MARK, truncate, truncate_chars};
use crate::normalize::unescape::{MAX_ESCAPES, unescape};
use crate::normalize::url_redact;
use crate::normalize::word_scanner::{WordScanner, byte_set, ends_url};

thread_local! {
    /// Short texts that stay as they are, by hash, because most user agents, directives and URLs were seen before.
    /// With the slot of the last long one, which is mostly the user agent of the reports before.
    static CLEAN: RefCell<(Vec<CleanText>, usize)> = RefCell::new((vec![CleanText::default(); SLOTS], 0));
}

/// A text, and how it was sanitized without a change; `None` if it was changed.
type CleanText = (String, Option<(FieldType, Privacy)>);

const SLOTS: usize = 512;
const MAX_CACHED: usize = 256;
/// Bytes beyond which hashing a text costs more than comparing it.
const LONG: usize = 48;

/// Redacts, escapes and truncates a text by its type. Source text and stack traces keep their lines.
pub(super) fn sanitize<'a>(text: Cow<'a, str>, field_type: FieldType, privacy: Privacy) -> Cow<'a, str> {
    match field_type {
        FieldType::Policy => truncate(sanitize_directives(text, privacy), MAX_POLICY),
        _ => sanitize_part(text, field_type, privacy),
    }
}

/// Sanitizes the directives of a policy one by one, because all reports of a site have the same but for that with a nonce.
/// Nothing private continues after a semicolon and a space.
fn sanitize_directives(text: Cow<'_, str>, privacy: Privacy) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut done, mut start) = (0, 0);
    let ends =
        memchr::memchr_iter(b';', text.as_bytes()).filter(|at| text.as_bytes().get(at + 1) == Some(&b' '));
    for end in ends.map(|at| at + 2).chain([text.len()]) {
        let directive = &text[start..end];
        let shown = sanitize_part(Cow::Borrowed(directive), FieldType::Policy, privacy);
        if shown != directive {
            out.push_str(&text[done..start]);
            out.push_str(&shown);
            done = end;
        }
        start = end;
    }
    if done == 0 {
        return text;
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

fn sanitize_part<'a>(text: Cow<'a, str>, field_type: FieldType, privacy: Privacy) -> Cow<'a, str> {
    // A short word has no place for anything private, unless it is part of a path.
    let is_url = matches!(field_type, FieldType::Url | FieldType::PageUrl);
    if text.len() < MIN_TOKEN && !is_url && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return text;
    }
    if text.len() > MAX_CACHED {
        return sanitize_uncached(text, field_type, privacy);
    }
    CLEAN.with_borrow_mut(|(texts, last)| {
        let mut slot = *last;
        if texts[slot].0 != *text {
            slot = FixedState::default().hash_one(&*text) as usize % SLOTS;
            *last = if text.len() > LONG && field_type == FieldType::Token { slot } else { *last };
        }
        let (clean, by) = &mut texts[slot];
        if *clean == *text && *by == Some((field_type, privacy)) {
            return text;
        }
        *by = None;
        text.as_ref().clone_into(clean);
        let shown = sanitize_uncached(text, field_type, privacy);
        *by = (*shown == **clean).then_some((field_type, privacy));
        // What may have something private is not kept.
        if by.is_none() {
            clean.clear();
        }
        shown
    })
}

fn sanitize_uncached(text: Cow<'_, str>, field_type: FieldType, privacy: Privacy) -> Cow<'_, str> {
    let max = match field_type {
        FieldType::Url | FieldType::PageUrl => return url_redact::redact(text, privacy),
        FieldType::Sample => {
            let sample = truncate_chars(escape_hidden(redact(text, privacy), true), MAX_SAMPLE);
            let keeps_tokens = privacy.path_secrets == PathSecrets::Keep;
            return if keeps_tokens { sample } else { without_tokens(sample) };
        }
        FieldType::Stack => MAX_STACK,
        FieldType::Policy => MAX_POLICY,
        FieldType::Token => MAX_TOKEN,
        _ => MAX_MESSAGE,
    };
    truncate(escape_hidden(redact(text, privacy), field_type == FieldType::Stack), max)
}

/// Redacts what a text quotes, also behind escapes: a text that hides something private is shown decoded.
pub(super) fn redact(text: Cow<'_, str>, privacy: Privacy) -> Cow<'_, str> {
    let mut shown = redact_quotes(text, privacy);
    let mut decoded = unescape(&shown);
    for _ in 0..MAX_ESCAPES {
        let Some(plain) = decoded else { break };
        let redacted = redact_quotes(Cow::Borrowed(&plain), privacy);
        decoded = unescape(&redacted);
        if redacted != plain {
            shown = Cow::Owned(redacted.into_owned());
        }
    }
    shown
}

/// Redacts what a text quotes: the private parts of absolute and relative URLs, nonces, JWTs. One pass
/// stops only at bytes that can be part of these; unchanged text is not copied. A text with more such parts than one in
/// [`BYTES_PER_PART`] ends before the word of the next, because each costs what many bytes of other text do.
fn redact_quotes(text: Cow<'_, str>, privacy: Privacy) -> Cow<'_, str> {
    let mut out = String::new();
    let mut done = 0;
    let mut left = MIN_PARTS + text.len() / BYTES_PER_PART;
    let mut at = 0;
    let mut scanner = WordScanner::default();
    while let Some(trigger) = next_trigger(text.as_bytes(), at) {
        let Some(redaction) = Redaction::detect(&text, done, trigger, &mut scanner, privacy) else {
            at = trigger + 1;
            continue;
        };
        if let Some(new) = redaction.new {
            if done == 0 {
                out.reserve(text.len());
            }
            out.push_str(&text[done..redaction.start]);
            let Some(fewer) = left.checked_sub(1) else {
                // What stands before in the same word could be private by what follows.
                out.truncate(out.bytes().rposition(|byte| ends_word(&byte)).map_or(0, |end| end + 1));
                out.push_str(TRUNCATION_MARK);
                return Cow::Owned(out);
            };
            left = fewer;
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

/// Bytes of a text for each part that is replaced.
const BYTES_PER_PART: usize = 40;
/// Parts that are replaced in the shortest text.
const MIN_PARTS: usize = 16;

/// Bytes at which private text is detected: in `://`, `?name=`, `/path`, `nonce-`, `nonce=`, `eyJ`.
const TRIGGER_BYTES: [bool; 256] = byte_set(b":?#/-=,Jj");

/// Returns the next trigger byte. A neighbor is compared too, because policies have many hyphens and colons.
fn next_trigger(bytes: &[u8], from: usize) -> Option<usize> {
    let plausible = |at: usize| match bytes[at] {
        b':' if matches!(bytes.get(at + 1), Some(b'/' | b'\\')) || follows_data(bytes, at) => true,
        b'?' | b'#' | b'/' => true,
        b'-' => at > 0 && matches!(bytes[at - 1], b'e' | b'E'),
        b':' | b'=' => at > 0 && (matches!(bytes[at - 1], b'e' | b'E') || is_around_name(&bytes[at - 1])),
        b',' => at > 0 && is_quote(&bytes[at - 1]),
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

/// Bytes after a trigger that are searched for the end of a URL.
const MAX_LOOKAHEAD: usize = 256;

/// A part of a text, and its replacement; `None` if it stays.
struct Redaction {
    start: usize,
    end: usize,
    new: Option<Cow<'static, str>>,
}

impl Redaction {
    fn new(start: usize, end: usize, new: &'static str) -> Redaction {
        Redaction { start, end, new: Some(Cow::Borrowed(new)) }
    }

    /// Detects private text around the trigger at `at`, not before `from`.
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

    /// Redacts `scheme://…` up to the first byte that cannot belong to it. Slashes may be escaped, as in JSON.
    fn url(text: &str, from: usize, marker: usize, privacy: Privacy) -> Redaction {
        let in_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let before = &text.as_bytes()[from..marker];
        let scheme = before.iter().rev().take_while(|byte| in_scheme(byte)).count();
        let scheme = &before[before.len() - scheme..];
        let start = marker - scheme.iter().skip_while(|byte| !byte.is_ascii_alphabetic()).count();
        // Most are sources of a policy, which have nothing but a host.
        let rest = &text.as_bytes()[marker..];
        let host = rest.iter().skip(3).take_while(|byte| url_redact::is_host_byte(**byte)).count();
        if rest.starts_with(b"://")
            && (1..MAX_LOOKAHEAD).contains(&host)
            && url_redact::is_web(&text[start..marker])
            && matches!(rest[3 + host..], [] | [b';'] | [b' ', ..] | [b';', b' ', ..])
        {
            return Redaction { start, end: marker + 3 + host, new: None };
        }
        // A user name or a query may contain bytes that end other URLs. Looking for one is bounded, so that
        // a text full of markers takes linear time; the redaction itself is not.
        let window = &text.as_bytes()[marker..text.len().min(marker + MAX_LOOKAHEAD)];
        let near_end = window.iter().position(|byte| matches!(byte, 0..=b' ' | b'"' | b'`' | b'<' | b'>'));
        let private =
            window[..near_end.unwrap_or(window.len())].iter().any(|byte| matches!(byte, b'@' | b'?' | b'#'));
        let near = text.as_bytes()[marker..].iter().position(ends_url).map_or(text.len(), |at| marker + at);
        let end = if private { sensitive_end(text, start, marker).max(near) } else { near };
        let quoted = &text[start..end];
        let new = if has_escaped_slash(quoted) {
            let unescaped = quoted.replace("\\/", "/");
            Some(quoted_url(&unescaped, privacy).unwrap_or(unescaped))
        } else {
            quoted_url(quoted, privacy).filter(|new| new != quoted)
        };
        Redaction { start, end, new: new.map(Cow::Owned) }
    }

    /// Removes the query (`?name=…`, `?flag&…`, or anything after a path) or the fragment (`#name=…`, or
    /// anything after a path) of a relative URL, up to the end of the word.
    fn query(text: &str, start: usize, scanner: &mut WordScanner) -> Option<Redaction> {
        let bytes = text.as_bytes();
        let name = |byte: &&u8| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'[' | b']' | b'%')
        };
        let length = bytes[start + 1..].iter().take_while(name).count();
        let next = bytes.get(start + 1);
        let after = bytes.get(start + 1 + length);
        let named = length > 0 && (after == Some(&b'=') || (bytes[start] == b'?' && after == Some(&b'&')));
        let word = scanner.word_at(bytes, start);
        // `a.b/c?d:e` is code.
        let after_path = if bytes[start] == b'?' { word.is_rooted_path() } else { word.is_path() };
        let end = || sensitive_end(text, word.start, start).max(start + 1);
        // An escaped line break ends the URL like the line break itself.
        let is_escaped = bytes[start + 1..].starts_with(b"\\u{");
        (named || (after_path && !is_escaped && next.is_some_and(|byte| !ends_url(byte))))
            .then(|| Redaction::new(start, end(), ""))
    }

    /// Redacts the path of a URL without scheme, if it has a secret or a user and a password.
    fn path(text: &str, start: usize, scanner: &mut WordScanner, privacy: Privacy) -> Option<Redaction> {
        let bytes = text.as_bytes();
        let word = scanner.word_at(bytes, start);
        // `//@` begins a comment.
        if !word.path_begins_at(start) || bytes[start..].starts_with(b"//@") {
            return None;
        }
        // After a host, two slashes do not begin another host.
        let more = bytes[start + 1..].iter().take_while(|byte| **byte == b'/').count();
        let start = if word.is_empty_before(start) { start } else { start + more };
        let ends = |byte: &u8| ends_url(byte) || matches!(byte, b'?' | b'#' | b'=' | b'&');
        let mut end = bytes[start..].iter().position(ends).map_or(text.len(), |at| start + at);
        let has_user = has_user(&bytes[start..]);
        if has_user {
            end = sensitive_end(text, word.start, start).max(end);
        }
        let quoted = &text[start..end];
        let (path, position) = quoted.split_at(line_and_column_start(quoted));
        let is_escaped = has_escaped_slash(path);
        let path = if is_escaped { Cow::Owned(path.replace("\\/", "/")) } else { Cow::Borrowed(path) };
        (has_user || url_redact::path_has_secret(&path, privacy)).then(|| {
            let new = url_redact::redact_complete(path, privacy).into_owned() + position;
            Redaction { start, end, new: Some(Cow::Owned(new)) }
        })
    }

    /// Removes the content of a `data:` URL, after its media type.
    fn data(text: &str, colon: usize, scanner: &mut WordScanner) -> Option<Redaction> {
        let rest = &text.as_bytes()[colon + 1..];
        let in_type = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'+' | b'.' | b'-');
        let length = rest.iter().take(MAX_MEDIA_TYPE).take_while(in_type).count();
        // In a script `data:` is a name, in a policy it stands alone.
        let is_type = rest[..length].contains(&b'/') || (length == 0 && has_parameter(rest));
        if !is_type || !matches!(rest.get(length), Some(b';' | b',')) {
            return None;
        }
        let start = colon + 1 + length;
        let end = sensitive_end(text, scanner.word_at(text.as_bytes(), colon).start, start);
        (end > start).then(|| Redaction::new(start, end, ""))
    }

    /// Redacts the value of a nonce: `'nonce-…'` of a policy, `nonce="…"` of markup, `nonce: "…"` and
    /// `"nonce", "…"` of a script.
    fn nonce(bytes: &[u8], at: usize) -> Option<Redaction> {
        let opening = |byte: &&u8| is_quote(byte) || matches!(byte, b' ' | b'\\');
        let quotes = match bytes[at] {
            b'-' => 0,
            _ => bytes[at + 1..].iter().take(4).take_while(opening).count(),
        };
        let start = at + 1 + quotes;
        if bytes[at] == b',' && !bytes[at + 1..start].iter().any(is_quote) {
            return None;
        }
        const ENDS: [bool; 256] = byte_set(b"\"'`;,<>)}\\\x7f");
        let ends = |byte: &u8| *byte <= b' ' || ENDS[usize::from(*byte)];
        let rest = &bytes[start..];
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        (length > 0 && &rest[..length] != b"*").then(|| Redaction::new(start, start + length, "*"))
    }

    /// Redacts a JSON Web Token that begins a word. Within a word the same letters are part of a hash.
    fn jwt(bytes: &[u8], start: usize) -> Option<Redaction> {
        let before = start.checked_sub(1).map_or(b' ', |before| bytes[before]);
        if before.is_ascii_alphanumeric() || before == b'+' {
            return None;
        }
        let token = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let length = bytes[start..].iter().take_while(token).count();
        let may_be_hash = before == b'/' && !bytes[start..start + length].contains(&b'.');
        (length >= MIN_TOKEN && !may_be_hash).then(|| Redaction::new(start, start + length, REDACTED))
    }
}

/// Maximum length of the media type of a `data:` URL.
const MAX_MEDIA_TYPE: usize = 128;

fn follows_data(bytes: &[u8], colon: usize) -> bool {
    bytes[..colon].last_chunk::<4>().is_some_and(|word| word.eq_ignore_ascii_case(b"data"))
}

/// Returns whether a parameter follows `data:` directly, without a media type.
fn has_parameter(rest: &[u8]) -> bool {
    [&b";base64"[..], b";charset"]
        .iter()
        .any(|it| rest.get(..it.len()).is_some_and(|start| start.eq_ignore_ascii_case(it)))
}

/// Returns whether these bytes are `//` and an authority with a user. Slashes may be escaped.
fn has_user(bytes: &[u8]) -> bool {
    let slashes = bytes.iter().take_while(|byte| matches!(byte, b'/' | b'\\')).count();
    let authority = &bytes[slashes..];
    let ends = |byte: &u8| matches!(byte, 0..=b' ' | b'/' | b'\\' | b'?' | b'#' | b'"' | b'`' | b'<' | b'>');
    let end = authority.iter().position(ends).unwrap_or(authority.len());
    slashes > 1 && authority[..end].contains(&b'@')
}

/// Returns whether this colon is that of `file:/…`, which is private with one slash as with three.
fn is_file_url(bytes: &[u8], colon: usize) -> bool {
    let before = &bytes[..colon];
    let word = before.iter().rev().take(5).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    before[colon - word..].eq_ignore_ascii_case(b"file") && matches!(bytes.get(colon + 1), Some(b'/' | b'\\'))
}

/// Returns whether the word `nonce` stands before, directly or with blanks or quotes in between.
fn follows_nonce(bytes: &[u8], from: usize, at: usize) -> bool {
    let skipped = match bytes[at] {
        b'-' => 0,
        _ => bytes[from..at].iter().rev().take(4).take_while(|byte| is_around_name(byte)).count(),
    };
    bytes[from..at - skipped].last_chunk::<5>().is_some_and(|word| word.eq_ignore_ascii_case(b"nonce"))
}

fn is_quote(byte: &u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}

/// Returns whether a byte may stand between a name and its value: `nonce = …`, `["nonce"]=…`, `__nonce__=…`.
fn is_around_name(byte: &u8) -> bool {
    is_quote(byte) || matches!(byte, b' ' | b'\\' | b']' | b'_')
}

fn has_escaped_slash(text: &str) -> bool {
    text.bytes().any(|byte| byte == b'\\') && text.contains("\\/")
}

/// Returns whether private text never continues after this byte.
fn ends_word(byte: &u8) -> bool {
    matches!(byte, 0..=b' ' | 0x7f | b'"' | b'`' | b'<' | b'>')
}

/// Returns the end of a word with private text, rather too late than too early: at a blank, a bracket
/// of markup, or the quote that opened the word, without the punctuation before.
fn sensitive_end(text: &str, word: usize, from: usize) -> usize {
    let bytes = text.as_bytes();
    let opened_by_quote = word > 0 && bytes[word - 1] == b'\'';
    let ends = |byte: &u8| ends_word(byte) || (opened_by_quote && *byte == b'\'');
    let end = bytes[from..].iter().position(ends).map_or(text.len(), |at| from + at);
    let is_punctuation = |byte: &u8| matches!(byte, b')' | b']' | b'}' | b',' | b';' | b'.' | b'\'');
    bytes[from..end].iter().rposition(|byte| !is_punctuation(byte)).map_or(from, |last| from + last + 1)
}

/// Redacts a quoted URL but for the `:line:column` of a stack trace; `None` if it stays unchanged.
fn quoted_url(quoted: &str, privacy: Privacy) -> Option<String> {
    let (url, position) = quoted.split_at(position_suffix_start(quoted));
    // Without the position, because with it a secret in the last segment is not detected.
    match url_redact::redact(Cow::Borrowed(url), privacy) {
        // A wildcard source such as `https://*.example` is not a URL, but stays unchanged.
        Cow::Borrowed(same) if same.len() == url.len() => None,
        new => Some(new.into_owned() + position),
    }
}

/// Returns where the `:line:column` after a URL's path starts; after a host or a query it is something else.
fn position_suffix_start(quoted: &str) -> usize {
    let end = line_and_column_start(quoted);
    if end == quoted.len() {
        return end;
    }
    let url = &quoted.as_bytes()[..end];
    let has_path =
        url.windows(3).position(|part| part == b"://").is_some_and(|at| url[at + 3..].contains(&b'/'));
    if has_path && !url.iter().any(|byte| matches!(byte, b'?' | b'#')) { end } else { quoted.len() }
}

/// Returns where up to two numbers at the end start, each after a colon.
fn line_and_column_start(quoted: &str) -> usize {
    let bytes = quoted.as_bytes();
    let without = |end: usize, is: fn(&u8) -> bool| {
        bytes[..end].iter().rposition(|byte| !is(byte)).map_or(0, |last| last + 1)
    };
    let mut end = without(bytes.len(), |byte| *byte == b':');
    for _ in 0..2 {
        let before = without(end, u8::is_ascii_digit);
        if before == end || before == 0 || bytes[before - 1] != b':' {
            break;
        }
        end = before - 1;
    }
    end
}

#[cfg(test)]
mod tests;
