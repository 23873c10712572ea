//! Detects path segments that hold a secret: tokens of password resets and magic links, API keys, session
//! ids, JWTs, e-mail addresses, account numbers. Up to three segments before count too.
//!
//! # Design
//!
//! A segment is split at every byte that no token has, so that nothing next to a token hides it. Anywhere, a
//! part is a secret if it looks random: among 20 bytes, pairs of letters that are rare in words, and changes
//! between small letters, capitals and digits are frequent. After a word such as `reset`, a short identifier
//! is a secret as well. Every rule holds for a whole part if it holds for its start, so that a truncated text
//! is redacted no further when it is normalized again.

use std::borrow::Cow;
use std::cell::LazyCell;

use percent_encoding::percent_decode_str;

use crate::normalize::truncate::TRUNCATION_MARK;
use crate::normalize::word_scanner::byte_set;

pub(super) const REDACTED: &str = ":redacted";

/// Minimum hex digits of a secret: 96 bits.
const MIN_HEX: usize = 24;
/// Bytes among which surprises are counted: the minimum length of a random secret.
const WINDOW: u32 = 20;
/// Minimum surprises of a random secret, plus one for each separator, because slugs have many.
const MIN_SURPRISES: u32 = 5;
/// Minimum length of an opaque identifier that is a secret after a word such as `reset`.
const MIN_IDENTIFIER: usize = 6;
/// Maximum length of an identifier of short groups.
const MAX_GROUPS: usize = 32;
/// Minimum digits of a number that is a secret after a word such as `code`.
const MIN_CODE: usize = 4;
/// Minimum length of a JSON Web Token, and of what follows a [prefix](CREDENTIAL_PREFIXES).
pub(super) const MIN_TOKEN: usize = 16;

/// Bytes of a segment in which such a word is searched for.
const MAX_PLACE: usize = 64;

/// Bytes of tokens in paths.
const TOKEN_BYTES: [bool; 256] =
    byte_set(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~+");
/// Delimiters of an e-mail address, a `key=value` or a URL; `%` may hide one.
const DELIMITERS: [bool; 256] = byte_set(b"@=?#%");

/// Starts of credentials that do not always look random.
#[rustfmt::skip]
const CREDENTIAL_PREFIXES: [&str; 11] = [
    "AKIA", "ASIA", "AROA", "AIDA", "glpat-", "glrt-", "glcbt-", "gldt-", "HRKU-", "pat-na1-", "pat-eu1-",
];

/// Parts of words, of four letters or more, after which, up to three segments on, an identifier is a credential.
#[rustfmt::skip]
const PLACE_STEMS: [&[u8]; 40] = [
    b"reset", b"passw", b"passcode", b"forgot", b"recover", b"verif", b"confirm", b"activat", b"invit",
    b"unsub", b"optin", b"opt-in", b"optout", b"opt-out", b"token", b"magiclink", b"magic-link", b"magic_link",
    b"apikey", b"api-key", b"api_key", b"accesskey", b"access-key", b"access_key", b"credential", b"redeem",
    b"onetime", b"one-time", b"einlad", b"abmeld", b"bestaetig", b"aktivier", b"zuruecksetz", b"wachtwoord",
    b"contrasen", b"restablec", b"motdepasse", b"mot-de-passe", b"reinitialis", b"desinscri",
];
/// The first four bytes of each, so that most of a segment needs no further comparison.
const STEM_STARTS: [u32; PLACE_STEMS.len()] = {
    let mut starts = [0; PLACE_STEMS.len()];
    let mut at = 0;
    while at < starts.len() {
        starts[at] = stem_start(PLACE_STEMS[at]);
        at += 1;
    }
    starts
};

/// Returns four bytes as a number that is the same for both cases of a letter.
const fn stem_start(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) | 0x2020_2020
}

/// By the first letter of a stem, the second letters as bits, so that most bytes of a segment need no comparison at all.
const STEM_PAIRS: [u32; 32] = {
    let mut pairs = [0; 32];
    let mut at = 0;
    while at < PLACE_STEMS.len() {
        pairs[(PLACE_STEMS[at][0] & 31) as usize] |= 1 << (PLACE_STEMS[at][1] & 31);
        at += 1;
    }
    pairs
};

/// Starts of words that have this meaning for the next segment only.
#[rustfmt::skip]
const NEAR_STEMS: [&str; 25] = [
    "session", "login", "logon", "signin", "signup", "register", "secret", "nonce", "otp", "totp", "mfa", "2fa",
    "sso", "oauth", "authn", "authz", "authent", "authoriz", "authoris", "share", "join", "magic", "validat",
    "rsvp", "subscri",
];
/// Words that have it, too.
const NEAR_WORDS: [&str; 6] = ["auth", "key", "keys", "link", "accept", "l"];
/// Segments after which a number of four digits is a secret.
const CODE_SEGMENTS: [&str; 11] =
    ["code", "codes", "otp", "totp", "pin", "2fa", "mfa", "verify", "confirm", "passcode", "verification"];

/// Folders of assets, whose names have fingerprints.
#[rustfmt::skip]
const ASSET_FOLDERS: [&str; 16] = [
    "static", "assets", "js", "css", "img", "images", "fonts", "media", "dist", "build", "chunks", "scripts",
    "styles", "public", "_nuxt", "_next",
];

/// For each letter, the letters that often follow it in words, as bits: the 340 most frequent pairs in English
/// and eleven other European languages and in package names, 97 % of all pairs in these.
#[rustfmt::skip]
const COMMON_PAIRS: [u32; 26] = [
    0x3fefdff, 0x1164911, 0x31e4d95, 0x11e4d19, 0x3feffff, 0x01a4931, 0x11e69d1, 0x11a4911, 0x3beff7f,
    0x0044011, 0x01e4d11, 0x11cfd19, 0x016d913, 0x33c7ffd, 0x27efdff, 0x11ec991, 0x0100000, 0x37ffdff,
    0x35cfdbd, 0x15e6995, 0x21efd7f, 0x0004111, 0x1046111, 0x0088100, 0x00cf915, 0x1106111,
];

/// Up to three segments before another, the nearest first.
#[derive(Clone, Copy, Default)]
pub(super) struct Before<'p>([&'p str; 3]);

impl<'p> Before<'p> {
    /// Returns what stands before the next segment. `reset//abc` is `reset/abc`.
    pub(super) fn then(self, segment: &'p str) -> Before<'p> {
        if segment.is_empty() { self } else { Before([segment, self.0[0], self.0[1]]) }
    }

    /// Returns whether an identifier after these is a credential. In a folder of assets a file's name may have one.
    fn is_place(self, is_asset: bool) -> bool {
        let folders = |segment: &&str| !(is_asset && ASSET_FOLDERS.contains(segment));
        let mut segments = self.0.iter().take_while(|segment| folders(segment)).enumerate();
        segments.any(|(distance, segment)| is_place(segment, distance == 0 && !is_asset))
    }

    /// Returns whether a framework's id of the build follows: `_next/static/Xk29…/_buildManifest.js`.
    fn is_before_build_id(self) -> bool {
        self.0[1] == "_next" && matches!(self.0[0], "static" | "data")
    }
}

/// Returns whether a path segment must not leave the process.
pub(super) fn is_secret(segment: &str, before: Before<'_>) -> bool {
    if is_short_word(segment.as_bytes()) {
        return false;
    }
    if segment.bytes().any(|byte| DELIMITERS[usize::from(byte)]) {
        let bytes = segment.as_bytes();
        if bytes.iter().enumerate().any(|(at, byte)| *byte == b'%' && is_encoded_delimiter(bytes, at))
            || (segment.contains(['@', '=', '?', '#']) && !is_package(segment))
        {
            return true;
        }
        // Decoding once is enough, because a segment encoded twice has an encoded `%`.
        let (segments, mut before) = (percent_decoded(segment), before);
        return segments.split(['/', '\\']).any(|segment| {
            let is_secret = part_is_secret(segment, before);
            before = before.then(segment);
            is_secret
        });
    }
    part_is_secret(segment, before)
}

/// Returns whether a segment is too short for a secret, or a word without digits, capitals and more than one
/// surprise. Most are, and no rule applies to these after any other segment.
pub(super) fn is_short_word(segment: &[u8]) -> bool {
    let mut common = u32::MAX;
    let mut surprises = 0;
    for byte in segment {
        let letter = usize::from(byte.wrapping_sub(b'a'));
        if let Some(next) = COMMON_PAIRS.get(letter) {
            surprises += !common >> letter & 1;
            common = *next;
        } else if TOKEN_BYTES[usize::from(*byte)]
            && (segment.len() < MIN_CODE || !byte.is_ascii_alphanumeric())
        {
            common = u32::MAX;
        } else {
            return false;
        }
    }
    segment.len() < MIN_CODE || (segment.len() < MIN_TOKEN && surprises <= 1)
}

/// Returns a text, not a path, without its tokens.
pub(super) fn without_tokens(text: Cow<'_, str>) -> Cow<'_, str> {
    let is_token = |run: &&str| {
        run.len() >= MIN_TOKEN && (is_credential(run) || Run::examine(run.as_bytes(), false).is_random)
    };
    let runs = text.split(|c: char| !u8::try_from(c).is_ok_and(|byte| TOKEN_BYTES[usize::from(byte)]));
    let mut shown: Option<String> = None;
    for token in runs.filter(is_token) {
        shown = Some(shown.as_deref().unwrap_or(&text).replace(token, REDACTED));
    }
    shown.map_or(text, Cow::Owned)
}

/// Returns whether a part of a segment without percent signs is a secret.
fn part_is_secret(segment: &str, before: Before<'_>) -> bool {
    if segment.len() < MIN_CODE || segment == REDACTED {
        return false;
    }
    let is_asset = has_asset_extension(segment);
    let keeps_random = is_asset || before.is_before_build_id();
    let bytes = segment.as_bytes();
    // At most once, however many identifiers there are.
    let follows_place = LazyCell::new(|| before.is_place(is_asset));
    let mut previous = "";
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|byte| TOKEN_BYTES[usize::from(**byte)]).count();
        if length >= MIN_CODE {
            let run = &segment[at..at + length];
            let is_truncated = segment[at + length..].starts_with(TRUNCATION_MARK);
            let found = Run::examine(run.as_bytes(), is_truncated);
            if is_credential(run)
                || (found.is_random && !keeps_random)
                || (!is_asset && !is_truncated && is_account_number(run))
                || (found.is_identifier && (is_place(previous, true) || *follows_place))
                || (found.has_uuid && (is_place(run, true) || run.starts_with("access-")))
                || (found.is_number
                    && !is_truncated
                    && (is_code_place(previous) || is_code_place(before.0[0])))
            {
                return true;
            }
        }
        if length > 0 {
            previous = &segment[at..at + length];
        }
        at += length + 1;
    }
    // In groups.
    segment.contains(' ') && is_account_number(segment)
}

#[derive(Default)]
struct Run {
    /// Like random characters, or like a long hexadecimal number, that are no UUID.
    is_random: bool,
    /// Like an identifier rather than words and small numbers.
    is_identifier: bool,
    has_uuid: bool,
    /// A number of at least [`MIN_CODE`] digits.
    is_number: bool,
}

/// What a word, which has letters and digits only, consists of so far.
#[derive(Default)]
struct Word {
    is_hex: bool,
    length: usize,
    digits: usize,
    /// Changes between letters and digits.
    changes: usize,
    surprises: usize,
}

impl Run {
    fn examine(bytes: &[u8], is_truncated: bool) -> Run {
        let mut found = Run::default();
        // Of the last bytes, the latest in the lowest bit.
        let (mut surprises, mut separators) = (0_u32, 0_u32);
        let mut length = 0;
        let mut hex = 0;
        let mut word = Word::default();
        let mut all_surprises = 0;
        let mut before = b'.';
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if !before.is_ascii_alphanumeric() {
                word = Word { is_hex: true, ..Word::default() };
                if let Some(uuid) = uuid_len(&bytes[at..], is_truncated) {
                    (found.is_identifier, found.has_uuid) = (true, true);
                    (before, length, hex, at) = (b'.', 0, 0, at + uuid);
                    continue;
                }
            }
            let is_in_word = byte.is_ascii_alphanumeric();
            let is_surprising =
                is_in_word && before.is_ascii_alphanumeric() && is_surprising(before, &bytes[at..]);
            word.is_hex &= byte.is_ascii_hexdigit();
            // A short hexadecimal id at the end of a slug is common; a long one has its own limit.
            let is_in_hex = word.is_hex && before.is_ascii_digit() != byte.is_ascii_digit();
            surprises = (surprises << 1) | u32::from(is_surprising && !is_in_hex);
            separators = (separators << 1) | u32::from(!is_in_word);
            length = if byte == b'.' { 0 } else { length + 1 };
            hex = match byte {
                b'.' => 0,
                _ if byte.is_ascii_hexdigit() => hex + 1,
                _ if is_in_word => 0,
                _ => hex,
            };
            // The first byte's pair is not within the window.
            found.is_random |= hex >= MIN_HEX
                || (length >= WINDOW
                    && (surprises & ((1 << (WINDOW - 1)) - 1)).count_ones()
                        >= MIN_SURPRISES + (separators & ((1 << WINDOW) - 1)).count_ones());
            if is_in_word {
                word.length += 1;
                word.digits += usize::from(byte.is_ascii_digit());
                word.changes += usize::from(
                    before.is_ascii_alphanumeric() && before.is_ascii_digit() != byte.is_ascii_digit(),
                );
                word.surprises += usize::from(is_surprising);
                found.is_identifier |= bytes.len() >= MIN_IDENTIFIER && word.is_identifier();
                found.is_number |= word.digits == bytes.len();
            }
            all_surprises += usize::from(is_surprising);
            before = byte;
            at += 1;
        }
        // Groups such as `hwkc5-pank6`. A truncated part is excluded, because its start may be a larger share.
        found.is_identifier |= !is_truncated
            && (MIN_IDENTIFIER..=MAX_GROUPS).contains(&bytes.len())
            && all_surprises >= 2
            && all_surprises * 6 >= bytes.len();
        found
    }
}

impl Word {
    fn is_identifier(&self) -> bool {
        (self.length >= 4 && self.changes >= 2)
            || (self.length >= MIN_IDENTIFIER && (self.digits >= 2 || self.surprises >= 3))
    }
}

/// Returns whether the first byte rarely follows this one in words. A capital before two small letters starts
/// a word; at the end it may do so.
fn is_surprising(before: u8, bytes: &[u8]) -> bool {
    let byte = bytes[0];
    if before.is_ascii_digit() || byte.is_ascii_digit() {
        return before.is_ascii_digit() != byte.is_ascii_digit();
    }
    if before.is_ascii_lowercase() && byte.is_ascii_uppercase() {
        return bytes.get(1..3).is_some_and(|next| !next.iter().all(u8::is_ascii_lowercase));
    }
    let letter = |byte: u8| usize::from(byte.to_ascii_lowercase() - b'a');
    COMMON_PAIRS[letter(before)] & (1 << letter(byte)) == 0
}

/// Bytes of a UUID.
const UUID: usize = 36;

/// Returns the length of a UUID at the start, or of the start of one at the end of a truncated text.
fn uuid_len(bytes: &[u8], is_truncated: bool) -> Option<usize> {
    if bytes.len() < UUID && !is_truncated {
        return None;
    }
    let matches = |(at, byte): &(usize, &u8)| match at {
        8 | 13 | 18 | 23 => **byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    let length = bytes.iter().take(UUID).enumerate().take_while(matches).count();
    let is_whole = length == UUID && !bytes.get(UUID).is_some_and(u8::is_ascii_alphanumeric);
    (is_whole || (is_truncated && length == bytes.len() && length > 8)).then_some(length)
}

/// Returns whether a part begins like a JSON Web Token (base64 of `{"`, in any case) or another credential.
fn is_credential(run: &str) -> bool {
    let run = run.trim_start_matches(['-', '_', '.', '~', '+']);
    run.len() >= MIN_TOKEN
        && (run.as_bytes()[..3].eq_ignore_ascii_case(b"eyJ")
            || CREDENTIAL_PREFIXES
                .iter()
                .any(|prefix| run.strip_prefix(prefix).is_some_and(|rest| rest.len() >= MIN_TOKEN)))
}

/// Returns whether this is `%40` @, `%3D` =, `%3F` ?, `%23` #, or the `%25` of one encoded twice.
fn is_encoded_delimiter(segment: &[u8], percent: usize) -> bool {
    let code = segment.get(percent + 1..percent + 3).unwrap_or_default();
    [&b"40"[..], b"3d", b"3f", b"23", b"25"].iter().any(|known| code.eq_ignore_ascii_case(known))
}

fn percent_decoded(segment: &str) -> Cow<'_, str> {
    percent_decode_str(segment).decode_utf8_lossy()
}

/// Returns whether this is a package as CDNs serve it, `@scope` or `name@1.2.3-beta.1`, rather than an e-mail
/// address such as `jane@163.com`.
fn is_package(segment: &str) -> bool {
    let is_name = |name: &str| name.bytes().all(|byte| TOKEN_BYTES[usize::from(byte)]);
    let is_version = |version: &str| {
        let (numbers, tag) = version.split_once('-').unwrap_or((version, ""));
        let mut numbers = numbers.strip_prefix('v').unwrap_or(numbers).split('.');
        let is_number =
            |part: &str| (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        matches!(version, "latest" | "next" | "beta")
            || (numbers.all(is_number) && is_name(tag) && tag.len() <= 20)
    };
    let scoped = segment.strip_prefix('@').filter(|rest| !rest.is_empty());
    match scoped.unwrap_or(segment).split_once('@') {
        Some((name, version)) => is_name(name) && is_version(version),
        None => scoped.is_some_and(is_name),
    }
}

/// Returns whether this is an IBAN or a card number with a correct check digit, also in groups.
fn is_account_number(segment: &str) -> bool {
    let is_group = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'-' | b'.');
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    if digits < 10 || segment.len() > 44 || !segment.bytes().all(is_group) {
        return false;
    }
    let number: Vec<u32> = segment.chars().filter_map(|c| c.to_digit(36)).collect();
    if digits == number.len() { is_card_number(&number) } else { is_iban(segment, &number) }
}

/// Returns whether these digits start as payment cards do, and have their check digit.
fn is_card_number(digits: &[u32]) -> bool {
    let of_network = matches!((digits.len(), digits[0], digits[1]), (15, 3, 4 | 7) | (14, 3, 6 | 8))
        || matches!((digits.len(), digits[0]), (16..=19, 2..=6));
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let add = |(at, digit): (usize, &u32)| if at % 2 == 1 { doubled(*digit) } else { *digit };
    of_network && digits.iter().rev().enumerate().map(add).sum::<u32>() % 10 == 0
}

/// Returns whether a text has the form of an IBAN, and these digits in base 36 have its check digits.
fn is_iban(text: &str, digits: &[u32]) -> bool {
    let is_country =
        text.bytes().take(2).all(|byte| byte.is_ascii_uppercase()) && !text.contains(char::is_lowercase);
    let add = |sum: u32, digit: &u32| (sum * if *digit > 9 { 100 } else { 10 } + digit) % 97;
    let is_well_formed = is_country && digits[2..4].iter().all(|digit| *digit < 10);
    is_well_formed
        && (15..=34).contains(&digits.len())
        && digits[4..].iter().chain(&digits[..4]).fold(0, add) == 1
}

/// Returns whether a segment is a file that may have a content hash: `app.3f2a…9c.js`.
fn has_asset_extension(segment: &str) -> bool {
    const EXTENSIONS: [&str; 21] = [
        "js", "css", "png", "jpg", "svg", "woff2", "woff", "webp", "gif", "ico", "map", "mjs", "cjs", "jpeg",
        "avif", "ttf", "wasm", "mp4", "webm", "json", "otf",
    ];
    let dot = segment.bytes().rposition(|byte| byte == b'.');
    dot.is_some_and(|dot| EXTENSIONS.contains(&&segment[dot + 1..]))
}

/// Returns whether an identifier after this segment is a credential; with `is_near`, if directly after it.
fn is_place(segment: &str, is_near: bool) -> bool {
    if segment.is_empty() || (segment.len() < 4 && !is_near) {
        return false;
    }
    // A longer start would take quadratic time if many identifiers follow.
    let segment = &segment[..segment.floor_char_boundary(MAX_PLACE)];
    let is_plain = segment.bytes().all(|byte| byte != b'%');
    let segment = if is_plain { Cow::Borrowed(segment) } else { percent_decoded(segment) };
    let bytes = segment.as_bytes();
    let is_preset = |part: &[u8]| part.eq_ignore_ascii_case(b"preset");
    let has_stem = |(at, start): (usize, &[u8])| {
        if STEM_PAIRS[usize::from(start[0] & 31)] >> (start[1] & 31) & 1 == 0 {
            return false;
        }
        let start = stem_start(start);
        let is_stem = |(_, stem): (&u32, &&[u8])| {
            bytes.get(at..at + stem.len()).is_some_and(|part| part.eq_ignore_ascii_case(stem))
        };
        let mut stems = STEM_STARTS.iter().zip(&PLACE_STEMS).filter(|(known, _)| **known == start);
        // `presets` are none.
        stems.any(is_stem) && !(at > 0 && bytes[at - 1..].get(..6).is_some_and(is_preset))
    };
    let starts_with =
        |word: &str, stem: &str| word.get(..stem.len()).is_some_and(|start| start.eq_ignore_ascii_case(stem));
    bytes.windows(4).enumerate().any(has_stem)
        || (is_near
            && segment.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).any(
                |word| {
                    NEAR_STEMS.iter().any(|stem| starts_with(word, stem))
                        || NEAR_WORDS.iter().any(|known| known.eq_ignore_ascii_case(word))
                },
            ))
}

fn is_code_place(segment: &str) -> bool {
    CODE_SEGMENTS.iter().any(|known| known.eq_ignore_ascii_case(segment))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what stands before a segment: a path.
    fn after(path: &str) -> Before<'_> {
        path.split('/').fold(Before::default(), Before::then)
    }

    #[test]
    fn secret_is_detected() {
        for (previous_segment, segment) in [
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
            ("u", "a@b"),
            ("f", "%35f4dcc3b5aa765d61d8327deb882cf%39"),
            ("go", "reset%2fa81bc81b"),
            ("%72eset", "a81bc81b"),
            ("reset", "QkZtYpLmNo"),
            ("in", "EYJHBGCIOIJIUZI1NIJ9"),
            ("", "bot123456789:AAFzQkLmNoPqRsTuVwXyZ0123456789abcd"),
            ("auth", "jane:a81bc81b"),
            ("x", "token:a81bc81b"),
            ("x", "Xk29aLq0Zr81MvBt73Qw!"),
            ("x", "Xk29aLq0Zr81MvBt73Qw,Yk29aLq0Zr81MvBt73Qw"),
            ("x", "Xk29aLq0Zr81MvBt73Qw%20"),
            ("x", "%E2%80%8BXk29aLq0Zr81MvBt73Qw"),
            ("verify/email", "3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
            ("invitations/accept", "a81bc81b"),
            ("unsubscribe/news", "a81bc81b"),
            ("activate/7", "a81bc81b"),
            ("reset/Mg", "6dt-2a8f"),
            ("reset", "a81bc81b.png"),
            ("join", "a81bc81b"),
            ("code", "834912"),
            ("pay", "DE89370400440532013000"),
            ("pay", "4111-1111-1111-1111"),
            ("x", "AKIAQWERTYUIOPASDFGH"),
            ("x", "pat-na1-3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
            ("users", "jane@163.com"),
            ("x", "~pat-na1-3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
            ("x", "access-sandbox-3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
            ("x", "AROAQWERTYUIOPASDFGH"),
            ("x", "password-reset_3f2504e0-4f89-11d3-9a0c-0305e82c3301"),
        ] {
            assert!(is_secret(segment, after(previous_segment)), "{previous_segment}/{segment}");
        }
    }

    /// Returns how many of 10,000 random texts are missed.
    fn missed(length: usize, characters: &[u8], previous_segment: &str) -> usize {
        const TEXTS: usize = 10_000;
        let mut random = fastrand::Rng::with_seed(1);
        let mut character = || char::from(characters[random.usize(..characters.len())]);
        let mut text = || (0..length).map(|_| character()).collect::<String>();
        (0..TEXTS).filter(|_| !is_secret(&text(), after(previous_segment))).count()
    }

    /// docs/privacy.md documents these numbers.
    #[test]
    fn random_identifier_is_mostly_detected() {
        let characters: Vec<u8> = (b'a'..=b'z').chain(b'A'..=b'Z').chain(b'0'..=b'9').chain(*b"-_").collect();
        let base64url = &characters[..];
        let base62 = &characters[..62];
        let base36 = b"abcdefghijklmnopqrstuvwxyz0123456789";
        let missed = [
            missed(20, base62, ""),
            missed(22, base64url, ""),
            missed(43, base64url, ""),
            missed(32, b"0123456789abcdef", ""),
            missed(10, base62, "reset"),
            missed(10, base36, "reset"),
        ];
        let limits = [20, 100, 5, 0, 100, 100];
        assert!(missed.iter().zip(limits).all(|(missed, limit)| *missed <= limit), "{missed:?}");
    }

    /// What is taken for a word at once is no secret by the rules either, wherever it stands.
    #[test]
    fn short_word_is_no_secret_by_any_rule() {
        let mut random = fastrand::Rng::with_seed(1);
        let characters = b"abcdefghijklmnopqrstuvwxyzeeeeaaiiooutnrs-_.~+09AZ";
        let places = ["", "reset", "code", "x/token/y", "login", "_next/static", "verify/assets", "l", "mfa"];
        let mut words = 0;
        for _ in 0..200_000 {
            let word: Vec<u8> =
                (0..random.usize(0..18)).map(|_| *random.choice(characters).unwrap()).collect();
            if is_short_word(&word) {
                words += 1;
                let word = String::from_utf8(word).unwrap();
                let found = places.iter().find(|place| part_is_secret(&word, after(place)));
                assert_eq!(found, None, "{word}");
            }
        }
        assert!(words > 20_000, "{words}");
        for other in ["a81bc81b", "eyjhbgcioijiuzi1nij9", "834912", "jane@b", "a%40b", "hwkcx-pankq", "ab\\c"]
        {
            assert!(!is_short_word(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn name_is_no_secret() {
        for (previous_segment, segment) in [
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
            ("b%C3%BCcher", "f%C3%BCr-immer-und-ewig-2026"),
            ("auth", "oauth2"),
            ("npm", "vue@3.4.21"),
            ("npm", "@fancyapps@4.1.6"),
            ("@jane", "ten-things-to-know-18baf71af44e"),
            ("news", "ab267cf6-b317-485e-a6a2-aabbee25a847"),
            ("", "@vite"),
            ("_next/static", "Xk29aLq0Zr81MvBt73Qw_"),
            ("presets", "a81bc81b"),
            ("authors", "jk-rowling-1965"),
            ("verify/static/js", "main.3f4a9bc0.js"),
            ("share", "top-10-things-of-2024"),
            ("reset/a/b/c", "a81bc81b"),
            ("products", "Galaxy-S24-SM-S928BZTGEUE"),
            ("p", "4111111111111112"),
            ("zip-code", "90210"),
            ("login", "callback"),
            ("docs", "how-to-reset-windows11-without-a-password"),
            ("news", "council-of-europe-ab267cf6-b317-485e-a6a2-aabbee25a847"),
        ] {
            assert!(!is_secret(segment, after(previous_segment)), "{previous_segment}/{segment}");
        }
    }
}
