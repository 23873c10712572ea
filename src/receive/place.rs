//! One of the places for connections, and what is known about the connection that has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::table::Table;

/// A place; given back, and uncounted, when the connection and the last of its requests are done with it.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    counted: Option<Arc<Table>>,
    taken: Instant,
    /// When the last request began, in milliseconds after the place was taken.
    last_request: AtomicU64,
}

impl Place {
    pub(super) fn take(permit: OwnedSemaphorePermit, counted: Option<Arc<Table>>) -> Place {
        if let Some(table) = &counted {
            table.own.connections.fetch_add(1, Ordering::Relaxed);
        }
        Place { _permit: permit, counted, taken: Instant::now(), last_request: AtomicU64::new(0) }
    }

    /// A request begins.
    pub(super) fn begin_request(&self) {
        let after = u64::try_from(self.taken.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last_request.store(after, Ordering::Relaxed);
    }

    /// When the last request began, or the connection if there was none.
    pub(super) fn last_request(&self) -> Instant {
        self.taken + Duration::from_millis(self.last_request.load(Ordering::Relaxed))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(table) = &self.counted {
            table.own.connections.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
