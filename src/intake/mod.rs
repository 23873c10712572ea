//! Intake: what stands between the internet and the path. Who may send what to which URL, how much of
//! it and how slowly; the answer that makes browsers do the right thing next; and an outcome for every
//! upload, also for those that never become a body.

mod body;
mod body_pool;
pub mod client_ip;
mod connection_errors;
mod connection_limit;
mod expect_ct;
pub mod fd_limit;
mod forwarded;
pub mod health;
mod io_timeout;
pub mod listener;
mod memory;
mod proxy_protocol;
pub mod rate_limit;
mod request_target;
mod response;
pub mod server;
pub mod tls;
mod upload;

pub use body::gunzip;
pub use upload::{Intake, router};
