//! Support of the tests: the daemon as a process with a check of its counters, a client that can also misbehave,
//! and the path in this process with sinks that record.

pub(crate) mod capture;
pub(crate) mod collector;
pub(crate) mod daemon;
pub(crate) mod http;
pub(crate) mod in_process;
pub(crate) mod lines;
pub(crate) mod scrape;

use std::time::{Duration, Instant};

/// Maximum time of any wait: far longer than anything takes that works.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Polls until there is a result, and fails with the last error at the deadline.
pub(crate) fn eventually<T>(what: &str, mut poll: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        match poll() {
            Ok(result) => return result,
            Err(error) if Instant::now() > end => panic!("{what}: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Returns the CPU time of this thread so far: unlike the time of day, it does not depend on what else runs.
pub(crate) fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// A report that every configuration accepts.
pub(crate) const REPORT: &str = r#"[{"type":"csp-violation","age":10,"url":"https://shop.example/cart","user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0","body":{"documentURL":"https://shop.example/cart","effectiveDirective":"script-src-elem","blockedURL":"https://evil.example/x.js","disposition":"enforce","originalPolicy":"script-src 'self'","statusCode":200}}]"#;
