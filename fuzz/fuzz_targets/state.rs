//! The state file of findings: whatever is in it, it is rejected, or it is taken over within the limits of memory, and
//! what is saved then is the same after another restart.
//!
//! An input is the file. So that mutations get past the checksum, it is replaced by the right one if the first byte of
//! the input is not 0; that byte is not part of the file.

#![no_main]

use std::sync::Arc;

use jiff::Timestamp;
use libfuzzer_sys::{Corpus, fuzz_target};
use lookoutd::classify::SiteIndex;
use lookoutd::config;
use lookoutd::findings::{Findings, State};
use lookoutd::kinds;
use lookoutd::metrics::Registry;

const NOW: i64 = 1_800_000_000;

fn findings() -> Findings {
    let now = Timestamp::from_second(NOW).unwrap();
    let registry = Registry::new(kinds::families(), 10_000, 0, now).unwrap();
    let mut settings = config::defaults().findings;
    (settings.max, settings.max_bytes, settings.max_clients) = (100, 1 << 16, 1);
    Findings::new(&settings, &SiteIndex::default(), Arc::new(registry)).unwrap()
}

/// Takes over a state. Returns the number of findings, and what is saved then.
fn restored(state: State) -> (usize, Vec<u8>) {
    let findings = findings();
    findings.restore(state, Timestamp::from_second(NOW).unwrap());
    let mut count = 0;
    findings.visit(|finding| {
        count += 1;
        assert!(finding.first_seen <= finding.last_seen && finding.last_seen <= NOW * 1000);
    });
    findings.evict_for_demand();
    (count, findings.state().encode())
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((first, file)) = input.split_first() else { return Corpus::Reject };
    let mut file = file.to_vec();
    if *first != 0 {
        let checksum = crc32c::crc32c(&file);
        file.extend(format!("\n{checksum:08x}\n").into_bytes());
    }
    let Some(state) = State::read(&file[..], file.len() as u64).unwrap() else { return Corpus::Keep };
    let (count, saved) = restored(state);
    assert!(count <= 100);
    let again = State::read(&saved[..], saved.len() as u64).unwrap().expect("what was saved is a state");
    let (same, _) = restored(again);
    assert_eq!(same, count);
    Corpus::Keep
});
