//! OTLP: what leaves for a collector. Intake encodes every event once and puts the bytes into `memory_queue`,
//! which closes them into batches (`batch`); what memory is not to hold goes to disk (`spool`). From
//! both (`buffer`), `logs` takes batches, frames them (`log_request`) and sends them through `client` until each
//! event has met exactly one outcome (`accounting`). Nothing here ever makes intake wait.
//!
//! <https://opentelemetry.io/docs/specs/otlp/>

pub mod client;
pub mod error_message;
pub mod export_health;
pub mod log_request;
pub mod logs;
pub mod metrics;
mod retry;
#[cfg(test)]
mod testing;
pub mod traces;

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod grpc_tests;
#[cfg(test)]
mod tls_tests;
