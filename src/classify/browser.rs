//! The browser's family out of its user agent: a small table of product names, ranked, because every
//! browser claims to be those of the ranks below its own.
//!
//! A family stands for who made the reporting code, since that is what makes reports differ. So
//! Brave, Vivaldi, Yandex, Silk, Huawei, Electron, Android's WebView and every app inside it are
//! `chrome`, and what runs on WebKit under a name that is none of the families' (the Google app,
//! DuckDuckGo and in-app browsers on iOS, WebKitGTK) is `safari`. The makers that have a family keep it
//! on iOS too, where all are WebKit underneath: `CriOS`, `FxiOS`, `EdgiOS`, `OPiOS`, `OPT`.

use crate::report::Browser;

/// The rank of what outranks every claim.
const SURE: u8 = 0;
/// The rank of WebKit, which nearly everything claims to be.
const WEBKIT: u8 = 6;

/// The rank of a product's claim, and its family: of all products the lowest rank is the browser.
fn claim(product: &[u8]) -> Option<(u8, Browser)> {
    Some(match product {
        // Engines of their own that name others for company: Internet Explorer, Servo, Ladybird.
        b"Trident" | b"IEMobile" | b"Servo" | b"Ladybird" => (SURE, Browser::Other),
        b"Edg" | b"EdgA" | b"EdgiOS" | b"Edge" | b"EdgW" | b"HeadlessEdg" => (1, Browser::Edge),
        b"OPR" | b"OPT" | b"OPX" | b"OPiOS" | b"Opera" => (2, Browser::Opera),
        b"SamsungBrowser" => (3, Browser::Samsung),
        b"Firefox" | b"FxiOS" | b"Focus" | b"Klar" => (4, Browser::Firefox),
        b"Chrome" | b"HeadlessChrome" | b"CriOS" | b"Chromium" => (5, Browser::Chrome),
        b"AppleWebKit" => (WEBKIT, Browser::Safari),
        _ => return None,
    })
}

/// The family, `other` for anything else and for no user agent.
pub(super) fn of(user_agent: &str) -> Browser {
    // `product/version`: the names are what stands between a blank, or a bracket, and a slash.
    let bytes = user_agent.as_bytes();
    let (mut best, mut from) = ((u8::MAX, Browser::Other), 0);
    for slash in memchr::memchr_iter(b'/', bytes) {
        let before = &bytes[from..slash];
        let blank = before.iter().rposition(|byte| matches!(byte, b' ' | b'(' | b';' | b'['));
        // What stands between two slashes is a part of a path.
        let name = if from == 0 { Some(blank.map_or(0, |at| at + 1)) } else { blank.map(|at| at + 1) };
        if let Some(found) = name.and_then(|at| claim(&before[at..])) {
            best = best.min(found);
        }
        if best.0 == SURE {
            break;
        }
        from = slash + 1;
    }
    match best {
        // WebKit on Android without Chrome: its own browser before 4.4, and UC's older engine.
        (WEBKIT, _) if memchr::memmem::find(bytes, b"Android").is_some() => Browser::Other,
        (_, browser) => browser,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_claim_that_only_one_browser_makes_counts() {
        let lines = include_str!("browser_cases.txt").lines().filter(|line| !line.starts_with('#'));
        let cases: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(" | ")).collect();
        assert!(cases.len() >= 60, "{}", cases.len());
        let wrong: Vec<String> = cases
            .iter()
            .filter(|(family, agent)| of(agent).as_str() != *family)
            .map(|(_, agent)| format!("{} for {agent}", of(agent).as_str()))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(of(""), Browser::Other);
    }
}
