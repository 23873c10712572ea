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
use std::sync::LazyLock;

use memchr::memmem::Finder;

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

/// User agents in the cache of each thread. Most reports of a site come from a few.
const CACHE_SLOTS: usize = 64;

thread_local! {
    static CACHE: RefCell<UserAgentCache> = RefCell::default();
}

/// Recently parsed user agents, each in the slot of its hash.
#[derive(Default)]
struct UserAgentCache {
    hasher: foldhash::fast::RandomState,
    agents: Vec<(String, UserAgent)>,
}

/// Parses a user agent, or returns it from the cache.
pub(super) fn parse(user_agent: &str) -> UserAgent {
    CACHE.with_borrow_mut(|UserAgentCache { hasher, agents }| {
        if agents.is_empty() {
            agents.resize(CACHE_SLOTS, (String::new(), parse_products("")));
        }
        let (cached, agent) = &mut agents[hasher.hash_one(user_agent) as usize % CACHE_SLOTS];
        if cached != user_agent {
            *agent = parse_products(user_agent);
            user_agent.clone_into(cached);
        }
        *agent
    })
}

fn parse_products(user_agent: &str) -> UserAgent {
    let index = &*INDEX;
    let mut best = (u8::MAX, Browser::Other);
    let mut bot = false;
    let mut headless = false;
    for name in products(user_agent) {
        bot |= index.is_bot(name);
        headless |= name.starts_with("Headless") && index.is_headless(name);
        if let Some(found) = product_rank(name.as_bytes()) {
            best = best.min(found);
        }
    }
    let bytes = user_agent.as_bytes();
    let family = match best {
        // WebKit on Android without Chrome: Android's browser before 4.4, and UC's older engine.
        (WEBKIT, _) if memchr::memmem::find(bytes, b"Android").is_some() => Browser::Other,
        (_, family) => family,
    };
    UserAgent {
        family,
        bot: bot || (URL_FINDER.find(bytes).is_some() && words(user_agent).any(|word| index.is_bot(word))),
        headless,
    }
}

/// Finds links, because crawlers without a version link to a page about themselves; browsers never do.
static URL_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("http"));

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

fn words(user_agent: &str) -> impl Iterator<Item = &str> {
    user_agent.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_' | '.'))
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
        assert_eq!(parse(""), UserAgent { family: Browser::Other, bot: false, headless: false });
    }
}
