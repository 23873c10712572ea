//! The daemon's own diagnostics: lines on stderr, for people or as JSON.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry};

use crate::config::settings::{Log, LogFormat, LogLevel};

/// The target of the line that is written at every level.
pub const ANNOUNCEMENT: &str = "lookoutd::announcement";

/// Starts writing diagnostics. Once per process; a second call changes nothing.
pub fn start(log: &Log) {
    let level = match log.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Libraries warn about what peers send, a line for each frame: anybody could fill the disk.
    let libraries = if level < LevelFilter::DEBUG { LevelFilter::ERROR } else { level };
    // Whatever the level, the first line says where it listens.
    let lines_to_write = Targets::new()
        .with_default(libraries)
        .with_target(env!("CARGO_CRATE_NAME"), level)
        .with_target(ANNOUNCEMENT, LevelFilter::INFO);
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_writer(std::io::stderr);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => {
            use std::io::IsTerminal;
            lines.with_ansi(std::io::stderr().is_terminal()).boxed()
        }
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    // Fails only when diagnostics are being written already.
    drop(tracing_subscriber::registry().with(lines.with_filter(lines_to_write)).try_init());
}
