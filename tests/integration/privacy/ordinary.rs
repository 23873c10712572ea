//! Ordinary paths: slugs, dates, product ids, fingerprinted assets, locales, versions, API routes, packages.

use std::path::Path;

use fastrand::Rng;

/// Words of other languages than English, as slugs spell them.
#[rustfmt::skip]
const FOREIGN: [&str; 96] = [
    "herren", "schuhe", "guenstig", "kaufen", "ratgeber", "veranstaltungen", "oeffnungszeiten", "datenschutz",
    "krankenversicherung", "fruehstueck", "rechtsschutzversicherung", "gesundheit", "ueber-uns", "kontakt",
    "warenkorb", "kasse", "bestellungen", "konto", "hilfe", "zubehoer", "actualites", "chaussures", "femme",
    "recherche", "panier", "mentions-legales", "accueil", "bibliotheque", "sejour", "vetements", "pourquoi",
    "nouveautes", "qualite", "boutique", "noticias", "zapatos", "mujer", "busqueda", "carrito", "ayuntamiento",
    "ofertas", "quienes-somos", "trabajo", "espanol", "ninos", "hombre", "notizie", "scarpe", "donna", "ricerca",
    "carrello", "chi-siamo", "offerte", "gioielli", "cucina", "wiadomosci", "szukaj", "sklep", "koszyk",
    "przepisy", "zdrowie", "wszystkie", "mezczyzna", "kobiety", "szczegoly", "nieruchomosci", "uutiset", "haku",
    "kaupunki", "tyoepaikat", "yhteystiedot", "nyheter", "klader", "barn", "kundvagn", "sok", "jobb", "haberler",
    "urunler", "kadin", "ayakkabi", "hakkimizda", "iletisim", "noticia", "produtos", "mulher", "pesquisa",
    "carrinho", "sobre-nos", "moda", "novosti", "magazin", "katalog", "shangpin", "xinwen", "zhongguo",
];
#[rustfmt::skip]
const LOCALES: [&str; 14] = [
    "en", "de", "fr", "en-US", "en_GB", "de-DE", "pt-BR", "zh-Hans", "zh-Hant-TW", "sr-Latn", "es-419", "fr-CA",
    "ja", "pl",
];
#[rustfmt::skip]
const PACKAGES: [&str; 14] = [
    "bootstrap", "jquery", "vue", "react-dom", "lodash.debounce", "core-js", "font-awesome", "swiper",
    "chart.js", "@fancyapps", "d3-scale", "three", "tailwindcss", "alpinejs",
];
#[rustfmt::skip]
const FOLDERS: [&str; 18] = [
    "products", "blog", "news", "category", "shop", "docs", "help", "articles", "user", "authors", "account",
    "settings", "events", "jobs", "media", "press", "support", "search",
];
#[rustfmt::skip]
const ROUTES: [&str; 26] = [
    "/login", "/auth/login", "/auth/callback", "/oauth2/authorize", "/password/forgot", "/reset-password",
    "/account/verify/success", "/invite/friends", "/join/us", "/share/article", "/session/new", "/users/sign_in",
    "/unsubscribe/done", "/activate/thanks", "/api/v1/auth/token", "/api/v2/sessions", "/login/oauth2/code/google",
    "/realms/master/protocol/openid-connect/auth", "/wp-login.php", "/confirm/order", "/magic-link/sent",
    "/register/step-2", "/recover/account", "/presets/summer-2024", "/authors/jk-rowling-1965", "/code/examples",
];
const MODELS: [&str; 8] =
    ["AA-ddd", "AAddd", "AAA-dddd-A", "dddGB", "AAddAdddA", "Addd-dd", "AAddddAAA", "Addd"];

/// A source of paths.
pub(super) struct Paths {
    words: Vec<String>,
}

impl Paths {
    /// The words are those of the documents.
    pub(super) fn new() -> Paths {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let mut words: Vec<String> = FOREIGN.iter().map(|word| (*word).to_owned()).collect();
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            if file.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&file).unwrap();
                let all = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| word.len() > 2);
                words.extend(
                    all.filter(|word| !word[1..].contains(char::is_uppercase)).map(str::to_lowercase),
                );
            }
        }
        words.sort();
        words.dedup();
        assert!(words.len() > 1500, "{}", words.len());
        Paths { words }
    }

    fn word(&self, random: &mut Rng) -> &str {
        &self.words[random.usize(..self.words.len())]
    }

    fn slug(&self, random: &mut Rng, words: std::ops::Range<usize>, by: &str) -> String {
        let count = random.usize(words);
        (0..count).map(|_| self.word(random)).collect::<Vec<_>>().join(by)
    }

    fn camel(&self, random: &mut Rng) -> String {
        let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
        (0..random.usize(2..6)).map(|_| capital(self.word(random))).collect()
    }

    pub(super) fn next(&mut self, random: &mut Rng) -> String {
        let slug = self.slug(random, 2..9, "-");
        let word = self.word(random).to_owned();
        let folder = FOLDERS[random.usize(..FOLDERS.len())];
        let locale = LOCALES[random.usize(..LOCALES.len())];
        let package = PACKAGES[random.usize(..PACKAGES.len())];
        let route = ROUTES[random.usize(..ROUTES.len())];
        let (year, month, day) = (random.u32(1998..2027), random.u32(1..13), random.u32(1..29));
        let version = format!("{}.{}.{}", random.u32(..20), random.u32(..30), random.u32(..9));
        let digits = random.u32(1..11);
        let number = random.u64(1..10_u64.pow(digits));
        let hash = |length: usize, random: &mut Rng| of("0123456789abcdef", length, random);
        match random.usize(..30) {
            0 => format!("/{slug}"),
            1 => format!("/{folder}/{slug}"),
            2 => format!("/{locale}/{folder}/{slug}.html"),
            3 => format!("/{year}/{month:02}/{day:02}/{slug}/"),
            4 => format!("/blog/{year}-{month:02}-{day:02}-{slug}"),
            5 => format!("/{folder}/{number}"),
            6 => format!("/{folder}/{number}-{slug}"),
            7 => format!("/{folder}/{slug}-{number}.html"),
            8 => format!("/{word}/dp/B0{}", of("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", 8, random)),
            9 => format!("/p/{}", model(random)),
            10 => format!("/{}-{}-{}", word, model(random), self.slug(random, 1..4, "-")),
            11 => format!("/assets/{word}.{}.js", hash(8, random)),
            12 => format!("/static/js/{}.{}.chunk.js", random.u32(..999), hash(8, random)),
            13 => format!("/assets/{word}-{}.css", of(BASE64URL, 8, random)),
            14 => format!("/packs/{word}-{}.js", hash(64, random)),
            15 => format!("/img/{slug}-{number}x{number}.webp"),
            16 => format!("/npm/{package}@{version}/dist/{word}.min.js"),
            17 => format!("/ajax/libs/{package}/{version}/{word}.min.css"),
            18 => format!("/api/v{}/{folder}/{number}/{word}", random.u32(1..4)),
            19 => format!("/{}/{}", self.camel(random), self.camel(random)),
            20 => format!("/{}", self.slug(random, 2..6, "_")),
            21 => format!("/{locale}{route}"),
            22 => route.to_owned(),
            23 => format!(
                "/{folder}/{}-{}-4{}-a{}-{}",
                hash(8, random),
                hash(4, random),
                hash(3, random),
                hash(3, random),
                hash(12, random)
            ),
            24 => format!("/_next/static/{}/_buildManifest.js", of(BASE64URL, 21, random)),
            25 => format!("/@{word}/{slug}-{}", hash(12, random)),
            26 => format!("/{folder}/{}%20{word}", self.word(random)),
            27 => format!("/{folder},{word}/{}", self.slug(random, 2..5, "+")),
            28 => format!("/{}/{year}/{}.pdf", word, self.slug(random, 2..6, "_").to_uppercase()),
            _ => format!("/downloads/{word}-{version}-linux-x86_64.tar.gz"),
        }
    }
}

const BASE64URL: &str = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

fn of(alphabet: &str, length: usize, random: &mut Rng) -> String {
    (0..length).map(|_| char::from(alphabet.as_bytes()[random.usize(..alphabet.len())])).collect()
}

/// Returns the name of a model, such as `SM-991`.
fn model(random: &mut Rng) -> String {
    let pattern = MODELS[random.usize(..MODELS.len())];
    pattern
        .chars()
        .map(|c| match c {
            'A' => char::from(random.u8(b'A'..=b'Z')),
            'd' => char::from(random.u8(b'0'..=b'9')),
            other => other,
        })
        .collect()
}
