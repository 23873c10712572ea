//! What the tests stand on: the daemon as a process with its books checked at the end, a client that
//! can also misbehave, and the path in this process with sinks that remember.

pub(crate) mod capture;
pub(crate) mod daemon;
pub(crate) mod http;
pub(crate) mod in_process;
pub(crate) mod lines;
pub(crate) mod scrape;

use std::time::{Duration, Instant};

/// Far longer than anything takes, so that reaching it means that something is broken.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Asks until there is an answer, and fails with the last objection at the deadline.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(objection) if Instant::now() > end => panic!("{what}: {objection}"),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// A report that every configuration takes.
pub(crate) const REPORT: &str = r#"[{"type":"csp-violation","age":10,"url":"https://shop.example/cart","user_agent":"Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0","body":{"documentURL":"https://shop.example/cart","effectiveDirective":"script-src-elem","blockedURL":"https://evil.example/x.js","disposition":"enforce","originalPolicy":"script-src 'self'","statusCode":200}}]"#;
