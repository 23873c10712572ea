//! Shutdown of the log exporter: its deadlines, how tasks wait for them, and its result.

use std::time::{Duration, Instant};

use tokio::sync::watch;

/// With a spool, a fourth of the shutdown time is reserved for spilling.
const SPILL_SHARE: u32 = 4;
const MAX_SPILL_TIME: Duration = Duration::from_secs(3);

#[derive(Debug, Clone, Copy)]
pub(crate) struct ShutdownDeadlines {
    /// End of sending.
    pub(crate) export: Instant,
    /// End of spilling, and of the shutdown.
    pub(crate) spill: Instant,
}

/// Receiver of the deadlines; `None` while the daemon runs.
pub(crate) type ShutdownReceiver = watch::Receiver<Option<ShutdownDeadlines>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShutdownSummary {
    /// Events counted as `EventOutcome::DroppedShutdown`, or whose spool files were lost during the shutdown.
    pub(crate) dropped: u64,
    /// Events on disk, for the next start.
    pub(crate) spooled: u64,
}

impl ShutdownDeadlines {
    pub(crate) fn new(deadline: Instant, has_spool: bool) -> Self {
        let left = deadline.saturating_duration_since(Instant::now());
        let spill_time = if has_spool { MAX_SPILL_TIME.min(left / SPILL_SHARE) } else { Duration::ZERO };
        ShutdownDeadlines { export: deadline.checked_sub(spill_time).unwrap_or(deadline), spill: deadline }
    }

    /// Returns when hanging workers are aborted, so that time is left for spilling memory.
    pub(crate) fn abort_workers(self) -> Instant {
        self.export + (self.spill - self.export) / 2
    }
}

/// Waits for a deadline of the shutdown. Ends at once if the exporter is dropped without one.
pub(crate) async fn wait_for_deadline(
    shutdown: &mut ShutdownReceiver,
    deadline: impl Fn(ShutdownDeadlines) -> Instant,
) {
    let deadlines = shutdown.wait_for(Option::is_some).await.ok().and_then(|deadlines| *deadlines);
    if let Some(deadlines) = deadlines {
        tokio::time::sleep_until(deadline(deadlines).into()).await;
    }
}
