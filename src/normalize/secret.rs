//! Which path segments look like secrets: tokens of password resets and magic links, session ids,
//! JWTs, e-mail addresses. A segment is judged by itself and by the one before it; in doubt it goes,
//! but the names of fingerprinted assets stay, since they are what a developer looks for.

use std::borrow::Cow;

/// What stands in a secret's place.
pub(super) const REDACTED: &str = ":redacted";

/// Shortest run of hex digits that is taken for a secret: 96 bits.
const MIN_HEX: usize = 24;
/// Shortest base64url text that is taken for a secret.
const MIN_BASE64: usize = 20;
/// Shortest opaque identifier that opens something where the place says so.
const MIN_IDENTIFIER: usize = 6;

/// Whether a path segment must not leave the process. `previous_segment` is the one before it.
pub(super) fn is_secret(segment: &str, previous_segment: &str) -> bool {
    let stats = SegmentStats::of(segment);
    if stats.carries_url_parts {
        return true;
    }
    if stats.encoded {
        // Twice encoded ones carry URL parts, so once is enough.
        return contains_secret(&decoded(segment), &decoded(previous_segment));
    }
    looks_like_secret(segment, &stats, previous_segment)
}

/// Whether a segment that was decoded, and may be several, has a secret in it.
fn contains_secret(segments: &str, previous_segment: &str) -> bool {
    let mut previous_segment = previous_segment;
    segments.split(['/', '\\']).any(|segment| {
        let secret = looks_like_secret(segment, &SegmentStats::of(segment), previous_segment);
        previous_segment = if segment.is_empty() { previous_segment } else { segment };
        secret
    })
}

fn looks_like_secret(segment: &str, stats: &SegmentStats, previous_segment: &str) -> bool {
    // Nothing shorter is a secret, and most segments are shorter.
    if segment.len() < MIN_IDENTIFIER || segment == REDACTED || is_fingerprinted_asset(segment) {
        return false;
    }
    is_jwt(segment)
        || (segment.len() >= MIN_BASE64
            && (stats.is_long_hex() || stats.is_long_base64(segment))
            && !is_uuid(segment))
        || (stats.is_identifier() && is_credential_path(&decoded(previous_segment)))
}

/// What a segment consists of, found in one pass: this runs for every segment of every URL.
#[derive(Default)]
struct SegmentStats {
    digits: usize,
    hex: usize,
    separators: usize,
    others: usize,
    length: usize,
    /// Changes between upper case, lower case and digits that start no word.
    changes: usize,
    /// Something is percent-encoded.
    encoded: bool,
    /// An e-mail address, a `key=value`, or a whole URL with its query, percent-encoded or not.
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

    /// Text without words: it changes its case more often than a slug or a camel-case name does.
    fn is_long_base64(&self, segment: &str) -> bool {
        self.others == 0 && segment.len() >= MIN_BASE64 && self.changes * 5 >= segment.len()
    }

    /// An opaque identifier: letters and digits mixed, or large and small letters.
    fn is_identifier(&self) -> bool {
        self.others == 0 && (self.digits >= 2 || self.changes >= 2) && self.length >= MIN_IDENTIFIER
    }
}

/// `%40` @, `%3D` =, `%3F` ?, `%23` #; a doubly encoded one starts with `%25`.
fn is_encoded_delimiter(segment: &[u8], percent: usize) -> bool {
    let code = segment.get(percent + 1..percent + 3).unwrap_or_default();
    [&b"40"[..], b"3d", b"3f", b"23", b"25"].iter().any(|known| code.eq_ignore_ascii_case(known))
}

/// Without percent-encoding, once.
fn decoded(segment: &str) -> Cow<'_, str> {
    if memchr::memchr(b'%', segment.as_bytes()).is_none() {
        return Cow::Borrowed(segment);
    }
    let bytes = segment.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// `eyJ…` is base64 of `{"`; some change its case.
fn is_jwt(segment: &str) -> bool {
    segment.len() >= 16 && segment.as_bytes()[..3].eq_ignore_ascii_case(b"eyJ")
}

/// `app.3f2a…9c.js`, `inter-v13-Ab3…dE.woff2`: content hashes, named after what they hold.
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

/// Places where even a short opaque segment opens something.
fn is_credential_path(previous_segment: &str) -> bool {
    const CREDENTIAL_SEGMENTS: [&str; 22] = [
        "reset",
        "password",
        "passwd",
        "verify",
        "verif",
        "confirm",
        "activat",
        "invit",
        "token",
        "magic",
        "unsubscribe",
        "session",
        "auth",
        "otp",
        "recover",
        "secret",
        "apikey",
        "api-key",
        "signin",
        "login",
        "nonce",
        "share",
    ];
    let previous_segment = previous_segment.to_ascii_lowercase();
    CREDENTIAL_SEGMENTS.iter().any(|place| previous_segment.contains(place))
}

fn is_uuid(segment: &str) -> bool {
    segment.len() == 36
        && segment.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_seen() {
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

    /// How many in a hundred random texts of so many of these characters are seen.
    fn seen(length: usize, characters: &[u8], previous_segment: &str) -> usize {
        const TEXTS: usize = 10_000;
        let mut random = fastrand::Rng::with_seed(1);
        let mut character = || char::from(characters[random.usize(..characters.len())]);
        let mut text = || (0..length).map(|_| character()).collect::<String>();
        (0..TEXTS).filter(|_| is_secret(&text(), previous_segment)).count() * 100 / TEXTS
    }

    /// The README says so.
    #[test]
    fn few_random_identifiers_are_taken_for_words() {
        let characters: Vec<u8> = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').chain(*b"-_").collect();
        let (base62, base64url) = (&characters[..62], &characters[..]);
        assert_eq!(seen(22, base64url, ""), 97);
        assert_eq!(seen(43, base64url, ""), 99);
        assert_eq!(seen(10, base62, "reset"), 96);
        assert_eq!(seen(32, b"0123456789abcdef", ""), 100);
    }

    #[test]
    fn names_stay() {
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
