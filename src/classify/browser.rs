//! The browser's family out of its user agent: a small table of product names, ranked, because every
//! browser claims to be those of the ranks below its own.

use crate::report::Browser;

/// Product names with the rank of their claim: the lowest rank found is the browser.
const PRODUCTS: [(&str, u8, Browser); 15] = [
    ("Edg", 0, Browser::Edge),
    ("EdgA", 0, Browser::Edge),
    ("EdgiOS", 0, Browser::Edge),
    ("Edge", 0, Browser::Edge),
    ("OPR", 1, Browser::Opera),
    ("OPT", 1, Browser::Opera),
    ("Opera", 1, Browser::Opera),
    ("SamsungBrowser", 2, Browser::Samsung),
    ("Firefox", 3, Browser::Firefox),
    ("FxiOS", 3, Browser::Firefox),
    ("HeadlessChrome", 4, Browser::Chrome),
    ("CriOS", 4, Browser::Chrome),
    ("Chrome", 4, Browser::Chrome),
    ("Chromium", 4, Browser::Chrome),
    ("AppleWebKit", 5, Browser::Safari),
];

/// The family, `other` for anything else and for no user agent.
pub(super) fn of(user_agent: &str) -> Browser {
    // `product/version`: the names are what stands between a blank and a slash.
    let bytes = user_agent.as_bytes();
    let products = memchr::memchr_iter(b'/', bytes).filter_map(|slash| {
        let start = memchr::memrchr(b' ', &bytes[..slash]).map_or(0, |blank| blank + 1);
        let name = &bytes[start..slash];
        PRODUCTS.iter().find(|(known, ..)| known.as_bytes() == name)
    });
    products.min_by_key(|(_, rank, _)| *rank).map_or(Browser::Other, |(.., browser)| *browser)
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
