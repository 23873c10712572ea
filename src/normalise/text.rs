//! Texts as they may leave the process. Samples, messages, stacks and policies quote URLs, queries
//! and nonces; those are cut wherever they stand, and every text has an end.

use std::borrow::Cow;

use memchr::{memchr2_iter, memmem};

use crate::config::settings::{Privacy, QueryPrivacy};
use crate::kind::Holds;
use crate::normalise::{MAX_MESSAGE, MAX_POLICY, MAX_SAMPLE, MAX_STACK, MAX_TOKEN, url};

/// Redacts and caps a text by what it holds.
pub(super) fn clean<'a>(text: Cow<'a, str>, holds: Holds, privacy: Privacy) -> Cow<'a, str> {
    match holds {
        Holds::Url => url::redact(text, privacy),
        Holds::Sample => cut_characters(redact(text, privacy), MAX_SAMPLE),
        Holds::Stack => cut(redact(text, privacy), MAX_STACK),
        Holds::Policy => cut(redact(text, privacy), MAX_POLICY),
        Holds::Token => cut(redact(text, privacy), MAX_TOKEN),
        Holds::Message | Holds::Position | Holds::Count | Holds::Number | Holds::Anything => {
            cut(redact(text, privacy), MAX_MESSAGE)
        }
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

/// Cuts what a running text quotes: URLs' secret parts, queries of relative URLs, nonces, JWTs.
fn redact(text: Cow<'_, str>, privacy: Privacy) -> Cow<'_, str> {
    let found = Suspects::of(&text);
    let mut text = text;
    if found.colon {
        text = each_span(text, &find_url, &|span| quoted_url(span, privacy));
    }
    if found.question && privacy.query != QueryPrivacy::Keep {
        text = each_span(text, &find_query, &|_| Some(String::new()));
    }
    if found.nonce {
        text = each_span(text, &find_nonce, &|_| Some("*".to_owned()));
    }
    if found.jwt {
        text = each_span(text, &find_jwt, &|_| Some(crate::normalise::secret::REDACTED.to_owned()));
    }
    text
}

/// What a text may hold that has to be looked at closely. One pass; most texts hold nothing.
#[derive(Default)]
struct Suspects {
    colon: bool,
    question: bool,
    nonce: bool,
    jwt: bool,
}

impl Suspects {
    fn of(text: &str) -> Suspects {
        let mut found = Suspects::default();
        let bytes = text.as_bytes();
        let preceded = |at: usize, word: &[u8]| {
            at.checked_sub(word.len()).is_some_and(|start| bytes[start..at].eq_ignore_ascii_case(word))
        };
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                b'/' => found.colon |= preceded(at, b":/"),
                b'?' => found.question = true,
                b'-' | b'=' => found.nonce |= preceded(at, b"nonce"),
                b'J' => found.jwt |= preceded(at, b"ey"),
                _ => {}
            }
        }
        found
    }
}

type Find<'f> = &'f dyn Fn(&str, usize) -> Option<(usize, usize)>;

/// Replaces the spans that `find` sees and `replace` has something new for. Untouched text is not
/// copied.
fn each_span<'a>(
    text: Cow<'a, str>,
    find: Find<'_>,
    replace: &dyn Fn(&str) -> Option<String>,
) -> Cow<'a, str> {
    let mut out = String::new();
    let (mut done, mut from) = (0, 0);
    while let Some((start, end)) = find(&text, from) {
        if let Some(new) = replace(&text[start..end])
            && new != text[start..end]
        {
            out.push_str(&text[done..start]);
            out.push_str(&new);
            done = end;
        }
        from = end.max(from + 1);
        if from >= text.len() {
            break;
        }
    }
    if done == 0 && out.is_empty() {
        return text;
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// Whether a byte ends a URL in running text.
fn ends_url(byte: &u8) -> bool {
    byte.is_ascii_whitespace() || byte.is_ascii_control() || b"\"'`<>(){}|,;".contains(byte)
}

/// Where the word that starts there ends.
fn end_of_word(text: &str, start: usize) -> usize {
    text.as_bytes()[start..].iter().position(ends_url).map_or(text.len(), |at| start + at)
}

/// `scheme://…`, from its scheme to whatever cannot belong to it.
fn find_url(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes().get(from..)?;
    let marker = from + memchr::memchr_iter(b':', bytes).find(|at| bytes[*at..].starts_with(b"://"))?;
    let in_scheme = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let scheme = text.as_bytes()[from..marker].iter().rev().take_while(|byte| in_scheme(byte)).count();
    Some((marker - scheme, end_of_word(text, marker)))
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

/// `?name=…` up to the end of the word: the query of a relative URL.
fn find_query(text: &str, from: usize) -> Option<(usize, usize)> {
    let name = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.[]%".contains(byte);
    for at in memchr::memchr_iter(b'?', text.as_bytes().get(from..)?) {
        let start = from + at;
        let length = text.as_bytes()[start + 1..].iter().take_while(name).count();
        if length > 0 && text.as_bytes().get(start + 1 + length) == Some(&b'=') {
            return Some((start, end_of_word(text, start)));
        }
    }
    None
}

/// The value of a nonce: `'nonce-…'` of a policy, `nonce="…"` of markup.
fn find_nonce(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let value = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(byte);
    for at in memchr2_iter(b'n', b'N', bytes.get(from..)?) {
        let word = from + at;
        let Some(found) = bytes.get(word..word + 6) else { break };
        if !found[..5].eq_ignore_ascii_case(b"nonce") || !b"-=".contains(&found[5]) {
            continue;
        }
        let quote = matches!(bytes.get(word + 6), Some(b'"' | b'\'')) as usize;
        let start = word + 6 + quote;
        let length = bytes[start..].iter().take_while(value).count();
        if length > 0 {
            return Some((start, start + length));
        }
    }
    None
}

/// A JSON Web Token anywhere in a text.
fn find_jwt(text: &str, from: usize) -> Option<(usize, usize)> {
    let bytes = text.as_bytes();
    let token = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    for at in memmem::find_iter(bytes.get(from..)?, b"eyJ") {
        let start = from + at;
        let length = bytes[start..].iter().take_while(token).count();
        if length >= 16 {
            return Some((start, start + length));
        }
    }
    None
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
