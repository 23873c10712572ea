//! That the table keeps its promises whatever is counted, by however many threads and with whatever
//! series going meanwhile: sums are exact and the number of samples has an end.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::going::MayGo;
use super::*;
use crate::config::settings::Limits;
use crate::kind::{REPORTS, csp_violation, network_error};

/// One observation: which family, and the open labels as small numbers.
#[derive(Debug, Clone, Copy)]
struct Seen {
    family: u8,
    site: u16,
    open: u16,
    /// How many at once, where the family counts.
    count: u64,
}

impl Seen {
    fn amount(self) -> f64 {
        match self.family {
            0 | 1 => self.count as f64,
            2 => 0.25,
            _ => 1.0,
        }
    }
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const IDLE: Duration = Duration::from_secs(100);
const SETTLED: Duration = Duration::from_secs(20);
const ANY: MayGo<'static> = &|_, _| true;
static COUNTED: [&Family; 4] =
    [&REPORTS, &csp_violation::VIOLATIONS, &network_error::ESTIMATED, &network_error::DURATION];

fn csp<'a>(blocked: Label<'a>) -> Observation<'a> {
    let closed = Label::closed;
    Observation::one(
        &csp_violation::VIOLATIONS,
        [closed("enforce"), closed("img-src"), blocked, closed("none")],
    )
}

fn add_to(table: &Table, site: Site<'_>, seen: Seen, uptime: u32) {
    let (blocked, closed) = (format!("https://b{}.example", seen.open), Label::closed);
    let mut observation = match seen.family {
        0 => Observation::one(&REPORTS, [closed("crash"), closed("chrome")]),
        1 => csp(Label::open(&blocked)),
        2 => Observation::new(
            &network_error::ESTIMATED,
            [closed("dns"), closed("ok")],
            // A power of two, so that any order of additions gives the same sum.
            Amount::Sum(0.25),
        ),
        _ => Observation::new(&network_error::DURATION, [closed("dns")], Amount::Seconds(0.5)),
    };
    if let Amount::Count(count) = &mut observation.amount {
        *count = seen.count;
    }
    table.add(site, &observation, NOW, uptime);
}

fn add(table: &Table, seen: Seen, uptime: u32) {
    add_to(table, Site::host(&format!("s{}.example", seen.site)), seen, uptime);
}

fn violation(table: &Table, site: Site<'_>, blocked: &str, uptime: u32) {
    table.add(site, &csp(Label::open(blocked)), NOW, uptime);
}

fn configured(position: usize) -> Site<'static> {
    Site { label: Label::closed(["a", "b", "c"][position]), configured: Some(position) }
}

/// All series of a family by their labels.
fn series(table: &Table, family: &Family) -> HashMap<Vec<String>, f64> {
    let mut series = HashMap::new();
    table.read(&mut |known, reading| {
        if known.name == family.name {
            let labels = reading.labels.iter().map(|label| (*label).to_owned()).collect();
            assert_eq!(series.insert(labels, reading.number.counted()), None, "a series stands twice");
        }
    });
    series
}

fn violations(table: &Table) -> HashMap<Vec<String>, f64> {
    series(table, &csp_violation::VIOLATIONS)
}

/// The value of one of the table's own series.
fn own(table: &Table, name: &str, labels: &[&str]) -> f64 {
    let mut value = f64::NAN;
    table.read(&mut |family, reading| {
        if family.name == name && *reading.labels == *labels {
            value = reading.number.counted();
        }
    });
    value
}

/// What was counted in the family: what its series hold, and what those held that went.
fn counted(table: &Table, family: &Family) -> f64 {
    let held: f64 = series(table, family).values().sum();
    held + own(table, "lookout_series_expired_counts_total", &[family.name])
}

/// Samples of a scrape of this table; those of the process are counted as full.
fn samples(table: &Table) -> usize {
    let mut samples = own::PROCESS_SAMPLES;
    table.read(&mut |family, _| samples += series::cost(family));
    samples
}

/// The last value of each life of each series, and that none was ever below an earlier one.
fn check_growing(table: &Table, lives: &mut HashMap<u64, f64>) {
    table.read(&mut |family, reading| {
        if COUNTED.iter().any(|counted| counted.name == family.name) {
            let now = reading.number.counted();
            let before = lives.insert(reading.id, now).unwrap_or(0.0);
            assert!(now >= before, "{} fell from {before} to {now}", family.name);
        }
    });
}

fn seen() -> impl Strategy<Value = Seen> {
    (0..4_u8, 0..40_u16, 0..400_u16, 1..1000_u64).prop_map(|(family, site, open, count)| Seen {
        family,
        site,
        open,
        count,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    /// Every so often time jumps, idle series go and room is made.
    #[test]
    fn sums_are_exact_and_samples_bounded(
        stream in prop::collection::vec((seen(), 0..30_u32), 1..1500),
        spare in 0..600_usize,
        sites in 0..4_usize,
    ) {
        let limit = Table::least_limit() + spare;
        let table = Table::new(limit, sites, NOW);
        let (mut added, mut lives, mut uptime) = ([0.0; 4], HashMap::new(), 0);
        for (at, (seen, pause)) in stream.into_iter().enumerate() {
            uptime += pause;
            match sites {
                0 => add(&table, seen, uptime),
                _ if usize::from(seen.site) % 4 < sites => {
                    add_to(&table, configured(usize::from(seen.site) % 4), seen, uptime);
                }
                _ => add_to(&table, Site::UNKNOWN, seen, uptime),
            }
            added[usize::from(seen.family)] += seen.amount();
            if at % 50 == 0 {
                table.make_room(SETTLED, uptime, ANY);
                table.expire(IDLE, uptime, ANY);
                check_growing(&table, &mut lives);
                prop_assert!(samples(&table) <= limit);
            }
        }
        check_growing(&table, &mut lives);
        prop_assert!(samples(&table) <= limit, "{} of {}", samples(&table), limit);
        prop_assert_eq!(COUNTED.map(|family| counted(&table, family)), added);
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
    Seen {
        family: (mixed % 4) as u8,
        site: (mixed / 4 % 300) as u16,
        open: (mixed / 1200 % 3000) as u16,
        count: 1,
    }
}

/// Eight threads count while one reads, makes room and lets idle series go.
#[test]
fn eight_threads_lose_nothing() {
    let limit = Table::least_limit() + 500;
    let table = Table::new(limit, 0, NOW);
    let lives = &mut HashMap::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let table = &table;
            scope.spawn(move || (0..4000).for_each(|n| add(table, nth(thread, n), n)));
        }
        for uptime in (0..50).map(|step| step * 80) {
            table.make_room(SETTLED, uptime, ANY);
            table.expire(IDLE, uptime, ANY);
            check_growing(&table, lives);
            assert!(samples(&table) <= limit);
        }
    });
    let sums = COUNTED.map(|family| counted(&table, family));
    let [reports, violations, estimated, durations] = sums;
    assert_eq!(reports + violations + 4.0 * estimated + durations, 32_000.0, "{sums:?}");
    // What every series took of its share it gives back.
    table.expire(Duration::ZERO, u32::MAX, ANY);
    for share in &table.shares {
        assert_eq!(own(&table, "lookout_series", &[share.family.name]), 0.0);
        assert_eq!(series(&table, share.family).len(), 0);
    }
}

#[test]
fn detail_is_lost_from_the_finest_to_the_coarsest() {
    let table = Table::new(Table::least_limit(), 0, NOW);
    // A site that lost its detail in time has a series for the rest; strangers share the others'.
    table.add(Site::host("s0.example"), &csp(OTHER), NOW, 0);
    (0..1999).for_each(|n| add(&table, Seen { family: 1, site: n % 200, open: n, count: 1 }, 0));
    let labels: Vec<_> = violations(&table).into_keys().map(|labels| labels[0..4].to_vec()).collect();
    assert!(labels.iter().any(|labels| labels[3].starts_with("https://")), "the first keep their detail");
    assert!(labels.contains(&["other", "enforce", "img-src", "other"].map(str::to_owned).to_vec()));
    assert_eq!(counted(&table, &csp_violation::VIOLATIONS), 2000.0);
    let overflow =
        |label| own(&table, "lookout_series_overflow_total", &[csp_violation::VIOLATIONS.name, label]);
    let (blocked, site) = (overflow("blocked"), overflow("site"));
    assert!(blocked > site && site > 0.0, "{blocked} {site}");
    assert_eq!(overflow("all"), 0.0, "closed labels have room of their own");
}

#[test]
fn a_configured_site_loses_neither_its_room_nor_its_name_to_another() {
    let table = Table::new(Table::least_limit() + 2000, 2, NOW);
    // Every origin comes often enough to be taken seriously.
    for round in 0..6 {
        (0..5000).for_each(|n| violation(&table, configured(0), &format!("https://x{n}.example"), round));
    }
    let of = |site: &str| violations(&table).keys().filter(|labels| labels[0] == site).count();
    assert!(of("a") > 20, "{}", of("a"));
    violation(&table, configured(1), "https://cdn.example", 6);
    assert!(violations(&table).keys().any(|labels| labels[0] == "b" && labels[3] == "https://cdn.example"));
    // Now all its closed labels too.
    for directive in ["img-src", "script-src", "style-src", "font-src", "frame-src", "connect-src"] {
        for noise in ["none", "extension", "injected", "intermediary", "browser", "local", "bot"] {
            for disposition in ["enforce", "report", "unknown"] {
                for blocked in ["inline", "eval", "data", "blob", "self", "extension", "other-scheme"] {
                    let labels = [disposition, directive, blocked, noise].map(Label::closed);
                    table.add(configured(1), &Observation::one(&csp_violation::VIOLATIONS, labels), NOW, 7);
                }
            }
        }
    }
    let sum = |site: &str| {
        violations(&table).into_iter().filter(|(labels, _)| labels[0] == site).map(|(_, n)| n).sum::<f64>()
    };
    assert_eq!((sum("a"), sum("b")), (30_000.0, 1.0 + 6.0 * 7.0 * 3.0 * 7.0));
    assert!(of("unknown") == 0 && of("other") == 0);
}

#[test]
fn more_sites_than_reserves_still_count_everything() {
    let sites = 3;
    let table = Table::new(Table::least_limit(), 400, NOW);
    assert!(!table.keeps_sites_apart());
    for n in 0..3000 {
        violation(&table, configured(n % sites), &format!("https://x{n}.example"), 0);
    }
    assert!(samples(&table) <= Table::least_limit());
    assert_eq!(counted(&table, &csp_violation::VIOLATIONS), 3000.0);
}

#[test]
fn room_comes_back_when_series_go() {
    let table = Table::new(Table::least_limit(), 0, NOW);
    (0..500).for_each(|n| add(&table, Seen { family: 0, site: n, open: 0, count: 1 }, 0));
    table.expire(IDLE, 1000, ANY);
    add(&table, Seen { family: 0, site: 9999, open: 0, count: 1 }, 1000);
    let sites: Vec<_> = series(&table, &REPORTS).into_keys().map(|labels| labels[0].clone()).collect();
    assert_eq!(sites, ["s9999.example"]);
}

#[test]
fn a_series_that_is_touched_stays() {
    let table = Table::new(10_000, 0, NOW);
    add(&table, Seen { family: 0, site: 1, open: 0, count: 1 }, 0);
    add(&table, Seen { family: 0, site: 2, open: 0, count: 1 }, 0);
    add(&table, Seen { family: 0, site: 1, open: 0, count: 1 }, 90);
    table.expire(IDLE, 120, ANY);
    let left: Vec<_> = series(&table, &REPORTS).into_values().collect();
    assert_eq!(left, [2.0], "the two additions of the one that was touched");
}

#[test]
fn a_series_is_a_cache_line_and_its_texts() {
    assert_eq!(size_of::<Series>(), 64);
}

#[test]
fn ids_do_not_come_again_after_four_thousand_million_births() {
    let table = Table::new(10_000, 0, NOW);
    table.next_id.store(u64::from(u32::MAX), Ordering::Relaxed);
    for site in 0..10 {
        add(&table, Seen { family: 0, site, open: 0, count: 1 }, 0);
    }
    let mut ids = std::collections::HashSet::new();
    table.read(&mut |family, reading| assert!(ids.insert(reading.id), "{} has another's id", family.name));
    assert!(ids.contains(&(u64::from(u32::MAX) + 9)));
}

#[test]
fn a_count_stops_at_what_every_export_can_say() {
    let table = Table::new(10_000, 0, NOW);
    let most = || {
        let mut counts = Vec::new();
        table.read(&mut |family, reading| match reading.number {
            Number::Count(count) if std::ptr::eq(family, &REPORTS) => counts.push(count),
            _ => (),
        });
        counts
    };
    for count in [u64::MAX, 7, u64::MAX] {
        add(&table, Seen { family: 0, site: 1, open: 0, count }, 0);
        assert_eq!(most(), [i64::MAX.unsigned_abs()]);
    }
}

#[test]
fn what_went_is_counted_exactly() {
    let table = Table::new(10_000, 0, NOW);
    // More than a float can tell from its neighbours.
    let large = (1 << 53) + 1;
    for (uptime, count) in [(0, large), (1000, 1), (2000, 1)] {
        add(&table, Seen { family: 0, site: 1, open: 0, count }, uptime);
        table.expire(IDLE, uptime + 500, ANY);
    }
    let mut expired = Vec::new();
    table.read(&mut |family, reading| {
        if family.name == "lookout_series_expired_counts_total" && *reading.labels == [REPORTS.name] {
            expired.push(reading.number);
        }
    });
    assert_eq!(expired, [Number::Count(large + 2)]);
}

mod floods;
