//! Intake: the public listener. Limits which client may send what to which URL, how much and how slowly;
//! sends the response that makes browsers act correctly; and records one outcome for every upload.

mod body;
mod body_pool;
mod client_ip;
mod client_limit;
mod connection;
mod connection_errors;
mod connection_limit;
mod expect_ct;
mod fd_limit;
mod forwarded;
mod health;
mod io_timeout;
mod limits;
mod listener;
mod memory;
mod misdirected;
mod proxy_protocol;
mod rate_limit;
mod request_target;
mod response;
mod server;
mod socket;
mod span;
mod tls;
mod upload;

pub use fd_limit::max_connections;
pub use health::IntakeHealth;
pub use limits::{ServerLimits, TrustedProxies};
pub use listener::ListenerHandle;
pub use request_target::RequestTarget;
pub use response::problem_detail;
pub use server::MakeConnection;
pub use socket::Listener;
pub use tls::Tls;
pub use upload::{Intake, refused, router};
