//! Intake: what stands between the internet and the path. Who may send what to which URL, how much of
//! it and how slowly; the answer that makes browsers do the right thing next; and a fate for every
//! upload, also for those that never become a body.

mod answer;
mod body;
mod certificate;
pub mod client;
mod expect_ct;
mod failures;
pub mod health;
mod hops;
pub mod listening;
mod memory;
pub mod open_files;
mod place;
mod proxy_protocol;
pub mod rate_limit;
mod room;
pub mod server;
mod target;
pub mod tls;
mod upload;
mod watched;

pub use body::gunzip;
pub use upload::{Intake, router};
