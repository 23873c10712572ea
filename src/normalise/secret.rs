//! Which path segments look like secrets: tokens of password resets and magic links, session ids,
//! JWTs, e-mail addresses. A segment is judged by itself and by the one before it; in doubt it goes,
//! but the names of fingerprinted assets stay, since they are what a developer looks for.

/// What stands in a secret's place.
pub(super) const REDACTED: &str = ":redacted";

/// Shortest run of hex digits that is taken for a secret: 96 bits.
const MIN_HEX: usize = 24;
/// Shortest base64url text that is taken for a secret.
const MIN_BASE64: usize = 20;

/// Whether a path segment must not leave the process. `before` is the segment before it.
pub(super) fn is_secret(segment: &str, before: &str) -> bool {
    // Nothing shorter is a secret, and most segments are shorter.
    if segment.len() < 4 || segment == REDACTED {
        return false;
    }
    if is_fingerprinted_asset(segment) {
        return false;
    }
    carries_url_parts(segment)
        || is_jwt(segment)
        || is_long_hex(segment)
        || is_long_base64(segment)
        || (is_reset_like(before) && is_identifier(segment))
}

/// An e-mail address, a `key=value`, or a whole URL with its query, percent-encoded or not.
fn carries_url_parts(segment: &str) -> bool {
    if segment.contains(['@', '=', '?', '#']) {
        return true;
    }
    // %40 @, %3D =, %3F ?, %23 #; a doubly encoded one starts with %25.
    let encoded =
        |code: &str| segment.as_bytes().windows(3).any(|at| at.eq_ignore_ascii_case(code.as_bytes()));
    segment.contains('%') && ["%40", "%3d", "%3f", "%23", "%25"].into_iter().any(encoded)
}

/// `eyJ…` is base64 of `{"`.
fn is_jwt(segment: &str) -> bool {
    segment.starts_with("eyJ") && segment.len() >= 16
}

fn is_long_hex(segment: &str) -> bool {
    let hex = segment.bytes().filter(u8::is_ascii_hexdigit).count();
    let rest_is_separators = segment.bytes().all(|byte| byte.is_ascii_hexdigit() || b"-_.".contains(&byte));
    hex >= MIN_HEX && rest_is_separators && !is_uuid(segment)
}

/// `app.3f2a…9c.js`, `inter-v13-Ab3…dE.woff2`: content hashes, named after what they hold.
fn is_fingerprinted_asset(segment: &str) -> bool {
    const EXTENSIONS: [&str; 17] = [
        "js", "mjs", "cjs", "css", "map", "png", "jpg", "jpeg", "gif", "svg", "webp", "avif", "ico", "woff",
        "woff2", "ttf", "wasm",
    ];
    let Some((name, extension)) = segment.rsplit_once('.') else { return false };
    !name.contains(['@', '=', '?', '#', '%']) && !is_jwt(name) && EXTENSIONS.contains(&extension)
}

/// Text without words: at least [`MIN_BASE64`] characters of base64url that change between upper
/// case, lower case and digits more often than a slug or a camel-case name does.
fn is_long_base64(segment: &str) -> bool {
    let segment = segment.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+.~".contains(&byte);
    if segment.len() < MIN_BASE64 || !segment.bytes().all(allowed) || is_uuid(segment) {
        return false;
    }
    let class = |byte: u8| match byte {
        b'0'..=b'9' => Some(0),
        b'a'..=b'z' => Some(1),
        b'A'..=b'Z' => Some(2),
        _ => None,
    };
    let changes = segment.as_bytes().windows(2).filter(|pair| {
        let (left, right) = (class(pair[0]), class(pair[1]));
        // A capital before a small letter starts a word.
        left.is_some() && right.is_some() && left != right && (left, right) != (Some(2), Some(1))
    });
    changes.count() * 5 >= segment.len()
}

/// Places where even a short opaque segment opens something.
fn is_reset_like(before: &str) -> bool {
    const PLACES: [&str; 22] = [
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
    let before = before.to_ascii_lowercase();
    PLACES.iter().any(|place| before.contains(place))
}

/// An opaque identifier: a UUID, or letters and digits mixed, long enough to guess nothing.
fn is_identifier(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let opaque = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    is_uuid(segment) || (segment.len() >= 6 && digits >= 2 && segment.bytes().all(opaque))
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
        for (before, segment) in [
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
        ] {
            assert!(is_secret(segment, before), "{before}/{segment}");
        }
    }

    #[test]
    fn names_stay() {
        for (before, segment) in [
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
        ] {
            assert!(!is_secret(segment, before), "{before}/{segment}");
        }
    }
}
