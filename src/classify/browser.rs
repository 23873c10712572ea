//! Detects the browser's family in a user agent with a small table of product names. The names are
//! ranked, because a browser also names those that it is compatible with.
//!
//! # Design
//! A family stands for the vendor of the reporting code, because reports differ by it. Brave, Vivaldi,
//! Yandex, Silk, Huawei, Electron, Android's WebView and all apps in it are `chrome`. Browsers on WebKit
//! without a family of their own (the Google app, DuckDuckGo and in-app browsers on iOS, WebKitGTK) are
//! `safari`. Vendors with a family keep it on iOS, although all use WebKit there: `CriOS`, `FxiOS`,
//! `EdgiOS`, `OPiOS`, `OPT`.
//!
//! Versions are what the agent states, unless browsers state it whatever the system is: Android 10 of the model
//! `K` (Chromium) and of Firefox (10 or older), macOS 10.15.7 (Chromium, Safari) and 10.15 (Firefox), Chrome OS
//! 14541.0.0, iOS 18 in Safari 26 and later. Windows 10 is 10 or 11.

use std::cell::RefCell;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;

use crate::classify::noise::{Field, INDEX, UserAgent};
use crate::model::{Browser, Version, Versions};

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
    /// Recently parsed user agents, each in the slot of its hash, and the last slot. Most reports of a site come from a
    /// few, and those of an upload from one.
    static CACHE: RefCell<(Vec<(String, UserAgent)>, usize)> =
        RefCell::new((vec![(String::new(), parse_products("")); 64], 0));
}

/// Parses a user agent, or returns it from the cache.
pub(super) fn parse(user_agent: &str) -> UserAgent {
    CACHE.with_borrow_mut(|(agents, last)| {
        if agents[*last].0 != user_agent {
            *last = FixedState::default().hash_one(user_agent) as usize % agents.len();
        }
        let (cached, agent) = &mut agents[*last];
        if cached != user_agent {
            *agent = parse_products(user_agent);
            user_agent.clone_into(cached);
        }
        *agent
    })
}

fn parse_products(user_agent: &str) -> UserAgent {
    let mut best = (u8::MAX, Browser::Other);
    let (mut product, mut version, mut safari) = ("", "", "");
    for (name, rest) in products(user_agent) {
        if let Some(found) = product_rank(name.as_bytes()).filter(|found| *found < best) {
            (best, product, version) = (found, name, rest);
        } else if name == "Version" {
            safari = rest;
        }
    }
    let mut headless = false;
    let is_headless =
        |word: &&str| word.starts_with("Headless") && INDEX.get(Field::HeadlessAgent, word).is_some();
    for name in words(user_agent).filter(is_headless) {
        // The name may have no version.
        headless = true;
        if let Some(found) = product_rank(name.as_bytes()).filter(|found| *found < best) {
            (best, version) = (found, "");
        }
    }
    let family = match best {
        // WebKit on Android without Chrome: Android's browser before 4.4, and UC's older engine.
        (WEBKIT, _) if memchr::memmem::find(user_agent.as_bytes(), b"Android").is_some() => Browser::Other,
        (_, family) => family,
    };
    // `Opera/9.80` has its real version there too.
    let stated = if family == Browser::Safari || product == "Opera" { safari } else { version };
    let browser = Version::parse(if family == Browser::Other { "" } else { stated });
    let (os, os_version) = match system(user_agent, family, browser) {
        // A desktop site was requested.
        ("Mac OS X", _) if product.ends_with("iOS") => ("iOS", Version::default()),
        system => system,
    };
    let versions = Versions { browser, os, os_version };
    UserAgent { family, bot: is_bot(user_agent), headless, versions }
}

/// How the part with each operating system starts, and its name. The first system in this order counts, because
/// Android is also Linux.
#[rustfmt::skip]
const SYSTEMS: [(&str, &str); 15] = [
    ("Windows NT", "Windows"), ("Windows Phone", "Windows Phone"), ("Android", "Android"), ("CPU iPhone OS", "iOS"),
    ("CPU OS", "iOS"), ("Intel Mac OS X", "Mac OS X"), ("PPC Mac OS X", "Mac OS X"), ("CrOS", "Chrome OS"),
    ("Tizen", "Tizen"), ("Ubuntu", "Ubuntu"), ("Fedora", "Fedora"), ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"), ("NetBSD", "NetBSD"), ("Linux", "Linux"),
];

/// Returns the operating system by the first comment of a user agent, and its version unless that is frozen.
fn system(user_agent: &str, family: Browser, browser: Version) -> (&'static str, Version) {
    let bytes = user_agent.as_bytes();
    let start = memchr::memchr(b'(', bytes).map_or(bytes.len(), |open| open + 1);
    let comment = user_agent[start..].split(')').next().unwrap_or_default();
    let parts = comment.split(';').map(str::trim_start).filter_map(|part| {
        let mut systems = SYSTEMS.iter().enumerate();
        systems.find_map(|(rank, (start, name))| Some((rank, *name, part.strip_prefix(start)?.trim_start())))
    });
    let Some((_, name, mut rest)) = parts.min() else { return ("", Version::default()) };
    if name == "Chrome OS" {
        // Its architecture comes first.
        rest = rest.split_once(' ').unwrap_or_default().1;
    }
    let stated = Version::parse(rest);
    let reduced = || family == Browser::Firefox || comment.ends_with("; K") || comment.contains("; K;");
    let safari_26 = family == Browser::Safari && browser.major() >= Some(26);
    let version = match (name, stated.as_str()) {
        ("Windows", "10.0") => "10",
        ("Windows", "6.3") => "8.1",
        ("Windows", "6.2") => "8",
        ("Windows", "6.1") => "7",
        ("Windows", _) | ("Mac OS X", "10.15" | "10.15.7") | ("Chrome OS", "14541.0.0") => "",
        ("Android", "10") if reduced() => "",
        ("iOS", version) if safari_26 && version.starts_with("18.") => "",
        (_, version) => version,
    };
    (name, Version::parse(version))
}

/// Returns whether a user agent is that of a crawler, a monitor or another program. Most have a name that
/// ends in `bot`, `crawler` or `spider`, a link to a page about themselves, or `compatible;` before
/// their name; of browsers, only some that send no reports do. The others are listed.
fn is_bot(user_agent: &str) -> bool {
    let has = |text: &str| memchr::memmem::find(user_agent.as_bytes(), text.as_bytes()).is_some();
    let named = || around_device(user_agent).iter().any(|part| names(part).any(is_bot_name));
    let listed = || words(user_agent).any(|word| INDEX.get(Field::Agent, word).is_some());
    if named() || listed() || INDEX.contains_bot(user_agent) || has("+http") {
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
    let is_platform =
        |name: &str| ["U;", "Linux", "Windows", ")"].iter().any(|start| name.starts_with(start));
    user_agent.split_once("compatible;").is_some_and(|(_, name)| !is_platform(name.trim_start()))
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

/// Returns the names of `product/version`, each between a blank or bracket and a slash, with what follows, and
/// the last word, because `Chrome-Lighthouse` has no version.
fn products(user_agent: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut from = 0;
    let slashes = memchr::memchr_iter(b'/', user_agent.as_bytes());
    slashes.chain([user_agent.len()]).filter_map(move |end| {
        let before = &user_agent[from..end];
        let start = before.bytes().rposition(|byte| matches!(byte, b' ' | b'(' | b';' | b'['));
        // Text between two slashes is part of a path.
        let start = if from == 0 { Some(start.map_or(0, |at| at + 1)) } else { start.map(|at| at + 1) };
        from = (end + 1).min(user_agent.len());
        start.map(|start| (&before[start..], &user_agent[from..]))
    })
}

/// Returns the words that a product's name can consist of.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let in_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    parts(text, in_word).map(|word| if word.ends_with('.') { word.trim_end_matches('.') } else { word })
}

/// Returns the parts of names: `Googlebot-Mobile` and `archive.org_bot` have one that ends in `bot`.
fn names(text: &str) -> impl Iterator<Item = &str> {
    parts(text, u8::is_ascii_alphanumeric)
}

/// Returns the parts of a text that consist of such bytes, which are ASCII.
fn parts(text: &str, is_in: impl Fn(&u8) -> bool) -> impl Iterator<Item = &str> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let bytes = text.as_bytes();
        let start = at + bytes.get(at..)?.iter().position(&is_in)?;
        at = bytes[start..].iter().position(|byte| !is_in(byte)).map_or(bytes.len(), |length| start + length);
        Some(&text[start..at])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::LabelEnum;

    #[test]
    fn parse_with_known_user_agent_returns_its_family_and_versions() {
        let lines = include_str!("browser_cases.txt").lines().filter(|line| !line.starts_with('#'));
        let split = |line: &'static str| {
            line.split_once(" | ").and_then(|(browser, rest)| Some((browser, rest.split_once(" | ")?)))
        };
        let cases: Vec<_> = lines.filter_map(split).collect();
        assert!(cases.len() >= 90, "{}", cases.len());
        let mut wrong = Vec::new();
        for (browser, (os, agent)) in cases {
            let UserAgent { family, versions, .. } = parse(agent);
            let found = format!("{} {}", family.as_str(), versions.browser.as_str());
            let found_os = format!("{} {}", versions.os, versions.os_version.as_str());
            if (found.trim(), found_os.trim()) != (browser, os) {
                wrong.push(format!("{found} on {found_os} for {agent}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let none =
            UserAgent { family: Browser::Other, bot: false, headless: false, versions: Versions::default() };
        assert_eq!(parse(""), none);
    }

    #[test]
    fn version_is_bounded_in_length_and_characters() {
        for (text, version, major) in [
            ("142.0.7444.59 Safari", "142.0.7444.59", Some(142)),
            ("18_5_1 like Mac", "18.5.1", Some(18)),
            ("146.0a1", "146.0", Some(146)),
            ("7.", "7", Some(7)),
            ("1234.1234.1234.1234.123", "1234.1234.1234.1234.123", Some(1234)),
            ("1234.1234.1234.1234.1234", "", None),
            ("99999999999", "", None),
            (".1", "", None),
            ("x86", "", None),
            ("", "", None),
        ] {
            let parsed = Version::parse(text);
            assert_eq!((parsed.as_str(), parsed.major()), (version, major), "{text}");
        }
    }
}
