//! Intake's front: what is decided about an upload before anything looks into its body.

pub mod client;
mod hops;
pub mod rate_limit;
