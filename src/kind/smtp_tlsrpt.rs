//! `smtp-tlsrpt`: what a mail sender tells a domain once a day about the TLS of its connections to the
//! domain's mail servers (RFC 8460). No browser sends it; it is here because it arrives the same way
//! and tells of the same thing, and a domain's owner has one endpoint less to run.
//!
//! One report sums up many sessions, for several policies and possibly several domains. Each domain's
//! sessions count for its own site.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::kind::{GiveAttribute, Holds, Kind, Member, member};
use crate::metric::{Amount, Family, Label, Measure, OTHER, Observation, Vocabulary};
use crate::report::{Assessment, Attribute, Class, Noise, Report, Severity};
use crate::value::{Object, Value};

/// `lookout_smtp_tls_sessions_total`
pub static SESSIONS: Family = Family {
    name: "lookout_smtp_tls_sessions_total",
    help: "SMTP sessions that mail senders report on, by the outcome of their TLS.",
    measure: Measure::Count,
    labels: &["site", "policy", "result"],
    weight: 1,
};

/// <https://www.rfc-editor.org/rfc/rfc8460#section-4.4>
static POLICIES: Vocabulary = Vocabulary(&["sts", "tlsa", "no-policy-found"]);

/// Why a session failed.
/// <https://www.rfc-editor.org/rfc/rfc8460#section-4.3>
static RESULTS: Vocabulary = Vocabulary(&[
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
const SUCCESS: Label<'static> = Label::closed("success");

/// The kind.
pub static KIND: Kind = Kind {
    token: "smtp-tlsrpt",
    event_name: "browser.report.smtp_tlsrpt",
    also: &[],
    specification: "https://www.rfc-editor.org/rfc/rfc8460#section-4",
    disposition: None,
    members: &[
        member("organization-name", &[], Holds::Token, "smtp_tls.organization_name"),
        member("contact-info", &[], Holds::Token, "smtp_tls.contact_info"),
        member("report-id", &[], Holds::Token, "smtp_tls.report_id"),
        Member { name: "date-range", also: &[], holds: Holds::Anything, attribute: None },
        member(TALLIES, &[], Holds::Counted, "smtp_tls.sessions"),
        member("policies", &[], Holds::Anything, "smtp_tls.policies"),
    ],
    mend,
    assess,
    summary,
    attributes,
    families: &[&SESSIONS],
};

/// The member of a normalised body that holds the sums: one object for each domain and policy type,
/// with a member for each result. They are drawn up before anything is cut to size, so that what counts
/// does not depend on how much of `policies` an event can carry.
const TALLIES: &str = "sessions";
const DOMAIN: &str = "policy-domain";
const POLICY: &str = "policy-type";

/// More domains than this in one report are counted without their domain, for the report's own site.
/// With it the tallies fit into what a body may hold.
const MAX_TALLIES: usize = 16;

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
struct Tally {
    domain: String,
    policy: Label<'static>,
    results: Results,
}

impl Tally {
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
fn mend(body: &mut Object<'_>) {
    // `sessions?a=b` would be `sessions` once it is cleaned.
    body.0.retain(|(name, _)| !name.starts_with(TALLIES));
    let Some(Value::Array(policies)) = body.get("policies") else { return };
    let (mut tallies, mut left) = (Vec::new(), MAX_SESSIONS);
    for policy in policies {
        if let Value::Object(entry) = policy {
            count(entry, &mut tallies, &mut left);
        }
    }
    if !tallies.is_empty() {
        let tallies = tallies.into_iter().map(Tally::into_value).collect();
        body.0.insert(0, (Cow::Borrowed(TALLIES), Value::Array(tallies)));
    }
}

/// Adds one entry of `policies` to the tally it belongs to. `left`: how many sessions the report may
/// still stand for.
fn count(entry: &Object<'_>, tallies: &mut Vec<Tally>, left: &mut u64) {
    let mut results = results(entry);
    for (_, sessions) in &mut results {
        *sessions = (*sessions).min(*left);
        *left -= *sessions;
    }
    results.retain(|(_, sessions)| *sessions > 0);
    if results.is_empty() {
        return;
    }
    let none = Object::default();
    let tally = tally(object(entry, "policy").unwrap_or(&none), tallies);
    results.into_iter().for_each(|(result, sessions)| add(&mut tally.results, result, sessions));
}

/// What one entry of `policies` says became of its sessions.
fn results(entry: &Object<'_>) -> Results {
    let none = Object::default();
    let summary = object(entry, "summary").unwrap_or(&none);
    let mut results = Results::new();
    add(&mut results, SUCCESS, summary.unsigned("total-successful-session-count").unwrap_or(0));
    let mut explained = 0_u64;
    if let Some(Value::Array(failures)) = entry.get("failure-details") {
        for failure in failures {
            let Value::Object(failure) = failure else { continue };
            let sessions = failure.unsigned("failed-session-count").unwrap_or(0);
            explained = explained.saturating_add(sessions);
            add(&mut results, RESULTS.label(failure.text("result-type")), sessions);
        }
    }
    // Details are optional; what they leave unexplained failed all the same.
    let failed = summary.unsigned("total-failure-session-count").unwrap_or(0);
    add(&mut results, RESULTS.label(None), failed.saturating_sub(explained));
    results
}

fn tally<'t>(policy: &Object<'_>, tallies: &'t mut Vec<Tally>) -> &'t mut Tally {
    let label = POLICIES.label(policy.text(POLICY));
    let mut domain = domain(policy).unwrap_or_default();
    let find = |tallies: &[Tally], domain: &str| {
        tallies.iter().position(|tally| tally.domain == domain && tally.policy == label)
    };
    let mut at = find(tallies, &domain);
    if at.is_none() && tallies.len() >= MAX_TALLIES {
        domain.clear();
        at = find(tallies, &domain);
    }
    let at = at.unwrap_or_else(|| {
        tallies.push(Tally { domain, policy: label, results: Vec::new() });
        tallies.len() - 1
    });
    &mut tallies[at]
}

/// The policy's domain, if it is shaped like one.
fn domain(policy: &Object<'_>) -> Option<String> {
    let domain = policy.text(DOMAIN)?.trim_end_matches('.');
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

/// Hands over each tally of a normalised body: domain, policy, result, sessions. They are [`mend`]'s, and
/// so are their bounds.
fn each<'r>(report: &'r Report<'_>, give: &mut dyn FnMut(&'r str, Label<'static>, Label<'static>, u64)) {
    let Some(Value::Array(tallies)) = report.body.get(TALLIES) else { return };
    for tally in tallies {
        let Value::Object(tally) = tally else { continue };
        let domain = tally.text(DOMAIN).unwrap_or_default();
        let policy = POLICIES.label(tally.text(POLICY).filter(|policy| *policy != "none"));
        for (name, sessions) in &tally.0 {
            if let (Some(result), Some(sessions)) = (result(name), sessions.as_unsigned()) {
                give(domain, policy, result, sessions);
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
    each(report, &mut |_, _, result, sessions| {
        *(if result == SUCCESS { &mut succeeded } else { &mut failed }) += sessions;
    });
    (succeeded, failed)
}

fn assess<'r>(report: &'r Report<'_>, class: &Class<'_>) -> Assessment<'r> {
    let mut observations = SmallVec::new();
    each(report, &mut |domain, policy, result, sessions| {
        let observation = Observation::new(&SESSIONS, [policy, result], Amount::Count(sessions));
        let host = Some(domain).filter(|domain| !domain.is_empty());
        observations.push(Observation { host, ..observation });
    });
    let quiet = totals(report).1 == 0 || class.noise != Noise::None;
    Assessment { severity: if quiet { Severity::Info } else { Severity::Warn }, observations }
}

/// `mail to shop.example: 5 of 5331 TLS sessions failed (certificate-expired 3, …), says Example Mail`
fn summary(report: &Report<'_>) -> String {
    let (succeeded, failed) = totals(report);
    let (domains, reasons) = (domains(report), reasons(report));
    let sender = report.body.text("organization-name").unwrap_or("a sender without a name");
    let all = succeeded.saturating_add(failed);
    format!("mail to {domains}: {failed} of {all} TLS sessions failed{reasons}, says {sender}")
}

/// The first few of the domains.
fn domains(report: &Report<'_>) -> String {
    let mut domains = Vec::new();
    each(report, &mut |domain, _, _, _| {
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
    each(report, &mut |_, _, result, sessions| match result.as_str() {
        "success" => {}
        result => match reasons.iter_mut().find(|(known, _)| *known == result) {
            Some((_, sum)) => *sum += sessions,
            None => reasons.push((result, sessions)),
        },
    });
    let told = reasons.iter().map(|(reason, sessions)| match *reason {
        "none" => format!("no reason given {sessions}"),
        reason => format!("{reason} {sessions}"),
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

fn attributes(report: &Report<'_>, give: GiveAttribute<'_>) {
    let (succeeded, failed) = totals(report);
    for (name, sessions) in
        [("smtp_tls.successful_sessions", succeeded), ("smtp_tls.failed_sessions", failed)]
    {
        give(name, Attribute::Integer(i64::try_from(sessions).unwrap_or(i64::MAX)));
    }
    let Some(range) = object(&report.body, "date-range") else { return };
    for (member, name) in
        [("start-datetime", "smtp_tls.start_datetime"), ("end-datetime", "smtp_tls.end_datetime")]
    {
        if let Some(moment) = range.text(member) {
            give(name, Attribute::Text(moment));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::testing::{Given, PLAIN, one, one_given, sample};

    #[test]
    fn each_domains_sessions_count_for_its_own_site() {
        let told = one(&sample("smtp-tlsrpt"));
        assert_eq!((told.kind, told.severity), ("smtp-tlsrpt", "WARN"));
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
        assert_eq!(told.counted, counted);
        assert_eq!(
            told.summary,
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
            assert_eq!(told.attribute(name), Some(value), "{name}");
        }
        assert!(told.attribute("smtp_tls.policies").is_some_and(|text| text.contains("mx1.shop.example")));
    }

    #[test]
    fn domains_are_sites() {
        use std::sync::Arc;
        let table = Arc::new(crate::table::Table::new(10_000, 0, crate::clock::now()));
        let pipeline = crate::pipeline::Pipeline::new(&crate::config::defaults(), table.clone(), None, None);
        let context = crate::report::Context {
            received: crate::clock::now(),
            uptime: 0,
            user_agent: None,
            disposition: None,
            site: None,
            query: &[],
            client_address: None,
        };
        pipeline.take(sample("smtp-tlsrpt").as_bytes(), &context);
        let mut sites = std::collections::BTreeMap::<_, u64>::new();
        table.read(&mut |family, reading| {
            if family.name == SESSIONS.name
                && let crate::table::Number::Count(sessions) = reading.number
            {
                *sites.entry(reading.labels[0].to_owned()).or_default() += sessions;
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
        let told = one(&policies(&[entry("Shop.Example.", 4)]));
        assert_eq!(told.severity, "INFO");
        assert_eq!(told.summary, "mail to shop.example: 0 of 4 TLS sessions failed, says x");
        let failing = r#"{"policy":{},"summary":{"total-failure-session-count":"1"}}"#.to_owned();
        assert_eq!(one(&policies(std::slice::from_ref(&failing))).severity, "WARN");
        let noise = Given { noise: Noise::Local, ..PLAIN };
        assert_eq!(one_given(&policies(&[failing]), &noise).severity, "INFO");
    }

    #[test]
    fn sums_are_exact_however_large_the_report() {
        let long = "a".repeat(200);
        let entries: Vec<_> = (0..1000).map(|at| entry(&format!("{long}{at}.example"), 3)).collect();
        let told = one(&policies(&entries));
        assert!(told.counted.len() <= MAX_TALLIES + 1);
        assert_eq!(told.attribute("smtp_tls.successful_sessions"), Some("3000"));
        let counted: u64 = told
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
        let told = one(&policies(&(0..100).map(entry).collect::<Vec<_>>()));
        assert_eq!(told.attribute("smtp_tls.successful_sessions"), Some("1000000"));
        assert_eq!(told.attribute("smtp_tls.failed_sessions"), Some("13000000"));
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
            let told = one(&crate::kind::testing::envelope("smtp-tlsrpt", &body));
            let all = told.attribute("smtp_tls.successful_sessions");
            assert_eq!(all, Some(&*counted.to_string()), "{policies}");
            assert_eq!(told.counted.len(), usize::from(counted > 0), "{told:?}");
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
        let told = one(&policies(&(0..20).map(entry).collect::<Vec<_>>()));
        assert_eq!(told.attribute("smtp_tls.successful_sessions"), Some("1"));
        assert_eq!(told.attribute("smtp_tls.failed_sessions"), Some("999999999"));
    }

    #[test]
    fn what_is_forged_is_bounded() {
        let told = one(&policies(&[entry("shop.example", u64::MAX), entry("shop.example", 1 << 60)]));
        assert_eq!(told.attribute("smtp_tls.successful_sessions"), Some("1000000000"));
        let odd = r#"{"organization-name":"x","policies":[
            7,{"policy":"x","summary":[],"failure-details":[null,{}]}]}"#;
        assert!(one(odd).counted.is_empty());
        let told = one(r#"{"organization-name":"x","policies":null}"#);
        assert_eq!(told.summary, "mail to an unnamed domain: 0 of 0 TLS sessions failed, says x");
        let label = r#"{"organization-name":"x","policies":[{"policy":{"policy-type":"\n"},
            "failure-details":[{"result-type":"x","failed-session-count":1}]}]}"#;
        assert_eq!(
            one(label).counted,
            ["lookout_smtp_tls_sessions_total{policy=\"other\",result=\"other\"} 1"]
        );
    }
}
