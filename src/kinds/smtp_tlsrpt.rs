//! `smtp-tlsrpt`: a mail sender's daily report to a domain about TLS on connections to the domain's
//! mail servers (RFC 8460). Browsers do not send it; it is a kind here because it also arrives as a
//! POST of JSON, so that the owner of a domain needs no other endpoint for it.
//!
//! One report covers many sessions, for several policies and domains. A domain's sessions count for its own site.

use std::borrow::Cow;

use crate::kinds::support::{derived, field, unmapped};
use crate::model::{
    Attribute, AttributeSink, Classification, Family, FieldType, Increment, Label, LabelValues, OTHER,
    Object, Observation, Observations, Report, ReportKind, Severity, Value,
};

static SESSIONS: Family = Family {
    name: "lookout_smtp_tls_sessions_total",
    help: "SMTP sessions that mail senders report on, by the outcome of their TLS; at most 1,000,000 a report.",
    labels: &["site", "policy", "result"],
    ..Family::COUNTER
};

/// <https://www.rfc-editor.org/rfc/rfc8460#section-4.4>
static POLICIES: LabelValues = LabelValues(&["sts", "tlsa", "no-policy-found"]);

/// <https://www.rfc-editor.org/rfc/rfc8460#section-4.3>
#[rustfmt::skip]
static RESULTS: LabelValues = LabelValues(&[
    "starttls-not-supported", "certificate-host-mismatch", "certificate-expired",
    "certificate-not-trusted", "validation-failure", "tlsa-invalid", "dnssec-invalid", "dane-required",
    "sts-policy-invalid", "sts-webpki-invalid", "sts-policy-fetch-error",
]);

const SUCCESS: Label<'static> = Label::bounded("success");

pub(super) static KIND: ReportKind = ReportKind {
    name: "smtp-tlsrpt",
    specification: "https://www.rfc-editor.org/rfc/rfc8460#section-4",
    fields: &[
        field("organization-name", FieldType::Token, "smtp_tls.organization_name"),
        field("contact-info", FieldType::Token, "smtp_tls.contact_info"),
        field("report-id", FieldType::Token, "smtp_tls.report_id"),
        unmapped("date-range", FieldType::Any),
        field(SESSION_COUNTS, FieldType::MetricSource, "smtp_tls.sessions"),
        field("policies", FieldType::Any, "smtp_tls.policies"),
    ],
    identity: &["organization-name"],
    upgrade,
    severity: |report| if totals(report).1 == 0 { Severity::Info } else { Severity::Warn },
    observe,
    summary,
    attributes,
    derived_attributes: &[
        derived("smtp_tls.successful_sessions", FieldType::Int, "sum over `policies`"),
        derived("smtp_tls.failed_sessions", FieldType::Int, "sum over `policies`"),
        derived("smtp_tls.start_datetime", FieldType::Token, "`start-datetime` of `date-range`"),
        derived("smtp_tls.end_datetime", FieldType::Token, "`end-datetime` of `date-range`"),
    ],
    families: &[&SESSIONS],
    ..ReportKind::DEFAULT
};

/// The field that holds the sums: an object for each domain and policy type, with a member for each result. Computed
/// before normalization, so that the metrics do not depend on how much of `policies` is truncated.
const SESSION_COUNTS: &str = "sessions";
const DOMAIN: &str = "policy-domain";
const POLICY: &str = "policy-type";

/// The largest number of entries in [`SESSION_COUNTS`], so that they fit into a normalized body.
/// Further domains are counted without their domain, for the report's own site.
const MAX_SESSION_COUNTS: usize = 16;

/// The largest number of sessions that one report counts for, so that a forged one does not outweigh all
/// others. Of a larger report, which only the largest senders and domains have, all numbers are scaled down.
const MAX_SESSIONS: u64 = 1_000_000;

type Results = Vec<(Label<'static>, u64)>;

fn add(results: &mut Results, result: Label<'static>, sessions: u64) {
    if sessions == 0 {
        return;
    }
    match results.iter_mut().find(|(known, _)| *known == result) {
        Some((_, sum)) => *sum = sum.saturating_add(sessions),
        None => results.push((result, sessions)),
    }
}

struct SessionCounts {
    domain: String,
    policy: Label<'static>,
    results: Results,
}

impl SessionCounts {
    fn into_value<'a>(self) -> Value<'a> {
        let domain = (Cow::Borrowed(DOMAIN), Value::String(Cow::Owned(self.domain)));
        let policy = (Cow::Borrowed(POLICY), Value::String(Cow::Borrowed(self.policy.as_str())));
        let results = self.results.into_iter().map(|(result, sessions)| {
            (Cow::Borrowed(result.as_str()), Value::Integer(i64::try_from(sessions).unwrap_or(i64::MAX)))
        });
        Value::Object(Object([domain, policy].into_iter().chain(results).collect()))
    }
}

/// Computes the session counts, and puts them first. Counts in the body as sent are removed, because
/// they are not bounded; a posted event is counted again from what it has of `policies`.
fn upgrade(body: &mut Object<'_>) {
    // `sessions?a=b` would become `sessions` when its name is redacted.
    body.0.retain(|(name, _)| !name.starts_with(SESSION_COUNTS));
    let mut session_counts = Vec::new();
    for entry in body.get_objects("policies") {
        add_policy(entry, &mut session_counts);
    }
    limit(&mut session_counts);
    if !session_counts.is_empty() {
        let session_counts = session_counts.into_iter().map(SessionCounts::into_value).collect();
        body.0.insert(0, (Cow::Borrowed(SESSION_COUNTS), Value::Array(session_counts)));
    }
}

/// Scales the counts down to [`MAX_SESSIONS`] in all. Shares stay as they are, and no result disappears.
fn limit(session_counts: &mut [SessionCounts]) {
    let results = || session_counts.iter().flat_map(|counts| &counts.results);
    let all: u128 = results().map(|(_, sessions)| u128::from(*sessions)).sum();
    let max = u128::from(MAX_SESSIONS);
    if all <= max {
        return;
    }
    // One session for each result, and the rest by share.
    let rest = max.saturating_sub(results().count() as u128);
    for (_, sessions) in session_counts.iter_mut().flat_map(|counts| &mut counts.results) {
        *sessions = 1 + u64::try_from(u128::from(*sessions) * rest / all).unwrap_or_default();
    }
}

fn add_policy(entry: &Object<'_>, session_counts: &mut Vec<SessionCounts>) {
    let results = results(entry);
    if results.is_empty() {
        return;
    }
    let sent = entry.get_object("policy");
    let policy = POLICIES.label(sent.and_then(|sent| sent.get_str(POLICY)));
    let mut domain = sent.and_then(domain).unwrap_or_default();
    let find = |domain: &str| {
        session_counts.iter().position(|counts| counts.domain == domain && counts.policy == policy)
    };
    let mut known = find(&domain);
    if known.is_none() && session_counts.len() >= MAX_SESSION_COUNTS {
        domain.clear();
        known = find(&domain);
    }
    let Some(known) = known else {
        return session_counts.push(SessionCounts { domain, policy, results });
    };
    for (result, sessions) in results {
        add(&mut session_counts[known].results, result, sessions);
    }
}

fn results(entry: &Object<'_>) -> Results {
    let summary = entry.get_object("summary");
    let total = |name| summary.and_then(|summary| summary.get_u64(name)).unwrap_or(0);
    let mut results = Results::new();
    add(&mut results, SUCCESS, total("total-successful-session-count"));
    let mut unexplained = total("total-failure-session-count");
    for failure in entry.get_objects("failure-details") {
        let sessions = failure.get_u64("failed-session-count").unwrap_or(0);
        unexplained = unexplained.saturating_sub(sessions);
        add(&mut results, RESULTS.label(failure.get_str("result-type")), sessions);
    }
    // Details are optional; the other failures have no result type.
    add(&mut results, RESULTS.label(None), unexplained);
    results
}

/// Returns the policy's domain, if it has the form of one.
fn domain(policy: &Object<'_>) -> Option<String> {
    let domain = policy.get_str(DOMAIN)?.trim_end_matches('.');
    let is_domain_byte = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (domain.len() <= 253 && domain.bytes().all(is_domain_byte)).then(|| domain.to_ascii_lowercase())
}

/// Returns the domain that a report as sent is about: that of its first policy.
pub fn first_domain(body: &Object<'_>) -> Option<String> {
    let mut policies = body.get_objects("policies").filter_map(|entry| entry.get_object("policy"));
    policies.find_map(|policy| domain(policy).filter(|domain| !domain.is_empty()))
}

/// Domain, policy, result and number of sessions.
type SessionCount<'r> = (&'r str, Label<'static>, Label<'static>, u64);

/// Returns the session counts of a normalized body, which [`upgrade`] computed and bounded.
fn session_counts<'r>(report: &'r Report<'_>) -> impl Iterator<Item = SessionCount<'r>> {
    report.body.get_objects(SESSION_COUNTS).flat_map(|entry| {
        let domain = entry.get_str(DOMAIN).unwrap_or_default();
        let policy = POLICIES.label(entry.get_str(POLICY).filter(|policy| *policy != "none"));
        entry
            .0
            .iter()
            .filter_map(move |(name, sessions)| Some((domain, policy, result(name)?, sessions.as_u64()?)))
    })
}

/// Returns the result that a member of a session count stands for.
fn result(name: &str) -> Option<Label<'static>> {
    match name {
        DOMAIN | POLICY => None,
        "success" => Some(SUCCESS),
        "none" => Some(RESULTS.label(None)),
        name => Some(RESULTS.label(Some(name))).filter(|label| *label != OTHER || name == "other"),
    }
}

/// Returns the number of sessions that succeeded and that failed.
fn totals(report: &Report<'_>) -> (u64, u64) {
    session_counts(report).fold((0, 0), |(succeeded, failed), (.., result, sessions)| {
        if result == SUCCESS { (succeeded + sessions, failed) } else { (succeeded, failed + sessions) }
    })
}

fn observe<'r>(report: &'r Report<'_>, _: &Classification<'_>) -> Observations<'r> {
    let observations = session_counts(report).map(|(domain, policy, result, sessions)| {
        let observation = Observation::new(&SESSIONS, [policy, result], Increment::Count(sessions));
        Observation { host: Some(domain).filter(|domain| !domain.is_empty()), ..observation }
    });
    observations.collect()
}

/// `mail to shop.example: 5 of 5331 TLS sessions failed (certificate-expired 3, …), says Example Mail`
fn summary(report: &Report<'_>) -> String {
    let (succeeded, failed) = totals(report);
    let all = succeeded.saturating_add(failed);
    let (domains, reasons) = (domains(report), reasons(report));
    let sender = report.body.get_str("organization-name").unwrap_or("a sender without a name");
    format!("mail to {domains}: {failed} of {all} TLS sessions failed{reasons}, says {sender}")
}

/// Lists the domains, at most three.
fn domains(report: &Report<'_>) -> String {
    let mut domains = Vec::new();
    for (domain, ..) in session_counts(report) {
        if !domain.is_empty() && !domains.contains(&domain) {
            domains.push(domain);
        }
    }
    match domains.len() {
        0 => "an unnamed domain".to_owned(),
        1..=3 => domains.join(", "),
        all => format!("{} and {} more domains", domains[..2].join(", "), all - 2),
    }
}

fn reasons(report: &Report<'_>) -> String {
    let mut failures = Results::new();
    for (.., result, sessions) in session_counts(report) {
        if result != SUCCESS {
            add(&mut failures, result, sessions);
        }
    }
    let reasons = failures.iter().map(|(reason, sessions)| match reason.as_str() {
        "none" => format!("no reason given {sessions}"),
        reason => format!("{reason} {sessions}"),
    });
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    if reasons.is_empty() { reasons } else { format!(" ({reasons})") }
}

fn attributes(report: &Report<'_>, emit: AttributeSink<'_>) {
    let (succeeded, failed) = totals(report);
    let number = |sessions: u64| Attribute::Integer(i64::try_from(sessions).unwrap_or(i64::MAX));
    emit("smtp_tls.successful_sessions", number(succeeded));
    emit("smtp_tls.failed_sessions", number(failed));
    let Some(range) = report.body.get_object("date-range") else { return };
    const TIMES: [(&str, &str); 2] =
        [("start-datetime", "smtp_tls.start_datetime"), ("end-datetime", "smtp_tls.end_datetime")];
    for (field, name) in TIMES {
        if let Some(time) = range.get_str(field) {
            emit(name, Attribute::Text(time));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{DEFAULT, TestContext, process, process_in, sample};
    use crate::model::Noise;

    #[test]
    fn sessions_of_each_domain_have_its_host() {
        let processed = process(&sample("smtp-tlsrpt"));
        assert_eq!((processed.kind, processed.severity), ("smtp-tlsrpt", "WARN"));
        let counted = [
            ("sts", "success", "shop.example", 5326),
            ("sts", "certificate-expired", "shop.example", 100),
            ("sts", "starttls-not-supported", "shop.example", 200),
            ("sts", "validation-failure", "shop.example", 3),
            ("tlsa", "success", "pay.shop.example", 7),
            ("tlsa", "none", "pay.shop.example", 2),
        ]
        .map(|(policy, result, host, sessions)| {
            format!(
                "lookout_smtp_tls_sessions_total\
                 {{policy=\"{policy}\",result=\"{result}\",host=\"{host}\"}} {sessions}"
            )
        });
        assert_eq!(processed.counted, counted);
        assert_eq!(
            processed.summary,
            "mail to shop.example, pay.shop.example: 305 of 5638 TLS sessions failed \
             (certificate-expired 100, starttls-not-supported 200, validation-failure 3, \
             no reason given 2), says Company-X"
        );
        for (name, value) in [
            ("url.full", "https://shop.example/"),
            ("smtp_tls.organization_name", "Company-X"),
            ("smtp_tls.report_id", "5065427c-23d3-47ca-b6e0-946ea0e8c4be"),
            ("smtp_tls.successful_sessions", "5333"),
            ("smtp_tls.failed_sessions", "305"),
            ("smtp_tls.start_datetime", "2016-04-01T00:00:00Z"),
            ("smtp_tls.end_datetime", "2016-04-01T23:59:59Z"),
        ] {
            assert_eq!(processed.attribute(name), Some(value), "{name}");
        }
        assert!(
            processed.attribute("smtp_tls.policies").is_some_and(|text| text.contains("mx1.shop.example"))
        );
    }

    #[test]
    fn sessions_of_each_domain_count_for_its_site() {
        use std::sync::Arc;
        let registry = Arc::new(
            crate::metrics::Registry::new(crate::kinds::families(), 10_000, 0, crate::clock::now()).unwrap(),
        );
        let pipeline =
            crate::pipeline::Pipeline::new(&crate::config::defaults(), registry.clone(), None, None);
        let context = crate::model::UploadContext {
            received: crate::clock::now(),
            uptime: 0,
            user_agent: None,
            disposition: None,
            site: None,
            key: None,
            query: &[],
            client: crate::model::ClientKey::default(),
            client_address: None,
            span: None,
        };
        pipeline.process(sample("smtp-tlsrpt").as_bytes(), &context, |_, _| {});
        let mut sites = std::collections::BTreeMap::<_, u64>::new();
        registry.visit(&mut |family, sample| {
            if family.name == SESSIONS.name
                && let crate::metrics::SampleValue::Count(sessions) = sample.value
            {
                *sites.entry(sample.labels[0].to_owned()).or_default() += sessions;
            }
        });
        let expected = [("pay.shop.example".to_owned(), 9), ("shop.example".to_owned(), 5629)];
        assert_eq!(sites.into_iter().collect::<Vec<_>>(), expected);
    }

    fn policies(entries: &[String]) -> String {
        format!(r#"{{"organization-name":"x","policies":[{}]}}"#, entries.join(","))
    }

    fn entry(domain: &str, succeeded: u64) -> String {
        format!(
            r#"{{"policy":{{"policy-type":"sts","policy-domain":"{domain}"}},
                "summary":{{"total-successful-session-count":{succeeded}}}}}"#
        )
    }

    #[test]
    fn severity_without_failures_is_info() {
        let processed = process(&policies(&[entry("Shop.Example.", 4)]));
        assert_eq!(processed.severity, "INFO");
        assert_eq!(processed.summary, "mail to shop.example: 0 of 4 TLS sessions failed, says x");
        let failing = r#"{"policy":{},"summary":{"total-failure-session-count":"1"}}"#.to_owned();
        assert_eq!(process(&policies(std::slice::from_ref(&failing))).severity, "WARN");
        let noise = TestContext { noise: Noise::Local, ..DEFAULT };
        assert_eq!(process_in(&policies(&[failing]), &noise).severity, "INFO");
    }

    #[test]
    fn sums_of_more_domains_than_the_limit_are_exact() {
        let long = "a".repeat(200);
        let entries: Vec<_> = (0..1000).map(|at| entry(&format!("{long}{at}.example"), 3)).collect();
        let processed = process(&policies(&entries));
        assert!(processed.counted.len() <= MAX_SESSION_COUNTS + 1);
        assert_eq!(processed.attribute("smtp_tls.successful_sessions"), Some("3000"));
        let counted: u64 = processed
            .counted
            .iter()
            .map(|line| line[line.rfind(' ').unwrap() + 1..].parse::<u64>().unwrap())
            .sum();
        assert_eq!(counted, 3000);
    }

    /// The session counts come first in a body, so that the limits of unknown fields do not truncate
    /// them.
    #[test]
    fn session_counts_of_the_largest_report_are_complete() {
        let long = "a".repeat(240);
        let failure = |result: &&str| format!(r#"{{"result-type":"{result}","failed-session-count":100}}"#);
        let failures: Vec<_> = RESULTS.0.iter().chain(&["x"]).map(failure).collect();
        let entry = |at: usize| {
            let policy = ["no-policy-found", "sts", "tlsa", "x", ""][at % 5];
            format!(
                r#"{{"policy":{{"policy-type":"{policy}","policy-domain":"{long}{at}.example"}},
                    "summary":{{"total-successful-session-count":100,"total-failure-session-count":1300}},
                    "failure-details":[{}]}}"#,
                failures.join(",")
            )
        };
        let processed = process(&policies(&(0..100).map(entry).collect::<Vec<_>>()));
        assert_eq!(processed.attribute("smtp_tls.successful_sessions"), Some("10000"));
        assert_eq!(processed.attribute("smtp_tls.failed_sessions"), Some("130000"));
    }

    #[test]
    fn session_counts_in_the_body_as_sent_are_ignored() {
        let many = r#""success":999999999,"#.repeat(3);
        let forged = format!(r#"[{{"policy-domain":"shop.example",{many}"none":1}}]"#);
        for (policies, counted) in [("null", 0), ("[]", 0), (&*format!("[{}]", entry("shop.example", 3)), 3)]
        {
            let body = format!(
                r#"{{"sessions":{forged},"policies":{policies},"sessions":{forged},"sessions?a=b":{forged}}}"#
            );
            let processed = process(&crate::kinds::testing::envelope("smtp-tlsrpt", &body));
            let all = processed.attribute("smtp_tls.successful_sessions");
            assert_eq!(all, Some(&*counted.to_string()), "{policies}");
            assert_eq!(processed.counted.len(), usize::from(counted > 0), "{processed:?}");
        }
    }

    #[test]
    fn sessions_of_one_report_beyond_the_limit_keep_their_shares() {
        let entry = |at: usize| {
            format!(
                r#"{{"policy":{{"policy-type":"sts","policy-domain":"s{at}.example"}},
                    "summary":{{"total-successful-session-count":6000000}},"failure-details":[
                    {{"result-type":"certificate-expired","failed-session-count":2000000}},
                    {{"result-type":"dnssec-invalid","failed-session-count":1}}]}}"#
            )
        };
        let processed = process(&policies(&(0..10).map(entry).collect::<Vec<_>>()));
        let sessions = |name: &str| processed.attribute(name).unwrap().parse::<u64>().unwrap();
        let (succeeded, failed) =
            (sessions("smtp_tls.successful_sessions"), sessions("smtp_tls.failed_sessions"));
        assert!((749_900..750_000).contains(&succeeded), "{succeeded}");
        assert!((249_900..250_020).contains(&failed), "{failed}");
        assert!(succeeded + failed <= MAX_SESSIONS);
        assert!(processed.summary.contains("dnssec-invalid 10)"), "{}", processed.summary);
    }

    #[test]
    fn sessions_of_a_forged_report_are_bounded() {
        let processed =
            process(&policies(&[entry("shop.example", u64::MAX), entry("shop.example", 1 << 60)]));
        assert_eq!(processed.attribute("smtp_tls.successful_sessions"), Some("1000000"));
        let odd = r#"{"organization-name":"x","policies":[
            7,{"policy":"x","summary":[],"failure-details":[null,{}]}]}"#;
        assert!(process(odd).counted.is_empty());
        let processed = process(r#"{"organization-name":"x","policies":null}"#);
        assert_eq!(processed.summary, "mail to an unnamed domain: 0 of 0 TLS sessions failed, says x");
        let label = r#"{"organization-name":"x","policies":[{"policy":{"policy-type":"\n"},
            "failure-details":[{"result-type":"x","failed-session-count":1}]}]}"#;
        assert_eq!(
            process(label).counted,
            ["lookout_smtp_tls_sessions_total{policy=\"other\",result=\"other\"} 1"]
        );
    }
}
