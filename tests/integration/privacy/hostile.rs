//! Cleaning costs no more than the length of what is cleaned, whatever that is: a body may hold a
//! mebibyte made to have every byte looked at again for each byte.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use crate::support::in_process::{InProcess, context};

/// A text, and one eight times as long.
const LENGTHS: [usize; 2] = [10_000, 80_000];

/// Cleaning the longer one takes eight times as long, or sixty-four times if every byte is looked at for
/// every byte. In between there is room for a machine that does something else too.
const MOST: u32 = 20;
const UNMEASURABLE: Duration = Duration::from_millis(30);
const TRIES: usize = 3;

/// Everything that cleaning stops at.
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
    let started = Instant::now();
    path.process(body.as_bytes(), &context());
    started.elapsed()
}

/// The pattern again and again; the same behind and before one long word.
fn texts(pattern: &str, length: usize) -> [String; 3] {
    let again = |length: usize| pattern.repeat(length / pattern.len() + 1);
    let (half, word) = (again(length / 2), "a".repeat(length / 2));
    [again(length), format!("{word}{half}"), format!("{half}{word}")]
}

fn check(pattern: &str) -> Result<(), TestCaseError> {
    let [short, long] = LENGTHS.map(|length| texts(pattern, length));
    for (short, long) in short.iter().zip(&long) {
        let measured: Vec<_> = (0..TRIES)
            .map(|_| (took(short), took(long)))
            .take_while(|(short, long)| *long > *short * MOST + UNMEASURABLE)
            .collect();
        prop_assert!(measured.len() < TRIES, "{pattern:?} took {measured:?}");
    }
    Ok(())
}

#[test]
fn what_cleaning_stops_at_again_and_again() {
    for atom in ATOMS {
        check(atom).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(6) })]

    #[test]
    fn and_several_of_it_in_turn(atoms in prop::collection::vec(prop::sample::select(&ATOMS[..]), 2..6)) {
        check(&atoms.concat())?;
    }
}
