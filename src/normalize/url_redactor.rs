//! The URLs of one report: redacted, mostly from a cache, and searched for files of browser extensions.

use std::borrow::Cow;

use crate::config::Privacy;
use crate::model::FieldType;
use crate::normalize::{text_redact, url_redact};

/// A redactor that caches the first and the last URL, because those of report, document and source file are mostly the same.
pub(super) struct UrlRedactor<'a> {
    privacy: Privacy,
    cached: [Option<(Cow<'a, str>, Cow<'a, str>)>; 2],
    /// Whether any URL so far was a file in a browser's folder of extensions. Redaction leaves nothing of such a URL but
    /// its scheme.
    pub(super) in_extensions_folder: bool,
}

impl<'a> UrlRedactor<'a> {
    pub(super) fn new(privacy: Privacy) -> UrlRedactor<'a> {
        UrlRedactor { privacy, cached: [None, None], in_extensions_folder: false }
    }

    pub(super) fn redact(&mut self, raw: Cow<'a, str>) -> Cow<'a, str> {
        self.in_extensions_folder |= is_file(&raw) && is_in_extensions_folder(&raw);
        if let Some((_, redacted)) = self.cached.iter().flatten().find(|(known, _)| *known == raw) {
            return redacted.clone();
        }
        let text = raw.clone();
        // Only what may stay as it is, so that the others do not take its place.
        let redacted = match memchr::memchr2(b'?', b'#', text.as_bytes()) {
            None => text_redact::sanitize(raw, FieldType::Url, self.privacy),
            Some(_) => url_redact::redact(raw, self.privacy),
        };
        let [first, last] = &mut self.cached;
        let slot = if first.is_none() { first } else { last };
        *slot = Some((text, redacted.clone()));
        redacted
    }
}

/// Returns whether a text is a `file:` URL, a Windows path or an absolute path.
fn is_file(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    bytes.first() == Some(&b'/')
        || bytes.get(1) == Some(&b':')
        || bytes.get(4) == Some(&b':') && bytes[..4].eq_ignore_ascii_case(b"file")
}

/// Returns whether a file belongs to an extension: below a folder `Extensions`, in a folder with the id
/// of a Chromium extension, or in a package of Firefox or Safari.
fn is_in_extensions_folder(raw: &str) -> bool {
    let is_id = |name: &str| name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'a'..=b'p'));
    let is_package = |name: &str| {
        let ends = [".xpi", ".xpi!", ".safariextz", ".safariextension", ".appex"];
        ends.iter().any(|end| name.ends_with(end))
    };
    let mut segments = raw.split(['/', '\\']);
    segments.any(|segment| segment.eq_ignore_ascii_case("extensions"))
        && segments.next().is_some_and(|name| is_id(name) || is_package(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_of_an_extension_is_detected_before_its_redaction() {
        const ID: &str = "boljdehmejbffnfiiicckjhafabdepnd";
        let found = |url: &str| {
            let mut urls = UrlRedactor::new(Privacy::default());
            let shown = urls.redact(Cow::Borrowed(url)).into_owned();
            assert!(!shown.contains("someone"), "{shown}");
            urls.in_extensions_folder
        };
        for path in [
            "file:///C:/Users/someone/AppData/Local/Google/Chrome/User%20Data/Default/Extensions/ID/4_0/a.js",
            "file:///Users/someone/Library/Application%20Support/Google/Chrome/Default/Extensions/ID/1/a.js",
            "FILE:///home/someone/.config/chromium/Default/Extensions/ID/1.0_0/a.js",
            "C:\\Users\\someone\\AppData\\Local\\Microsoft\\Edge\\User Data\\Default\\Extensions\\ID\\a.js",
            "file:///home/someone/.mozilla/firefox/a.default/extensions/uBlock0@raymondhill.net.xpi!/js/a.js",
            "file:///Users/someone/Library/Safari/Extensions/Evernote.safariextz/a.js",
        ] {
            assert!(found(&path.replace("ID", ID)), "{path}");
        }
        for path in [
            "https://shop.example/Extensions/ID/a.js",
            "file:///home/someone/site/extensions/gallery/a.js",
            "file:///home/someone/site/ID/a.js",
            "file:///android_asset/www/extensions.js",
            "file",
        ] {
            assert!(!found(&path.replace("ID", ID)), "{path}");
        }
    }
}
