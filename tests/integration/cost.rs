//! No body costs much more for each of its bytes than a normal one. The time is the processor's, for this thread alone, so
//! that other tests beside it do not count.

#[path = "../../benches/cost/inputs.rs"]
mod inputs;
#[path = "../../benches/cost/setup.rs"]
mod setup;

use setup::{SETUPS, Setup, capture, cpu_time};

/// The most for a byte, as a factor of that of a normal batch. Without optimization, what allocates costs three times as much
/// as in a release, whose factors `cargo bench --bench cost` prints.
const MAX_FACTOR: f64 = 15.0;
/// Attempts, of which the fastest counts, because of other work on the machine.
const ATTEMPTS: usize = 3;

fn ns_per_byte(setup: &Setup, body: &str) -> f64 {
    cpu_time(|| _ = setup.process(body)).as_secs_f64() * 1e9 / body.len() as f64
}

#[test]
fn cost_of_a_byte_is_a_small_multiple_of_that_of_a_normal_report() {
    let inputs = inputs::all(&capture());
    let normal = inputs[0].1(0);
    for name in &SETUPS[..2] {
        let setup = Setup::new(name);
        // Caches are filled, and the events of the second used up.
        setup.process(&normal);
        let least = |(input, body): &inputs::Input| {
            let factor = |attempt| ns_per_byte(&setup, &body(attempt)) / ns_per_byte(&setup, &normal);
            ((0..ATTEMPTS).map(factor).fold(f64::INFINITY, f64::min), *input)
        };
        let (worst, input) = inputs.iter().map(least).max_by(|one, other| one.0.total_cmp(&other.0)).unwrap();
        assert!(
            worst <= MAX_FACTOR,
            "{name}: a byte of {input} costs {worst:.1} times that of a normal batch"
        );
    }
}
