//! `/api/v1/findings`: the distinct problems.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use http::{StatusCode, Uri};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::admin::api::answer::{Problem, time};
use crate::admin::api::parameters::{Filter, Parameters};
use crate::clock;
use crate::findings::{Details, Entry, Findings};
use crate::model::{Browser, LabelEnum};
use crate::policy::{MIN_CLIENTS, Policy, Proposer};

/// A finding. Of one that only the state file has there is no content.
#[derive(Debug, Serialize, JsonSchema)]
#[allow(missing_docs)] // the labels are documented
pub(super) struct FindingItem {
    fingerprint: String,
    #[serde(flatten)]
    labels: Option<Labels>,
    /// One line for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// Number of reports.
    count: u64,
    /// Number of distinct clients.
    clients: u64,
    first_seen: String,
    last_seen: String,
    /// Whether it is younger than `findings.new_for`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    new: bool,
    /// Reports by browser.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    browsers: BTreeMap<&'static str, u32>,
    /// Up to five pages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pages: Vec<Page>,
    /// The console line of one event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Map<String, serde_json::Value>>")]
    sample: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Labels {
    kind: &'static str,
    site: String,
    disposition: &'static str,
    class: &'static str,
    noise: &'static str,
}

#[derive(Debug, Serialize, JsonSchema)]
struct Page {
    url: String,
    count: u32,
}

impl FindingItem {
    fn new(entry: &Entry, new_since: i64) -> FindingItem {
        let moment = |milliseconds| time(Timestamp::from_millisecond(milliseconds).unwrap_or_default());
        let details = entry.details.as_ref();
        let sample =
            details.and_then(|details| serde_json::from_slice::<Box<RawValue>>(&details.sample).ok());
        let line =
            sample.as_ref().and_then(|line| serde_json::from_str::<serde_json::Value>(line.get()).ok());
        let pages = details.map(|details| details.pages.iter()).into_iter().flatten();
        let browsers = details.map(|details| Browser::ALL.iter().zip(details.browsers)).into_iter().flatten();
        FindingItem {
            fingerprint: entry.fingerprint.to_string(),
            labels: details.map(|details| Labels {
                kind: details.kind.name,
                site: details.site.to_string(),
                disposition: details.disposition.as_str(),
                class: details.class.as_str(),
                noise: details.noise.as_str(),
            }),
            summary: line.and_then(|line| Some(line["lookout"]["summary"].as_str()?.to_owned())),
            count: entry.count,
            clients: entry.clients(),
            first_seen: moment(entry.first_seen),
            last_seen: moment(entry.last_seen),
            new: entry.first_seen > new_since,
            browsers: browsers
                .filter(|(_, count)| *count > 0)
                .map(|(it, count)| (it.as_str(), count))
                .collect(),
            pages: pages.map(|(url, count)| Page { url: url.to_string(), count: *count }).collect(),
            sample,
        }
    }
}

/// What a list is sorted by, descending.
type SortKey = fn(&Entry) -> u64;

const SORTS: [(&str, SortKey); 4] = [
    ("count", |entry| entry.count),
    ("clients", Entry::clients),
    ("first", |entry| entry.first_seen.unsigned_abs()),
    ("last", |entry| entry.last_seen.unsigned_abs()),
];

/// The parameters of a request.
pub(super) struct Wanted {
    filter: Filter,
    is_new: Option<bool>,
    sort: SortKey,
    limit: usize,
}

impl Wanted {
    pub(super) fn parse(uri: &Uri) -> Result<Wanted, Problem> {
        let parameters = Parameters::parse(uri, &["site", "kind", "noise", "new", "sort", "limit"])?;
        Ok(Wanted {
            filter: parameters.filter()?,
            is_new: parameters.flag("new")?,
            sort: parameters.one_of("sort", SORTS.into_iter())?.unwrap_or(SORTS[3].1),
            limit: parameters.limit()?,
        })
    }

    pub(super) fn list(&self, findings: &Findings, new_for: Duration) -> Vec<FindingItem> {
        let new_since = new_since(new_for);
        let matches =
            |details: &Details| self.filter.matches(&details.site, details.kind.name, details.noise);
        let mut keys = Vec::new();
        findings.visit(|entry| {
            let is_listed = entry.details.as_ref().map_or(self.filter.is_empty(), matches)
                && self.is_new.is_none_or(|wanted| wanted == (entry.first_seen > new_since));
            if is_listed {
                keys.push((Reverse((self.sort)(entry)), entry.fingerprint));
            }
        });
        keys.sort_unstable();
        keys.truncate(self.limit);
        let listed: HashSet<_> = keys.iter().map(|(_, fingerprint)| *fingerprint).collect();
        let mut items = Vec::new();
        findings.visit(|entry| {
            if listed.contains(&entry.fingerprint) {
                items.push((
                    Reverse((self.sort)(entry)),
                    entry.fingerprint,
                    FindingItem::new(entry, new_since),
                ));
            }
        });
        items.sort_unstable_by_key(|(key, fingerprint, _)| (*key, *fingerprint));
        items.into_iter().map(|(.., item)| item).collect()
    }
}

/// Returns the first moment of new findings, in milliseconds.
fn new_since(new_for: Duration) -> i64 {
    let new_for = i64::try_from(new_for.as_millis()).unwrap_or(i64::MAX);
    clock::now().as_millisecond().saturating_sub(new_for)
}

/// Returns the finding of this fingerprint.
pub(super) fn one(findings: &Findings, new_for: Duration, fingerprint: &str) -> Result<FindingItem, Problem> {
    let new_since = new_since(new_for);
    let mut found = None;
    findings.visit(|entry| {
        if found.is_none() && entry.fingerprint.encode(&mut [0; 16]) == fingerprint {
            found = Some(FindingItem::new(entry, new_since));
        }
    });
    found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no finding with this fingerprint"))
}

/// Returns the proposer of a policy that a request wants.
pub(super) fn proposer(uri: &Uri) -> Result<Proposer, Problem> {
    let parameters = Parameters::parse(uri, &["site", "min_clients"])?;
    let site = parameters.text("site").ok_or_else(|| Problem::parameter("site: expected a site"))?;
    let clients = parameters.number("min_clients", MIN_CLIENTS as usize, 1_000_000)?;
    Proposer::new(site, "", Some(clients as u64)).map_err(Problem::internal)
}

/// Returns the policy that follows from all findings.
pub(super) fn propose(findings: &Findings, mut proposer: Proposer) -> Policy {
    let site = proposer.site.clone();
    findings.visit(|entry| {
        if entry.details.as_ref().is_some_and(|details| *details.site == *site) {
            // Written to memory without errors; what is not about a policy is left out.
            proposer.add(&serde_json::to_value(FindingItem::new(entry, 0)).unwrap_or_default());
        }
    });
    proposer.finish()
}
