//! Exporter of event lines to stdout. Its own thread writes them, so that a stalled pipe blocks nothing else.
//! Lines wait in a queue bounded in bytes; lines that do not fit are dropped and counted.

use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::fs::{OFlags, fcntl_getfl, fstat};

use crate::log_throttle::LogThrottle;
use crate::metrics::Registry;
use crate::model::{EventOutcome, EventSink, ExporterId, PendingState};

/// Time for which the writer collects more lines after the first.
const BATCH_WINDOW: Duration = Duration::from_millis(5);

/// Exporter of event lines.
pub struct ConsoleExporter {
    queue: Mutex<Queue>,
    /// Signaled when there are lines to write, and when the queue closes.
    work: Condvar,
    done: Condvar,
    max_bytes: usize,
    full: LogThrottle,
    registry: Arc<Registry>,
}

#[derive(Default)]
struct Queue {
    lines: Vec<u8>,
    events: u64,
    closing: bool,
    closed: bool,
}

impl ConsoleExporter {
    /// Starts the writer to stdout. If stdout was closed when the process began, every event is rejected.
    pub fn start_stdout(max_bytes: usize, registry: Arc<Registry>) -> io::Result<Arc<ConsoleExporter>> {
        if is_stdout_closed() {
            ConsoleExporter::start(Closed, max_bytes, registry)
        } else {
            ConsoleExporter::start(io::stdout(), max_bytes, registry)
        }
    }

    /// Starts the writer to `out`. At most `max_bytes` bytes wait, and as many may be in flight.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn start(
        out: impl Write + Send + 'static,
        max_bytes: usize,
        registry: Arc<Registry>,
    ) -> io::Result<Arc<ConsoleExporter>> {
        let console = Arc::new(ConsoleExporter {
            queue: Mutex::default(),
            work: Condvar::new(),
            done: Condvar::new(),
            max_bytes,
            full: LogThrottle::new(|events| {
                tracing::warn!(events, "more events were dropped, because stdout was full")
            }),
            registry,
        });
        let writer = console.clone();
        std::thread::Builder::new().name("console".to_owned()).spawn(move || writer.write_all(out))?;
        Ok(console)
    }

    /// Writes the waiting lines until the deadline. Returns how many events were dropped then.
    pub fn shutdown(&self, deadline: Instant) -> u64 {
        let mut queue = self.queue.lock();
        queue.closing = true;
        self.work.notify_one();
        self.done.wait_while_until(&mut queue, |queue| !queue.closed, deadline);
        let left = std::mem::take(&mut queue.events);
        queue.lines = Vec::new();
        self.finalize(PendingState::Queued, EventOutcome::DroppedShutdown, left);
        left
    }
}

/// Returns whether stdout was closed. In its place, the standard library opens the null device for reading and
/// writing; redirections of shells and service managers open it for writing only.
fn is_stdout_closed() -> bool {
    let stdout = io::stdout();
    let Ok(null) = std::fs::metadata("/dev/null") else { return false };
    fcntl_getfl(&stdout).is_ok_and(|flags| flags.contains(OFlags::RDWR))
        && fstat(&stdout).is_ok_and(|stat| stat.st_rdev == null.rdev())
}

struct Closed;

impl Write for Closed {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::new(ErrorKind::BrokenPipe, "stdout was closed when lookoutd was started"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl EventSink for ConsoleExporter {
    fn push(&self, lines: &[u8], ends: &[u32]) {
        let self_metrics = &self.registry.self_metrics;
        let mut queue = self.queue.lock();
        let room = self.max_bytes.saturating_sub(queue.lines.len());
        let fitting = ends.partition_point(|end| *end as usize <= room);
        if fitting > 0 {
            // The writer sleeps only while the queue is empty.
            if queue.lines.is_empty() {
                self.work.notify_one();
            }
            queue.lines.extend_from_slice(&lines[..ends[fitting - 1] as usize]);
            queue.events += fitting as u64;
            self_metrics.add_pending(ExporterId::Console, PendingState::Queued, fitting as i64);
        }
        drop(queue);
        let dropped = (ends.len() - fitting) as u64;
        self_metrics.event(ExporterId::Console, EventOutcome::DroppedQueueFull, dropped);
        if dropped > 0
            && let Some(events) = self.full.record(dropped)
        {
            tracing::warn!(
                events,
                "events are dropped, because stdout is read too slowly: look what reads it, or raise delivery.memory_bytes"
            );
        }
    }
}

impl ConsoleExporter {
    fn write_all(&self, mut out: impl Write) {
        let mut lines = Vec::new();
        let failures = LogThrottle::new(|events| {
            tracing::warn!(events, "more events could not be written to stdout");
        });
        while let Some(events) = self.wait_for_lines(&mut lines) {
            // A reader that has closed the pipe does not come back, but events are still counted.
            let outcome = match out.write_all(&lines).and_then(|()| out.flush()) {
                Ok(()) => EventOutcome::Delivered,
                Err(error) => {
                    if let Some(events) = failures.record(events) {
                        tracing::warn!(events, %error, "events cannot be written to stdout, and are lost");
                    }
                    EventOutcome::Rejected
                }
            };
            self.finalize(PendingState::InFlight, outcome, events);
        }
        self.queue.lock().closed = true;
        self.done.notify_all();
    }

    /// Waits for lines and moves them to `lines`. Returns `None` once the queue is closed and empty.
    fn wait_for_lines(&self, lines: &mut Vec<u8>) -> Option<u64> {
        lines.clear();
        lines.shrink_to(1 << 20);
        let mut queue = self.queue.lock();
        self.work.wait_while(&mut queue, |queue| queue.lines.is_empty() && !queue.closing);
        if queue.lines.is_empty() {
            return None;
        }
        // One write serves many uploads, because waking for each costs more than the write.
        if !queue.closing {
            self.work.wait_for(&mut queue, BATCH_WINDOW);
        }
        std::mem::swap(lines, &mut queue.lines);
        let events = std::mem::take(&mut queue.events);
        let self_metrics = &self.registry.self_metrics;
        self_metrics.add_pending(ExporterId::Console, PendingState::InFlight, events as i64);
        self_metrics.add_pending(ExporterId::Console, PendingState::Queued, -(events as i64));
        Some(events)
    }

    fn finalize(&self, from: PendingState, outcome: EventOutcome, events: u64) {
        self.registry.self_metrics.event(ExporterId::Console, outcome, events);
        self.registry.self_metrics.add_pending(ExporterId::Console, from, -(events as i64));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Writer that takes one write per permit and passes it on.
    struct Gate(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.recv().map_err(std::io::Error::other)?;
            self.1.send(bytes.to_vec()).map_err(std::io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    fn start(max_bytes: usize) -> (Arc<ConsoleExporter>, Arc<Registry>, Sender<()>, Receiver<Vec<u8>>) {
        let registry =
            Arc::new(Registry::new(crate::kinds::families(), 10_000, 0, crate::clock::now()).unwrap());
        let ((permit, gate), (shown, written)) = (channel(), channel());
        let console = ConsoleExporter::start(Gate(gate, shown), max_bytes, registry.clone()).unwrap();
        (console, registry, permit, written)
    }

    #[test]
    fn lines_written_arrive_in_order_and_are_counted() {
        let (console, registry, permit, written) = start(1000);
        permit.send(()).unwrap();
        permit.send(()).unwrap();
        console.push(b"one\ntwo\n", &[4, 8]);
        assert_eq!(console.shutdown(soon()), 0);
        assert_eq!(written.try_iter().flatten().collect::<Vec<_>>(), b"one\ntwo\n");
        assert_eq!(registry.self_metrics.events(ExporterId::Console, EventOutcome::Delivered), 2);
        assert_eq!(registry.self_metrics.pending(ExporterId::Console, PendingState::Queued), 0);
    }

    #[test]
    fn stalled_reader_costs_events_but_no_time() {
        let (console, registry, _permit, _written) = start(8);
        for _ in 0..100 {
            console.push(b"one\ntwo\n", &[4, 8]);
        }
        let left = console.shutdown(Instant::now() + Duration::from_millis(50));
        let self_metrics = &registry.self_metrics;
        let dropped = self_metrics.events(ExporterId::Console, EventOutcome::DroppedQueueFull);
        assert!(dropped >= 196, "{dropped}");
        assert_eq!(self_metrics.events(ExporterId::Console, EventOutcome::DroppedShutdown), left);
        let pending = self_metrics.pending(ExporterId::Console, PendingState::InFlight) as u64;
        assert_eq!(dropped + left + pending, 200, "every event has one outcome");
    }

    #[test]
    fn closed_pipe_is_counted_as_rejected() {
        let (console, registry, permit, _written) = start(1000);
        drop(permit);
        console.push(b"one\n", &[4]);
        assert_eq!(console.shutdown(soon()), 0);
        assert_eq!(registry.self_metrics.events(ExporterId::Console, EventOutcome::Rejected), 1);
    }
}
