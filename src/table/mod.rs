//! The one place where counting happens.

pub mod histogram;
pub mod own;
