//! The output of a child as lines, read by a thread, so that no pipe fills up.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::eventually;

/// Lines that were written so far.
pub(crate) struct Lines {
    read: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Lines {
    pub(crate) fn of(output: impl Read + Send + 'static) -> Lines {
        let read = Arc::new(Mutex::new(Vec::new()));
        let lines = read.clone();
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                lines.lock().unwrap().push(line.expect("output is UTF-8"));
            }
        });
        Lines { read, reader: Some(reader) }
    }

    pub(crate) fn all(&self) -> Vec<String> {
        self.read.lock().unwrap().clone()
    }

    /// Waits for this number of lines. Returns all.
    pub(crate) fn at_least(&self, count: usize) -> Vec<String> {
        eventually("lines of output", || {
            let lines = self.all();
            if lines.len() >= count {
                Ok(lines)
            } else {
                Err(format!("{} instead of {count}: {lines:?}", lines.len()))
            }
        })
    }

    /// Waits for a line with this text.
    pub(crate) fn containing(&self, text: &str) -> String {
        eventually("a line of output", || {
            let lines = self.all();
            let found = lines.iter().find(|line| line.contains(text)).cloned();
            found.ok_or_else(|| format!("no {text:?} in {lines:?}"))
        })
    }

    /// Waits until the child has closed its end. Returns all lines.
    pub(crate) fn finish(&mut self) -> Vec<String> {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the output can be read");
        }
        self.all()
    }
}

/// The reading end of an output that is not read, except for a first line if `first_line`, until the test drops
/// its sender.
pub(crate) struct Unread {
    pub(crate) stream: UnixStream,
    pub(crate) first_line: bool,
    pub(crate) release: Receiver<()>,
}

impl Read for Unread {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.first_line {
            let _ = self.release.recv();
        }
        let read = self.stream.read(buffer)?;
        if buffer[..read].contains(&b'\n') {
            self.first_line = false;
        }
        Ok(read)
    }
}

/// Fills a child's end of its output, so that the child's next write blocks.
pub(crate) fn fill(end: &mut UnixStream) {
    end.set_nonblocking(true).unwrap();
    for chunk in [&[b'\n'; 4096][..], b"\n"] {
        while end.write(chunk).is_ok() {}
    }
    end.set_nonblocking(false).unwrap();
}
