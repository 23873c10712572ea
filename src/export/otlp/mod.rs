//! OTLP: what leaves for a collector. Intake encodes every event once and puts the bytes into `queue`,
//! which closes them into batches (`batch`); what memory is not to hold goes to disk (`spool`). From
//! both (`buffer`), `logs` takes batches, frames them (`frame`) and sends them through `client` until each
//! event has met exactly one fate (`pending`). Nothing here ever makes intake wait.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>

pub mod client;
pub mod frame;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod outbox;
pub mod parcel;
pub mod pending;
pub mod queue;
pub mod spool;
pub mod text;
pub mod traces;

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod grpc_tests;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod tls_tests;
