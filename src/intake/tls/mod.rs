//! TLS on the intake listener: certificates, and their reload when the files change.

mod certificate;
mod reload;

pub use reload::Tls;
