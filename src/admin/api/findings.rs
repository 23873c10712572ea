//! `/api/v1/findings`: the distinct problems.

use std::cmp::Reverse;
use std::collections::HashSet;

use http::{StatusCode, Uri};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::admin::api::answer::{Problem, time, without_null};
use crate::admin::api::parameters::{Filter, Parameters};
use crate::findings::{Details, Entry, Findings};
use crate::model::{Browser, LabelEnum};
use crate::policy::{MIN_CLIENTS, Policy, Proposer};

/// A finding. Of one that only the state file has there is no content.
#[derive(Debug, Serialize)]
pub(super) struct FindingItem {
    #[serde(flatten)]
    members: Value,
    /// The console line of one event.
    #[serde(skip_serializing_if = "Option::is_none")]
    sample: Option<Box<RawValue>>,
}

impl FindingItem {
    fn new(entry: &Entry, new_since: i64) -> FindingItem {
        let moment = |milliseconds| time(Timestamp::from_millisecond(milliseconds).unwrap_or_default());
        let mut members = json!({
            "fingerprint": entry.fingerprint.to_string(),
            "count": entry.count,
            "clients": entry.clients(),
            "first_seen": moment(entry.first_seen),
            "last_seen": moment(entry.last_seen),
            "new": (entry.first_seen > new_since).then_some(true),
        });
        let sample = entry.details.as_ref().and_then(|details| {
            let pages = details.pages.iter().map(|(url, count)| json!({"url": url, "count": count}));
            let browsers = Browser::ALL.iter().zip(details.browsers).filter(|(_, count)| *count > 0);
            members["kind"] = json!(details.kind.name);
            members["site"] = json!(details.site);
            members["disposition"] = json!(details.disposition.as_str());
            members["class"] = json!(details.class.as_str());
            members["noise"] = json!(details.noise.as_str());
            members["browsers"] = browsers.map(|(it, count)| (it.as_str(), count)).collect::<Value>();
            members["pages"] = Some(pages.collect::<Vec<_>>()).filter(|pages| !pages.is_empty()).into();
            let line: Value = serde_json::from_slice(&details.sample).ok()?;
            members["summary"] = line["lookout"]["summary"].clone();
            serde_json::from_slice(&details.sample).ok()
        });
        FindingItem { members: without_null(members), sample }
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

    pub(super) fn list(&self, findings: &Findings, new_since: i64) -> Vec<FindingItem> {
        let matches =
            |details: &Details| self.filter.matches(&details.site, details.kind.name, details.noise);
        let mut keys = Vec::new();
        findings.visit(|entry| {
            let is_listed = entry.details.as_deref().map_or(self.filter == Filter::default(), matches)
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
                let key = (Reverse((self.sort)(entry)), entry.fingerprint);
                items.push((key, FindingItem::new(entry, new_since)));
            }
        });
        items.sort_unstable_by_key(|(key, _)| *key);
        items.into_iter().map(|(_, item)| item).collect()
    }
}

pub(super) fn one(findings: &Findings, new_since: i64, fingerprint: &str) -> Result<FindingItem, Problem> {
    let mut found = None;
    findings.visit(|entry| {
        if found.is_none() && entry.fingerprint.encode(&mut [0; 16]) == fingerprint {
            found = Some(FindingItem::new(entry, new_since));
        }
    });
    found.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "there is no finding with this fingerprint"))
}

pub(super) fn proposer(uri: &Uri) -> Result<Proposer, Problem> {
    let parameters = Parameters::parse(uri, &["site", "min_clients"])?;
    let site = parameters.text("site").ok_or_else(|| Problem::parameter("site: expected a site"))?;
    let clients = parameters.number("min_clients", MIN_CLIENTS as usize, 1_000_000)?;
    Proposer::new(site, "", Some(clients as u64)).map_err(Problem::internal)
}

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
