//! Bodies that cost the most processor time for each of their bytes: libFuzzer keeps what reaches a higher factor of the
//! cost of a normal batch, and a body beyond the limit is a finding.

#![no_main]

#[allow(dead_code)]
#[path = "../../benches/cost/inputs.rs"]
mod inputs;
#[allow(dead_code)]
#[path = "../../benches/cost/setup.rs"]
mod setup;

use std::cell::OnceCell;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use setup::{SETUPS, Setup, cpu_time};

/// The most for a byte, as a factor of a normal batch. Crates that only copy are not optimized here, so that small reports
/// cost twice what they do in a release.
const MAX_FACTOR: f64 = 20.0;
/// What an upload may cost besides, whatever its size: less than its request does.
const BASE: Duration = Duration::from_micros(200);
/// A sum of times below it is too short for the clock.
const ATTEMPTS: usize = 5;

/// A feature for each half of a factor.
#[unsafe(link_section = "__libfuzzer_extra_counters")]
static mut REACHED: [u8; 64] = [0; 64];

struct Paths {
    setups: [Setup; 2],
    /// Seconds for a byte of a normal batch.
    normal: [f64; 2],
}

thread_local! {
    static PATHS: OnceCell<Paths> = const { OnceCell::new() };
}

impl Paths {
    fn new() -> Paths {
        let setups = [SETUPS[0], SETUPS[1]].map(Setup::new);
        let batch = inputs::all(&setup::capture())[0].1(0);
        let normal = [0, 1].map(|at: usize| {
            let seconds = least(|| _ = setups[at].process(&batch)).as_secs_f64();
            seconds / batch.len() as f64
        });
        Paths { setups, normal }
    }
}

fn least(work: impl Fn()) -> Duration {
    (0..ATTEMPTS).map(|_| cpu_time(&work)).min().unwrap_or_default()
}

// The first two bytes are choices of other targets, whose seeds this one shares.
fuzz_target!(|input: &[u8]| {
    let Some((_, content)) = input.split_first_chunk::<2>() else { return };
    let Ok(body) = std::str::from_utf8(content) else { return };
    PATHS.with(|paths| {
        let paths = paths.get_or_init(Paths::new);
        for (setup, normal) in paths.setups.iter().zip(paths.normal) {
            let factor =
                |took: Duration| took.saturating_sub(BASE).as_secs_f64() / normal / body.len().max(1) as f64;
            let mut reached = factor(cpu_time(|| _ = setup.process(body)));
            if reached > 1.0 {
                reached = reached.min(factor(least(|| _ = setup.process(body))));
            }
            assert!(
                reached <= MAX_FACTOR,
                "{} bytes cost {reached:.1} times those of a normal batch",
                body.len()
            );
            // SAFETY: fuzzing has one thread, and libFuzzer reads between inputs.
            unsafe { REACHED[((reached * 2.0) as usize).min(63)] = 1 };
        }
    });
});
