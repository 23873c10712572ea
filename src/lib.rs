//! lookoutd.

pub mod admin;
pub mod classify;
pub mod clock;
pub mod config;
pub mod decode;
pub mod diagnostics;
pub mod event;
pub mod export;
pub mod kind;
pub mod metric;
pub mod normalise;
pub mod outcome;
pub mod pipeline;
pub mod receive;
pub mod report;
pub mod table;
pub mod value;
