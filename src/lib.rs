//! lookoutd.

pub mod classify;
pub mod clock;
pub mod config;
pub mod decode;
pub mod event;
pub mod kind;
pub mod metric;
pub mod normalise;
pub mod outcome;
pub mod pipeline;
pub mod receive;
pub mod report;
pub mod table;
pub mod value;
