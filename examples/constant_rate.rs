//! The load of `benches/latency/run.py`: uploads at a constant rate, whatever the answers do. The latency of an upload
//! counts from the moment at which it was due, so that a server that stops for a while does not hide the uploads that
//! would have come meanwhile (coordinated omission).
//!
//! `constant_rate ADDRESS FILE CONNECTIONS RATE SECONDS`: FILE has the requests, each after its length in bytes and a
//! line break (`LOAD_REQUESTS` of `benches/load/mix.lua`). An upload that is due waits for a free connection. The first
//! tenth of the time is not in the figures.

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::time::Timespec;

const USAGE: &str = "usage: constant_rate ADDRESS FILE CONNECTIONS RATE SECONDS";
/// Time between two looks at the answers and at what is due, so that the load takes little of the cores that it shares
/// with the server. Latencies are up to twice as much too long.
const TICK: Duration = Duration::from_micros(500);
/// How long the last answers may take.
const GRACE: Duration = Duration::from_secs(10);

struct Connection {
    stream: TcpStream,
    /// What was received of an answer.
    answer: Vec<u8>,
    /// When the upload in flight was due.
    due: Instant,
}

impl Connection {
    fn send(&mut self, request: &[u8], due: Instant) -> io::Result<()> {
        self.due = due;
        // The kernel's buffer takes it whole, because the answer to the last one has arrived.
        self.stream.write_all(request)
    }

    /// Returns the status once the whole answer has arrived.
    fn receive(&mut self) -> io::Result<Option<u16>> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => self.answer.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let Some(head) = self.answer.windows(4).position(|end| end == b"\r\n\r\n") else { return Ok(None) };
        let text = String::from_utf8_lossy(&self.answer[..head]).to_ascii_lowercase();
        let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
        if self.answer.len() < head + 4 + length.unwrap_or(0) {
            return Ok(None);
        }
        self.answer.clear();
        Ok(Some(text.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)))
    }
}

#[derive(Default)]
struct Figures {
    /// Microseconds.
    latencies: Vec<u32>,
    not_2xx: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().collect();
    let [_, address, file, connections, rate, seconds] = &arguments[..] else { return Err(USAGE.into()) };
    let file = std::fs::read(file)?;
    let requests = requests(&file).ok_or("the file has no requests")?;
    let interval = Duration::from_secs_f64(1.0 / rate.parse::<f64>()?);
    let seconds = Duration::from_secs(seconds.parse()?);

    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut all = Vec::new();
    for at in 0..connections.parse()? {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        epoll::add(&epoll, &stream, EventData::new_u64(at), EventFlags::IN | EventFlags::ET)?;
        all.push(Connection { stream, answer: Vec::new(), due: Instant::now() });
    }
    let mut figures = Figures::default();
    let mut idle: VecDeque<usize> = (0..all.len()).collect();
    let mut next = requests.iter().cycle();
    let began = Instant::now();
    let (counted, end) = (began + seconds / 10, began + seconds);
    let mut due = began;
    let mut events = Vec::with_capacity(all.len());
    while due < end || idle.len() < all.len() {
        events.clear();
        epoll::wait(&epoll, spare_capacity(&mut events), Some(&Timespec::default()))?;
        for event in &events {
            let Event { data, .. } = *event;
            let at = data.u64() as usize;
            let connection = &mut all[at];
            let Some(status) = connection.receive()? else { continue };
            idle.push_back(at);
            if connection.due >= counted {
                figures.latencies.push(connection.due.elapsed().as_micros().try_into().unwrap_or(u32::MAX));
                figures.not_2xx += u64::from(!(200..300).contains(&status));
            }
        }
        while due < end
            && due <= Instant::now()
            && let Some(at) = idle.pop_front()
        {
            all[at].send(next.next().ok_or("no request")?, due)?;
            due += interval;
        }
        if began.elapsed() > seconds + GRACE {
            return Err("answers are still missing".into());
        }
        std::thread::sleep(TICK);
    }
    report(figures, began.elapsed().mul_f64(0.9))
}

fn requests(file: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut requests, mut rest) = (Vec::new(), file);
    while !rest.is_empty() {
        let line = rest.iter().position(|byte| *byte == b'\n')?;
        let length: usize = std::str::from_utf8(&rest[..line]).ok()?.parse().ok()?;
        requests.push(rest.get(line + 1..line + 1 + length)?);
        rest = &rest[line + 1 + length..];
    }
    (!requests.is_empty()).then_some(requests)
}

/// Prints the figures, times in milliseconds, and its own CPU time.
#[allow(clippy::print_stdout)] // what the script reads
fn report(mut figures: Figures, took: Duration) -> Result<(), Box<dyn Error>> {
    let latencies = &mut figures.latencies;
    latencies.sort_unstable();
    let last = latencies.len().checked_sub(1).ok_or("no upload was answered")?;
    let rate = latencies.len() as f64 / took.as_secs_f64();
    print!("uploads={} rate={rate:.0} not_2xx={}", latencies.len(), figures.not_2xx);
    for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)] {
        print!(" {name}={:.3}", f64::from(latencies[(share * last as f64) as usize]) / 1e3);
    }
    let spent = std::fs::read_to_string("/proc/self/schedstat")?;
    let spent: f64 = spent.split(' ').next().unwrap_or_default().parse()?;
    println!(" cpu_s={:.2}", spent / 1e9);
    Ok(())
}
