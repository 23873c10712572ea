//! How many tokens in public formats stay, and how many ordinary paths are redacted.

use std::sync::LazyLock;

use fastrand::Rng;
use lookoutd::config::{self, Privacy};
use lookoutd::model::{Age, Envelope, Object, Value};
use lookoutd::normalize::{Mode, normalize};

use super::formats::{self, FORMATS, Format, HELD_BACK};
use super::ordinary;
use crate::support::in_process::context;

/// Paths around a token, in places where only its form tells what it is.
const ANYWHERE: [&str; 14] = [
    "/t/{}",
    "/{}",
    "/a/b/{}/edit",
    "/id:{}",
    "/users/jane:{}",
    "/{},{}",
    "/{}!",
    "/({})",
    "/go%3A{}",
    "/{}%20",
    "/x%2F{}",
    "/{}\u{200b}",
    "/{}%E2%80%8B/x",
    "/*{}",
];

/// Paths around a token, after a word that makes even a short one a secret.
const IN_PLACE: [&str; 18] = [
    "/reset/{}",
    "/reset-password/{}/form",
    "/verify/email/{}",
    "/users/confirm/email/{}",
    "/invitations/accept/{}",
    "/unsubscribe/news/{}",
    "/activate/7/{}",
    "/reset/x/{}",
    "/reset/Mg/{}/",
    "/reset/{}.png",
    "/join/{}",
    "/magic/{}",
    "/auth/jane:{}",
    "/token:{}",
    "/reset/{}!",
    "/reset/id%3A{}",
    "/%72eset/{}",
    "/account/einladung/{}",
];

/// Returns the default settings. Reading them takes longer than normalizing a report.
fn privacy() -> Privacy {
    static PRIVACY: LazyLock<Privacy> = LazyLock::new(|| config::defaults().privacy);
    *PRIVACY
}

fn url(text: String) -> String {
    let envelope = Envelope {
        report_type: "csp-violation".into(),
        age: Age::Milliseconds(None),
        url: Some(text.into()),
        user_agent: None,
        body: Object::default(),
    };
    normalize(envelope, &context(), privacy(), Mode::Full).url.into_owned()
}

fn sample(text: String) -> String {
    let envelope = Envelope {
        report_type: "csp-violation".into(),
        age: Age::Milliseconds(None),
        url: None,
        user_agent: None,
        body: Object(vec![("sample".into(), Value::String(text.into()))]),
    };
    let report = normalize(envelope, &context(), privacy(), Mode::Full);
    report.body.get_str("sample").unwrap_or_default().to_owned()
}

/// Returns the texts in which a token stays, out of this number.
fn kept(formats: &[Format], tokens: usize, random: &mut Rng) -> Vec<String> {
    let mut kept = Vec::new();
    for at in 0..tokens {
        let format = &formats[at % formats.len()];
        let token = format.token(random);
        let around: &[&str] = if format.anywhere { &ANYWHERE } else { &IN_PLACE };
        let path = around[random.usize(..around.len())].replace("{}", &token);
        let shown = url(format!("https://www.shop.example{path}"));
        if shown.contains(&token) {
            kept.push(format!("{}: {shown}", format.name));
        }
    }
    kept
}

#[test]
fn tokens_in_public_formats_are_redacted() {
    let mut random = Rng::with_seed(16);
    let mut staying = kept(&FORMATS, 10_000, &mut random);
    assert!(staying.len() <= 10, "{} of 10,000 stay:\n{}", staying.len(), staying.join("\n"));
    staying = kept(&HELD_BACK, 10_000, &mut random);
    assert!(staying.len() <= 10, "{} of 10,000 stay:\n{}", staying.len(), staying.join("\n"));
}

#[test]
fn account_numbers_are_redacted() {
    let mut random = Rng::with_seed(17);
    let grouped = |number: &str, by: &str| {
        let groups: Vec<_> =
            number.as_bytes().chunks(4).map(|group| str::from_utf8(group).unwrap()).collect();
        groups.join(by)
    };
    for _ in 0..1000 {
        for number in [formats::card_number(&mut random), formats::iban(&mut random)] {
            for number in [number.clone(), grouped(&number, "-"), grouped(&number, "%20")] {
                for path in ["/pay/{}", "/pay/{}/x", "/id:{}", "/{}!"] {
                    let shown = url(format!("https://a.example{}", path.replace("{}", &number)));
                    // Groups with blanks are recognized only alone.
                    let alone = !number.contains('%') || path.starts_with("/pay");
                    assert!(!alone || !shown.contains(&number), "{shown}");
                }
            }
        }
    }
    for kept in ["/p/4006381333931", "/status/1234567890123456789", "/t/1700000000000000", "/DE89-sale-2024"]
    {
        assert_eq!(url(format!("https://a.example{kept}")), format!("https://a.example{kept}"));
    }
}

#[test]
fn numeric_codes_are_redacted() {
    for (path, shown) in [
        ("/code/834912", "/code/:redacted"),
        ("/code/8349", "/code/:redacted"),
        ("/otp/12345", "/otp/:redacted"),
        ("/verify/4711", "/verify/:redacted"),
        ("/users/verify/sms/834912", "/users/verify/sms/:redacted"),
        ("/zip-code/90210", "/zip-code/90210"),
        ("/status/404", "/status/404"),
        ("/products/834912", "/products/834912"),
        ("/archive/2024/05/12", "/archive/2024/05/12"),
    ] {
        assert_eq!(url(format!("https://a.example{path}")), format!("https://a.example{shown}"));
    }
}

#[test]
fn tokens_behind_escapes_are_redacted() {
    let mut random = Rng::with_seed(18);
    for format in FORMATS.iter().chain(&HELD_BACK).filter(|format| !format.name.starts_with("Azure")) {
        let token = format.token(&mut random);
        for (at, around) in [
            "fetch('https://a.example/reset/{}')",
            r"u='https:\x2f\x2fa.example\x2freset\x2f{}'",
            r#""https:\u002F\u002Fa.example\u002freset\u002F{}""#,
            "u=https%3A%2F%2Fa.example%2Freset%2F{}&x",
            "u=https%253A%252F%252Fa.example%252Freset%252F{}&x",
            "<a href=&quot;https:&#47;&#x2f;a.example/reset/{}&quot;>",
            "s.nonce=`{}`",
            "s['nonce']='{}'",
            "__webpack_nonce__ = \"{}\"",
            "s.setAttribute(`nonce`, `{}`)",
        ]
        .into_iter()
        .enumerate()
        {
            let shown = sample(around.replace("{}", &token));
            // A nonce is base64.
            let in_nonce =
                at < 6 || token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
            assert!(!shown.contains(&token) || !in_nonce, "{}: {shown}", format.name);
        }
    }
    let jwt = "eyJhbGciOiJIUzI1NiJ9%2EeyJzdWIiOiIxMjM0NTY3ODkwIn0%2Ec2lnbmF0dXJl";
    let shown = sample(format!("t='{jwt}'"));
    assert!(!shown.contains("eyJ") && !shown.contains("c2ln"), "{shown}");
}

#[test]
fn ordinary_paths_stay() {
    const PATHS: usize = 100_000;
    let mut random = Rng::with_seed(19);
    let mut paths = ordinary::Paths::new();
    let mut redacted = Vec::new();
    for _ in 0..PATHS {
        let path = paths.next(&mut random);
        let shown = url(format!("https://www.shop.example{path}"));
        if shown.contains(":redacted") {
            redacted.push(format!("{path} {shown}"));
        }
    }
    let shown: Vec<_> = redacted.iter().take(40).map(String::as_str).collect();
    assert!(redacted.len() <= PATHS / 200, "{} are redacted:\n{}", redacted.len(), shown.join("\n"));
}
