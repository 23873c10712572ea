//! The browser's family out of its user agent: a small table of product tokens, in an order in which
//! the first match is right, because everybody claims to be those below.

use crate::report::Browser;

/// Product tokens, most specific first.
const PRODUCTS: [(&str, Browser); 15] = [
    ("Edg/", Browser::Edge),
    ("EdgA/", Browser::Edge),
    ("EdgiOS/", Browser::Edge),
    ("Edge/", Browser::Edge),
    ("OPR/", Browser::Opera),
    ("OPT/", Browser::Opera),
    ("Opera", Browser::Opera),
    ("SamsungBrowser/", Browser::Samsung),
    ("Firefox/", Browser::Firefox),
    ("FxiOS/", Browser::Firefox),
    ("HeadlessChrome/", Browser::Chrome),
    ("CriOS/", Browser::Chrome),
    ("Chrome/", Browser::Chrome),
    ("Chromium/", Browser::Chrome),
    ("AppleWebKit/", Browser::Safari),
];

/// The family, `other` for anything else and for no user agent.
pub(super) fn of(user_agent: &str) -> Browser {
    // Every product token has its slash or its O; most of a user agent has neither.
    PRODUCTS
        .iter()
        .find(|(token, _)| memchr::memmem::find(user_agent.as_bytes(), token.as_bytes()).is_some())
        .map_or(Browser::Other, |(_, browser)| *browser)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_claim_that_only_one_browser_makes_counts() {
        const WEBKIT: &str = "AppleWebKit/537.36 (KHTML, like Gecko)";
        for (agent, browser) in [
            (
                format!("Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/156.0.0.0 Safari/537.36"),
                Browser::Chrome,
            ),
            (format!("Mozilla/5.0 {WEBKIT} HeadlessChrome/156.0.0.0 Safari/537.36"), Browser::Chrome),
            (format!("Mozilla/5.0 {WEBKIT} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0"), Browser::Edge),
            (format!("Mozilla/5.0 {WEBKIT} Chrome/142.0.0.0 Safari/537.36 OPR/120.0.0.0"), Browser::Opera),
            (format!("Mozilla/5.0 {WEBKIT} SamsungBrowser/28.0 Chrome/130.0.0.0"), Browser::Samsung),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0".into(),
                Browser::Firefox,
            ),
            (
                "Mozilla/5.0 (Macintosh) AppleWebKit/605.1.15 Version/26.0 Safari/605.1.15".into(),
                Browser::Safari,
            ),
            (
                "Mozilla/5.0 (iPhone) AppleWebKit/605.1.15 CriOS/142.0 Mobile Safari/604.1".into(),
                Browser::Chrome,
            ),
            ("curl/8.5".into(), Browser::Other),
            (String::new(), Browser::Other),
        ] {
            assert_eq!(of(&agent), browser, "{agent}");
        }
    }
}
