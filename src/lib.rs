//! lookoutd.

pub mod clock;
pub mod config;
pub mod export;
pub mod outcome;
pub mod table;
