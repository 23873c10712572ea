//! Support for the tests of the OTLP export.

pub(super) mod fake_collector;
