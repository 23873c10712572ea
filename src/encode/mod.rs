//! One report as a log event, in the encoding of each exporter.

mod attributes;
mod console;
mod otlp_log;

pub use attributes::attributes;
pub use console::{write_folded_line, write_json_line};
pub(crate) use otlp_log::{field_len, write_bytes, write_header};
pub use otlp_log::{unix_nanos, write_folded_record, write_log_record};
