//! The daemon's own diagnostics: lines on stderr, for people or as JSON.

use tracing::level_filters::LevelFilter;

use crate::config::settings::{Log, LogFormat, LogLevel};

/// Starts writing diagnostics. Once per process; a second call changes nothing.
pub fn start(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let lines = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr);
    let started = match log.format {
        LogFormat::Text => {
            use std::io::IsTerminal;
            lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_target(false).try_init(),
    };
    // Fails only when diagnostics are being written already.
    drop(started);
}
