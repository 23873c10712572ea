//! The `process_*` metrics, with the names and meanings of Prometheus' client libraries, read from `/proc` when
//! they are gathered. One that cannot be read is absent.

use std::fs;
use std::sync::OnceLock;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

#[derive(Debug, Default)]
pub(super) struct ProcessMetrics {
    /// Seconds since the epoch; absent if `/proc/stat` is hidden.
    start_time: OnceLock<Option<f64>>,
}

impl ProcessMetrics {
    /// Most samples of [`ProcessMetrics::collect`].
    pub(super) const SAMPLES: usize = 7;

    pub(super) fn collect(&self) -> Vec<MetricFamily> {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let field = |number| field(&stat, number);
        let started = || Some(boot_time()? + field(22)? / clock_ticks_per_second() as f64);
        let cpu = || {
            let cpu = "process_cpu_seconds_total";
            let counter = Counter::new(cpu, "Total user and system CPU time spent in seconds.").ok()?;
            counter.inc_by((field(14)? + field(15)?) / clock_ticks_per_second() as f64);
            Some(counter.collect())
        };
        let gauge = |name, help, value: Option<f64>| {
            let gauge = Gauge::new(name, help).ok()?;
            gauge.set(value?);
            Some(gauge.collect())
        };
        let max_fds = getrlimit(Resource::Nofile).current.map(|limit| limit as f64);
        let resident = field(24).map(|pages| pages * page_size() as f64);
        let start_time = "Start time of the process since unix epoch in seconds.";
        let families = [
            cpu(),
            gauge("process_open_fds", "Number of open file descriptors.", open_fds()),
            gauge("process_max_fds", "Maximum number of open file descriptors.", max_fds),
            gauge("process_virtual_memory_bytes", "Virtual memory size in bytes.", field(23)),
            gauge("process_resident_memory_bytes", "Resident memory size in bytes.", resident),
            gauge("process_threads", "Number of OS threads in the process.", field(20)),
            gauge("process_start_time_seconds", start_time, *self.start_time.get_or_init(started)),
        ];
        families.into_iter().flatten().flatten().collect()
    }
}

/// Returns a field after the second by its number in proc_pid_stat(5).
fn field(stat: &str, number: usize) -> Option<f64> {
    // The second field, the name of the program, can contain spaces and parentheses.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number - 3)?.parse().ok()
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
    fn field_is_read_after_a_name_with_parentheses() {
        let text = "7 (a) b) S 1 1 1 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 3 0 1200 5000000 42 184 1 1";
        let fields = [14, 15, 20, 22, 23, 24].map(|number| field(text, number).unwrap());
        assert_eq!(fields, [250.0, 50.0, 3.0, 1200.0, 5_000_000.0, 42.0]);
        assert!(field("7 (a) S 1", 14).is_none());
    }

    #[test]
    fn collected_values_are_those_of_this_process() {
        let families = ProcessMetrics::default().collect();
        assert_eq!(families.len(), ProcessMetrics::SAMPLES);
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
