//! Why a body cannot be decoded.

/// The reason why a whole body was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is not JSON, not even after the repair of known defects.
    #[error("the body is not valid JSON")]
    InvalidJson,
}
