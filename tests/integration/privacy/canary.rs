//! Random secrets in every part of a URL and in every notation. What is not redacted by design (hosts, plain
//! paths, words outside of URLs) is not a secret here.

use proptest::prelude::*;

/// A text, and the parts of it that must not be in an output in any notation.
#[derive(Debug, Clone)]
pub(super) struct Canary {
    pub(super) text: String,
    pub(super) secrets: Vec<String>,
}

impl Canary {
    fn new(text: String, secrets: &[&str]) -> Canary {
        Canary { text, secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect() }
    }

    /// Returns the same secrets in another text.
    pub(super) fn within(&self, text: impl FnOnce(&str) -> String) -> Canary {
        Canary { text: text(&self.text), secrets: self.secrets.clone() }
    }

    /// Returns the first secret that an output contains, in any case, percent-encoded or not.
    pub(super) fn found_in(&self, output: &str) -> Option<&str> {
        let mut levels = vec![output.to_lowercase()];
        for _ in 0..3 {
            let decoded = decoded(levels.last().unwrap());
            levels.push(decoded);
        }
        let secret = |secret: &&String| levels.iter().any(|level| level.contains(&secret.to_lowercase()));
        self.secrets.iter().find(secret).map(String::as_str)
    }
}

fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Long enough not to be in an output by chance.
fn token() -> impl Strategy<Value = String> {
    "Kana[a-zA-Z0-9]{6,20}"
}

/// Two tokens, and what may separate them in a user name or a query.
fn two_tokens() -> impl Strategy<Value = (String, String, String)> {
    (token(), r"[!$&*+,;=._~()|-]{0,2}|%40|%3A|%2F|%2540", token())
}

/// What follows a host. User and password precede it: see [`userinfo`].
pub(super) fn behind_host() -> BoxedStrategy<Canary> {
    prop_oneof![query(), fragment(), path()].boxed()
}

fn query() -> BoxedStrategy<Canary> {
    let before =
        prop::sample::select(vec!["?token=", "?a=1&b=", "/cart?q=", "/cart?a[]=1&a[]=", "/x.js?v=1&"]);
    (before, two_tokens(), "(&c=d)?")
        .prop_map(|(before, (a, between, b), after)| {
            Canary::new(format!("{before}{a}{between}{b}{after}"), &[&a, &b])
        })
        .boxed()
}

fn fragment() -> BoxedStrategy<Canary> {
    let before = prop::sample::select(vec![
        "#access_token=",
        "/cart#",
        "/cart?a=1#",
        "/#/reset/",
        "/cb#state=1&id_token=",
    ]);
    (before, two_tokens())
        .prop_map(|(before, (a, between, b))| Canary::new(format!("{before}{a}{between}{b}"), &[&a, &b]))
        .boxed()
}

/// A secret as a segment of a path.
pub(super) fn path() -> BoxedStrategy<Canary> {
    let before = prop::sample::select(vec!["/", "/in/", "/a/b.c/", "//"]);
    let after = prop::sample::select(vec!["", "/", "/edit", "/edit?x=1", "?x", ";v=1/y"]);
    (before, encoded_segment(), after)
        .prop_map(|(before, secret, after)| secret.within(|text| format!("{before}{text}{after}")))
        .boxed()
}

fn encoded_segment() -> BoxedStrategy<Canary> {
    let plain = prop_oneof![
        4 => segment(),
        1 => in_reset_place("[a-z]{2}[0-9]{2}[a-z0-9]{4,10}"),
        1 => in_reset_place(UUID),
    ];
    (plain, notation()).prop_map(|(secret, notation)| secret.within(|text| notation.apply(text))).boxed()
}

const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-a[0-9a-f]{3}-[0-9a-f]{12}";

fn segment() -> BoxedStrategy<Canary> {
    prop_oneof![
        ("eyJ[A-Za-z0-9_-]{13,40}", "eyJ[A-Za-z0-9_-]{10,40}", "[A-Za-z0-9_-]{20,43}")
            .prop_map(|(a, b, c)| Canary::new(format!("{a}.{b}.{c}"), &[&a, &b, &c])),
        "[0-9a-f]{24,64}|[0-9A-F]{32}|[0-9a-f]{8}(-[0-9a-f]{8}){3}"
            .prop_map(|hex| Canary::new(hex.clone(), &[&hex])),
        "([A-Za-z]{1,2}[0-9][A-Z][-_]?){7,14}".prop_map(|id| Canary::new(id.clone(), &[&id])),
        (token(), "@|%40|%2540")
            .prop_map(|(name, at)| Canary::new(format!("jane.{name}{at}example.com"), &[&name])),
        token().prop_map(|id| Canary::new(format!("session={id}"), &[&id])),
    ]
    .boxed()
}

/// Short identifiers that are credentials because of the segment before them.
fn in_reset_place(id: &'static str) -> BoxedStrategy<Canary> {
    const PLACES: [&str; 7] =
        ["reset", "reset-password", "Invite", "verify-email", "magic_link", "activate", "unsubscribe"];
    (prop::sample::select(&PLACES[..]), "//?", id)
        .prop_map(|(place, slash, id)| Canary::new(format!("{place}{slash}{id}"), &[&id]))
        .boxed()
}

/// How a segment is written.
#[derive(Debug, Clone)]
enum Notation {
    Plain,
    Upper,
    /// Some letters and digits percent-encoded, this many times over.
    Encoded(Vec<bool>, u8),
    /// Everything that is no letter or digit percent-encoded, slashes too.
    Component,
}

fn notation() -> BoxedStrategy<Notation> {
    prop_oneof![
        3 => Just(Notation::Plain),
        1 => Just(Notation::Upper),
        2 => (prop::collection::vec(any::<bool>(), 8), 1..3_u8).prop_map(|(which, times)| Notation::Encoded(which, times)),
        1 => Just(Notation::Component),
    ].boxed()
}

impl Notation {
    fn apply(&self, text: &str) -> String {
        match self {
            Notation::Plain => text.to_owned(),
            Notation::Upper => text.to_ascii_uppercase(),
            Notation::Component => component(text),
            // Encoding a part of an escape would break it.
            Notation::Encoded(..) if text.contains('%') => text.to_owned(),
            Notation::Encoded(which, times) => {
                let letters = text.bytes().zip(which.iter().cycle());
                let once: String = letters
                    .map(|(byte, encode)| {
                        if *encode && byte.is_ascii_alphanumeric() {
                            format!("%{byte:02X}")
                        } else {
                            char::from(byte).to_string()
                        }
                    })
                    .collect();
                (1..*times).fold(once, |text, _| text.replace('%', "%25"))
            }
        }
    }
}

fn component(text: &str) -> String {
    let byte = |byte: u8| {
        if byte.is_ascii_alphanumeric() || b"-_.!~*".contains(&byte) {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02x}")
        }
    };
    text.bytes().map(byte).collect()
}

fn scheme() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "https",
        "http",
        "wss",
        "ws",
        "ftp",
        "HTTPS",
        "chrome-extension",
        "android-app",
    ])
}

fn host() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "shop.example",
        "Shop.Example:8443",
        "[2001:db8::1]:443",
        "localhost",
        "xn--bcher-kva.example",
    ])
}

/// `user:password@`, and the secrets in it.
pub(super) fn userinfo() -> BoxedStrategy<Canary> {
    let name = two_tokens().prop_map(|(a, between, b)| Canary::new(format!("{a}{between}{b}"), &[&a, &b]));
    (name, token(), "@|:@|:[!$&*+,;=._~-]?")
        .prop_map(|(mut user, password, end)| {
            user.text += &end;
            if !end.ends_with('@') {
                user.text += &format!("{password}@");
                user.secrets.push(password);
            }
            user
        })
        .boxed()
}

/// An absolute URL that carries a secret.
pub(super) fn url() -> BoxedStrategy<Canary> {
    let authority = prop_oneof![
        2 => (host(), behind_host()).prop_map(|(host, secret)| secret.within(|text| format!("{host}{text}"))),
        1 => (userinfo(), host(), "(/cart)?").prop_map(|(user, host, path)| user.within(|text| format!("{text}{host}{path}"))),
        1 => (userinfo(), host()).prop_map(|(user, host)| user.within(|text| format!("{}{host}/", component(text)))),
    ];
    let absolute =
        (scheme(), authority).prop_map(|(scheme, rest)| rest.within(|text| format!("{scheme}://{text}")));
    absolute.boxed()
}

/// A `file:` URL, whose path is secret, because it names a home directory.
fn file() -> BoxedStrategy<Canary> {
    (token(), "file://|FILE:/|file:|view-source:file:///|jar:file:///")
        .prop_map(|(name, start)| Canary::new(format!("{start}/home/{name}/x.js"), &[&name]))
        .boxed()
}

/// A URL alone, within a scheme that wraps one, or within the path or the query of another.
pub(super) fn nested() -> BoxedStrategy<Canary> {
    const WRAPPERS: [&str; 10] = [
        "blob:",
        "filesystem:",
        "view-source:",
        "BLOB:",
        "view-source:blob:",
        "jar:",
        "data:text/html,",
        "data:text/html;charset=utf-8,",
        "https://proxy.example/",
        "https://proxy.example/?u=",
    ];
    const ENCODING: [&str; 3] =
        ["https://proxy.example/go/", "https://proxy.example/?u=", "HTTPS://proxy.example/#"];
    let wrapped = (prop::sample::select(&WRAPPERS[..]), url())
        .prop_map(|(wrapper, url)| url.within(|text| format!("{wrapper}{text}")));
    let encoded = (prop::sample::select(&ENCODING[..]), url(), 1..3).prop_map(|(outer, url, times)| {
        let encode = |text: &str| (0..times).fold(text.to_owned(), |text, _| component(&text));
        url.within(|text| format!("{outer}{}", encode(text)))
    });
    prop_oneof![8 => url(), 4 => wrapped, 2 => encoded, 1 => file()].boxed()
}

/// A URL without a scheme, as in scripts, markup and policies.
pub(super) fn reference() -> BoxedStrategy<Canary> {
    const STARTS: [&str; 7] =
        ["", ".", "..", "/shop.example", "cdn.example", "www.shop.example:8443", "//cdn.example"];
    let starts_well = |text: &str| text.starts_with('/') && !text.starts_with("//");
    // A query alone is not a path, and a URL without a scheme is examined up to its first `=`.
    let is_path =
        move |text: &str| starts_well(text) && !decoded(&decoded(text)).to_lowercase().contains("session=");
    let rooted = (prop::sample::select(&STARTS[..]), behind_host())
        .prop_filter("it is not a path", move |(_, secret)| is_path(&secret.text))
        .prop_map(|(start, secret)| secret.within(|text| format!("{start}{text}")));
    let with_user =
        (userinfo(), host()).prop_map(|(user, host)| user.within(|text| format!("//{text}{host}/x")));
    prop_oneof![4 => rooted, 1 => with_user].boxed()
}

/// Texts that quote a URL.
pub(super) fn around() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "{}",
        " {} ",
        "at f ({}:12:5)",
        "    at {}:1:22\n    at g (a.js:1:2)",
        "f@{}:12:5\n",
        "fetch('{}').then()",
        "fetch(\"{}\")",
        "fetch(`{}`)",
        "Refused to load '{}' because",
        "{}, {}",
        "script-src {} 'self'; img-src {}",
        "report-uri {}; x",
        "<script src=\"{}\">",
        "<a href={}>x</a>",
        "url({})",
        "[x]({})",
        "<{}>",
        "u={}",
        "Mozilla/5.0 (+{})",
        "{\"u\":\"{}\",\"v\":1}",
        "Über {} – é",
        "a ? b : '{}'",
    ])
}

/// Nonces as in policies, markup and scripts.
pub(super) fn nonce() -> BoxedStrategy<Canary> {
    let around = prop::sample::select(vec![
        "script-src 'nonce-{}' 'self'",
        "default-src 'self'; script-src 'NONCE-{}'; report-uri /r",
        "<script nonce=\"{}\">alert(1)</script>",
        "<script nonce='{}'>",
        "<script nonce={}>",
        "s.nonce = \"{}\"",
        "{\"nonce\":\"{}\"}",
        "s.setAttribute('nonce', '{}')",
        "s.setAttribute(\"nonce\",\"{}\")",
        "<link nonce = '{}'>",
    ]);
    (around, "Kana[A-Za-z0-9]{10,22}", "[+/_-]", "[A-Za-z0-9]{8,12}={0,2}")
        .prop_map(|(around, a, between, b)| {
            Canary::new(around.replace("{}", &format!("{a}{between}{b}")), &[&a, &b])
        })
        .boxed()
}
