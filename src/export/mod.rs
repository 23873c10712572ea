//! The ways out of the process.

pub mod otlp;
