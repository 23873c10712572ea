//! The clock. On the path of a report, the time of receipt is a value, so that tests and benchmarks can set it.

use std::sync::OnceLock;
use std::time::Instant;

use jiff::Timestamp;

/// Returns the wall-clock time. It may jump: it is for display, not for waiting.
pub fn now() -> Timestamp {
    #[allow(clippy::disallowed_methods)] // the only allowed call
    Timestamp::now()
}

/// Returns the whole seconds from the first call in this process to `moment`: the unit of a series' last update.
pub fn uptime_seconds(moment: Instant) -> u32 {
    static PROCESS_START: OnceLock<Instant> = OnceLock::new();
    let elapsed = moment.saturating_duration_since(*PROCESS_START.get_or_init(|| moment)).as_secs();
    u32::try_from(elapsed).unwrap_or(u32::MAX)
}
