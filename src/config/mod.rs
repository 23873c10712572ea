//! Settings: flag > environment > file > default.

pub mod settings;
