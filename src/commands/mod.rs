//! Commands that exchange data with a running lookoutd, or read what one has written. Hidden characters in their output
//! are escaped, because reports are hostile and a terminal executes control sequences.

mod admin;
mod check;
mod policy;
mod send;
mod tail;

pub use admin::{CommandError, open};
pub use check::unusable_files;
pub use policy::Policy;
pub use send::Send;
pub use tail::Tail;
