//! Detects path segments that look like secrets: tokens of password resets and magic links, session
//! ids, JWTs, e-mail addresses. The segment before counts too. In doubt a segment is a secret, except
//! for fingerprinted assets, because developers need their names.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The replacement of a secret.
pub(super) const REDACTED: &str = ":redacted";

/// Minimum hex digits of a secret: 96 bits.
const MIN_HEX: usize = 24;
/// Minimum length of a secret in base64url.
const MIN_BASE64: usize = 20;
/// Minimum length of an opaque identifier that is a secret in a [credential path](is_credential_path).
const MIN_IDENTIFIER: usize = 6;

/// Returns whether a path segment must not leave the process.
pub(super) fn is_secret(segment: &str, previous_segment: &str) -> bool {
    let stats = SegmentStats::of(segment);
    if stats.carries_url_parts {
        return true;
    }
    if stats.encoded {
        // Decoding once is enough, because a segment encoded twice carries URL parts.
        return contains_secret(&percent_decoded(segment), &percent_decoded(previous_segment));
    }
    looks_like_secret(segment, &stats, previous_segment)
}

/// Returns whether a decoded segment, which may be several, contains a secret.
fn contains_secret(segments: &str, previous_segment: &str) -> bool {
    let mut previous_segment = previous_segment;
    segments.split(['/', '\\']).any(|segment| {
        let secret = looks_like_secret(segment, &SegmentStats::of(segment), previous_segment);
        previous_segment = if segment.is_empty() { previous_segment } else { segment };
        secret
    })
}

fn looks_like_secret(segment: &str, stats: &SegmentStats, previous_segment: &str) -> bool {
    if segment.len() < MIN_IDENTIFIER || segment == REDACTED || is_fingerprinted_asset(segment) {
        return false;
    }
    is_jwt(segment)
        || (segment.len() >= MIN_BASE64
            && (stats.is_long_hex() || stats.is_long_base64(segment))
            && !is_uuid(segment))
        || (stats.is_identifier() && is_credential_path(&percent_decoded(previous_segment)))
}

/// The composition of a segment, found in one pass because it is needed for every segment of every URL.
#[derive(Default)]
struct SegmentStats {
    digits: usize,
    hex: usize,
    separators: usize,
    others: usize,
    length: usize,
    /// Changes between upper case, lower case and digits, other than the start of a word.
    changes: usize,
    encoded: bool,
    /// Whether it has delimiters of an e-mail address, a `key=value` or a URL, percent-encoded or not.
    carries_url_parts: bool,
}

impl SegmentStats {
    fn of(segment: &str) -> SegmentStats {
        let mut stats = SegmentStats { length: segment.len(), ..SegmentStats::default() };
        let mut before = b'-';
        for (at, byte) in segment.bytes().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    stats.digits += 1;
                    stats.hex += 1;
                    stats.changes += usize::from(before.is_ascii_alphabetic());
                }
                b'a'..=b'z' => {
                    stats.hex += usize::from(byte <= b'f');
                    // A capital before a small letter starts a word.
                    stats.changes += usize::from(before.is_ascii_digit());
                }
                b'A'..=b'Z' => {
                    stats.hex += usize::from(byte <= b'F');
                    stats.changes += usize::from(before.is_ascii_lowercase() || before.is_ascii_digit());
                }
                b'-' | b'_' | b'.' | b'~' | b'+' => stats.separators += 1,
                b'@' | b'=' | b'?' | b'#' => stats.carries_url_parts = true,
                b'%' => {
                    stats.others += 1;
                    stats.encoded = true;
                    stats.carries_url_parts |= is_encoded_delimiter(segment.as_bytes(), at);
                }
                _ => stats.others += 1,
            }
            before = byte;
        }
        stats
    }

    fn is_long_hex(&self) -> bool {
        self.hex >= MIN_HEX && self.hex + self.separators == self.length
    }

    /// Returns whether the case changes more often than in words, slugs and camel-case names.
    fn is_long_base64(&self, segment: &str) -> bool {
        self.others == 0 && segment.len() >= MIN_BASE64 && self.changes * 5 >= segment.len()
    }

    /// Returns whether it mixes letters and digits, or upper and lower case, without other characters.
    fn is_identifier(&self) -> bool {
        self.others == 0 && (self.digits >= 2 || self.changes >= 2) && self.length >= MIN_IDENTIFIER
    }
}

/// Returns whether this is `%40` @, `%3D` =, `%3F` ?, `%23` #, or the `%25` of one encoded twice.
fn is_encoded_delimiter(segment: &[u8], percent: usize) -> bool {
    let code = segment.get(percent + 1..percent + 3).unwrap_or_default();
    [&b"40"[..], b"3d", b"3f", b"23", b"25"].iter().any(|known| code.eq_ignore_ascii_case(known))
}

fn percent_decoded(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

/// Returns whether a segment is a JSON Web Token: `eyJ` is base64 of `{"`; some change its case.
fn is_jwt(segment: &str) -> bool {
    segment.len() >= 16 && segment.as_bytes()[..3].eq_ignore_ascii_case(b"eyJ")
}

/// Returns whether a segment is a file with a content hash: `app.3f2a…9c.js`, `inter-v13-Ab3…dE.woff2`.
fn is_fingerprinted_asset(segment: &str) -> bool {
    const EXTENSIONS: [&str; 17] = [
        "js", "css", "png", "jpg", "svg", "woff2", "woff", "webp", "gif", "ico", "map", "mjs", "cjs", "jpeg",
        "avif", "ttf", "wasm",
    ];
    // The longest extension has five letters.
    let bytes = segment.as_bytes();
    let Some(dot) = memchr::memrchr(b'.', &bytes[bytes.len().saturating_sub(6)..]) else { return false };
    let dot = dot + bytes.len().saturating_sub(6);
    EXTENSIONS.iter().any(|known| known.as_bytes() == &bytes[dot + 1..]) && !is_jwt(segment)
}

/// Returns whether even a short opaque segment after this one is a credential.
fn is_credential_path(previous_segment: &str) -> bool {
    #[rustfmt::skip]
    const CREDENTIAL_SEGMENTS: [&str; 22] = [
        "reset", "password", "passwd", "verify", "verif", "confirm", "activat", "invit", "token",
        "magic", "unsubscribe", "session", "auth", "otp", "recover", "secret", "apikey", "api-key",
        "signin", "login", "nonce", "share",
    ];
    let previous_segment = previous_segment.to_ascii_lowercase();
    CREDENTIAL_SEGMENTS.iter().any(|known| previous_segment.contains(known))
}

fn is_uuid(segment: &str) -> bool {
    segment.len() == 36 && uuid::Uuid::try_parse(segment).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_is_detected() {
        for (previous_segment, segment) in [
            ("", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"),
            ("f", "5f4dcc3b5aa765d61d8327deb882cf99"),
            ("f", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("t", "dGhpcyBpcyBhIHNlY3JldCB0b2tlbg"),
            ("t", "Xk29aLq0Zr81MvBt73Qw"),
            ("reset-password", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
            ("reset", "a81bc81b"),
            ("users", "jane.doe@example.com"),
            ("users", "jane%40example.com"),
            ("go", "https%3A%2F%2Fa.example%2F%3Ftoken%3D1"),
            ("", "token=abc"),
            ("u", "a@b"),
            ("f", "%35f4dcc3b5aa765d61d8327deb882cf%39"),
            ("go", "reset%2fa81bc81b"),
            ("%72eset", "a81bc81b"),
            ("reset", "QkZtYpLmNo"),
            ("in", "EYJHBGCIOIJIUZI1NIJ9"),
        ] {
            assert!(is_secret(segment, previous_segment), "{previous_segment}/{segment}");
        }
    }

    /// Returns how many percent of random texts are detected.
    fn detected(length: usize, characters: &[u8], previous_segment: &str) -> usize {
        const TEXTS: usize = 10_000;
        let mut random = fastrand::Rng::with_seed(1);
        let mut character = || char::from(characters[random.usize(..characters.len())]);
        let mut text = || (0..length).map(|_| character()).collect::<String>();
        (0..TEXTS).filter(|_| is_secret(&text(), previous_segment)).count() * 100 / TEXTS
    }

    /// docs/privacy.md documents these numbers.
    #[test]
    fn random_identifier_is_mostly_detected() {
        let characters: Vec<u8> = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').chain(*b"-_").collect();
        let base64url = &characters[..];
        let base62 = &characters[..62];
        assert_eq!(detected(22, base64url, ""), 97);
        assert_eq!(detected(43, base64url, ""), 99);
        assert_eq!(detected(10, base62, "reset"), 96);
        assert_eq!(detected(32, b"0123456789abcdef", ""), 100);
    }

    #[test]
    fn name_is_no_secret() {
        for (previous_segment, segment) in [
            ("", "cart"),
            ("blog", "ten-things-you-should-know-about-content-security-policy-in-2026"),
            ("blog", "Top-10-Things-You-Should-Know-About-CSP-3"),
            ("js", "main.3f4a9bc03f4a9bc03f4a9bc0.chunk.js"),
            ("assets", "application-5f4dcc3b5aa765d61d8327deb882cf995f4dcc3b5aa765d61d8327deb882cf99.css"),
            ("orders", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
            ("reset", "password"),
            ("reset", "index.html"),
            ("products", "4711"),
            ("src", "AbstractSingletonProxyFactoryBean"),
            ("p", "csp-inline-script-to"),
            ("b%C3%BCcher", "f%C3%BCr-immer-und-ewig-2026"),
            ("auth", "oauth2"),
            ("login", "callback"),
        ] {
            assert!(!is_secret(segment, previous_segment), "{previous_segment}/{segment}");
        }
    }
}
