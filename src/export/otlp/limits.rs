//! Limits that several files of the OTLP exporters share.

use std::time::Duration;

/// Most requests of events in flight: the number of workers.
pub(crate) const MAX_IN_FLIGHT: usize = 4;
pub(crate) const MAX_BATCH_RECORDS: u64 = 512;
/// Most bytes of a batch's records, and of one record.
pub(crate) const MAX_BATCH_BYTES: usize = 1 << 20;
/// Time for which a batch waits for more records after its first.
pub(crate) const MAX_BATCH_AGE: Duration = Duration::from_secs(1);
