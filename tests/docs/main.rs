//! The documents, which people copy from: generated parts match the code, samples are loaded, names are looked up,
//! links resolve, and the first report is posted to the real binary.
//!
//! `UPDATE_DOCS=1 cargo test --test docs` rewrites the generated parts.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test may panic

mod commands;
mod daemon;
mod generated;
mod links;
mod markdown;
mod names;
mod pages;
mod policies;
mod samples;
mod schemas;
mod tour;

use std::path::{Path, PathBuf};

/// Returns the path of a file of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}
