//! lookoutd.

pub mod cli;
pub mod clock;
pub mod config;
pub mod outcome;
pub mod table;
