//! The `process_*` metrics, with the names and meanings of Prometheus' client libraries, read from `/proc` when
//! they are gathered. One that cannot be read is absent.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Error, Gauge, Opts};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Metrics of this process.
pub(super) struct ProcessMetrics {
    descs: Vec<Desc>,
    /// Seconds since the epoch; absent if `/proc/stat` is hidden.
    start_time: Option<f64>,
}

/// Values of one moment.
struct Snapshot {
    cpu_seconds: f64,
    virtual_memory: f64,
    resident_memory: f64,
    threads: f64,
    /// Seconds since the boot of the system.
    started: f64,
}

const CPU: (&str, &str) = ("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
const OPEN_FDS: (&str, &str) = ("process_open_fds", "Number of open file descriptors.");
const MAX_FDS: (&str, &str) = ("process_max_fds", "Maximum number of open file descriptors.");
const VIRTUAL_MEMORY: (&str, &str) = ("process_virtual_memory_bytes", "Virtual memory size in bytes.");
const RESIDENT_MEMORY: (&str, &str) = ("process_resident_memory_bytes", "Resident memory size in bytes.");
const THREADS: (&str, &str) = ("process_threads", "Number of OS threads in the process.");
const START_TIME: (&str, &str) =
    ("process_start_time_seconds", "Start time of the process since unix epoch in seconds.");

impl ProcessMetrics {
    pub(super) fn new() -> Result<ProcessMetrics, Error> {
        let all = [CPU, OPEN_FDS, MAX_FDS, VIRTUAL_MEMORY, RESIDENT_MEMORY, THREADS, START_TIME];
        let descs = all.iter().map(|(name, help)| {
            Desc::new((*name).to_owned(), (*help).to_owned(), Vec::new(), std::collections::HashMap::new())
        });
        let start_time = snapshot().and_then(|process| Some(boot_time()? + process.started));
        Ok(ProcessMetrics { descs: descs.collect::<Result<_, _>>()?, start_time })
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let process = snapshot();
        let of = |value: fn(&Snapshot) -> f64| process.as_ref().map(value);
        let cpu = of(|process| process.cpu_seconds).and_then(|seconds| {
            let counter = Counter::with_opts(Opts::new(CPU.0, CPU.1)).ok()?;
            counter.inc_by(seconds);
            Some(counter.collect())
        });
        let gauges = [
            (OPEN_FDS, open_fds()),
            (MAX_FDS, getrlimit(Resource::Nofile).current.map(|limit| limit as f64)),
            (VIRTUAL_MEMORY, of(|process| process.virtual_memory)),
            (RESIDENT_MEMORY, of(|process| process.resident_memory)),
            (THREADS, of(|process| process.threads)),
            (START_TIME, self.start_time),
        ];
        let gauges = gauges.into_iter().filter_map(|((name, help), value)| {
            let gauge = Gauge::with_opts(Opts::new(name, help)).ok()?;
            gauge.set(value?);
            Some(gauge.collect())
        });
        cpu.into_iter().chain(gauges).flatten().collect()
    }
}

/// Reads `/proc/self/stat`; see proc_pid_stat(5) for its fields.
fn snapshot() -> Option<Snapshot> {
    parse_stat(&fs::read_to_string("/proc/self/stat").ok()?)
}

fn parse_stat(text: &str) -> Option<Snapshot> {
    // The second field, the name of the program, can contain spaces and parentheses.
    let (_, rest) = text.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let ticks = clock_ticks_per_second() as f64;
    Some(Snapshot {
        cpu_seconds: (field(14)? + field(15)?) / ticks,
        threads: field(20)?,
        started: field(22)? / ticks,
        virtual_memory: field(23)?,
        resident_memory: field(24)? * page_size() as f64,
    })
}

/// Returns the time at which the system was booted, in seconds since the epoch.
fn boot_time() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Returns the number of open files, without the one that lists them.
fn open_fds() -> Option<f64> {
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn parse_stat_reads_fields_after_a_name_with_parentheses() {
        let text = "7 (a) b) S 1 1 1 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 3 0 1200 5000000 42 184 1 1";
        let process = parse_stat(text).unwrap();
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!(process.cpu_seconds, 300.0 / ticks);
        assert_eq!((process.threads, process.virtual_memory), (3.0, 5_000_000.0));
        assert_eq!(process.started, 1200.0 / ticks);
        assert_eq!(process.resident_memory, 42.0 * page_size() as f64);
        assert!(parse_stat("7 (a) S 1").is_none());
    }

    #[test]
    fn collected_values_are_those_of_this_process() {
        let metrics = ProcessMetrics::new().unwrap();
        let families = metrics.collect();
        assert_eq!(families.len(), metrics.desc().len());
        let value = |(name, _): (&str, &str)| {
            let family = families.iter().find(|family| family.name() == name).unwrap();
            let metric = &family.get_metric()[0];
            if name == CPU.0 { metric.get_counter().get_value() } else { metric.get_gauge().get_value() }
        };
        let now = clock::now().as_duration().as_secs_f64();
        let age = now - value(START_TIME);
        assert!((-1.0..86_400.0).contains(&age), "{age}");
        assert!(value(CPU) <= (age + 2.0) * 1024.0);
        assert!(value(RESIDENT_MEMORY) > 1e6 && value(RESIDENT_MEMORY) <= value(VIRTUAL_MEMORY));
        assert!(value(THREADS) >= 2.0, "the harness and this test");
        assert!(value(OPEN_FDS) >= 3.0 && value(OPEN_FDS) <= value(MAX_FDS));
        let file = fs::File::open("/proc/self/stat").unwrap();
        assert!(open_fds() >= Some(4.0), "{file:?}");
    }
}
