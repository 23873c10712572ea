//! Commands that exchange data with a running lookoutd, or read what one has written. Hidden characters in their output
//! are escaped, because reports are hostile and a terminal executes control sequences.

mod admin;
mod error;
mod policy;
mod send;
mod tail;

pub use admin::AdminClient;
pub use error::CommandError;
pub use policy::{Format, Input, propose};
pub use send::{Kinds, send};
pub use tail::{Filter, tail};
