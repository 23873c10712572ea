//! The queue of log lines, and the thread that writes them to stderr.
//!
//! Logging never waits, because a full pipe would block every thread that serves. The queue is bounded in
//! bytes; further lines are dropped and counted. `tracing-appender` bounds lines instead, and prints to stdout
//! if its queue is full at the end.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use crate::log_throttle::INTERVAL;
use crate::model::escape_hidden;

/// Maximum size of the queue: several hundred lines.
const MAX_QUEUE_BYTES: usize = 64 * 1024;
/// Maximum size of one line; a longer one is truncated.
const MAX_LINE_BYTES: usize = 16 * 1024;

pub(crate) struct LogWriter {
    queue: Sender<Message>,
    /// Bytes of the lines that are not written yet.
    bytes: AtomicUsize,
    pub(crate) dropped: IntCounter,
}

enum Message {
    Line(Box<[u8]>),
    /// Answered once every earlier line is written.
    Flush(SyncSender<()>),
}

pub(crate) fn dropped_counter() -> Result<IntCounter, prometheus::Error> {
    IntCounter::new("lookout_log_lines_dropped_total", "Log lines dropped because stderr was not read.")
}

impl LogWriter {
    /// Starts the thread that writes to `out`, one write per line. Fails if it cannot be started.
    pub(crate) fn start(out: impl Write + Send + 'static) -> io::Result<Arc<LogWriter>> {
        let (queue, messages) = channel();
        let dropped = dropped_counter().map_err(io::Error::other)?;
        let writer = Arc::new(LogWriter { queue, bytes: AtomicUsize::new(0), dropped });
        let writing = writer.clone();
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writing.write_lines(messages, out))?;
        Ok(writer)
    }

    /// Waits until every queued line is written, for `timeout` at most. Returns whether all were.
    pub(crate) fn flush(&self, timeout: Duration) -> bool {
        let (done, flushed) = sync_channel(1);
        self.queue.send(Message::Flush(done)).is_ok() && flushed.recv_timeout(timeout).is_ok()
    }

    fn push(&self, line: &[u8]) {
        let line = truncate(&printable(line));
        let len = line.len();
        let fits = |bytes: usize| (bytes + len <= MAX_QUEUE_BYTES).then_some(bytes + len);
        let reserved = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        // The queue does not close, because this value has its other end.
        if reserved.is_err() || self.queue.send(Message::Line(line)).is_err() {
            self.dropped.inc();
        }
    }

    fn write_lines(&self, messages: Receiver<Message>, mut out: impl Write) {
        let mut reported = 0;
        let mut last_warning: Option<Instant> = None;
        for message in messages {
            let line = match message {
                Message::Line(line) => line,
                Message::Flush(done) => {
                    // Fails if the caller waits no longer.
                    let _ = done.send(());
                    continue;
                }
            };
            let written = out.write_all(&line);
            let is_empty = self.bytes.fetch_sub(line.len(), Ordering::Relaxed) == line.len();
            if written.is_err() {
                self.dropped.inc();
                continue;
            }
            let dropped = self.dropped.get();
            let due = last_warning.is_none_or(|last| last.elapsed() >= INTERVAL);
            if dropped > reported && due && is_empty {
                tracing::warn!(count = dropped - reported, "log lines dropped, because stderr was not read");
                last_warning = Some(Instant::now());
                reported = dropped;
            }
        }
    }
}

/// Queues one line per call, because the formatter of `tracing-subscriber` writes whole lines.
impl Write for &LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns the line with hidden characters escaped. A line with colors goes to a terminal as it is.
fn printable(line: &[u8]) -> Cow<'_, str> {
    let line = String::from_utf8_lossy(line);
    if line.contains('\u{1b}') { line } else { escape_hidden(line, true) }
}

/// Returns the line, truncated between two characters if it is too long.
fn truncate(line: &str) -> Box<[u8]> {
    let end = line.floor_char_boundary(MAX_LINE_BYTES);
    let mark = if end < line.len() { "…\n" } else { "" };
    [&line[..end], mark].concat().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    /// Output that passes on one write per permit, and fails once no sender of permits is left.
    struct Gate(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(line.to_vec()).map_err(io::Error::other)?;
            Ok(line.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn start() -> (Arc<LogWriter>, Sender<()>, Receiver<Vec<u8>>) {
        let (permit, permits) = channel();
        let (sender, written) = channel();
        (LogWriter::start(Gate(permits, sender)).unwrap(), permit, written)
    }

    fn dropped(writer: &LogWriter) -> u64 {
        writer.dropped.get()
    }

    #[test]
    fn lines_are_written_one_by_one_in_order() {
        let (writer, permit, written) = start();
        for _ in 0..2 {
            permit.send(()).unwrap();
        }
        for line in ["one\n", "two\n"] {
            (&*writer).write_all(line.as_bytes()).unwrap();
        }
        assert!(writer.flush(DEADLINE));
        assert_eq!(written.try_iter().collect::<Vec<_>>(), [b"one\n", b"two\n"]);
        assert_eq!(dropped(&writer), 0);
    }

    #[test]
    fn blocked_output_drops_lines_within_the_limit() {
        let (writer, permit, written) = start();
        let line = [b'x'; 1024];
        let sent = 1000;
        for _ in 0..sent {
            (&*writer).write_all(&line).unwrap();
        }
        assert!(!writer.flush(Duration::from_millis(10)), "nothing was written");
        assert!(writer.bytes.load(Ordering::Relaxed) <= MAX_QUEUE_BYTES);
        let lost = dropped(&writer);
        assert!(lost >= sent - 65, "{lost} dropped");
        for _ in lost..sent {
            permit.send(()).unwrap();
        }
        assert!(writer.flush(DEADLINE));
        assert_eq!(written.try_iter().count() as u64, sent - lost, "every other line is written");
        assert_eq!(writer.bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn closed_output_drops_and_counts_lines() {
        let (writer, permit, _written) = start();
        drop(permit);
        (&*writer).write_all(b"one\n").unwrap();
        assert!(writer.flush(DEADLINE));
        assert_eq!(dropped(&writer), 1);
    }

    #[test]
    fn long_line_is_truncated_between_characters() {
        assert_eq!(&*truncate("one\n"), b"one\n");
        let truncated = truncate(&"xä".repeat(MAX_LINE_BYTES));
        let text = std::str::from_utf8(&truncated).unwrap();
        assert!(text.ends_with("…\n") && truncated.len() <= MAX_LINE_BYTES + 4, "{}", truncated.len());
    }
}
