//! The `process_*` metrics, with the names and meanings of Prometheus' client libraries, read from `/proc` when
//! they are gathered. One that cannot be read is absent.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

pub(super) struct ProcessMetrics {
    /// Seconds since the epoch; absent if `/proc/stat` is hidden.
    start_time: Option<f64>,
}

struct Snapshot {
    cpu_seconds: f64,
    virtual_memory: f64,
    resident_memory: f64,
    threads: f64,
    /// Seconds since the boot of the system.
    started: f64,
}

impl ProcessMetrics {
    pub(super) fn new() -> ProcessMetrics {
        let start_time = snapshot().and_then(|process| Some(boot_time()? + process.started));
        ProcessMetrics { start_time }
    }
}

impl Collector for ProcessMetrics {
    /// None: they serve only to find metrics that are registered twice.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let process = snapshot();
        let of = |value: fn(&Snapshot) -> f64| process.as_ref().map(value);
        let max_fds = getrlimit(Resource::Nofile).current.map(|limit| limit as f64);
        let cpu = ("process_cpu_seconds_total", "Total user and system CPU time spent in seconds.");
        let cpu = of(|process| process.cpu_seconds).and_then(|seconds| {
            let counter = Counter::new(cpu.0, cpu.1).ok()?;
            counter.inc_by(seconds);
            Some(counter.collect())
        });
        let gauges = [
            ("process_open_fds", "Number of open file descriptors.", open_fds()),
            ("process_max_fds", "Maximum number of open file descriptors.", max_fds),
            (
                "process_virtual_memory_bytes",
                "Virtual memory size in bytes.",
                of(|process| process.virtual_memory),
            ),
            (
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
                of(|process| process.resident_memory),
            ),
            ("process_threads", "Number of OS threads in the process.", of(|process| process.threads)),
            (
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
                self.start_time,
            ),
        ];
        let gauges = gauges.into_iter().filter_map(|(name, help, value)| {
            let gauge = Gauge::new(name, help).ok()?;
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
        let families = ProcessMetrics::new().collect();
        assert_eq!(families.len(), 7);
        let value = |name: &str| {
            let name = format!("process_{name}");
            let family = families.iter().find(|family| family.name() == name).unwrap();
            let metric = &family.get_metric()[0];
            metric.get_counter().get_value() + metric.get_gauge().get_value()
        };
        let now = clock::now().as_duration().as_secs_f64();
        let age = now - value("start_time_seconds");
        assert!((-1.0..86_400.0).contains(&age), "{age}");
        assert!(value("cpu_seconds_total") <= (age + 2.0) * 1024.0);
        let resident = value("resident_memory_bytes");
        assert!(resident > 1e6 && resident <= value("virtual_memory_bytes"));
        assert!(value("threads") >= 2.0, "the harness and this test");
        assert!(value("open_fds") >= 3.0 && value("open_fds") <= value("max_fds"));
        let file = fs::File::open("/proc/self/stat").unwrap();
        assert!(open_fds() >= Some(4.0), "{file:?}");
    }
}
