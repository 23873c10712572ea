//! Redacts URLs: user, password and fragment always, query and secret path segments by default. It
//! works on text, because browsers often send other text as a URL: `inline`, `https://a:443a/b`.

use std::borrow::Cow;

use crate::config::{PathSecrets, Privacy, QueryPrivacy};
use crate::model::{escape_hidden, has_byte, is_hidden};
use crate::normalize::limits::MAX_URL;
use crate::normalize::secret::{Before, REDACTED, is_secret, is_short_word};
use crate::normalize::truncate::truncate;
use crate::normalize::word_scanner::byte_set;

/// Redacts a URL and truncates it to [`MAX_URL`].
pub(super) fn redact<'a>(raw: Cow<'a, str>, privacy: Privacy) -> Cow<'a, str> {
    truncate(redact_complete(raw, privacy), MAX_URL)
}

pub(super) fn redact_complete<'a>(raw: Cow<'a, str>, privacy: Privacy) -> Cow<'a, str> {
    match (clean_prefix_len(&raw, privacy), raw) {
        (Some(length), raw) if length == raw.len() => raw,
        (Some(length), Cow::Borrowed(raw)) => Cow::Borrowed(&raw[..length]),
        (_, raw) => {
            let around = |c: char| c.is_whitespace() || c.is_ascii_control();
            let mut trimmed = Cow::Borrowed(raw.trim_matches(around));
            if has_byte(trimmed.as_bytes(), |byte| byte.is_ascii_control()) {
                trimmed.to_mut().retain(|c| !c.is_ascii_control());
            }
            let mut redacted = rewrite(&trimmed, privacy);
            // Blanks before the part that was removed.
            redacted.truncate(redacted.trim_end().len());
            escape_hidden(Cow::Owned(redacted), false)
        }
    }
}

/// Returns the length of the part that stays, for a URL of which only the query or fragment is removed,
/// as most are; `None` for all others. It allocates nothing.
fn clean_prefix_len(raw: &str, privacy: Privacy) -> Option<usize> {
    let end = raw.bytes().position(|byte| !LITERAL_BYTES[usize::from(byte)]).unwrap_or(raw.len());
    let ends_here = match raw.as_bytes().get(end) {
        None | Some(b'#') => true,
        Some(b'?') => privacy.query == QueryPrivacy::Strip,
        Some(_) => false,
    };
    if end > MAX_URL || !ends_here {
        return None;
    }
    let plain = &raw[..end];
    let colon = if plain.starts_with("https:") { Some(5) } else { memchr::memchr(b':', plain.as_bytes()) };
    let path = match colon {
        None => plain,
        Some(colon) => {
            let (scheme, rest) = plain.split_at(colon);
            let is_web = is_web(scheme);
            let rest = rest.strip_prefix("://").filter(|_| is_web || is_plain_scheme(scheme))?;
            let (authority, path) =
                rest.split_at(memchr::memchr(b'/', rest.as_bytes()).unwrap_or(rest.len()));
            let is_host = authority.bytes().all(is_host_byte);
            ((!is_web || !authority.is_empty()) && is_host).then_some(path)?
        }
    };
    (!path_has_secret(path, privacy)).then_some(end)
}

/// Bytes without special meaning in a URL. `;` is none of them, because it may start a session id.
const LITERAL_BYTES: [bool; 256] =
    byte_set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/.-_~%:+,!$&'()*[]");

pub(super) fn is_host_byte(byte: u8) -> bool {
    const HOST_BYTES: [bool; 256] = byte_set(b"abcdefghijklmnopqrstuvwxyz0123456789.-_");
    HOST_BYTES[usize::from(byte)]
}

/// Returns whether URLs of a scheme have an authority even when their slashes were mangled.
pub(super) fn is_web(scheme: &str) -> bool {
    matches!(scheme, "https" | "http" | "wss" | "ws" | "ftp")
}

/// Schemes that wrap a URL. The path of a blob is dropped, because its id is of no use after its page.
const WRAPPER_SCHEMES: [&str; 3] = ["blob", "filesystem", "view-source"];

/// Returns whether a scheme stays as it is, with what follows its `://`.
fn is_plain_scheme(scheme: &str) -> bool {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.');
    scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme.bytes().all(plain)
        && scheme != "file"
        && !WRAPPER_SCHEMES.contains(&scheme)
}

fn rewrite(raw: &str, privacy: Privacy) -> String {
    let Some((scheme, rest)) = split_scheme(raw) else { return relative(raw, privacy) };
    // With space for the rest.
    let mut lower = String::with_capacity(raw.len().min(MAX_URL) + 3);
    lower.push_str(scheme);
    lower.make_ascii_lowercase();
    let scheme = lower;
    if WRAPPER_SCHEMES.contains(&&*scheme) {
        return unwrap_nested(scheme, rest, privacy);
    }
    if scheme == "file" {
        // The path has names of a user's directories. <https://w3c.github.io/webappsec-csp/#strip-url-for-use-in-reports>
        return scheme;
    }
    if is_web(&scheme) {
        return hierarchical(scheme, rest.trim_start_matches(['/', '\\']), privacy);
    }
    match rest.strip_prefix("//") {
        Some(rest) => hierarchical(scheme, rest, privacy),
        // `about:blank` is kept; what follows `data:` or `mailto:` is content.
        None if scheme == "about" && rest.bytes().all(|byte| byte.is_ascii_lowercase()) => raw.to_owned(),
        None => scheme,
    }
}

/// Redacts the URL within a wrapper. Browsers write only one; a second one is treated as content, so
/// that a body does not determine the depth of the recursion.
fn unwrap_nested(scheme: String, wrapped: &str, privacy: Privacy) -> String {
    if split_scheme(wrapped)
        .is_none_or(|(inner, _)| WRAPPER_SCHEMES.iter().any(|it| it.eq_ignore_ascii_case(inner)))
    {
        return scheme;
    }
    let inner = rewrite(wrapped, privacy);
    let inner = if scheme == "blob" { origin_of(&inner) } else { &inner };
    if inner.is_empty() { scheme } else { format!("{scheme}:{inner}") }
}

fn split_scheme(raw: &str) -> Option<(&str, &str)> {
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let colon = raw.bytes().position(|byte| !in_scheme(byte))?;
    let is_scheme = raw.as_bytes()[colon] == b':' && raw.as_bytes()[0].is_ascii_alphabetic();
    is_scheme.then(|| (&raw[..colon], &raw[colon + 1..]))
}

/// Redacts a URL without a scheme: a path, or `//` and a host.
fn relative(raw: &str, privacy: Privacy) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut path = raw;
    if let Some(rest) = raw.strip_prefix(['/', '\\']).and_then(second_slash_stripped) {
        let (host_and_port, after) = split_authority(rest);
        out.push_str("//");
        push_authority(host_and_port, "", &mut out);
        path = after;
    }
    path_and_query(path, privacy, &mut out);
    out
}

/// Returns what follows the second slash. The backslash of an escaped character is none.
fn second_slash_stripped(rest: &str) -> Option<&str> {
    rest.strip_prefix(['/', '\\']).filter(|_| !rest.starts_with("\\u{"))
}

/// Splits off host and port, without user and password.
fn split_authority(rest: &str) -> (&str, &str) {
    let ends = |byte: u8| matches!(byte, b'/' | b'\\' | b'?' | b'#');
    let (authority, path) = rest.split_at(rest.bytes().position(ends).unwrap_or(rest.len()));
    let host = authority.bytes().rposition(|byte| byte == b'@').map_or(0, |at| at + 1);
    let host_and_port = &authority[host..];
    // In a host, browsers write a percent sign only for the zone of an address; elsewhere it hides an `@`.
    let hides_user = host_and_port.bytes().any(|byte| byte == b'%') && !host_and_port.starts_with('[');
    (if hides_user { "" } else { host_and_port }, path)
}

fn hierarchical(scheme: String, rest: &str, privacy: Privacy) -> String {
    let (host_and_port, path) = split_authority(rest);
    let mut out = scheme;
    let default_port = match &*out {
        "https" | "wss" => "443",
        "http" | "ws" => "80",
        _ => "",
    };
    out.push_str("://");
    push_authority(host_and_port, default_port, &mut out);
    if out.ends_with("://") && is_web(&out[..out.len() - 3]) {
        // Without a host, the rest would become the host when it is normalized again.
        return out;
    }
    path_and_query(path, privacy, &mut out);
    out
}

/// Appends an authority in lower case, without the default port. Only digits after the colon are a
/// port, because WebKit writes `site.test:443site.test` as the source of a script in the document.
fn push_authority(authority: &str, default_port: &str, out: &mut String) {
    let position = |from: usize, of: u8| authority.as_bytes()[from..].iter().position(|byte| *byte == of);
    let bracket = position(0, b']').map_or(0, |at| at + 1);
    let (host, port) = match position(bracket, b':') {
        Some(colon) => (&authority[..bracket + colon], &authority[bracket + colon + 1..]),
        None => (authority, ""),
    };
    if has_byte(host.as_bytes(), |byte| byte.is_ascii_control() | !byte.is_ascii()) {
        out.extend(host.chars().filter(|c| !is_hidden(*c)).flat_map(char::to_lowercase));
    } else {
        let start = out.len();
        out.push_str(host);
        out[start..].make_ascii_lowercase();
    }
    let digits = &port[..port.bytes().take_while(u8::is_ascii_digit).count()];
    if !digits.is_empty() && digits != default_port {
        out.push(':');
        out.push_str(digits);
    }
}

fn origin_of(url: &str) -> &str {
    let Some(authority) = url.find("://").map(|at| at + 3) else { return "" };
    &url[..url[authority..].find('/').map_or(url.len(), |at| authority + at)]
}

fn path_and_query(text: &str, privacy: Privacy, out: &mut String) {
    if text.is_empty() {
        return;
    }
    let text = &text[..memchr::memchr(b'#', text.as_bytes()).unwrap_or(text.len())];
    let mark = memchr::memchr(b'?', text.as_bytes());
    let (path, query) = (&text[..mark.unwrap_or(text.len())], mark.map(|mark| &text[mark + 1..]));
    push_path(path, privacy, out);
    match (privacy.query, query) {
        (QueryPrivacy::Keep, Some(query)) => {
            out.push('?');
            out.push_str(query);
        }
        (QueryPrivacy::Names, Some(query)) => push_query_names(query, out),
        _ => {}
    }
}

/// Removes `;jsessionid=…`. A semicolon before an `@` belongs to a password and stays.
fn without_parameters(segment: &str) -> &str {
    match segment.bytes().position(|byte| byte == b';') {
        Some(semicolon) if !segment[semicolon..].contains('@') => &segment[..semicolon],
        _ => segment,
    }
}

fn segments(path: &str) -> impl Iterator<Item = (Before<'_>, &str)> {
    let bytes = path.as_bytes();
    // An escaped character, such as `\u{202E}`, is part of a segment.
    let separates = |end: &usize| !bytes[*end..].starts_with(b"\\u{");
    let ends = memchr::memchr2_iter(b'/', b'\\', bytes).filter(separates).chain([path.len()]);
    let mut start = 0;
    let mut before = Before::default();
    ends.map(move |end| {
        let segment = without_parameters(&path[start..end]);
        start = end + 1;
        let passed = before;
        before = before.then(segment);
        (passed, segment)
    })
}

pub(super) fn path_has_secret(path: &str, privacy: Privacy) -> bool {
    privacy.path_secrets == PathSecrets::Redact
        && !path.as_bytes().split(|byte| *byte == b'/').all(is_short_word)
        && segments(path).any(|(before, segment)| is_secret(segment, before))
}

fn push_path(path: &str, privacy: Privacy, out: &mut String) {
    if privacy.path_secrets == PathSecrets::Keep {
        return out.push_str(path);
    }
    for (at, (before, segment)) in segments(path).enumerate() {
        if at > 0 {
            out.push('/');
        }
        out.push_str(if is_secret(segment, before) { REDACTED } else { segment });
    }
}

/// Appends the names of a query as `?a&b`. A parameter without `=` counts as a name only if it does not
/// look like a secret, because it may be a token.
fn push_query_names(query: &str, out: &mut String) {
    let mut separator = '?';
    for parameter in query.split('&') {
        let (name, value) = parameter.split_once('=').map_or((parameter, None), |(n, v)| (n, Some(v)));
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.[]".contains(&byte);
        let usable = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(plain)
            && (value.is_some() || !is_secret(name, Before::default().then("token")));
        if usable {
            out.push(separator);
            out.push_str(name);
            separator = '&';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClientAddress;

    const STRICT: Privacy = Privacy {
        query: QueryPrivacy::Strip,
        path_secrets: PathSecrets::Redact,
        client_address: ClientAddress::None,
    };

    fn with(privacy: Privacy, url: &str) -> String {
        redact(Cow::Borrowed(url), privacy).into_owned()
    }

    #[test]
    fn private_parts_of_a_url_are_redacted() {
        for (url, shown) in [
            ("https://shop.example/cart", "https://shop.example/cart"),
            ("https://user:pa:ss@shop.example/cart?token=1#frag", "https://shop.example/cart"),
            ("HTTPS://Shop.Example:443/Cart", "https://shop.example/Cart"),
            ("http://shop.example:80", "http://shop.example"),
            ("https://shop.example:8443/x", "https://shop.example:8443/x"),
            ("https://[2001:DB8::1]:443/x", "https://[2001:db8::1]/x"),
            ("https://shop.example?token=1", "https://shop.example"),
            ("https:\\\\user@shop.example\\a?b", "https://shop.example/a"),
            ("https:/shop.example/a#b", "https://shop.example/a"),
            (" https://shop.example/a\nb ", "https://shop.example/ab"),
            ("https://site.test:443site.test/p/x/index.html?q=1", "https://site.test/p/x/index.html"),
            ("https://a.example/reset/a81bc81b/form", "https://a.example/reset/:redacted/form"),
            ("https://a.example/x;jsessionid=ABC/y", "https://a.example/x/y"),
            ("/relative?token=1", "/relative"),
            ("data:text/html,secret", "data"),
            ("javascript:alert(document.cookie)", "javascript"),
            ("mailto:jane@example.com", "mailto"),
            ("about:srcdoc", "about:srcdoc"),
            ("about:blank?token=1", "about"),
            ("blob:https://site.test/9115d58c-bcda-ff47-86e5-083e9a215304", "blob:https://site.test"),
            ("blob:null/9115d58c", "blob"),
            ("file:///home/jane/x.js", "file"),
            ("FILE://host/share/x.js?y", "file"),
            ("file:/home/jane/x.js", "file"),
            ("file:", "file"),
            ("view-source:file:///home/jane/x.html", "view-source:file"),
            ("blob:file:///9115d58c", "blob"),
            ("jar:file:///home/jane/x.xpi!/a.js", "jar"),
            ("chrome-extension://abcdef/x.js?y", "chrome-extension://abcdef/x.js"),
            ("inline", "inline"),
            ("\u{e} a\u{e} ", "a"),
            ("https://a.example/x ?token=1", "https://a.example/x"),
            ("https://user@/x", "https://"),
            ("https://user%3ASECRET%40shop.example/x", "https://"),
            ("https://[fe80::1%25eth0]/x", "https://[fe80::1%25eth0]/x"),
            ("//user:SECRET@shop.example/x?y", "//shop.example/x"),
            (
                "https://a.example/go/https://us;er:SECRET@b.example/x",
                "https://a.example/go/https://:redacted/x",
            ),
            ("https://a.example/reset//a81bc81b", "https://a.example/reset//:redacted"),
            ("https://a.example/go/reset%2Fa81bc81b", "https://a.example/go/:redacted"),
            ("https://:/x", "https://"),
            ("", ""),
        ] {
            assert_eq!(with(STRICT, url), shown, "{url}");
        }
    }

    #[test]
    fn query_with_names_keeps_only_names() {
        let names = Privacy { query: QueryPrivacy::Names, ..STRICT };
        let url = "https://a.example/x?q=secret&page=2&Xk29aLq0Zr81MvBt73Qw&<b>=1#f";
        assert_eq!(with(names, url), "https://a.example/x?q&page");
    }

    #[test]
    fn query_that_is_kept_keeps_neither_user_nor_fragment() {
        let keep = Privacy { query: QueryPrivacy::Keep, path_secrets: PathSecrets::Keep, ..STRICT };
        let url = "https://u:p@a.example/reset/a81bc81b?q=1#f";
        assert_eq!(with(keep, url), "https://a.example/reset/a81bc81b?q=1");
        assert_eq!(with(keep, "//u:p@a.example/x?q=1#f"), "//a.example/x?q=1");
    }

    #[test]
    fn wrapper_in_a_wrapper_is_dropped() {
        assert_eq!(with(STRICT, "view-source:https://a.example/x?y"), "view-source:https://a.example/x");
        assert_eq!(with(STRICT, "blob:view-source:https://a.example/x"), "blob");
        for wrapper in ["blob:", "filesystem:", "view-source:", "blob:view-source:"] {
            assert!(with(STRICT, &wrapper.repeat(200_000)).len() < 20);
        }
    }

    #[test]
    fn long_url_is_truncated_visibly() {
        let shown = with(STRICT, &format!("https://a.example/{}", "a/".repeat(2000)));
        assert!(shown.len() <= MAX_URL && shown.ends_with('…'), "{}", shown.len());
    }

    /// Most URLs need no rewriting; where one does not, rewriting would change nothing.
    #[test]
    fn clean_prefix_of_any_scheme_is_what_rewriting_returns() {
        let schemes = [
            "https",
            "wss",
            "a",
            "chrome-extension",
            "a1+b-c.d",
            "file",
            "blob",
            "view-source",
            "",
            "1a",
            "A",
        ];
        let rests = [
            "",
            "host",
            "host/a/b",
            "host/reset/a81bc81b",
            "Host/a",
            "host:443/a",
            "u@host/a",
            "/a",
            "//a",
            ".",
            "host/a%2Fb",
        ];
        let mut clean = 0;
        for (scheme, rest) in schemes.iter().flat_map(|scheme| rests.map(|rest| (scheme, rest))) {
            let url = format!("{scheme}://{rest}");
            if clean_prefix_len(&url, STRICT) == Some(url.len()) {
                assert_eq!(rewrite(&url, STRICT), url);
                clean += 1;
            }
        }
        assert!(clean >= 25, "{clean}");
    }

    #[test]
    fn unchanged_url_is_not_copied() {
        assert!(matches!(redact(Cow::Borrowed("https://a.example/b/c.js"), STRICT), Cow::Borrowed(_)));
    }
}
