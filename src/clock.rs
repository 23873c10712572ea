//! The only place that asks what time it is. Everything on a report's path is handed the moment of
//! receipt as a value, so tests, fuzzing and benchmarks set it.

use std::sync::OnceLock;
use std::time::Instant;

use jiff::Timestamp;

/// The wall clock. It may jump; use it for what is shown, never for what is waited for.
pub fn now() -> Timestamp {
    #[allow(clippy::disallowed_methods)] // the one allowed place
    Timestamp::now()
}

/// Whole seconds between the process' first question and a moment on the monotonic clock: what a
/// series' last touch is counted in.
pub fn uptime_seconds(moment: Instant) -> u32 {
    static PROCESS_START: OnceLock<Instant> = OnceLock::new();
    let elapsed = moment.saturating_duration_since(*PROCESS_START.get_or_init(|| moment)).as_secs();
    u32::try_from(elapsed).unwrap_or(u32::MAX)
}
