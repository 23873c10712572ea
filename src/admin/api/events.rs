//! `/api/v1/events`: the last events.

use std::sync::Arc;

use http::Uri;
use serde_json::value::{RawValue, to_raw_value};

use crate::admin::api::answer::{List, Problem};
use crate::admin::api::parameters::{Filter, Parameters};
use crate::recent::{Recent, RecentEvent};

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

    pub(super) fn list(&self, recent: &Recent) -> List<Box<RawValue>> {
        List { items: self.newest(&recent.events_after(0)).map(|event| self.item(event)).collect() }
    }

    pub(super) fn matches(&self, event: &RecentEvent) -> bool {
        self.filter.matches(&event.site, event.kind, event.noise)
    }

    /// Returns what is listed of an event.
    pub(super) fn item(&self, event: &RecentEvent) -> Box<RawValue> {
        // Written to memory without errors.
        if self.is_detailed { to_raw_value(event).unwrap_or_default() } else { event.line.clone() }
    }

    /// Returns the id after which a new stream begins.
    pub(super) fn start(&self, recent: &Recent) -> u64 {
        let events = recent.events_after(0);
        let oldest = self.newest(&events).last().filter(|_| self.has_limit);
        oldest.map_or_else(|| recent.taken(), |event| event.id - 1)
    }
}
