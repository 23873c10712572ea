//! Sources of a policy, from what a report names as blocked. Reports are forgeable, so a source is built from parts
//! that pass a strict grammar, never copied.

use data_encoding::BASE64;
use ring::digest::{SHA256, digest};

/// Length at which engines cut a sample, in UTF-16 code units. Firefox then adds an ellipsis.
const MAX_SAMPLE: usize = 40;
/// Longest host that DNS allows, and longest label of it.
const MAX_HOST: usize = 253;
const MAX_LABEL: usize = 63;

/// An origin: scheme, host, and the port if it is not the scheme's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin<'u> {
    scheme: &'static str,
    host: &'u str,
    port: Option<u16>,
}

impl<'u> Origin<'u> {
    pub(super) fn source(url: &str, page: &str) -> Option<String> {
        let origin = Origin::parse(url)?;
        let is_self = Origin::parse(page).is_some_and(|page| origin.is_self(&page));
        Some(if is_self { "'self'".to_owned() } else { origin.to_source() })
    }

    /// Parses the origin of a URL. `None` if the scheme is not one of http and WebSocket, or the host not one of
    /// letters, digits, hyphens and dots.
    fn parse(url: &'u str) -> Option<Origin<'u>> {
        let (scheme, rest) = url.split_once("://")?;
        let schemes = [("https", 443), ("http", 80), ("wss", 443), ("ws", 80)];
        let (scheme, default) = schemes.into_iter().find(|(known, _)| *known == scheme)?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (host, Some(port.parse().ok().filter(|port| *port > 0)?))
            }
            Some(_) => return None,
            None => (authority, None),
        };
        let is_valid = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = |label: &str| {
            let has_length = (1..=MAX_LABEL).contains(&label.len());
            has_length && label.bytes().all(is_valid) && !label.starts_with('-') && !label.ends_with('-')
        };
        let is_host = host.len() <= MAX_HOST && host.split('.').all(is_label);
        is_host.then_some(Origin { scheme, host, port: port.filter(|port| *port != default) })
    }

    /// Returns whether `'self'` of a page at `page` matches: the same host, by the page's scheme or a more secure one.
    fn is_self(&self, page: &Origin<'_>) -> bool {
        let is_secure = |scheme| matches!(scheme, "https" | "wss");
        self.host == page.host
            && self.port == page.port
            && (is_secure(self.scheme) || !is_secure(page.scheme))
    }

    fn to_source(&self) -> String {
        let Origin { scheme, host, port } = self;
        port.map_or(format!("{scheme}://{host}"), |port| format!("{scheme}://{host}:{port}"))
    }
}

/// Returns the hash of inline code, if its sample is all of it. A cut or redacted sample is another text.
pub(super) fn hash_of_sample(sample: &str) -> Option<String> {
    let changed = ["…", "\\u{", ":redacted", "nonce-*", "://"].iter().any(|mark| sample.contains(mark));
    let is_whole = !sample.is_empty() && sample.encode_utf16().count() < MAX_SAMPLE;
    // The hash of a URL with code counts for navigation only with 'unsafe-hashes'.
    let is_url = sample.trim_start().to_ascii_lowercase().starts_with("javascript:");
    let encoded = || BASE64.encode(digest(&SHA256, sample.as_bytes()).as_ref());
    (is_whole && !changed && !is_url).then(|| format!("'sha256-{}'", encoded()))
}

/// Returns the source of a hash that a browser reports, such as `sha256-…`.
pub(super) fn reported_hash(hash: &str) -> Option<String> {
    let (algorithm, encoded) = hash.split_once('-')?;
    let lengths = [("sha256", 32), ("sha384", 48), ("sha512", 64)];
    let length = lengths.into_iter().find_map(|(known, length)| (known == algorithm).then_some(length))?;
    let is_valid = BASE64.decode(encoded.as_bytes()).is_ok_and(|bytes| bytes.len() == length);
    is_valid.then(|| format!("'{algorithm}-{encoded}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_passes_the_grammar_only() {
        for (url, source) in [
            ("https://cdn.example/a.js?x", Some("https://cdn.example")),
            ("https://cdn.test:443/a.js", Some("https://cdn.test")),
            ("https://cdn.test:8443", Some("https://cdn.test:8443")),
            ("http://cdn.test:443/", Some("http://cdn.test:443")),
            ("wss://live.example/socket", Some("wss://live.example")),
            ("https://xn--bcher-kva.test/", Some("https://xn--bcher-kva.test")),
            ("https://1.2.3.4", Some("https://1.2.3.4")),
            ("https://*.evil.example/", None),
            ("https://*", None),
            ("https://", None),
            ("https://a;script-src", None),
            ("https://a,b", None),
            ("https://a b", None),
            ("https://a'b", None),
            ("https://a\nb", None),
            ("https://bücher.example", None),
            ("https://user@host.example/", None),
            ("https://[::1]:1/", None),
            ("https://a..b/", None),
            ("https://a./", None),
            ("https://-a.example/", None),
            ("https://a:0/", None),
            ("https://a:*/", None),
            ("https://a:99999/", None),
            ("https://a_b.example/", None),
            ("ftp://a.example/", None),
            ("javascript://a.example/", None),
            ("data:text/html,x", None),
        ] {
            assert_eq!(Origin::parse(url).map(|origin| origin.to_source()).as_deref(), source, "{url}");
        }
        let long = format!("https://{}.example/", "a".repeat(64));
        assert_eq!(Origin::parse(&long), None);
    }

    #[test]
    fn self_is_the_same_host_by_no_less_secure_scheme() {
        let is_self = |url, page| Origin::parse(url).unwrap().is_self(&Origin::parse(page).unwrap());
        for (url, page) in [
            ("https://a.test:443/x", "https://a.test/"),
            ("wss://a.test/x", "https://a.test/"),
            ("https://a.test/x", "http://a.test/"),
            ("ws://a.test:81/x", "http://a.test:81/"),
        ] {
            assert!(is_self(url, page), "{url} {page}");
        }
        for (url, page) in [
            ("http://a.test/x", "https://a.test/"),
            ("https://b.test/x", "https://a.test/"),
            ("https://a.test:8443/x", "https://a.test/"),
            ("https://b.a.test/x", "https://a.test/"),
        ] {
            assert!(!is_self(url, page), "{url} {page}");
        }
    }

    #[test]
    fn hash_needs_a_whole_sample() {
        // printf %s 'alert(1)' | openssl dgst -sha256 -binary | base64
        let hash = "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='";
        assert_eq!(hash_of_sample("alert(1)").as_deref(), Some(hash));
        assert!(hash_of_sample(&"a".repeat(39)).is_some());
        for sample in [
            "",
            &"a".repeat(40),
            // 39 characters, of which one takes two units.
            "var éx='中😀';/* an inline script whose t",
            "p{color:red}/* inline …",
            "location='https://a.example/'",
            "JavaScript:void(0)",
            "x='\\u{202E}'",
        ] {
            assert_eq!(hash_of_sample(sample), None, "{sample}");
        }
    }

    #[test]
    fn reported_hash_has_the_length_of_its_algorithm() {
        let hash = "sha256-ix2vKAN8xpIpJtHQfccokFjorBPUznO82kMn1cs2xnY=";
        assert_eq!(reported_hash(hash), Some(format!("'{hash}'")));
        for wrong in [
            "",
            "sha256-AAAA",
            "sha256-",
            "md5-AAAA",
            "sha256-ix2v' 'unsafe-inline",
            &hash.replace("256", "384"),
        ] {
            assert_eq!(reported_hash(wrong), None, "{wrong}");
        }
    }
}
