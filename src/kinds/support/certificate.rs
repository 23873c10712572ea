//! Certificates in transport-security reports (HPKP, Expect-CT, Expect-Staple). These carry whole
//! chains as PEM; only the subject, the issuer, the expiry and the fingerprint of the server's own
//! certificate are kept. A certificate that cannot be parsed is dropped.

use std::borrow::Cow;

use jiff::Timestamp;
use opentelemetry_semantic_conventions::attribute::{
    SERVER_ADDRESS, SERVER_PORT, TLS_SERVER_HASH_SHA256, TLS_SERVER_ISSUER, TLS_SERVER_NOT_AFTER,
    TLS_SERVER_SUBJECT,
};
use ring::digest::{SHA256, digest};
use x509_parser::pem::parse_x509_pem;

use crate::kinds::support::fields::{derived, field, unmapped};
use crate::model::{
    Attribute, AttributeSink, DerivedAttribute, FieldSpec, FieldType, Object, Report, ReportKind, Severity,
    Value,
};

pub(crate) const HOSTNAME: FieldSpec = field("hostname", FieldType::Token, SERVER_ADDRESS);
pub(crate) const PORT: FieldSpec = field("port", FieldType::NonZeroInt, SERVER_PORT);
/// The description of the server's certificate, which replaces the chains.
pub(crate) const CERTIFICATE: FieldSpec = unmapped("certificate", FieldType::Any);

/// Chains by the names of RFC 7469, in order of preference. Both start with the server's own certificate.
const CHAIN_FIELDS: [&str; 2] = ["served-certificate-chain", "validated-certificate-chain"];

/// The longest PEM text that is parsed, in bytes. Real certificates have about 2 KiB.
const MAX_PEM: usize = 16 * 1024;

pub(crate) const TRANSPORT: ReportKind = ReportKind {
    identity: &["hostname", "port"],
    severity: |_| Severity::Warn,
    upgrade: replace_chains,
    attributes: emit_attributes,
    derived_attributes: ATTRIBUTES,
    ..ReportKind::DEFAULT
};

/// The members of [`CERTIFICATE`].
const MEMBERS: [&str; 4] = ["subject", "issuer", "not-after", "sha256"];

/// The attributes that carry [`MEMBERS`].
const ATTRIBUTES: &[DerivedAttribute] = &[
    derived(TLS_SERVER_SUBJECT, FieldType::Token, "`subject` of `certificate`"),
    derived(TLS_SERVER_ISSUER, FieldType::Token, "`issuer` of `certificate`"),
    derived(TLS_SERVER_NOT_AFTER, FieldType::Token, "`not-after` of `certificate`"),
    derived(TLS_SERVER_HASH_SHA256, FieldType::Token, "`sha256` of `certificate`"),
];

fn replace_chains(body: &mut Object<'_>) {
    let chains = CHAIN_FIELDS.map(|chain| body.remove(chain));
    let Some(values) = chains.iter().flatten().find_map(leaf_certificate) else { return };
    let member = |(name, value)| (Cow::Borrowed(name), Value::String(Cow::Owned(value)));
    let members = MEMBERS.into_iter().zip(values).map(member);
    body.remove(CERTIFICATE.name);
    body.0.push((Cow::Borrowed(CERTIFICATE.name), Value::Object(Object(members.collect()))));
}

/// Describes a chain's first certificate, in the order of [`MEMBERS`].
fn leaf_certificate(chain: &Value<'_>) -> Option<[String; MEMBERS.len()]> {
    let Value::Array(chain) = chain else { return None };
    let pem = chain.first()?.as_str().filter(|pem| pem.len() <= MAX_PEM)?;
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let expiry = Timestamp::from_second(certificate.validity().not_after.timestamp()).ok()?;
    Some([
        certificate.subject().to_string(),
        certificate.issuer().to_string(),
        expiry.to_string(),
        // In upper case, because the semantic conventions require it.
        data_encoding::HEXUPPER.encode(digest(&SHA256, &pem.contents).as_ref()),
    ])
}

fn emit_attributes(report: &Report<'_>, emit: AttributeSink<'_>) {
    let Some(certificate) = report.body.get_object(CERTIFICATE.name) else { return };
    for (member, attribute) in MEMBERS.into_iter().zip(ATTRIBUTES) {
        if let Some(value) = certificate.get_str(member) {
            emit(attribute.name, Attribute::Text(value));
        }
    }
}

/// Returns `www.example.com:443`, or the host alone if the port is unknown.
pub(crate) fn server_name(report: &Report<'_>) -> String {
    let host = report.body.get_str(HOSTNAME.name).unwrap_or("an unnamed host");
    match report.body.get_u64(PORT.name) {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    }
}

/// Returns ` (issued by …, expires …)`, or nothing if the certificate is unknown.
pub(crate) fn describe_certificate(report: &Report<'_>) -> String {
    let certificate = report.body.get_object(CERTIFICATE.name);
    let member = |name| certificate.and_then(|certificate| certificate.get_str(name));
    match (member("issuer"), member("not-after")) {
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
    fn replace_chains_keeps_a_description_of_the_leaf() {
        let certificate = certificate();
        let pem = certificate.pem();
        let mut body = chain(&pem);
        replace_chains(&mut body);
        let found = body.get_object(CERTIFICATE.name).unwrap();
        assert!(found.get_str("subject").is_some_and(|subject| subject.contains("CN=shop.example")));
        assert_eq!(found.get_str("not-after"), Some("2031-05-01T00:00:00Z"));
        let fingerprint = data_encoding::HEXUPPER.encode(digest(&SHA256, certificate.der()).as_ref());
        assert_eq!(found.get_str("sha256").unwrap(), fingerprint);
        assert_eq!(body.0.len(), 1);
        let once = body.clone();
        replace_chains(&mut body);
        assert_eq!(body, once);
    }

    #[test]
    fn replace_chains_drops_what_cannot_be_parsed() {
        let pem = certificate().pem();
        let truncated = &pem[..pem.len() / 2];
        let mangled = pem.replace("MII", "AAA");
        let huge = "-".repeat(MAX_PEM + 1);
        for unusable in ["", "-----BEGIN CERTIFICATE-----\n…", truncated, &mangled, &huge] {
            let mut body = chain(unusable);
            replace_chains(&mut body);
            assert!(body.0.is_empty(), "{unusable}");
        }
        let mut body = Object(vec![(Cow::Borrowed(CHAIN_FIELDS[1]), Value::Integer(7))]);
        replace_chains(&mut body);
        assert!(body.0.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn replace_chains_of_mangled_certificate_does_not_panic(at: usize, letters in "[A-Za-z0-9+/]{4}") {
            static PEM: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| certificate().pem());
            let start = PEM.find('\n').unwrap() + 1;
            let at = start + at % (PEM.len() / 2);
            let mangled = format!("{}{letters}{}", &PEM[..at], &PEM[at + letters.len()..]);
            replace_chains(&mut chain(&mangled));
        }
    }
}
