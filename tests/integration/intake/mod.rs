//! Intake as its clients see it: the answer to every situation, and nothing in an answer that does
//! not belong there.

mod answers;
mod endpoints;
mod http2;
mod limits;
mod memory;
mod proxy_protocol;
mod shapes;
mod slow;

use crate::support::http::Answer;

/// Headers that an answer of intake may carry. Anything else is a banner, a cookie or a reflection.
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

/// What is true of every answer of intake, whatever was asked.
fn check(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{answer:?} {}", String::from_utf8_lossy(&answer.body));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{answer:?}");
    for (name, _) in &answer.headers {
        assert!(ALLOWED.contains(&name.as_str()), "the header {name} does not belong here");
    }
    if status == 204 {
        return assert!(answer.body.is_empty());
    }
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["status"], status);
    assert!(problem["title"].is_string() && problem["detail"].as_str().is_some_and(|it| it.ends_with('.')));
}
