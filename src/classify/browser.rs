//! Detects the browser's family in a user agent with a small table of product names. The names are
//! ranked, because a browser also names those that it is compatible with.
//!
//! # Design
//! A family stands for the vendor of the reporting code, because reports differ by it. Brave, Vivaldi,
//! Yandex, Silk, Huawei, Electron, Android's WebView and all apps in it are `chrome`. Browsers on WebKit
//! without a family of their own (the Google app, DuckDuckGo and in-app browsers on iOS, WebKitGTK) are
//! `safari`. Vendors with a family keep it on iOS, although all use WebKit there: `CriOS`, `FxiOS`,
//! `EdgiOS`, `OPiOS`, `OPT`.

use std::cell::RefCell;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::classify::noise::{INDEX, UserAgent};
use crate::model::Browser;

/// The rank of WebKit, which nearly every browser names.
const WEBKIT: u8 = 6;

/// Returns the rank and the family of a product. The product with the lowest rank is the browser.
fn product_rank(product: &[u8]) -> Option<(u8, Browser)> {
    Some(match product {
        // Other engines: Internet Explorer, Servo, Ladybird.
        b"Trident" | b"IEMobile" | b"Servo" | b"Ladybird" => (0, Browser::Other),
        b"Edg" | b"EdgA" | b"EdgiOS" | b"Edge" | b"EdgW" | b"HeadlessEdg" => (1, Browser::Edge),
        b"OPR" | b"OPT" | b"OPX" | b"OPiOS" | b"Opera" => (2, Browser::Opera),
        b"SamsungBrowser" => (3, Browser::Samsung),
        b"Firefox" | b"FxiOS" | b"Focus" | b"Klar" => (4, Browser::Firefox),
        b"Chrome" | b"HeadlessChrome" | b"CriOS" | b"Chromium" => (5, Browser::Chrome),
        b"AppleWebKit" => (WEBKIT, Browser::Safari),
        _ => return None,
    })
}

thread_local! {
    /// Recently parsed user agents, each in the slot of its hash. Most reports of a site come from a few.
    static CACHE: RefCell<Vec<(String, UserAgent)>> =
        RefCell::new(vec![(String::new(), parse_products("")); 64]);
}

/// Parses a user agent, or returns it from the cache.
pub(super) fn parse(user_agent: &str) -> UserAgent {
    CACHE.with_borrow_mut(|agents| {
        let slot = FixedState::default().hash_one(user_agent) as usize % agents.len();
        let (cached, agent) = &mut agents[slot];
        if cached != user_agent {
            *agent = parse_products(user_agent);
            user_agent.clone_into(cached);
        }
        *agent
    })
}

fn parse_products(user_agent: &str) -> UserAgent {
    let index = &*INDEX;
    let mut best = (u8::MAX, Browser::Other, "");
    let ranked = |name| product_rank(str::as_bytes(name)).map(|(rank, family)| (rank, family, name));
    for found in products(user_agent).filter_map(ranked) {
        best = best.min(found);
    }
    let mut headless = false;
    for name in words(user_agent).filter(|word| word.starts_with("Headless") && index.is_headless(word)) {
        // The name may have no version.
        headless = true;
        best = ranked(name).map_or(best, |found| best.min(found));
    }
    let family = match best {
        // WebKit on Android without Chrome: Android's browser before 4.4, and UC's older engine.
        (WEBKIT, ..) if memchr::memmem::find(user_agent.as_bytes(), b"Android").is_some() => Browser::Other,
        (_, family, _) => family,
    };
    let product = if family == Browser::Safari { "Version" } else { best.2 };
    UserAgent { family, version: major_version(user_agent, product), bot: is_bot(user_agent), headless }
}

/// Returns the major version of a product; 0 if unknown.
fn major_version(user_agent: &str, product: &str) -> u32 {
    let mut texts = user_agent.match_indices(product).map(|(at, _)| &user_agent[at + product.len()..]);
    let text = texts.find_map(|text| text.strip_prefix('/')).unwrap_or_default();
    text.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default().parse().unwrap_or_default()
}

/// Returns whether a user agent is that of a crawler, a monitor or another program. Most have a name that
/// ends in `bot`, `crawler` or `spider`, a link to a page about themselves, or `compatible;` before
/// their name; of browsers, only some that send no reports do. The others are listed.
fn is_bot(user_agent: &str) -> bool {
    let has = |text: &str| memchr::memmem::find(user_agent.as_bytes(), text.as_bytes()).is_some();
    let named = || around_device(user_agent).iter().any(|part| names(part).any(is_bot_name));
    let listed = || words(user_agent).any(|word| INDEX.is_bot(word)) || INDEX.contains_bot(user_agent);
    if named() || listed() || has("+http") {
        return true;
    }
    // Toolbars of Internet Explorer add links.
    let is_old = ["MSIE", "Trident", "Konqueror", "NetFront"].iter().any(|name| has(name));
    !is_old && (has("http://") || has("https://") || is_compatible(user_agent))
}

/// Returns whether a report's own agent is no browser's: all of them begin with `Mozilla/`, the old Opera with
/// its name. Apps with Chromium's network stack report network errors.
pub(super) fn is_program(user_agent: &str) -> bool {
    !user_agent.is_empty()
        && !["Mozilla/", "Opera/"].iter().any(|start| user_agent.starts_with(start))
        && !user_agent.contains("Cronet/")
}

/// Returns the parts before and after the version and device of Android, because models of phones are
/// called `M bot 51` and `Spider 8`.
fn around_device(user_agent: &str) -> [&str; 2] {
    let Some(start) = memchr::memmem::find(user_agent.as_bytes(), b"Android") else {
        return [user_agent, ""];
    };
    let (before, device) = user_agent.split_at(start);
    [before, &device[memchr::memchr(b')', device.as_bytes()).unwrap_or(device.len())..]]
}

/// Returns whether a name follows `compatible;`. Televisions continue with a platform instead.
fn is_compatible(user_agent: &str) -> bool {
    let Some((_, name)) = user_agent.split_once("compatible;") else { return false };
    let name = name.trim_start();
    !["U;", "Linux", "Windows", ")"].iter().any(|platform| name.starts_with(platform))
}

/// Returns whether a name ends like those of crawlers. Cubot is a brand of phones.
fn is_bot_name(name: &str) -> bool {
    let name = name.strip_suffix(['s', 'S']).unwrap_or(name).as_bytes();
    let ends_with = |end: &[u8]| {
        name.len().checked_sub(end.len()).is_some_and(|from| name[from..].eq_ignore_ascii_case(end))
    };
    (ends_with(b"bot") && !name.eq_ignore_ascii_case(b"cubot"))
        || ends_with(b"crawler")
        || ends_with(b"spider")
}

/// Returns the names of `product/version`, each between a blank or bracket and a slash, and the last
/// word, because `Chrome-Lighthouse` has no version.
fn products(user_agent: &str) -> impl Iterator<Item = &str> {
    let mut from = 0;
    let slashes = memchr::memchr_iter(b'/', user_agent.as_bytes());
    slashes.chain([user_agent.len()]).filter_map(move |end| {
        let before = &user_agent[from..end];
        let start = before.bytes().rposition(|byte| matches!(byte, b' ' | b'(' | b';' | b'['));
        // Text between two slashes is part of a path.
        let start = if from == 0 { Some(start.map_or(0, |at| at + 1)) } else { start.map(|at| at + 1) };
        from = (end + 1).min(user_agent.len());
        start.map(|start| &before[start..])
    })
}

/// Returns the words that a product's name can consist of.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'));
    words.map(|word| word.trim_end_matches('.'))
}

/// Returns the parts of names: `Googlebot-Mobile` and `archive.org_bot` have one that ends in `bot`.
fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LabelEnum;

    #[test]
    fn parse_with_known_user_agent_returns_its_family() {
        let lines = include_str!("browser_cases.txt").lines().filter(|line| !line.starts_with('#'));
        let cases: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(" | ")).collect();
        assert!(cases.len() >= 60, "{}", cases.len());
        let wrong: Vec<String> = cases
            .iter()
            .filter(|(family, agent)| parse(agent).family.as_str() != *family)
            .map(|(_, agent)| format!("{} for {agent}", parse(agent).family.as_str()))
            .collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(parse(""), UserAgent { family: Browser::Other, version: 0, bot: false, headless: false });
    }
}
