//! `smtp-tlsrpt`: what a mail sender tells a domain once a day about the TLS of its connections to the
//! domain's mail servers (RFC 8460). No browser sends it; it is here because it arrives the same way
//! and tells of the same thing, and a domain's owner has one endpoint less to run.
//!
//! One report sums up many sessions, for several policies and possibly several domains. Each domain's
//! sessions count for its own site.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::kinds::{AttributeSink, FieldSpec, FieldType, ReportKind, field};
use crate::model::{
    Attribute, Classification, Evaluation, Family, Increment, Label, LabelValues, MetricType, Noise, OTHER,
    Object, Observation, Report, Severity, Value,
};

/// `lookout_smtp_tls_sessions_total`
pub static SESSIONS: Family = Family {
    name: "lookout_smtp_tls_sessions_total",
    help: "SMTP sessions that mail senders report on, by the outcome of their TLS.",
    metric_type: MetricType::Counter,
    labels: &["site", "policy", "result"],
    weight: 1,
};

/// <https://www.rfc-editor.org/rfc/rfc8460#section-4.4>
static POLICIES: LabelValues = LabelValues(&["sts", "tlsa", "no-policy-found"]);

/// Why a session failed.
/// <https://www.rfc-editor.org/rfc/rfc8460#section-4.3>
static RESULTS: LabelValues = LabelValues(&[
    "starttls-not-supported",
    "certificate-host-mismatch",
    "certificate-expired",
    "certificate-not-trusted",
    "validation-failure",
    "tlsa-invalid",
    "dnssec-invalid",
    "dane-required",
    "sts-policy-invalid",
    "sts-webpki-invalid",
    "sts-policy-fetch-error",
]);

/// Sessions that did not fail.
const SUCCESS: Label<'static> = Label::bounded("success");

/// The kind.
pub static KIND: ReportKind = ReportKind {
    name: "smtp-tlsrpt",
    event_name: "browser.report.smtp_tlsrpt",
    aliases: &[],
    specification: "https://www.rfc-editor.org/rfc/rfc8460#section-4",
    disposition: None,
    fields: &[
        field("organization-name", &[], FieldType::Token, "smtp_tls.organization_name"),
        field("contact-info", &[], FieldType::Token, "smtp_tls.contact_info"),
        field("report-id", &[], FieldType::Token, "smtp_tls.report_id"),
        FieldSpec { name: "date-range", aliases: &[], field_type: FieldType::Any, attribute: None },
        field(SESSION_COUNTS, &[], FieldType::MetricSource, "smtp_tls.sessions"),
        field("policies", &[], FieldType::Any, "smtp_tls.policies"),
    ],
    upgrade,
    evaluate,
    summary,
    attributes,
    families: &[&SESSIONS],
};

/// The member of a normalized body that holds the sums: one object for each domain and policy type,
/// with a member for each result. They are drawn up before anything is cut to size, so that what counts
/// does not depend on how much of `policies` an event can carry.
const SESSION_COUNTS: &str = "sessions";
const DOMAIN: &str = "policy-domain";
const POLICY: &str = "policy-type";

/// More domains than this in one report are counted without their domain, for the report's own site.
/// With it the tallies fit into what a body may hold.
const MAX_SESSION_COUNTS: usize = 16;

/// One report stands for at most so many sessions, all its policies and results together: the largest
/// senders' daily numbers are below this, and what is forged ends here.
const MAX_SESSIONS: u64 = 1_000_000_000;

/// Sessions by what became of them.
type Results = Vec<(Label<'static>, u64)>;

/// Adds sessions to their result's.
fn add(results: &mut Results, result: Label<'static>, sessions: u64) {
    if sessions == 0 {
        return;
    }
    match results.iter_mut().find(|(known, _)| *known == result) {
        Some((_, sum)) => *sum = sum.saturating_add(sessions),
        None => results.push((result, sessions)),
    }
}

/// The sessions of one domain under one type of policy.
struct SessionCounts {
    domain: String,
    policy: Label<'static>,
    results: Results,
}

impl SessionCounts {
    fn into_value<'a>(self) -> Value<'a> {
        let text = |text: Cow<'static, str>| Value::String(text);
        let mut members = vec![
            (Cow::Borrowed(DOMAIN), text(Cow::Owned(self.domain))),
            (Cow::Borrowed(POLICY), text(Cow::Borrowed(self.policy.as_str()))),
        ];
        members.extend(self.results.into_iter().map(|(result, sessions)| {
            let sessions = i64::try_from(sessions).unwrap_or(i64::MAX);
            (Cow::Borrowed(result.as_str()), Value::Integer(sessions))
        }));
        Value::Object(Object(members))
    }
}

/// Puts the tallies in front of the rest, in the place of any that the body brings: nobody but us has
/// bounded those. An event that is posted again is summed up again, from what it holds of `policies`.
fn upgrade(body: &mut Object<'_>) {
    // `sessions?a=b` would be `sessions` once it is cleaned.
    body.0.retain(|(name, _)| !name.starts_with(SESSION_COUNTS));
    let Some(Value::Array(policies)) = body.get("policies") else { return };
    let (mut session_counts, mut remaining) = (Vec::new(), MAX_SESSIONS);
    for policy in policies {
        if let Value::Object(entry) = policy {
            add_policy(entry, &mut session_counts, &mut remaining);
        }
    }
    if !session_counts.is_empty() {
        let session_counts = session_counts.into_iter().map(SessionCounts::into_value).collect();
        body.0.insert(0, (Cow::Borrowed(SESSION_COUNTS), Value::Array(session_counts)));
    }
}

/// Adds one entry of `policies` to the tally it belongs to. `remaining`: how many sessions the report may
/// still stand for.
fn add_policy(entry: &Object<'_>, session_counts: &mut Vec<SessionCounts>, remaining: &mut u64) {
    let mut results = results(entry);
    for (_, sessions) in &mut results {
        *sessions = (*sessions).min(*remaining);
        *remaining -= *sessions;
    }
    results.retain(|(_, sessions)| *sessions > 0);
    if results.is_empty() {
        return;
    }
    let none = Object::default();
    let counts = counts_for(object(entry, "policy").unwrap_or(&none), session_counts);
    results.into_iter().for_each(|(result, sessions)| add(&mut counts.results, result, sessions));
}

/// What one entry of `policies` says became of its sessions.
fn results(entry: &Object<'_>) -> Results {
    let none = Object::default();
    let summary = object(entry, "summary").unwrap_or(&none);
    let mut results = Results::new();
    add(&mut results, SUCCESS, summary.get_u64("total-successful-session-count").unwrap_or(0));
    let mut explained = 0_u64;
    if let Some(Value::Array(failures)) = entry.get("failure-details") {
        for failure in failures {
            let Value::Object(failure) = failure else { continue };
            let sessions = failure.get_u64("failed-session-count").unwrap_or(0);
            explained = explained.saturating_add(sessions);
            add(&mut results, RESULTS.label(failure.get_str("result-type")), sessions);
        }
    }
    // Details are optional; what they leave unexplained failed all the same.
    let failed = summary.get_u64("total-failure-session-count").unwrap_or(0);
    add(&mut results, RESULTS.label(None), failed.saturating_sub(explained));
    results
}

fn counts_for<'t>(policy: &Object<'_>, session_counts: &'t mut Vec<SessionCounts>) -> &'t mut SessionCounts {
    let label = POLICIES.label(policy.get_str(POLICY));
    let mut domain = domain(policy).unwrap_or_default();
    let find = |session_counts: &[SessionCounts], domain: &str| {
        session_counts.iter().position(|counts| counts.domain == domain && counts.policy == label)
    };
    let mut at = find(session_counts, &domain);
    if at.is_none() && session_counts.len() >= MAX_SESSION_COUNTS {
        domain.clear();
        at = find(session_counts, &domain);
    }
    let at = at.unwrap_or_else(|| {
        session_counts.push(SessionCounts { domain, policy: label, results: Vec::new() });
        session_counts.len() - 1
    });
    &mut session_counts[at]
}

/// The policy's domain, if it is shaped like one.
fn domain(policy: &Object<'_>) -> Option<String> {
    let domain = policy.get_str(DOMAIN)?.trim_end_matches('.');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (domain.len() <= 253 && domain.bytes().all(plain)).then(|| domain.to_ascii_lowercase())
}

/// The domain that a raw report is about: its first policy's.
pub fn first_domain(body: &Object<'_>) -> Option<String> {
    let Value::Array(policies) = body.get("policies")? else { return None };
    policies.iter().find_map(|entry| match entry {
        Value::Object(entry) => domain(object(entry, "policy")?).filter(|domain| !domain.is_empty()),
        _ => None,
    })
}

fn object<'o, 'a>(parent: &'o Object<'a>, name: &str) -> Option<&'o Object<'a>> {
    match parent.get(name) {
        Some(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// Hands over each tally of a normalized body: domain, policy, result, sessions. They are [`mend`]'s, and
/// so are their bounds.
fn for_each_count<'r>(
    report: &'r Report<'_>,
    emit: &mut dyn FnMut(&'r str, Label<'static>, Label<'static>, u64),
) {
    let Some(Value::Array(session_counts)) = report.body.get(SESSION_COUNTS) else { return };
    for counts in session_counts {
        let Value::Object(counts) = counts else { continue };
        let domain = counts.get_str(DOMAIN).unwrap_or_default();
        let policy = POLICIES.label(counts.get_str(POLICY).filter(|policy| *policy != "none"));
        for (name, sessions) in &counts.0 {
            if let (Some(result), Some(sessions)) = (result(name), sessions.as_u64()) {
                emit(domain, policy, result, sessions);
            }
        }
    }
}

/// The label that a tally's member stands for.
fn result(name: &str) -> Option<Label<'static>> {
    match name {
        DOMAIN | POLICY => None,
        "success" => Some(SUCCESS),
        "none" => Some(RESULTS.label(None)),
        name => Some(RESULTS.label(Some(name))).filter(|label| *label != OTHER || name == "other"),
    }
}

/// Sessions that succeeded and that failed.
fn totals(report: &Report<'_>) -> (u64, u64) {
    let (mut succeeded, mut failed) = (0, 0);
    for_each_count(report, &mut |_, _, result, sessions| {
        *(if result == SUCCESS { &mut succeeded } else { &mut failed }) += sessions;
    });
    (succeeded, failed)
}

fn evaluate<'r>(report: &'r Report<'_>, class: &Classification<'_>) -> Evaluation<'r> {
    let mut observations = SmallVec::new();
    for_each_count(report, &mut |domain, policy, result, sessions| {
        let observation = Observation::new(&SESSIONS, [policy, result], Increment::Count(sessions));
        let host = Some(domain).filter(|domain| !domain.is_empty());
        observations.push(Observation { host, ..observation });
    });
    let quiet = totals(report).1 == 0 || class.noise != Noise::None;
    Evaluation { severity: if quiet { Severity::Info } else { Severity::Warn }, observations }
}

/// `mail to shop.example: 5 of 5331 TLS sessions failed (certificate-expired 3, …), says Example Mail`
fn summary(report: &Report<'_>) -> String {
    let (succeeded, failed) = totals(report);
    let (domains, reasons) = (domains(report), reasons(report));
    let sender = report.body.get_str("organization-name").unwrap_or("a sender without a name");
    let all = succeeded.saturating_add(failed);
    format!("mail to {domains}: {failed} of {all} TLS sessions failed{reasons}, says {sender}")
}

/// The first few of the domains.
fn domains(report: &Report<'_>) -> String {
    let mut domains = Vec::new();
    for_each_count(report, &mut |domain, _, _, _| {
        if !domain.is_empty() && !domains.contains(&domain) {
            domains.push(domain);
        }
    });
    match domains.len() {
        0 => "an unnamed domain".to_owned(),
        1..=3 => domains.join(", "),
        all => format!("{} and {} more domains", domains[..2].join(", "), all - 2),
    }
}

/// Why sessions failed, and how many for each reason.
fn reasons(report: &Report<'_>) -> String {
    let mut reasons: Vec<(&str, u64)> = Vec::new();
    for_each_count(report, &mut |_, _, result, sessions| match result.as_str() {
        "success" => {}
        result => match reasons.iter_mut().find(|(known, _)| *known == result) {
            Some((_, sum)) => *sum += sessions,
            None => reasons.push((result, sessions)),
        },
    });
    let processed = reasons.iter().map(|(reason, sessions)| match *reason {
        "none" => format!("no reason given {sessions}"),
        reason => format!("{reason} {sessions}"),
    });
    let processed: Vec<_> = processed.collect();
    if processed.is_empty() { String::new() } else { format!(" ({})", processed.join(", ")) }
}

fn attributes(report: &Report<'_>, emit: AttributeSink<'_>) {
    let (succeeded, failed) = totals(report);
    for (name, sessions) in
        [("smtp_tls.successful_sessions", succeeded), ("smtp_tls.failed_sessions", failed)]
    {
        emit(name, Attribute::Integer(i64::try_from(sessions).unwrap_or(i64::MAX)));
    }
    let Some(range) = object(&report.body, "date-range") else { return };
    for (member, name) in
        [("start-datetime", "smtp_tls.start_datetime"), ("end-datetime", "smtp_tls.end_datetime")]
    {
        if let Some(moment) = range.get_str(member) {
            emit(name, Attribute::Text(moment));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{DEFAULT, TestContext, process, process_in, sample};

    #[test]
    fn each_domains_sessions_count_for_its_own_site() {
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
    fn domains_are_sites() {
        use std::sync::Arc;
        let registry = Arc::new(crate::metrics::Registry::new(10_000, 0, crate::clock::now()));
        let pipeline =
            crate::pipeline::Pipeline::new(&crate::config::defaults(), registry.clone(), None, None);
        let context = crate::model::UploadContext {
            received: crate::clock::now(),
            uptime: 0,
            user_agent: None,
            disposition: None,
            site: None,
            query: &[],
            client_address: None,
        };
        pipeline.process(sample("smtp-tlsrpt").as_bytes(), &context);
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
    fn success_alone_is_no_news() {
        let processed = process(&policies(&[entry("Shop.Example.", 4)]));
        assert_eq!(processed.severity, "INFO");
        assert_eq!(processed.summary, "mail to shop.example: 0 of 4 TLS sessions failed, says x");
        let failing = r#"{"policy":{},"summary":{"total-failure-session-count":"1"}}"#.to_owned();
        assert_eq!(process(&policies(std::slice::from_ref(&failing))).severity, "WARN");
        let noise = TestContext { noise: Noise::Local, ..DEFAULT };
        assert_eq!(process_in(&policies(&[failing]), &noise).severity, "INFO");
    }

    #[test]
    fn sums_are_exact_however_large_the_report() {
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

    /// The tallies take the first bytes of what a body may hold, and all of them fit.
    #[test]
    fn the_largest_tallies_are_not_cut() {
        let long = "a".repeat(240);
        let failure = |result: &&str| format!(r#"{{"result-type":"{result}","failed-session-count":10000}}"#);
        let failures: Vec<_> = RESULTS.0.iter().chain(&["x"]).map(failure).collect();
        let entry = |at: usize| {
            let policy = ["no-policy-found", "sts", "tlsa", "x", ""][at % 5];
            format!(
                r#"{{"policy":{{"policy-type":"{policy}","policy-domain":"{long}{at}.example"}},
                    "summary":{{"total-successful-session-count":10000,"total-failure-session-count":130000}},
                    "failure-details":[{}]}}"#,
                failures.join(",")
            )
        };
        let processed = process(&policies(&(0..100).map(entry).collect::<Vec<_>>()));
        assert_eq!(processed.attribute("smtp_tls.successful_sessions"), Some("1000000"));
        assert_eq!(processed.attribute("smtp_tls.failed_sessions"), Some("13000000"));
    }

    #[test]
    fn tallies_of_somebody_elses_do_not_count() {
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
    fn one_report_stands_for_so_many_sessions_and_no_more() {
        let failed = |result: &&str| {
            format!(r#"{{"result-type":"{result}","failed-session-count":{}}}"#, MAX_SESSIONS / 4)
        };
        let failures: Vec<_> = RESULTS.0.iter().map(failed).collect();
        let entry = |at: usize| {
            format!(
                r#"{{"policy":{{"policy-type":"sts","policy-domain":"s{at}.example"}},
                    "summary":{{"total-successful-session-count":1}},"failure-details":[{}]}}"#,
                failures.join(",")
            )
        };
        let processed = process(&policies(&(0..20).map(entry).collect::<Vec<_>>()));
        assert_eq!(processed.attribute("smtp_tls.successful_sessions"), Some("1"));
        assert_eq!(processed.attribute("smtp_tls.failed_sessions"), Some("999999999"));
    }

    #[test]
    fn what_is_forged_is_bounded() {
        let processed =
            process(&policies(&[entry("shop.example", u64::MAX), entry("shop.example", 1 << 60)]));
        assert_eq!(processed.attribute("smtp_tls.successful_sessions"), Some("1000000000"));
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
