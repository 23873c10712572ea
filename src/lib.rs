//! lookoutd.

pub mod clock;
pub mod config;
pub mod outcome;
pub mod receive;
pub mod table;
