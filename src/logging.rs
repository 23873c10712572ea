//! Logging: lines on stderr, as text or as JSON. No line quotes a request, except the redacted path of reports to a
//! path that intake does not serve, and at `debug` the redacted head of what was not taken. Clients cannot cause lines
//! without a rate limit.

use std::any::Any;
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use prometheus::IntCounter;
use tracing::Event;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{Log, LogFormat, LogLevel};
use crate::log_throttle::LogThrottle;
use crate::log_writer::{self, LogWriter};

/// Target of the startup line, which is written at every level.
pub const STARTUP_TARGET: &str = "lookoutd::announcement";
/// Maximum time that the end of the process waits for the last lines.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// A layer that exports lines.
pub type DiagnosticsLayer = Box<dyn Layer<Registry> + Send + Sync>;

static WRITER: OnceLock<Arc<LogWriter>> = OnceLock::new();
/// A filter, and what it is at a level.
type LevelTargets = (fn(LogLevel) -> Targets, reload::Handle<Targets, Registry>);
static FILTERS: OnceLock<[LevelTargets; 2]> = OnceLock::new();
static EXPORT: OnceLock<DiagnosticsLayer> = OnceLock::new();

/// Starts logging. A second call changes nothing.
///
/// # Errors
/// Returns an error if the log thread cannot be started.
pub fn init(log: &Log) -> io::Result<()> {
    let writer = LogWriter::start(io::stderr())?;
    let writer = WRITER.get_or_init(|| writer).clone();
    let (to_write, written) = reload::Layer::new(lines_to_write(log.level));
    let (to_export, exported) = reload::Layer::new(lines_to_export(log.level));
    // The formatter would print its own errors to stderr, past the writer.
    let lines =
        tracing_subscriber::fmt::layer().with_target(false).with_writer(writer).log_internal_errors(false);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match log.format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let layers = vec![lines.with_filter(to_write).boxed(), Export.with_filter(to_export).boxed()];
    // Fails only on a second call.
    drop(tracing_subscriber::registry().with(layers).try_init());
    let _ = FILTERS.set([(lines_to_write, written), (lines_to_export, exported)]);
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

/// Returns the filter of the lines that are written at this level.
fn lines_to_write(level: LogLevel) -> Targets {
    let level = level_filter(level);
    // Only errors of libraries, because some warn about every frame of a client. Of h2 at every level, because
    // it quotes what clients send.
    let libraries = if level < LevelFilter::DEBUG { LevelFilter::ERROR } else { level };
    Targets::new()
        .with_default(libraries)
        .with_target("h2", LevelFilter::ERROR)
        .with_target(env!("CARGO_CRATE_NAME"), level)
        .with_target(STARTUP_TARGET, LevelFilter::INFO)
}

/// Changes the minimum level.
pub fn set_level(level: LogLevel) {
    for (targets, filter) in FILTERS.get().into_iter().flatten() {
        // Fails only if logging has ended.
        let _ = filter.reload(targets(level));
    }
}

/// Returns the filter of lines to export: those of stderr without any of libraries and of the exporters, because
/// each export could cause a line that is exported.
pub(crate) fn lines_to_export(level: LogLevel) -> Targets {
    Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), level_filter(level))
        .with_target(STARTUP_TARGET, LevelFilter::INFO)
        .with_target(concat!(env!("CARGO_CRATE_NAME"), "::export::otlp"), LevelFilter::OFF)
}

/// Exports further lines through this layer, besides writing them. A second call changes nothing.
pub fn export_to(layer: DiagnosticsLayer) {
    drop(EXPORT.set(layer));
}

/// The layer that [`export_to`] sets, because logging starts before the exporter.
struct Export;

impl Layer<Registry> for Export {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, Registry>) {
        if let Some(layer) = EXPORT.get() {
            layer.on_event(event, context);
        }
    }
}

/// Waits until the queued lines are written, for half a second at most.
pub fn flush() {
    if let Some(writer) = WRITER.get() {
        writer.flush(FLUSH_TIMEOUT);
    }
}

/// Returns the counter of dropped lines: `lookout_log_lines_dropped_total`.
///
/// # Errors
/// Returns an error if its name is invalid, which tests rule out.
pub fn dropped_lines() -> Result<IntCounter, prometheus::Error> {
    WRITER.get().map_or_else(log_writer::dropped_counter, |writer| Ok(writer.dropped.clone()))
}

/// Logs a panic, instead of the standard library's message, which may quote a request. Rate-limited, because a
/// client that can cause one can cause many.
fn log_panic(info: &PanicHookInfo<'_>) {
    static PANICS: LazyLock<LogThrottle> = LazyLock::new(|| LogThrottle::new(|_| {}));
    if let Some(count) = PANICS.record(1) {
        let at = info.location().map(ToString::to_string);
        let reason = static_panic_message(info.payload());
        tracing::error!(count, at, reason, "a task of lookoutd panicked");
    }
}

/// Returns the message if it is a literal; another may quote a part of a request.
fn static_panic_message(payload: &dyn Any) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn panic_message_with_values_is_left_out() {
        let reason = |panics: fn()| static_panic_message(&*catch_unwind(panics).unwrap_err());
        assert_eq!(reason(|| panic!("no such thing")), Some("no such thing"));
        // The standard library's own message quotes the text.
        assert_eq!(reason(|| _ = std::hint::black_box("kanarienvögel")[..10].len()), None);
    }
}
