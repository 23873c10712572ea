//! Limits of what a report may hold. Sizes are in bytes; a truncated text ends in `…`.

pub(super) const MAX_URL: usize = 2048;
pub(super) const MAX_POLICY: usize = 8192;
pub(super) const MAX_MESSAGE: usize = 1024;
pub(super) const MAX_STACK: usize = 8192;
/// In characters, because browsers truncate samples by characters too.
pub(super) const MAX_SAMPLE: usize = 256;
/// User agents, report types and other tokens.
pub(super) const MAX_TOKEN: usize = 512;
/// Fields of a known kind's body; more are dropped and counted.
pub(super) const MAX_FIELDS: usize = 128;
/// All lists and objects in a body's known fields together, as JSON.
pub(super) const MAX_NESTED: usize = 16 * 1024;
/// Fields that the kind does not have; more are dropped and counted.
pub(super) const MAX_UNKNOWN_FIELDS: usize = 32;
/// All of them together, as JSON.
pub(super) const MAX_UNKNOWN: usize = 4 * 1024;
