//! Redaction takes linear time, also for a mebibyte of a pattern made for quadratic time.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::json;

use crate::support::cpu_time;
use crate::support::in_process::{InProcess, context};

/// Lengths of a text, and of one eight times as long.
const LENGTHS: [usize; 2] = [10_000, 80_000];

/// Maximum ratio of the CPU times. Linear time has a ratio of 8, quadratic time of 64.
const MAX_RATIO: u32 = 20;
const UNMEASURABLE: Duration = Duration::from_millis(30);
const TRIES: usize = 3;

/// Everything that triggers redaction.
const ATOMS: [&str; 34] = [
    "/",
    "//",
    "\\/",
    "?",
    "#",
    "&",
    "=",
    ";",
    ",",
    ".",
    ":",
    "@",
    "%",
    "%25",
    "%40",
    "%2F",
    "'",
    "\"",
    " ",
    "(",
    ")",
    "a",
    "A1",
    "data:",
    "data:a/b,",
    "://",
    "https://",
    "file:/",
    "eyJ",
    "nonce=",
    "'nonce'",
    "a.b/",
    "reset/",
    "é",
];

fn took(text: &str) -> Duration {
    let path = InProcess::default();
    let body =
        json!({ "type": "csp-violation", "url": text, "body": { "originalPolicy": text, "novel": text } });
    let body = body.to_string();
    let started = cpu_time();
    path.process(body.as_bytes(), &context());
    cpu_time() - started
}

/// Returns the repeated pattern, and the same after and before a long word.
fn texts(pattern: &str, length: usize) -> [String; 3] {
    let again = |length: usize| pattern.repeat(length / pattern.len() + 1);
    let half = again(length / 2);
    let word = "a".repeat(length / 2);
    [again(length), format!("{word}{half}"), format!("{half}{word}")]
}

fn check(pattern: &str) -> Result<(), TestCaseError> {
    let [short, long] = LENGTHS.map(|length| texts(pattern, length));
    for (short, long) in short.iter().zip(&long) {
        let measured: Vec<_> = (0..TRIES)
            .map(|_| (took(short), took(long)))
            .take_while(|(short, long)| *long > *short * MAX_RATIO + UNMEASURABLE)
            .collect();
        prop_assert!(measured.len() < TRIES, "{pattern:?} took {measured:?}");
    }
    Ok(())
}

#[test]
fn redaction_of_a_repeated_trigger_takes_linear_time() {
    for atom in ATOMS {
        check(atom).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(6) })]

    #[test]
    fn redaction_of_mixed_triggers_takes_linear_time(atoms in prop::collection::vec(prop::sample::select(&ATOMS[..]), 2..6)) {
        check(&atoms.concat())?;
    }
}
