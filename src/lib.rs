//! lookoutd takes every report that browsers send and turns each into one log event and labelled
//! counters. This page is the path that a report takes; the files below are named after its steps.
//!
//! ```text
//! intake → decode → normalize → classify → record
//!                                          ├─ metrics  (counters)             → Prometheus, OTLP metrics
//!                                          └─ encode   (one for each report)  → console, OTLP logs
//! ```
//!
//! 1. [`intake`] accepts the upload: who, how much, how fast, to which URL. It ends in an answer, and
//!    every upload in exactly one [`model::UploadOutcome`].
//! 2. [`decode`] takes the body apart into envelopes, whatever shape it has. An item that is no report
//!    is a counted [`model::RejectReason`].
//! 3. [`normalize`] gives each the Reporting API's shape under its specification's names, cuts what is
//!    private, bounds what is long, and says when it happened.
//! 4. [`classify`] finds the site, the noise class and the browser.
//! 5. The report's [`kinds`] assesses it: severity, summary, what it adds to which counters.
//! 6. [`metrics`] counts, within a budget that no flood exceeds.
//! 7. [`encode`] encodes it once for each export that is on.
//! 8. [`export`] delivers, and every event ends in exactly one [`model::EventOutcome`].
//!
//! Steps 2 to 7 are [`pipeline`]: synchronous functions that import none of each other, only the types
//! that flow ([`model`]) and the table of
//! kinds. Async lives at the two ends. A test reads the imports and keeps these walls standing.

pub mod admin;
pub mod classify;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod decode;
pub mod encode;
pub mod export;
pub mod intake;
pub mod kinds;
pub mod log_throttle;
mod log_writer;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod normalize;
pub mod pipeline;
pub mod probe;
pub mod signals;
