//! That the table keeps its two promises whatever is counted, by however many threads and with
//! whatever series going idle meanwhile: sums are exact, and the number of samples has an end.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::config::settings::Limits;
use crate::kind::{REPORTS, csp_violation, network_error};

/// One observation: which family, and the open labels as small numbers.
#[derive(Debug, Clone, Copy)]
struct Seen {
    family: u8,
    site: u16,
    open: u16,
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const IDLE: Duration = Duration::from_secs(100);

fn add(table: &Table, seen: Seen, uptime: u32) {
    let (site, blocked) = (format!("s{}.example", seen.site), format!("https://b{}.example", seen.open));
    let closed = Label::closed;
    let observation = match seen.family {
        0 => Observation::one(&REPORTS, [closed("crash"), closed("chrome")]),
        1 => Observation::one(
            &csp_violation::VIOLATIONS,
            [closed("enforce"), closed("img-src"), Label::open(&blocked), closed("none")],
        ),
        2 => Observation::new(
            &network_error::ESTIMATED,
            [closed("dns"), closed("ok")],
            // A power of two, so that any order of additions gives the same sum.
            Amount::Sum(0.25),
        ),
        _ => Observation::new(&network_error::DURATION, [closed("dns")], Amount::Seconds(0.5)),
    };
    table.add(Label::open(&site), &observation, NOW, uptime);
}

/// What each report family holds, in additions.
fn held(table: &Table) -> HashMap<&'static str, f64> {
    let names: Vec<_> = report_families().map(|family| family.name).collect();
    let mut held = HashMap::new();
    table.read(&mut |family, reading| {
        if names.contains(&family.name) {
            *held.entry(family.name).or_default() += match reading.number {
                Number::Count(count) => count as f64,
                Number::Float(sum) => sum * 4.0,
                Number::Histogram(histogram) => histogram.count() as f64,
            };
        }
    });
    held
}

/// Samples of a scrape of this table; those of the process are counted as full.
fn samples(table: &Table) -> usize {
    let mut samples = own::PROCESS_SAMPLES;
    table.read(&mut |family, _| samples += series::cost(family));
    samples
}

fn merge(into: &mut HashMap<&'static str, f64>, more: HashMap<&'static str, f64>, sign: f64) {
    more.into_iter().for_each(|(name, amount)| *into.entry(name).or_default() += sign * amount);
}

fn seen() -> impl Strategy<Value = Seen> {
    (0..4_u8, 0..40_u16, 0..400_u16).prop_map(|(family, site, open)| Seen { family, site, open })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    /// Every so often time jumps and idle series go; what they held is what is missing.
    #[test]
    fn sums_are_exact_and_samples_bounded(
        stream in prop::collection::vec((seen(), 0..30_u32), 1..1500),
        spare in 0..600_usize,
    ) {
        let limit = Table::least_limit() + spare;
        let table = Table::new(limit, NOW);
        let (mut added, mut expired, mut uptime) = (HashMap::new(), HashMap::new(), 0);
        for (at, (seen, pause)) in stream.into_iter().enumerate() {
            uptime += pause;
            add(&table, seen, uptime);
            let family = [&REPORTS, &csp_violation::VIOLATIONS, &network_error::ESTIMATED, &network_error::DURATION]
                [usize::from(seen.family)];
            *added.entry(family.name).or_default() += 1.0;
            if at % 50 == 0 {
                let before = held(&table);
                table.expire(IDLE, uptime);
                merge(&mut expired, before, 1.0);
                merge(&mut expired, held(&table), -1.0);
                prop_assert!(samples(&table) <= limit);
            }
        }
        prop_assert!(samples(&table) <= limit, "{} of {}", samples(&table), limit);
        let mut found = held(&table);
        merge(&mut found, expired, 1.0);
        found.retain(|_, amount| *amount != 0.0);
        prop_assert_eq!(found, added);
    }
}

/// A new kind may bring a new family, and this is where it shows that the settings must ask for more.
#[test]
fn the_least_that_can_be_set_is_enough() {
    let (needed, allowed) = (Table::least_limit(), Limits::LEAST_SERIES);
    assert!(needed <= allowed, "limits.series may be {allowed}, but the families need {needed}");
}

/// A stream that every thread can follow without a generator of its own.
fn nth(thread: u32, n: u32) -> Seen {
    let mixed = (thread * 7919 + n).wrapping_mul(2_654_435_761) >> 8;
    Seen { family: (mixed % 4) as u8, site: (mixed / 4 % 300) as u16, open: (mixed / 1200 % 3000) as u16 }
}

/// Eight threads count while one reads and expires.
fn storm(table: &Table, idle: Duration) {
    std::thread::scope(|scope| {
        for thread in 0..8 {
            scope.spawn(move || (0..4000).for_each(|n| add(table, nth(thread, n), n)));
        }
        scope.spawn(|| {
            for uptime in 0..50 {
                table.expire(idle, uptime * 80);
                held(table);
            }
        });
    });
}

#[test]
fn eight_threads_lose_nothing() {
    let limit = Table::least_limit() + 500;
    let table = Table::new(limit, NOW);
    storm(&table, Duration::MAX);
    assert_eq!(held(&table).values().sum::<f64>(), 32_000.0);
    assert!(samples(&table) <= limit);
}

#[test]
fn eight_threads_and_expiry_stay_within_the_limit() {
    let limit = Table::least_limit() + 500;
    let table = Table::new(limit, NOW);
    storm(&table, Duration::from_secs(40));
    assert!(samples(&table) <= limit);
    // What every series took of its share it gives back.
    table.expire(Duration::ZERO, u32::MAX);
    assert!(held(&table).is_empty());
    assert!(table.shares.iter().all(|share| reading_of(&table, "lookout_series", share.family.name) == 0.0));
}

fn reading_of(table: &Table, name: &str, family_label: &str) -> f64 {
    let mut value = f64::NAN;
    table.read(&mut |family, reading| {
        if let (true, Number::Float(number)) =
            (family.name == name && reading.labels[0] == family_label, reading.number)
        {
            value = number;
        }
    });
    value
}

#[test]
fn detail_is_lost_from_the_finest_to_the_coarsest() {
    let table = Table::new(Table::least_limit(), NOW);
    // A site that lost its detail in time has a series for the rest; strangers share the reserve.
    let coarse = Observation::one(
        &csp_violation::VIOLATIONS,
        [Label::closed("enforce"), Label::closed("img-src"), OTHER, Label::closed("none")],
    );
    table.add(Label::open("s0.example"), &coarse, NOW, 0);
    (0..1999).for_each(|n| add(&table, Seen { family: 1, site: n % 200, open: n }, 0));
    let mut labels = Vec::new();
    table.read(&mut |family, reading| {
        if family.name == csp_violation::VIOLATIONS.name {
            labels.push((reading.labels[0].to_owned(), reading.labels[3].to_owned()));
        }
    });
    assert!(labels.iter().any(|(_, blocked)| blocked.starts_with("https://")), "the first keep their detail");
    assert!(labels.contains(&("other".to_owned(), "other".to_owned())), "the last lose all of it");
    assert_eq!(held(&table)[csp_violation::VIOLATIONS.name], 2000.0);
    let overflow = |label| overflow_of(&table, csp_violation::VIOLATIONS.name, label);
    let (blocked, site, all) = (overflow("blocked"), overflow("site"), overflow("all"));
    assert!(blocked > site && site == all && all > 0, "{blocked} {site} {all}");
    assert_eq!(blocked - site, 9, "what s0.example lost beside its first: the blocked origin only");
}

fn overflow_of(table: &Table, name: &str, label: &str) -> u64 {
    let mut value = 0;
    table.read(&mut |family, reading| {
        if let (true, Number::Count(count)) = (
            family.name == "lookout_series_overflow_total" && *reading.labels == [name, label],
            reading.number,
        ) {
            value = count;
        }
    });
    value
}

#[test]
fn room_comes_back_when_series_go() {
    let table = Table::new(Table::least_limit(), NOW);
    (0..500).for_each(|n| add(&table, Seen { family: 0, site: n, open: 0 }, 0));
    table.expire(IDLE, 1000);
    add(&table, Seen { family: 0, site: 9999, open: 0 }, 1000);
    let mut sites = Vec::new();
    table.read(&mut |family, reading| {
        if family.name == REPORTS.name {
            sites.push(reading.labels[0].to_owned());
        }
    });
    assert_eq!(sites, ["s9999.example"]);
}

#[test]
fn a_series_that_is_touched_stays() {
    let table = Table::new(10_000, NOW);
    add(&table, Seen { family: 0, site: 1, open: 0 }, 0);
    add(&table, Seen { family: 0, site: 2, open: 0 }, 0);
    add(&table, Seen { family: 0, site: 1, open: 0 }, 90);
    table.expire(IDLE, 120);
    assert_eq!(held(&table)[REPORTS.name], 2.0, "the two additions of the one that was touched");
}
