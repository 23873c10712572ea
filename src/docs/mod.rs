//! What is generated from the code: the man page.

mod man;

pub use man::write_man_page;
