//! Tests of the export of metrics as a whole.

mod agreement;
mod collector;
