//! What is generated from the code: the man page, the tables of the documentation pages, the JSON Schemas.

mod event;
mod man;
mod markdown;
mod pages;
mod tables;

pub use man::write_man_page;
pub use markdown::{section, table, with_section};
pub use pages::{DocsError, generate_pages, write_pages};
pub use tables::{ExportedFamily, families};
