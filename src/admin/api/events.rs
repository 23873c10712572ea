//! `/api/v1/events`: the last events.

use std::sync::Arc;

use http::Uri;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::admin::api::answer::{List, Problem};
use crate::admin::api::parameters::{Filter, Parameters};
use crate::recent::{Details, Recent, RecentEvent};

/// An event with how it came about.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct DetailedEvent {
    /// The number of the report.
    id: u64,
    /// The console line.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    event: Box<RawValue>,
    #[serde(flatten)]
    details: Details,
}

/// What is listed of an event.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Item {
    Line(Box<RawValue>),
    Detailed(DetailedEvent),
}

/// The parameters of a request.
pub(super) struct Wanted {
    filter: Filter,
    limit: usize,
    /// Whether a limit is given; a stream begins with that number of events.
    has_limit: bool,
    is_detailed: bool,
}

impl Wanted {
    pub(super) fn parse(uri: &Uri) -> Result<Wanted, Problem> {
        let parameters = Parameters::parse(uri, &["site", "kind", "noise", "limit", "detail"])?;
        Ok(Wanted {
            filter: parameters.filter()?,
            limit: parameters.limit()?,
            has_limit: parameters.text("limit").is_some(),
            is_detailed: parameters.flag("detail")?.unwrap_or(false),
        })
    }

    /// Returns the matching events, newest first.
    fn newest<'r>(&'r self, events: &'r [Arc<RecentEvent>]) -> impl Iterator<Item = &'r Arc<RecentEvent>> {
        events.iter().rev().filter(|event| self.matches(event)).take(self.limit)
    }

    pub(super) fn list(&self, recent: &Recent) -> List<Item> {
        List { items: self.newest(&recent.events_after(0)).map(|event| self.item(event)).collect() }
    }

    pub(super) fn matches(&self, event: &RecentEvent) -> bool {
        self.filter.matches(&event.site, event.kind, event.noise)
    }

    pub(super) fn item(&self, event: &RecentEvent) -> Item {
        let RecentEvent { id, line, details, .. } = event;
        if !self.is_detailed {
            return Item::Line(line.clone());
        }
        Item::Detailed(DetailedEvent { id: *id, event: line.clone(), details: details.clone() })
    }

    /// Returns the id after which a new stream begins.
    pub(super) fn start(&self, recent: &Recent) -> u64 {
        let events = recent.events_after(0);
        let oldest = self.newest(&events).last().filter(|_| self.has_limit);
        oldest.map_or_else(|| recent.taken(), |event| event.id - 1)
    }
}
