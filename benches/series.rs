//! What series cost: memory, scrapes in each format, and evictions among many sites. `cargo bench --bench series`
//! prints it; with `-- check`, it fails when a limit is exceeded.
//!
//! Times are the CPU time of the thread, the fastest of several, because other work on the machine makes the rest
//! slower and none faster.

#![allow(clippy::unwrap_used)] // a benchmark may panic
#![allow(clippy::print_stdout)] // the output is the result

use std::cell::Cell;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lookoutd::export::prometheus::{ScrapeFormat, encode_scrape};
use lookoutd::kinds;
use lookoutd::metrics::Registry;
use lookoutd::model::{Family, Label, Observation, SiteLabel};
use rustix::time::{ClockId, clock_gettime};

/// Limits of `check`: bytes of a series, and milliseconds of a scrape of 100,000 series.
const MAX_BYTES: f64 = 300.0;
const MAX_SCRAPE: f64 = 40.0;
const SCRAPES: usize = 15;
const FORMATS: [(ScrapeFormat, bool); 4] = [
    (ScrapeFormat::Text, false),
    (ScrapeFormat::Text, true),
    (ScrapeFormat::Protobuf, false),
    (ScrapeFormat::Protobuf, true),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().collect();
    if let [_, name, series] = &arguments[..]
        && let Ok(series) = series.parse()
    {
        println!("{}", bytes(name, series));
        return ExitCode::SUCCESS;
    }
    let mut is_good = true;
    println!("                                               ms of CPU of a scrape: fastest, median; MB");
    println!(
        "family                         series  bytes  {:<18} {:<18} {:<18} protobuf gzip",
        "text", "text gzip", "protobuf"
    );
    for name in ["lookout_reports_total", "lookout_csp_violations_total"] {
        let family = family(name);
        // At the third number, the tables have just grown.
        for series in [10_000, 100_000, 120_000] {
            let bytes = bytes_in_a_new_process(name, series);
            let registry = filled(family, series);
            let times = FORMATS.map(|(format, gzip)| {
                let mut size = 0;
                let time = cpu_times(|| {
                    size = encode_scrape(&registry, format, gzip).unwrap().iter().map(Vec::len).sum()
                });
                is_good &= series != 100_000 || time.0 <= MAX_SCRAPE;
                format!("{:<18}", format!("{:.1} {:.1} ({:.1})", time.0, time.1, size as f64 / 1e6))
            });
            is_good &= series != 100_000 || bytes <= MAX_BYTES;
            println!("{name:<29} {series:>7}  {bytes:>5.0}  {}", times.join(" "));
        }
    }
    println!("\n sites  series  evicted  ms of CPU of an eviction");
    for sites in [10, 1000, 5000] {
        let (series, evicted, time) = eviction(sites);
        println!("{sites:>6} {series:>7} {evicted:>8}  {time:.1}");
    }
    if is_good || !arguments.iter().any(|argument| argument == "check") {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn family(name: &str) -> &'static Family {
    kinds::families().find(|family| family.name == name).unwrap()
}

fn filled(family: &'static Family, series: usize) -> Arc<Registry> {
    let registry = Registry::new(kinds::families(), 4_000_000, 0, Timestamp::UNIX_EPOCH).unwrap();
    (0..series).for_each(|at| add(&registry, family, None, at));
    Arc::new(registry)
}

/// Returns the resident memory of a series. In a new process, because memory that was freed before is used again.
fn bytes_in_a_new_process(name: &str, series: usize) -> f64 {
    let output =
        Command::new(std::env::current_exe().unwrap()).args([name, &series.to_string()]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

fn bytes(name: &str, series: usize) -> f64 {
    // Allocates what is allocated once.
    drop(filled(family(name), 1));
    let before = resident();
    let registry = filled(family(name), series);
    let bytes = resident() - before;
    drop(registry);
    bytes as f64 / series as f64
}

/// Adds to the series with this number: of a host, or of an origin on a thousand hosts.
fn add(registry: &Registry, family: &'static Family, configured: Option<usize>, at: usize) {
    let has_origins = family.labels.contains(&"blocked");
    let number = configured.unwrap_or(if has_origins { at % 1000 } else { at });
    let (site, origin) = (format!("www.shop-{number}.example"), format!("https://cdn-{at}.example"));
    let (site, bounded) = (SiteLabel { label: Label::unbounded(&site), configured }, Label::bounded);
    let observation = if has_origins {
        let origin = Label::unbounded(&origin);
        let labels =
            [bounded("enforce"), bounded("script-src-elem"), origin, bounded("none"), bounded("checkout")];
        Observation::increment(family, labels)
    } else {
        Observation::increment(family, [bounded("csp-violation"), bounded("chrome")])
    };
    registry.add(site, &observation, Timestamp::UNIX_EPOCH, 1, &Cell::new(usize::MAX));
}

/// Fills the quota of CSP violations evenly, and has half of the sites report more of what is frequent. Returns the
/// series, those evicted, and the time.
fn eviction(sites: usize) -> (usize, usize, f64) {
    let family = family("lookout_csp_violations_total");
    let used =
        |registry: &Registry| registry.usage().find(|(name, ..)| *name == family.name).unwrap().1 as usize;
    let registry = Registry::new(kinds::families(), 1_000_000, sites, Timestamp::UNIX_EPOCH).unwrap();
    for at in 0..300_000 {
        add(&registry, family, Some(at % sites), at);
    }
    for at in 300_000..340_000 {
        (0..8).for_each(|_| add(&registry, family, Some(at % (sites / 2)), at));
    }
    let series = used(&registry);
    let began = cpu_time();
    registry.evict_for_demand(Duration::ZERO, 100, &|_, _| true);
    (series, series - used(&registry), cpu_time() - began)
}

/// Returns the fastest and the median time.
fn cpu_times(mut run: impl FnMut()) -> (f64, f64) {
    let mut times: Vec<_> = (0..SCRAPES)
        .map(|_| {
            let began = cpu_time();
            run();
            cpu_time() - began
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    (times[0], times[SCRAPES / 2])
}

/// Returns the CPU time of this thread in milliseconds.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

/// Returns the bytes of memory that the process uses.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}
