//! Texts as they may leave the process. Samples, messages, stacks and policies quote URLs, queries
//! and nonces; those are cut wherever they stand, and every text has an end.

use std::borrow::Cow;

use crate::config::settings::{Privacy, QueryPrivacy};
use crate::kind::Holds;
use crate::normalise::secret::REDACTED;
use crate::normalise::{MAX_MESSAGE, MAX_POLICY, MAX_SAMPLE, MAX_STACK, MAX_TOKEN, url};

/// Redacts and caps a text by what it holds.
pub(super) fn clean<'a>(text: Cow<'a, str>, holds: Holds, privacy: Privacy) -> Cow<'a, str> {
    match holds {
        Holds::Url | Holds::PageUrl => url::redact(text, privacy),
        Holds::Sample => cut_characters(redact(text, privacy), MAX_SAMPLE),
        Holds::Stack => cut(redact(text, privacy), MAX_STACK),
        Holds::Policy => cut(redact(text, privacy), MAX_POLICY),
        Holds::Token => cut(redact(text, privacy), MAX_TOKEN),
        Holds::Message
        | Holds::Position
        | Holds::Count
        | Holds::Number
        | Holds::Flag
        | Holds::Counted
        | Holds::Anything => cut(redact(text, privacy), MAX_MESSAGE),
    }
}

/// At most `max` bytes; what was longer ends in `…`.
pub(super) fn cut(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return text;
    }
    let end = text.floor_char_boundary(max - '…'.len_utf8());
    Cow::Owned(format!("{}…", &text[..end]))
}

fn cut_characters(text: Cow<'_, str>, max: usize) -> Cow<'_, str> {
    if text.len() <= max || text.chars().count() <= max {
        return text;
    }
    Cow::Owned(text.chars().take(max - 1).chain(['…']).collect())
}

/// Cuts what a running text quotes: URLs' secret parts, queries of relative URLs, nonces, JWTs. One
/// pass that stops only at bytes that could be the middle of one; untouched text is not copied.
pub(super) fn redact(text: Cow<'_, str>, privacy: Privacy) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut done, mut at) = (0, 0);
    let mut words = Words::default();
    while let Some(suspect) = next_suspect(text.as_bytes(), at) {
        let Some(span) = Span::around(&text, done, suspect, &mut words, privacy) else {
            at = suspect + 1;
            continue;
        };
        if let Some(new) = span.new {
            out.reserve(text.len());
            out.push_str(&text[done..span.start]);
            out.push_str(&new);
            done = span.end;
        }
        at = span.end;
    }
    if done == 0 {
        return text;
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// Bytes at which something private can be recognised: `://`, `?name=`, `nonce-` or `nonce=`, `eyJ`.
const SUSPECT: [bool; 256] = {
    let mut suspect = [false; 256];
    let mut at = 0;
    let bytes = b":?#-=J";
    while at < bytes.len() {
        suspect[bytes[at] as usize] = true;
        at += 1;
    }
    suspect
};

/// The next byte from there on at which something private can be recognised, judged by it and one
/// neighbour: policies are full of hyphens and colons that are nothing.
fn next_suspect(bytes: &[u8], from: usize) -> Option<usize> {
    let plausible = |at: usize| match bytes[at] {
        b':' if matches!(bytes.get(at + 1), Some(b'/' | b'\\')) => true,
        b'?' | b'#' => true,
        b'-' => at > 0 && matches!(bytes[at - 1], b'e' | b'E'),
        b':' | b'=' => at > 0 && matches!(bytes[at - 1], b'e' | b'E' | b' ' | b'"' | b'\'' | b'\\'),
        _ => at > 0 && matches!(bytes[at - 1], b'y' | b'Y'),
    };
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|byte| SUSPECT[usize::from(*byte)])?;
        if plausible(at) {
            return Some(at);
        }
        at += 1;
    }
}

/// How far behind a suspect byte its word is looked at, in bytes.
const WINDOW: usize = 256;

/// Where the word begins that a byte stands in. Asked from left to right it looks at every byte once.
#[derive(Default)]
struct Words {
    start: usize,
    seen: usize,
}

impl Words {
    fn start_before(&mut self, bytes: &[u8], at: usize) -> usize {
        if let Some(end) = bytes[self.seen..at].iter().rposition(ends_url) {
            self.start = self.seen + end + 1;
        }
        self.seen = at;
        self.start
    }
}

/// A part of a text, and what takes its place; `None`: it may stay.
struct Span {
    start: usize,
    end: usize,
    new: Option<Cow<'static, str>>,
}

impl Span {
    /// What stands around a suspect byte, if it is what it looks like. Nothing before `from` is part
    /// of it any more.
    fn around(text: &str, from: usize, at: usize, words: &mut Words, privacy: Privacy) -> Option<Span> {
        let bytes = text.as_bytes();
        match bytes[at] {
            b':' if bytes[at..].starts_with(b"://")
                || bytes[at..].starts_with(b":\\/\\/")
                || is_file_url(&bytes[from..], at - from) =>
            {
                Some(Span::url(text, from, at, privacy))
            }
            b'?' if privacy.query != QueryPrivacy::Keep => Span::query(text, at, words),
            b'#' => Span::query(text, at, words),
            b'-' | b'=' | b':' if follows_nonce(bytes, from, at) => Span::nonce(bytes, at),
            b'J' if at >= from + 2 && bytes[at - 2..at].eq_ignore_ascii_case(b"ey") => {
                Span::jwt(bytes, at - 2)
            }
            _ => None,
        }
    }

    /// `scheme://…`, from its scheme to whatever cannot belong to it. Slashes may be escaped, as in JSON
    /// within a script.
    fn url(text: &str, from: usize, marker: usize, privacy: Privacy) -> Span {
        let in_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let scheme = text.as_bytes()[from..marker].iter().rev().take_while(|byte| in_scheme(byte)).count();
        let start = marker - scheme;
        // What a user name or a query holds may look like the end of the URL. Looking for one is bounded,
        // so that a text full of markers costs no more than its length; cutting it is not.
        let window = &text.as_bytes()[marker..text.len().min(marker + WINDOW)];
        let near_end = window.iter().position(|byte| matches!(byte, 0..=b' ' | b'"' | b'`' | b'<' | b'>'));
        let private = window[..near_end.unwrap_or(window.len())].iter().any(|byte| b"@?#".contains(byte));
        let near = end_of_word(text, marker);
        let end = if private { end_of_private(text, start, marker).max(near) } else { near };
        let quoted = &text[start..end];
        let new = match quoted.contains("\\/") {
            false => quoted_url(quoted, privacy).filter(|new| new != quoted),
            true => {
                let unescaped = quoted.replace("\\/", "/");
                Some(quoted_url(&unescaped, privacy).unwrap_or(unescaped))
            }
        };
        Span { start, end, new: new.map(Cow::Owned) }
    }

    /// The query of a relative URL (`?name=…`, `?flag&…`, or anything behind a path) or its fragment
    /// (`#name=…`), up to the end of the word.
    fn query(text: &str, start: usize, words: &mut Words) -> Option<Span> {
        let bytes = text.as_bytes();
        let name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.[]%".contains(byte);
        let length = bytes[start + 1..].iter().take_while(name).count();
        if length == 0 {
            return None;
        }
        let word = words.start_before(bytes, start);
        let after = bytes.get(start + 1 + length);
        let named = after == Some(&b'=') || (bytes[start] == b'?' && after == Some(&b'&'));
        let behind_path = bytes[start] == b'?' && bytes.get(word) == Some(&b'/');
        (named || behind_path).then(|| Span {
            start,
            end: end_of_private(text, word, start).max(start + 1),
            new: Some(Cow::Borrowed("")),
        })
    }

    /// The value of a nonce: `'nonce-…'` of a policy, `nonce="…"` of markup, `nonce: "…"` of a script.
    fn nonce(bytes: &[u8], at: usize) -> Option<Span> {
        let opening = |byte: &&u8| matches!(byte, b' ' | b'"' | b'\'' | b'\\');
        let quotes = match bytes[at] {
            b'-' => 0,
            _ => bytes[at + 1..].iter().take(4).take_while(opening).count(),
        };
        let start = at + 1 + quotes;
        let ends = |byte: &u8| {
            matches!(
                byte,
                0..=b' ' | 0x7f | b'"' | b'\'' | b'`' | b';' | b',' | b'<' | b'>' | b')' | b'}' | b'\\'
            )
        };
        let rest = &bytes[start..];
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        (length > 0 && &rest[..length] != b"*").then_some(Span {
            start,
            end: start + length,
            new: Some(Cow::Borrowed("*")),
        })
    }

    /// A JSON Web Token. It begins a word: the same letters within one are a hash's.
    fn jwt(bytes: &[u8], start: usize) -> Option<Span> {
        let within = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
        if start.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(within) {
            return None;
        }
        let token = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
        let length = bytes[start..].iter().take_while(token).count();
        (length >= 16).then(|| Span { start, end: start + length, new: Some(Cow::Borrowed(REDACTED)) })
    }
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
fn end_of_private(text: &str, word: usize, from: usize) -> usize {
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

/// Whether a byte ends a URL in running text.
fn ends_url(byte: &u8) -> bool {
    matches!(
        byte,
        0..=b' ' | 0x7f | b'"' | b'\'' | b'`' | b'<' | b'>' | b'(' | b')' | b'{' | b'}' | b'|' | b',' | b';'
    )
}

/// Where the word that starts there ends.
fn end_of_word(text: &str, start: usize) -> usize {
    text.as_bytes()[start..].iter().position(ends_url).map_or(text.len(), |at| start + at)
}

/// A URL that a text quotes, redacted; in a stack trace its `:line:column` stays. `None`: it may stay.
fn quoted_url(quoted: &str, privacy: Privacy) -> Option<String> {
    let (url, position) = quoted.split_at(start_of_position(quoted));
    // Judged without its position, which would make a secret in the last segment look like none.
    if url::clean_prefix(url, privacy) == Some(url.len()) {
        return None;
    }
    // A wildcard source such as `https://*.example` is no URL but passes through unharmed.
    Some(format!("{}{position}", url::redact(Cow::Borrowed(url), privacy)))
}

/// Where the `:line:column` behind a URL's path starts. Behind a host it is a port, behind a query it
/// may be anything.
fn start_of_position(quoted: &str) -> usize {
    let mut end = quoted.trim_end_matches(':').len();
    for _ in 0..2 {
        let before = quoted[..end].trim_end_matches(|c: char| c.is_ascii_digit());
        match before.strip_suffix(':') {
            Some(url) if before.len() < end => end = url.len(),
            _ => break,
        }
    }
    let path = quoted[..end].split_once("://").and_then(|(_, rest)| rest.find('/'));
    if path.is_some() && !quoted[..end].contains(['?', '#']) { end } else { quoted.len() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{ClientAddress, PathSecrets};

    const STRICT: Privacy = Privacy {
        query: QueryPrivacy::Strip,
        path_secrets: PathSecrets::Redact,
        client_address: ClientAddress::None,
    };

    #[test]
    fn what_a_text_quotes_is_redacted() {
        for (text, shown) in [
            ("plain text, why? because.", "plain text, why? because."),
            ("script-src 'nonce-r4nd0m+/=' 'self'", "script-src 'nonce-*' 'self'"),
            ("script-src 'NONCE-r4nd0m'; x", "script-src 'NONCE-*'; x"),
            ("<script nonce=\"abc\">", "<script nonce=\"*\">"),
            ("<script nonce=abc>", "<script nonce=*>"),
            ("report-uri /r?key=secret; img-src *", "report-uri /r; img-src *"),
            ("report-uri https://u:p@r.example/r?key=secret", "report-uri https://r.example/r"),
            ("img-src https://*.example:443 wss://x", "img-src https://*.example wss://x"),
            ("at f (https://a.example/x.js?t=1:12:5)\n", "at f (https://a.example/x.js)\n"),
            ("at f (https://a.example/x.js:12:5)\n", "at f (https://a.example/x.js:12:5)\n"),
            (
                "at f (https://a.example/5f4dcc3b5aa765d61d8327deb882cf99:12:5)\n",
                "at f (https://a.example/:redacted:12:5)\n",
            ),
            ("fetch('/api?token=abc')", "fetch('/api')"),
            ("x = a ? b : c", "x = a ? b : c"),
            ("https://a.example/cb?ids=1,2&token=S end", "https://a.example/cb end"),
            ("https://a.example/x?q=(a)&t=S", "https://a.example/x"),
            ("https://us:pa;S@h.example/", "https://h.example/"),
            ("(https://a.example/x.js?v=1,2&token=S:12:5)", "(https://a.example/x.js)"),
            ("fetch(`https://a.example/?a=${b}&token=S`)", "fetch(`https://a.example/`)"),
            ("report-uri https://r.example/r?a=1|2&key=S; x", "report-uri https://r.example/r; x"),
            ("/api?debug&token=S", "/api"),
            ("report-uri /r?S", "report-uri /r"),
            ("/cb#access_token=S", "/cb"),
            ("'nonce-ab.S'", "'nonce-*'"),
            ("s.nonce = \"S\"", "s.nonce = \"*\""),
            ("{\"nonce\":\"S\"}", "{\"nonce\":\"*\"}"),
            (r"https:\/\/us:S@a.example\/x", "https://a.example/x"),
            ("at f (file:///home/jane/x.js:12:5)", "at f (file:12:5)"),
            ("at jar:file:///home/jane/x.xpi!/a.js", "at jar:file"),
            ("open(file:/home/jane/x.js)", "open(file)"),
            ("a profile:/x and a file: x", "a profile:/x and a file: x"),
            ("sha256-1XFeyJE08XndkoxwN6eIa5J89h=", "sha256-1XFeyJE08XndkoxwN6eIa5J89h="),
            ("bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.c2ln end", "bearer :redacted end"),
        ] {
            assert_eq!(redact(Cow::Borrowed(text), STRICT), shown, "{text}");
        }
    }

    #[test]
    fn what_is_long_ends_in_an_ellipsis() {
        assert_eq!(cut("aé".into(), 3), "aé");
        assert_eq!(cut("aéé".into(), 4), "a…");
        let sample = clean("é".repeat(300).into(), Holds::Sample, STRICT);
        assert_eq!(sample.chars().count(), MAX_SAMPLE);
        assert!(sample.ends_with('…'));
    }

    #[test]
    fn untouched_text_is_not_copied() {
        assert!(matches!(clean(Cow::Borrowed("no nonsense"), Holds::Message, STRICT), Cow::Borrowed(_)));
    }
}
