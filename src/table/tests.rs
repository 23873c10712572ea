//! That the table keeps its promises whatever is counted, by however many threads and with whatever
//! series going meanwhile: sums are exact, the number of samples has an end, and neither a flood nor
//! what came first takes the room of those who keep coming.

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

/// How many violations of this origin were counted under its own name.
fn named(table: &Table, blocked: &str) -> f64 {
    violations(table).into_iter().filter(|(labels, _)| labels[3] == blocked).map(|(_, count)| count).sum()
}

/// That it got its series when it had come often enough. Seldom the sketch takes others' refusals for its
/// own, or forgets one of them meanwhile.
fn assert_let_in(table: &Table, blocked: &str, came: u32) {
    let named = named(table, blocked);
    assert!((came - u32::from(gate::ENOUGH)..came).contains(&(named as u32)), "{named} of {came}");
}

#[test]
fn what_keeps_coming_gets_a_series_though_junk_came_first() {
    let table = Table::new(10_000, 1, NOW);
    (0..100_000).for_each(|n| violation(&table, configured(0), &format!("https://junk-{n}.example"), 0));
    (0..50).for_each(|_| violation(&table, configured(0), "https://cdn.example", 1));
    assert_let_in(&table, "https://cdn.example", 50);
    assert_eq!(counted(&table, &csp_violation::VIOLATIONS), 100_050.0);
}

#[test]
fn a_host_that_keeps_coming_gets_series_though_invented_hosts_came_first() {
    let table = Table::new(10_000, 0, NOW);
    (0..100_000).for_each(|n| {
        violation(&table, Site::host(&format!("invented-{n}.example")), "https://x.example", 0);
    });
    (0..50).for_each(|_| violation(&table, Site::host("shop.example"), "https://cdn.example", 1));
    assert_let_in(&table, "https://cdn.example", 50);
}

#[test]
fn one_off_junk_gives_its_series_up_where_they_are_wanted() {
    let table = Table::new(Table::least_limit() + 200, 1, NOW);
    // Junk that comes again takes even the room of what keeps coming.
    for _ in 0..5 {
        (0..3000).for_each(|n| violation(&table, configured(0), &format!("https://junk-{n}.example"), 0));
    }
    let come = |uptime| (0..10).for_each(|_| violation(&table, configured(0), "https://cdn.example", uptime));
    come(1);
    assert_eq!(named(&table, "https://cdn.example"), 0.0);
    table.make_room(SETTLED, 2, ANY);
    come(2);
    assert_eq!(named(&table, "https://cdn.example"), 0.0, "exports have not told the junk's last values yet");
    // Its heat cools with each look for idle series.
    (0..3).for_each(|_| table.expire(IDLE, 30, ANY));
    come(30);
    table.make_room(SETTLED, 31, &|_, _| false);
    come(31);
    assert_eq!(named(&table, "https://cdn.example"), 0.0, "something forbids any series to go");
    table.make_room(SETTLED, 32, ANY);
    come(32);
    assert_eq!(named(&table, "https://cdn.example"), 10.0);
    assert_eq!(counted(&table, &csp_violation::VIOLATIONS), 15_050.0);
}

/// A violation whose labels are all closed; each number is another combination.
fn closed_violation(table: &Table, site: Site<'_>, nth: usize, uptime: u32) {
    const DIRECTIVES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const KEYWORDS: [&str; 12] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"];
    const NOISE: [&str; 7] = ["t", "u", "v", "w", "x", "y", "z"];
    let labels = [
        ["enforce", "report", "unknown"][nth % 3],
        DIRECTIVES[nth / 3 % 8],
        KEYWORDS[nth / 24 % 12],
        NOISE[nth / 288 % 7],
    ];
    table.add(site, &Observation::one(&csp_violation::VIOLATIONS, labels.map(Label::closed)), NOW, uptime);
}

/// How many of the site's series are of these disposition and directive.
fn held(table: &Table, site: &str, is: impl Fn(&[String]) -> bool) -> usize {
    violations(table).keys().filter(|labels| labels[0] == site && is(labels)).count()
}

#[test]
fn a_flood_on_one_site_takes_nothing_that_another_is_guaranteed() {
    let table = Table::new(10_000, 2, NOW);
    let guaranteed = table.share(&csp_violation::VIOLATIONS).unwrap().guaranteed(1);
    // Each origin comes once, and thrice as many as are guaranteed: the last quarter stays empty.
    (0..guaranteed * 3).for_each(|n| violation(&table, configured(0), &format!("https://a{n}.example"), 0));
    let before = held(&table, "a", |_| true);
    assert!(before > guaranteed);
    for uptime in 100..300 {
        // A second's flood on the neighbour, each origin of which keeps coming; then one on no site at all.
        for site in [configured(1), Site::UNKNOWN] {
            (0..100 * u32::from(gate::ENOUGH)).for_each(|n| {
                violation(&table, site, &format!("https://b{uptime}-{}.example", n % 100), uptime);
            });
        }
        table.make_room(SETTLED, uptime, ANY);
    }
    let after = held(&table, "a", |_| true);
    assert!(after >= guaranteed * 3 / 4, "{after} of {before} with {guaranteed} guaranteed");
    assert!(
        held(&table, "b", |labels| labels[3].starts_with("https://b29")) > 100,
        "its own junk goes for it"
    );
}

#[test]
fn what_is_lent_to_the_greatest_borrower_goes_for_one_that_may_borrow() {
    let table = Table::new(10_000, 2, NOW);
    for _ in 0..6 {
        (0..5000).for_each(|n| violation(&table, configured(0), &format!("https://a{n}.example"), 0));
    }
    (0..3).for_each(|_| table.expire(IDLE, 30, ANY));
    let (greedy, guaranteed) =
        (held(&table, "a", |_| true), table.share(&csp_violation::VIOLATIONS).unwrap().guaranteed(1));
    // The other's own room is full of what is alive, and it wants twice as much.
    for uptime in 30..130 {
        for n in 0..guaranteed * 2 {
            (0..gate::ENOUGH)
                .for_each(|_| violation(&table, configured(1), &format!("https://b{n}.example"), uptime));
        }
        table.make_room(SETTLED, uptime, ANY);
    }
    let (left, got) = (held(&table, "a", |_| true), held(&table, "b", |_| true));
    assert!(got >= guaranteed * 2, "{got} with {guaranteed} guaranteed");
    assert!(left < greedy && left > guaranteed, "{left} of {greedy}, {guaranteed} guaranteed");
}

#[test]
fn closed_combinations_cannot_lock_an_origin_out() {
    let table = Table::new(10_000, 1, NOW);
    // Often enough to fill the last quarter.
    for _ in 0..5 {
        (0..2016).for_each(|n| closed_violation(&table, configured(0), n, 0));
    }
    (0..3).for_each(|_| table.expire(IDLE, 30, ANY));
    let come = |uptime| (0..20).for_each(|_| violation(&table, configured(0), "https://cdn.example", uptime));
    come(31);
    assert_eq!(named(&table, "https://cdn.example"), 0.0, "no room yet");
    table.make_room(SETTLED, 32, ANY);
    come(33);
    assert_eq!(named(&table, "https://cdn.example"), 20.0);
    assert_eq!(counted(&table, &csp_violation::VIOLATIONS), 5.0 * 2016.0 + 40.0);
    assert!(violations(&table).keys().all(|labels| labels[0] == "a"), "the site keeps its name");
}

#[test]
fn closed_combinations_that_come_once_leave_the_last_quarter_to_what_keeps_coming() {
    let table = Table::new(10_000, 1, NOW);
    (0..2016).for_each(|n| closed_violation(&table, configured(0), n, 0));
    (0..20).for_each(|_| violation(&table, configured(0), "https://cdn.example", 0));
    assert_let_in(&table, "https://cdn.example", 20);
}

#[test]
fn origins_cannot_lock_closed_combinations_out() {
    let table = Table::new(10_000, 1, NOW);
    // Junk that came once leaves the last quarter to what follows it, its own coarse set first of all.
    (0..5000).for_each(|n| violation(&table, configured(0), &format!("https://junk-{n}.example"), 0));
    let coarse = |labels: &[String]| labels[1..] == ["enforce", "img-src", "other", "none"];
    assert_eq!(held(&table, "a", coarse), 1);
    let come = |nth, uptime| (0..20).for_each(|_| closed_violation(&table, configured(0), nth, uptime));
    come(0, 0);
    assert_let_in(&table, "A", 20);
    // Junk that comes again fills even that; when it is cold it goes.
    for _ in 0..5 {
        (0..5000).for_each(|n| violation(&table, configured(0), &format!("https://junk-{n}.example"), 0));
    }
    (0..3).for_each(|_| table.expire(IDLE, 30, ANY));
    come(24, 31);
    assert_eq!(named(&table, "B"), 0.0, "no room yet");
    table.make_room(SETTLED, 32, ANY);
    come(24, 33);
    assert_eq!(named(&table, "B"), 20.0);
    assert_eq!(held(&table, "a", coarse), 1, "it came more often than any junk");
    assert_eq!(counted(&table, &csp_violation::VIOLATIONS), 30_000.0 + 60.0);
}

#[test]
fn with_many_sites_none_takes_all_of_a_small_share() {
    let sites = 100;
    let table = Table::new(10_000, sites, NOW);
    let phase = |site, n: usize| {
        let phase = format!("phase-{n}");
        let labels = [Label::open(&phase)];
        let observation = Observation::new(&network_error::DURATION, labels, Amount::Seconds(0.5));
        table.add(
            Site { label: Label::closed(site), configured: Some(usize::from(site == "b")) },
            &observation,
            NOW,
            0,
        );
    };
    for site in ["a", "b"] {
        (0..1000).for_each(|n| (0..6).for_each(|_| phase(site, n % 50)));
    }
    let of = |site: &str| {
        let series = series(&table, &network_error::DURATION);
        series.keys().filter(|labels| labels[0] == site && labels[1] != "other").count()
    };
    assert!(of("a") > 4 && of("b") > 4, "{} {}", of("a"), of("b"));
}

#[test]
fn what_is_guaranteed_is_whole_series_and_the_rest_is_lent() {
    for sites in [0, 1, 7, 30, 100] {
        let table = Table::new(10_000, sites, NOW);
        for share in &table.shares {
            let guaranteed = share.guaranteed(sites.min(1));
            assert_eq!(guaranteed % share.cost(), 0);
            assert!(share.usable() + share.cost() > share.limit(), "{} {sites}", share.family.name);
        }
    }
}

#[test]
fn nothing_is_searched_where_nothing_could_go() {
    let table = Table::new(Table::least_limit(), 1, NOW);
    let share = table.share(&network_error::DURATION).unwrap();
    for _ in 0..10 {
        add_to(&table, configured(0), Seen { family: 3, site: 0, open: 0, count: 1 }, 0);
    }
    assert!(share.wanted().is_none(), "no series of the family but the reserve");
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
