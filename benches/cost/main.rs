//! CPU time of each byte of an upload, for bodies that were made to be expensive, as a factor of that of a normal batch:
//!
//! ```sh
//! cargo bench --bench cost        # the most expensive ones, in each setup
//! cargo bench --bench cost -- all # all of them
//! ```
//!
//! Instructions do not vary at all. This counts those of one upload; `0` is the number of the setup:
//!
//! ```sh
//! valgrind --tool=callgrind '--toggle-collect=*counted*' target/release/deps/cost-* once 0 'types alone'
//! ```
//!
//! The time is that of the thread, beside that of a normal batch just before, and the least of some rounds.

#![allow(clippy::unwrap_used, clippy::print_stdout)] // a benchmark may panic, and prints

mod inputs;
mod setup;

use std::hint::black_box;

use inputs::Input;
use setup::{SETUPS, Setup, capture, cpu_time};

const ROUNDS: usize = 5;
/// Bytes of a round, about.
const BYTES: usize = 400_000;
/// Rows that are printed.
const SHOWN: usize = 25;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let inputs = inputs::all(&capture());
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["once", setup, name] => inputs
            .iter()
            .filter(|(own, _)| own == name || *name == "all")
            .for_each(|input| once(input, setup)),
        all => SETUPS
            .iter()
            .for_each(|setup| print_table(setup, &inputs, if all.is_empty() { SHOWN } else { usize::MAX })),
    }
}

fn print_table(setup: &str, inputs: &[Input], shown: usize) {
    let normal = &inputs[0].1;
    let row = |(name, body): &Input| {
        let (setup, beside) = (Setup::new(setup), Setup::new(setup));
        let times =
            (0..ROUNDS).map(|round| [ns_per_byte(&beside, normal, round), ns_per_byte(&setup, body, round)]);
        // The first round fills caches and creates series.
        let [normal, own] =
            times.skip(1).fold([f64::INFINITY; 2], |least, it| [least[0].min(it[0]), least[1].min(it[1])]);
        (own, own / normal, *name)
    };
    let mut rows: Vec<_> = inputs.iter().map(row).collect();
    rows[1..].sort_by(|one, other| other.1.total_cmp(&one.1));
    println!("\n{setup}\n{:>8} {:>6}  input", "ns/B", "factor");
    for (ns, factor, input) in rows.iter().take(shown) {
        println!("{ns:8.2} {factor:6.1}  {input}");
    }
}

fn ns_per_byte(setup: &Setup, body: &dyn Fn(usize) -> String, round: usize) -> f64 {
    let uploads = (BYTES / body(0).len()).clamp(2, 24);
    let bodies: Vec<String> = (0..uploads).map(|at| body(round * uploads + at)).collect();
    let bytes: usize = bodies.iter().map(String::len).sum();
    let took = cpu_time(|| bodies.iter().for_each(|body| _ = setup.process(black_box(body))));
    took.as_secs_f64() * 1e9 / bytes as f64
}

/// Processes an input in a setup until series and findings are used up, and then under the name that callgrind counts.
fn once((name, body): &Input, setup: &str) {
    let setup = Setup::new(SETUPS[setup.parse::<usize>().unwrap()]);
    let before = (BYTES / body(0).len()).clamp(2, 40);
    (0..before).for_each(|upload| _ = setup.process(&body(upload)));
    let last = body(before);
    counted(&setup, &last);
    println!("{:8} {name}", last.len());
}

/// The name of this function is an argument of callgrind.
#[inline(never)]
fn counted(setup: &Setup, body: &str) {
    black_box(setup.process(black_box(body)));
}
