//! Intake as its clients see it: the response to every request, and nothing else in it.

mod answers;
mod connections;
mod endpoints;
mod http2;
mod keys;
mod limits;
mod memory;
mod paths;
mod proxy_protocol;
mod shapes;
mod slow;

use serde_json::Value;

use crate::support::capture::tests_path;
use crate::support::http::Answer;

/// Headers that a response of intake may have. Others could be a banner, a cookie or a reflection.
const ALLOWED: [&str; 12] = [
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-max-age",
    "allow",
    "connection",
    "content-length",
    "content-type",
    "date",
    "retry-after",
    "transfer-encoding",
    "vary",
];

/// Checks what holds for every response of intake.
fn check(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?} {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer:?}");
    for (name, _) in &answer.headers {
        assert!(ALLOWED.contains(&name.as_str()), "unexpected header {name}");
    }
    if status == 204 {
        return assert!(answer.body.is_empty());
    } else if status == 200 {
        return assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert!(is_golden(&problem), "{problem}");
}

/// Returns whether the golden file of problems contains this one.
fn is_golden(problem: &Value) -> bool {
    let golden = std::fs::read(tests_path("golden/refusals/problems.json")).unwrap();
    let mut golden: Vec<Value> = serde_json::from_slice(&golden).unwrap();
    for entry in &mut golden {
        entry.as_object_mut().unwrap().remove("outcome");
    }
    golden.contains(problem)
}
