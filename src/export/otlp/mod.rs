//! OTLP: what leaves for a collector. Intake encodes every event once and puts the bytes into
//! `queue`; `logs` frames batches of them (`frame`) and sends them through `client` until each event
//! has met exactly one fate (`pending`). Nothing here ever makes intake wait.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>

pub mod client;
pub mod frame;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod pending;
pub mod queue;
pub mod text;
pub mod throttle;
pub mod traces;

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod grpc_tests;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod tls_tests;
