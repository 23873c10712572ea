//! The browser's family out of its user agent: a small table of product names, ranked, because every
//! browser claims to be those of the ranks below its own.
//!
//! A family stands for who made the reporting code, since that is what makes reports differ. So
//! Brave, Vivaldi, Yandex, Silk, Huawei, Electron, Android's WebView and every app inside it are
//! `chrome`, and what runs on WebKit under a name that is none of the families' (the Google app,
//! DuckDuckGo and in-app browsers on iOS, WebKitGTK) is `safari`. The makers that have a family keep it
//! on iOS too, where all are WebKit underneath: `CriOS`, `FxiOS`, `EdgiOS`, `OPiOS`, `OPT`.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::classify::noise::index::INDEX;
use crate::model::Browser;

/// The rank of what outranks every claim.
const TOP_RANK: u8 = 0;
/// The rank of WebKit, which nearly everything claims to be.
const WEBKIT: u8 = 6;

/// The rank of a product's claim, and its family: of all products the lowest rank is the browser.
fn product_rank(product: &[u8]) -> Option<(u8, Browser)> {
    Some(match product {
        // Engines of their own that name others for company: Internet Explorer, Servo, Ladybird.
        b"Trident" | b"IEMobile" | b"Servo" | b"Ladybird" => (TOP_RANK, Browser::Other),
        b"Edg" | b"EdgA" | b"EdgiOS" | b"Edge" | b"EdgW" | b"HeadlessEdg" => (1, Browser::Edge),
        b"OPR" | b"OPT" | b"OPX" | b"OPiOS" | b"Opera" => (2, Browser::Opera),
        b"SamsungBrowser" => (3, Browser::Samsung),
        b"Firefox" | b"FxiOS" | b"Focus" | b"Klar" => (4, Browser::Firefox),
        b"Chrome" | b"HeadlessChrome" | b"CriOS" | b"Chromium" => (5, Browser::Chrome),
        b"AppleWebKit" => (WEBKIT, Browser::Safari),
        _ => return None,
    })
}

/// What a user agent says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UserAgent {
    /// The family, `other` for anything else and for no user agent.
    pub(super) family: Browser,
    /// Whether it is a crawler or a monitor (the facts are in `rules`).
    pub(super) bot: bool,
    /// Whether it is a headless browser.
    pub(super) headless: bool,
}

/// User agents remembered by each thread. Most reports of a site come from a few.
const CACHE_SLOTS: usize = 64;

thread_local! {
    static CACHE: RefCell<UserAgentCache> = RefCell::default();
}

/// User agents read lately, each in the one place that its hash gives it.
#[derive(Default)]
struct UserAgentCache {
    hasher: foldhash::fast::RandomState,
    agents: Vec<(String, UserAgent)>,
}

/// Reads a user agent.
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

/// One pass over the products.
fn parse_products(user_agent: &str) -> UserAgent {
    let index = &*INDEX;
    let (mut best, mut bot, mut headless) = ((u8::MAX, Browser::Other), false, false);
    for name in products(user_agent) {
        bot |= index.is_bot(name);
        headless |= name.starts_with("Headless") && index.is_headless(name);
        if let Some(found) = product_rank(name.as_bytes()) {
            best = best.min(found);
        }
    }
    let bytes = user_agent.as_bytes();
    let family = match best {
        // WebKit on Android without Chrome: its own browser before 4.4, and UC's older engine.
        (WEBKIT, _) if memchr::memmem::find(bytes, b"Android").is_some() => Browser::Other,
        (_, family) => family,
    };
    UserAgent {
        family,
        bot: bot || (URL_FINDER.find(bytes).is_some() && words(user_agent).any(|word| index.is_bot(word))),
        headless,
    }
}

/// Crawlers that give no version link to a page about themselves; browsers never do.
static URL_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("http"));

/// The names of `product/version`: what stands between a blank, or a bracket, and a slash. And the last
/// word: `Chrome-Lighthouse` has no version.
fn products(user_agent: &str) -> impl Iterator<Item = &str> {
    let mut from = 0;
    let slashes = memchr::memchr_iter(b'/', user_agent.as_bytes());
    slashes.chain([user_agent.len()]).filter_map(move |end| {
        let before = &user_agent[from..end];
        let start = before.bytes().rposition(|byte| matches!(byte, b' ' | b'(' | b';' | b'['));
        // What stands between two slashes is a part of a path.
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
    fn the_first_claim_that_only_one_browser_makes_counts() {
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
