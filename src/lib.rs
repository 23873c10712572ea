//! lookoutd accepts every report that browsers send, and turns each into one log event and labeled
//! metrics. This page is the path that a report takes; the modules are named after its steps.
//!
//! ```text
//! intake → decode → normalize → classify → evaluate → record
//!                                                     ├─ metrics (series)          → Prometheus, OTLP metrics
//!                                                     └─ encode (event per report) → console, OTLP logs
//! ```
//!
//! 1. [`intake`] receives the upload, within its limits on connections, rates, sizes and memory. Every upload
//!    ends in a response and in exactly one [`model::UploadOutcome`].
//! 2. [`decode`] splits the body, of whatever shape, into envelopes. An item that is not a report is counted
//!    under a [`model::RejectReason`].
//! 3. [`normalize`] converts each envelope to the Reporting API's shape: fields under their specification's
//!    names, private data redacted, long values truncated, the time of the event computed.
//! 4. [`classify`] determines the site, the page, the rule that matches, the noise class and the browser.
//! 5. The report's kind, one of [`kinds`], evaluates it: severity, summary, and observations for its metrics.
//! 6. [`metrics`] adds the observations to series, within a quota that holds under any load.
//!    [`findings`] counts the clients that were affected, and keeps the distinct problems.
//! 7. [`encode`] encodes the event once for each enabled exporter.
//! 8. [`export`] delivers it, and every event ends in exactly one [`model::EventOutcome`].
//!
//! [`pipeline`] runs steps 2 to 7. They are synchronous functions that import none of each other, only the
//! types that flow ([`model`]) and the table of [`kinds`]. Async code is at the two ends only: [`intake`] and
//! [`admin`], [`export`], and [`daemon`], which starts and stops them. A test of the imports enforces this.

pub mod admin;
pub mod background;
pub mod classify;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod daemon;
pub mod decode;
pub mod docs;
pub mod encode;
pub mod explain;
pub mod export;
pub mod findings;
pub mod http_client;
pub mod intake;
pub mod kinds;
pub mod log_throttle;
mod log_writer;
pub mod logging;
pub mod metrics;
pub mod model;
pub mod normalize;
pub mod pipeline;
pub mod policy;
pub mod probe;
pub mod recent;
pub mod reload;
pub mod signals;
pub mod systemd;
pub mod tls_files;
