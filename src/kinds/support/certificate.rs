//! What the transport-security reports (HPKP, Expect-CT, Expect-Staple) say about the certificate that
//! a server presented. They carry whole chains as PEM; of those a person wants to know the subject, the
//! issuer, the expiry and the fingerprint of the server's own certificate, and nothing else of them
//! leaves the process. Reports are anybody's bytes: a certificate that cannot be read is left out.

use std::borrow::Cow;

use jiff::Timestamp;
use ring::digest::{SHA256, digest};
use x509_parser::pem::parse_x509_pem;

use crate::kinds::AttributeSink;
use crate::model::{Attribute, Object, Report, Value};

/// The member of a normalized body that tells about the server's certificate.
pub(in crate::kinds) const FIELD: &str = "certificate";

/// Chains under the names of RFC 7469 and its siblings, the one to believe first: the server's own
/// certificate begins both.
const CHAIN_FIELDS: [&str; 2] = ["served-certificate-chain", "validated-certificate-chain"];

/// The longest PEM text that is looked at, in bytes. Real certificates have some 2 KiB.
const MAX_PEM: usize = 16 * 1024;

/// What [`FIELD`] holds, and the attribute that carries it.
/// <https://opentelemetry.io/docs/specs/semconv/registry/attributes/tls/>
const ATTRIBUTES: [(&str, &str); 4] = [
    ("subject", "tls.server.subject"),
    ("issuer", "tls.server.issuer"),
    ("not-after", "tls.server.not_after"),
    ("sha256", "tls.server.hash.sha256"),
];

/// What DNS names and address literals are made of.
pub fn is_host(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    text.len() <= 255 && text.bytes().all(plain)
}

/// The server that a report is about, as a URL.
pub fn server_url(body: &Object<'_>) -> Option<String> {
    // A host and nothing else: whatever is put between `https://` and a port is taken for one later.
    let host = body.get_str("hostname").filter(|host| is_host(host))?;
    let scheme = body.get_str("scheme").filter(|scheme| *scheme == "http").unwrap_or("https");
    let port = port(body).map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{host}{port}/"))
}

/// The server's port.
pub fn port(body: &Object<'_>) -> Option<u64> {
    body.get_u64("port").filter(|port| (1..=65535).contains(port))
}

/// Puts what is known about the server's certificate in the place of the chains.
pub(in crate::kinds) fn upgrade(body: &mut Object<'_>) {
    let chains = CHAIN_FIELDS.map(|chain| body.remove(chain));
    let Some(found) = chains.iter().flatten().find_map(leaf_certificate) else { return };
    let found = ATTRIBUTES
        .iter()
        .zip(found)
        .map(|((name, _), fact)| (Cow::Borrowed(*name), Value::String(Cow::Owned(fact))));
    body.remove(FIELD);
    body.0.push((Cow::Borrowed(FIELD), Value::Object(Object(found.collect()))));
}

/// The facts about a chain's first certificate, in the order of [`ATTRIBUTES`].
fn leaf_certificate(chain: &Value<'_>) -> Option<[String; ATTRIBUTES.len()]> {
    let Value::Array(chain) = chain else { return None };
    let pem = chain.first()?.as_str().filter(|pem| pem.len() <= MAX_PEM)?;
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let expiry = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
    Some([
        certificate.subject().to_string(),
        certificate.issuer().to_string(),
        expiry.to_string(),
        fingerprint(&pem.contents),
    ])
}

/// In upper case, as the semantic conventions ask.
fn fingerprint(der: &[u8]) -> String {
    digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

/// One fact about the certificate.
fn attribute<'r>(report: &'r Report<'_>, name: &str) -> Option<&'r str> {
    match report.body.get(FIELD) {
        Some(Value::Object(found)) => found.get_str(name),
        _ => None,
    }
}

/// The attributes of the certificate.
pub(in crate::kinds) fn attributes(report: &Report<'_>, emit: AttributeSink<'_>) {
    for (name, key) in ATTRIBUTES {
        if let Some(value) = attribute(report, name) {
            emit(key, Attribute::Text(value));
        }
    }
}

/// `www.example.com:443`, or what is known of it.
pub(in crate::kinds) fn server(report: &Report<'_>) -> String {
    let host = report.body.get_str("hostname").unwrap_or("an unnamed host");
    match report.body.get_u64("port") {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// ` (issued by …, expires …)`, for the end of a summary; empty where the certificate is unknown.
pub(in crate::kinds) fn describe(report: &Report<'_>) -> String {
    match (attribute(report, "issuer"), attribute(report, "not-after")) {
        (Some(issuer), Some(expiry)) => format!(" (issued by {issuer}, expires {expiry})"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(pem: &str) -> Object<'_> {
        let chain = Value::Array(vec![Value::String(pem.into()), Value::Null]);
        Object(vec![(Cow::Borrowed(CHAIN_FIELDS[0]), chain)])
    }

    fn certificate() -> rcgen::Certificate {
        let mut parameters = rcgen::CertificateParams::new(["shop.example".to_owned()]).unwrap();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "shop.example");
        parameters.not_after = rcgen::date_time_ymd(2031, 5, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        parameters.self_signed(&key).unwrap()
    }

    #[test]
    fn the_leaf_is_told_and_the_chain_goes() {
        let certificate = certificate();
        let pem = certificate.pem();
        let mut body = chain(&pem);
        upgrade(&mut body);
        let Some(Value::Object(found)) = body.get(FIELD) else { panic!("{body:?}") };
        assert!(found.get_str("subject").is_some_and(|subject| subject.contains("CN=shop.example")));
        assert_eq!(found.get_str("not-after"), Some("2031-05-01T00:00:00Z"));
        assert_eq!(found.get_str("sha256").unwrap(), fingerprint(certificate.der()));
        assert_eq!(body.0.len(), 1);
        let once = body.clone();
        upgrade(&mut body);
        assert_eq!(body, once);
    }

    #[test]
    fn what_is_no_certificate_is_left_out() {
        let pem = certificate().pem();
        let cut = &pem[..pem.len() / 2];
        let mangled = pem.replace("MII", "AAA");
        let huge = "-".repeat(MAX_PEM + 1);
        for unusable in ["", "-----BEGIN CERTIFICATE-----\n…", cut, &mangled, &huge] {
            let mut body = chain(unusable);
            upgrade(&mut body);
            assert!(body.0.is_empty(), "{unusable}");
        }
        let mut body = Object(vec![(Cow::Borrowed(CHAIN_FIELDS[1]), Value::Integer(7))]);
        upgrade(&mut body);
        assert!(body.0.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_mangled_certificate_does_harm(at: usize, letters in "[A-Za-z0-9+/]{4}") {
            static PEM: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| certificate().pem());
            let start = PEM.find('\n').unwrap() + 1;
            let at = start + at % (PEM.len() / 2);
            let mangled = format!("{}{letters}{}", &PEM[..at], &PEM[at + letters.len()..]);
            upgrade(&mut chain(&mangled));
        }
    }
}
