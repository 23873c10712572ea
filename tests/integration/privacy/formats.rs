//! Tokens in the public formats of 58 services and standards, random in every part that is random in them.

use fastrand::Rng;

/// A format of tokens.
pub(super) struct Format {
    pub(super) name: &'static str,
    /// Whether a token is one in any place; else only after a word such as `reset`.
    pub(super) anywhere: bool,
    /// `[class;length]` for random characters, other characters for themselves.
    pattern: &'static str,
}

const fn anywhere(name: &'static str, pattern: &'static str) -> Format {
    Format { name, anywhere: true, pattern }
}

const fn in_place(name: &'static str, pattern: &'static str) -> Format {
    Format { name, anywhere: false, pattern }
}

/// The formats that the detection was tuned with.
pub(super) const FORMATS: [Format; 48] = [
    anywhere("JSON Web Token", "eyJ[u;33].eyJ[u;60].[u;43]"),
    anywhere("GitHub personal access token", "ghp_[a;36]"),
    anywhere("GitHub fine-grained token", "github_pat_[a;22]_[a;59]"),
    anywhere("GitLab personal access token", "glpat-[u;20]"),
    anywhere("Slack bot token", "xoxb-[d;12]-[d;13]-[a;24]"),
    anywhere("Slack webhook secret", "[a;24]"),
    anywhere("Stripe secret key", "sk_live_[a;24]"),
    anywhere("Stripe checkout session", "cs_test_a1[a;56]"),
    anywhere("AWS access key id", "AKIA[5;16]"),
    anywhere("Google API key", "AIza[u;35]"),
    anywhere("Google OAuth access token", "ya29.[u;120]"),
    anywhere("Google OAuth client secret", "GOCSPX-[u;28]"),
    anywhere("Telegram bot token", "bot[d;9]:AA[u;33]"),
    anywhere("Firebase Cloud Messaging registration", "APA91b[u;134]"),
    anywhere("SendGrid API key", "SG.[u;22].[u;43]"),
    anywhere("Twilio API key", "SK[h;32]"),
    anywhere("npm access token", "npm_[a;36]"),
    anywhere("PyPI API token", "pypi-AgEIcHlwaS5vcmc[u;120]"),
    anywhere("Azure SAS signature", "sv=2022-11-02&sig=[a;43]%3D"),
    anywhere("Discord bot token", "MT[a;22].[u;6].[u;27]"),
    anywhere("Discord webhook secret", "[u;68]"),
    anywhere("Mailchimp API key", "[h;32]-us[d;2]"),
    anywhere("Shopify access token", "shpat_[h;32]"),
    anywhere("Facebook access token", "EAA[a;120]"),
    anywhere("DigitalOcean token", "dop_v1_[h;64]"),
    anywhere("Hugging Face token", "hf_[l;34]"),
    anywhere("OpenAI API key", "sk-[a;48]"),
    anywhere("Anthropic API key", "sk-ant-api03-[u;93]AA"),
    anywhere("Cloudflare API token", "[u;40]"),
    anywhere("Square access token", "sq0atp-[u;22]"),
    anywhere("Dropbox access token", "sl.[u;136]"),
    anywhere("Atlassian API token", "ATATT3xFfGF0[u;171]=[H;8]"),
    anywhere("Notion secret", "secret_[a;43]"),
    anywhere("Linear API key", "lin_api_[a;40]"),
    anywhere("SHA-1 or MD5 of a session", "[h;32]"),
    anywhere("hexadecimal, 160 bits", "[h;40]"),
    anywhere("hexadecimal, 256 bits", "[h;64]"),
    anywhere("base64url, 256 bits", "[u;43]"),
    anywhere("ULID", "01[c;24]"),
    anywhere("nanoid", "[u;21]"),
    anywhere("KSUID", "2[a;26]"),
    anywhere("Rails signed id", "eyJfcmFpbHMiOnsi[a;60]--[h;64]"),
    in_place("Django reset token", "c[i;5]-[h;32]"),
    in_place("UUID", "[h;8]-[h;4]-4[h;3]-a[h;3]-[h;12]"),
    in_place("Heroku API key", "[h;8]-[h;4]-4[h;3]-b[h;3]-[h;12]"),
    in_place("identifier of a magic link", "[a;12]"),
    in_place("identifier of an invitation", "[h;8]"),
    in_place("number of six digits", "[d;6]"),
];

/// Formats that the detection was not tuned with.
pub(super) const HELD_BACK: [Format; 10] = [
    anywhere("Vault service token", "hvs.[a;24]"),
    anywhere("Doppler token", "dp.pt.[a;43]"),
    anywhere("Docker personal access token", "dckr_pat_[u;27]"),
    anywhere("Grafana service account token", "glsa_[a;32]_[h;8]"),
    anywhere("Figma personal access token", "figd_[u;40]"),
    anywhere("Postman API key", "PMAK-[h;24]-[h;34]"),
    anywhere("Supabase access token", "sbp_[h;40]"),
    anywhere("Twitch OAuth token", "[i;30]"),
    anywhere("New Relic user key", "NRAK-[B;27]"),
    in_place("recovery code in groups", "[i;5]-[i;5]"),
];

impl Format {
    /// Returns a random token.
    pub(super) fn token(&self, random: &mut Rng) -> String {
        let mut token = String::new();
        let mut rest = self.pattern;
        while let Some((before, part)) = rest.split_once('[') {
            let (part, after) = part.split_once(']').unwrap();
            let (class, length) = part.split_once(';').unwrap();
            token.push_str(before);
            let alphabet = alphabet(class);
            for _ in 0..length.parse().unwrap() {
                token.push(char::from(alphabet[random.usize(..alphabet.len())]));
            }
            rest = after;
        }
        token + rest
    }
}

fn alphabet(class: &str) -> &'static [u8] {
    match class {
        "a" => b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        "u" => b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_",
        "l" => b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "i" => b"abcdefghijklmnopqrstuvwxyz0123456789",
        "B" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        "5" => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567",
        "c" => b"0123456789ABCDEFGHJKMNPQRSTVWXYZ",
        "h" => b"0123456789abcdef",
        "H" => b"0123456789ABCDEF",
        "d" => b"0123456789",
        other => panic!("{other} is no class"),
    }
}

/// Returns a card number with its check digit.
pub(super) fn card_number(random: &mut Rng) -> String {
    let prefix = ["4", "51", "2221", "37", "6011", "36"][random.usize(..6)];
    let length = match prefix {
        "37" => 15,
        "36" => 14,
        _ => 16,
    };
    let mut number = prefix.to_owned();
    while number.len() < length - 1 {
        number.push(char::from(b'0' + random.u8(..10)));
    }
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let digits = number.chars().rev().map(|c| c.to_digit(10).unwrap());
    let sum: u32 =
        digits.enumerate().map(|(at, digit)| if at % 2 == 0 { doubled(digit) } else { digit }).sum();
    format!("{number}{}", (10 - sum % 10) % 10)
}

/// Returns an IBAN of Germany, the Netherlands or France with its check digits.
pub(super) fn iban(random: &mut Rng) -> String {
    let (country, letters, digits) = [("DE", "", 18), ("NL", "ABNA", 10), ("FR", "", 23)][random.usize(..3)];
    let account: String =
        letters.chars().chain((0..digits).map(|_| char::from(b'0' + random.u8(..10)))).collect();
    let add = |sum: u32, c: char| {
        let digit = c.to_digit(36).unwrap();
        (sum * if digit > 9 { 100 } else { 10 } + digit) % 97
    };
    let rest = format!("{account}{country}00").chars().fold(0, add);
    format!("{country}{:02}{account}", 98 - rest)
}
