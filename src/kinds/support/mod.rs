//! What several kinds share.

pub mod certificate;
mod features;
pub mod label_values;
pub(super) mod policy;
