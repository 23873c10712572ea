//! That the registry keeps its promises whatever is counted, by however many threads and with whatever
//! series going meanwhile: sums are exact and the number of samples has an end.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::eviction::EvictionFilter;
use super::*;
use crate::config::MetricsConfig;
use crate::kinds::{REPORTS, csp_violation, network_error};

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
const MIN_IDLE: Duration = Duration::from_secs(20);
const ANY: EvictionFilter<'static> = &|_, _| true;
static COUNTED: [&Family; 4] =
    [&REPORTS, &csp_violation::VIOLATIONS, &network_error::ESTIMATED, &network_error::DURATION];

fn csp<'a>(blocked: Label<'a>) -> Observation<'a> {
    let closed = Label::bounded;
    Observation::increment(
        &csp_violation::VIOLATIONS,
        [closed("enforce"), closed("img-src"), blocked, closed("none")],
    )
}

fn add_to(registry: &Registry, site: SiteLabel<'_>, seen: Seen, uptime: u32) {
    let (blocked, closed) = (format!("https://b{}.example", seen.open), Label::bounded);
    let mut observation = match seen.family {
        0 => Observation::increment(&REPORTS, [closed("crash"), closed("chrome")]),
        1 => csp(Label::unbounded(&blocked)),
        2 => Observation::new(
            &network_error::ESTIMATED,
            [closed("dns"), closed("ok")],
            // A power of two, so that any order of additions gives the same sum.
            Increment::Sum(0.25),
        ),
        _ => Observation::new(&network_error::DURATION, [closed("dns")], Increment::Duration(0.5)),
    };
    if let Increment::Count(count) = &mut observation.amount {
        *count = seen.count;
    }
    registry.add(site, &observation, NOW, uptime);
}

fn add(registry: &Registry, seen: Seen, uptime: u32) {
    add_to(registry, SiteLabel::host(&format!("s{}.example", seen.site)), seen, uptime);
}

fn violation(registry: &Registry, site: SiteLabel<'_>, blocked: &str, uptime: u32) {
    registry.add(site, &csp(Label::unbounded(blocked)), NOW, uptime);
}

fn configured(position: usize) -> SiteLabel<'static> {
    SiteLabel { label: Label::bounded(["a", "b", "c"][position]), configured: Some(position) }
}

/// All series of a family by their labels.
fn series(registry: &Registry, family: &Family) -> HashMap<Vec<String>, f64> {
    let mut series = HashMap::new();
    registry.visit(&mut |known, sample| {
        if known.name == family.name {
            let labels = sample.labels.iter().map(|label| (*label).to_owned()).collect();
            assert_eq!(series.insert(labels, sample.value.total()), None, "a series stands twice");
        }
    });
    series
}

fn violations(registry: &Registry) -> HashMap<Vec<String>, f64> {
    series(registry, &csp_violation::VIOLATIONS)
}

/// The value of one of the registry's own series.
fn own(registry: &Registry, name: &str, labels: &[&str]) -> f64 {
    let mut value = f64::NAN;
    registry.visit(&mut |family, sample| {
        if family.name == name && *sample.labels == *labels {
            value = sample.value.total();
        }
    });
    value
}

/// What was counted in the family: what its series hold, and what those held that went.
fn counted(registry: &Registry, family: &Family) -> f64 {
    let held: f64 = series(registry, family).values().sum();
    held + own(registry, "lookout_series_expired_counts_total", &[family.name])
}

/// Samples of a scrape of this registry; those of the process are counted as full.
fn samples(registry: &Registry) -> usize {
    let mut samples = self_metrics::PROCESS_SAMPLES;
    registry.visit(&mut |family, _| samples += series::samples_per_series(family));
    samples
}

/// The last value of each life of each series, and that none was ever below an earlier one.
fn check_growing(registry: &Registry, lives: &mut HashMap<u64, f64>) {
    registry.visit(&mut |family, sample| {
        if COUNTED.iter().any(|counted| counted.name == family.name) {
            let now = sample.value.total();
            let before = lives.insert(sample.id, now).unwrap_or(0.0);
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
        let limit = Registry::min_limit() + spare;
        let registry = Registry::new(limit, sites, NOW);
        let (mut added, mut lives, mut uptime) = ([0.0; 4], HashMap::new(), 0);
        for (at, (seen, pause)) in stream.into_iter().enumerate() {
            uptime += pause;
            match sites {
                0 => add(&registry, seen, uptime),
                _ if usize::from(seen.site) % 4 < sites => {
                    add_to(&registry, configured(usize::from(seen.site) % 4), seen, uptime);
                }
                _ => add_to(&registry, SiteLabel::UNKNOWN, seen, uptime),
            }
            added[usize::from(seen.family)] += seen.amount();
            if at % 50 == 0 {
                registry.evict_for_demand(MIN_IDLE, uptime, ANY);
                registry.expire(IDLE, uptime, ANY);
                check_growing(&registry, &mut lives);
                prop_assert!(samples(&registry) <= limit);
            }
        }
        check_growing(&registry, &mut lives);
        prop_assert!(samples(&registry) <= limit, "{} of {}", samples(&registry), limit);
        prop_assert_eq!(COUNTED.map(|family| counted(&registry, family)), added);
    }
}

/// A new kind may bring a new family, and this is where it shows that the settings must ask for more.
#[test]
fn the_least_that_can_be_set_is_enough() {
    let (needed, allowed) = (Registry::min_limit(), MetricsConfig::MIN_SERIES);
    assert!(needed <= allowed, "metrics.max_series may be {allowed}, but the families need {needed}");
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
    let limit = Registry::min_limit() + 500;
    let registry = Registry::new(limit, 0, NOW);
    let lives = &mut HashMap::new();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let registry = &registry;
            scope.spawn(move || (0..4000).for_each(|n| add(registry, nth(thread, n), n)));
        }
        for uptime in (0..50).map(|step| step * 80) {
            registry.evict_for_demand(MIN_IDLE, uptime, ANY);
            registry.expire(IDLE, uptime, ANY);
            check_growing(&registry, lives);
            assert!(samples(&registry) <= limit);
        }
    });
    let sums = COUNTED.map(|family| counted(&registry, family));
    let [reports, violations, estimated, durations] = sums;
    assert_eq!(reports + violations + 4.0 * estimated + durations, 32_000.0, "{sums:?}");
    // What every series took of its share it gives back.
    registry.expire(Duration::ZERO, u32::MAX, ANY);
    for quota in &registry.quotas {
        assert_eq!(own(&registry, "lookout_series", &[quota.family.name]), 0.0);
        assert_eq!(series(&registry, quota.family).len(), 0);
    }
}

#[test]
fn detail_is_lost_from_the_finest_to_the_coarsest() {
    let registry = Registry::new(Registry::min_limit(), 0, NOW);
    // A site that lost its detail in time has a series for the rest; strangers share the others'.
    registry.add(SiteLabel::host("s0.example"), &csp(OTHER), NOW, 0);
    (0..1999).for_each(|n| add(&registry, Seen { family: 1, site: n % 200, open: n, count: 1 }, 0));
    let labels: Vec<_> = violations(&registry).into_keys().map(|labels| labels[0..4].to_vec()).collect();
    assert!(labels.iter().any(|labels| labels[3].starts_with("https://")), "the first keep their detail");
    assert!(labels.contains(&["other", "enforce", "img-src", "other"].map(str::to_owned).to_vec()));
    assert_eq!(counted(&registry, &csp_violation::VIOLATIONS), 2000.0);
    let overflow =
        |label| own(&registry, "lookout_series_overflow_total", &[csp_violation::VIOLATIONS.name, label]);
    let (blocked, site) = (overflow("blocked"), overflow("site"));
    assert!(blocked > site && site > 0.0, "{blocked} {site}");
    assert_eq!(overflow("all"), 0.0, "closed labels have room of their own");
}

#[test]
fn a_configured_site_loses_neither_its_room_nor_its_name_to_another() {
    let registry = Registry::new(Registry::min_limit() + 2000, 2, NOW);
    // Every origin comes often enough to be taken seriously.
    for round in 0..6 {
        (0..5000).for_each(|n| violation(&registry, configured(0), &format!("https://x{n}.example"), round));
    }
    let of = |site: &str| violations(&registry).keys().filter(|labels| labels[0] == site).count();
    assert!(of("a") > 20, "{}", of("a"));
    violation(&registry, configured(1), "https://cdn.example", 6);
    assert!(
        violations(&registry).keys().any(|labels| labels[0] == "b" && labels[3] == "https://cdn.example")
    );
    // Now all its closed labels too.
    for directive in ["img-src", "script-src", "style-src", "font-src", "frame-src", "connect-src"] {
        for noise in ["none", "extension", "injected", "intermediary", "browser", "local", "bot"] {
            for disposition in ["enforce", "report", "unknown"] {
                for blocked in ["inline", "eval", "data", "blob", "self", "extension", "other-scheme"] {
                    let labels = [disposition, directive, blocked, noise].map(Label::bounded);
                    registry.add(
                        configured(1),
                        &Observation::increment(&csp_violation::VIOLATIONS, labels),
                        NOW,
                        7,
                    );
                }
            }
        }
    }
    let sum = |site: &str| {
        violations(&registry).into_iter().filter(|(labels, _)| labels[0] == site).map(|(_, n)| n).sum::<f64>()
    };
    assert_eq!((sum("a"), sum("b")), (30_000.0, 1.0 + 6.0 * 7.0 * 3.0 * 7.0));
    assert!(of("unknown") == 0 && of("other") == 0);
}

#[test]
fn more_sites_than_reserves_still_count_everything() {
    let sites = 3;
    let registry = Registry::new(Registry::min_limit(), 400, NOW);
    assert!(!registry.isolates_sites());
    for n in 0..3000 {
        violation(&registry, configured(n % sites), &format!("https://x{n}.example"), 0);
    }
    assert!(samples(&registry) <= Registry::min_limit());
    assert_eq!(counted(&registry, &csp_violation::VIOLATIONS), 3000.0);
}

#[test]
fn room_comes_back_when_series_go() {
    let registry = Registry::new(Registry::min_limit(), 0, NOW);
    (0..500).for_each(|n| add(&registry, Seen { family: 0, site: n, open: 0, count: 1 }, 0));
    registry.expire(IDLE, 1000, ANY);
    add(&registry, Seen { family: 0, site: 9999, open: 0, count: 1 }, 1000);
    let sites: Vec<_> = series(&registry, &REPORTS).into_keys().map(|labels| labels[0].clone()).collect();
    assert_eq!(sites, ["s9999.example"]);
}

#[test]
fn a_series_that_is_touched_stays() {
    let registry = Registry::new(10_000, 0, NOW);
    add(&registry, Seen { family: 0, site: 1, open: 0, count: 1 }, 0);
    add(&registry, Seen { family: 0, site: 2, open: 0, count: 1 }, 0);
    add(&registry, Seen { family: 0, site: 1, open: 0, count: 1 }, 90);
    registry.expire(IDLE, 120, ANY);
    let left: Vec<_> = series(&registry, &REPORTS).into_values().collect();
    assert_eq!(left, [2.0], "the two additions of the one that was touched");
}

#[test]
fn a_series_is_a_cache_line_and_its_texts() {
    assert_eq!(size_of::<Series>(), 64);
}

#[test]
fn ids_do_not_come_again_after_four_thousand_million_births() {
    let registry = Registry::new(10_000, 0, NOW);
    registry.next_id.store(u64::from(u32::MAX), Ordering::Relaxed);
    for site in 0..10 {
        add(&registry, Seen { family: 0, site, open: 0, count: 1 }, 0);
    }
    let mut ids = std::collections::HashSet::new();
    registry.visit(&mut |family, sample| assert!(ids.insert(sample.id), "{} has another's id", family.name));
    assert!(ids.contains(&(u64::from(u32::MAX) + 9)));
}

#[test]
fn a_count_stops_at_what_every_export_can_say() {
    let registry = Registry::new(10_000, 0, NOW);
    let most = || {
        let mut counts = Vec::new();
        registry.visit(&mut |family, sample| match sample.value {
            SampleValue::Count(count) if std::ptr::eq(family, &REPORTS) => counts.push(count),
            _ => (),
        });
        counts
    };
    for count in [u64::MAX, 7, u64::MAX] {
        add(&registry, Seen { family: 0, site: 1, open: 0, count }, 0);
        assert_eq!(most(), [i64::MAX.unsigned_abs()]);
    }
}

#[test]
fn what_went_is_counted_exactly() {
    let registry = Registry::new(10_000, 0, NOW);
    // More than a float can tell from its neighbours.
    let large = (1 << 53) + 1;
    for (uptime, count) in [(0, large), (1000, 1), (2000, 1)] {
        add(&registry, Seen { family: 0, site: 1, open: 0, count }, uptime);
        registry.expire(IDLE, uptime + 500, ANY);
    }
    let mut expired = Vec::new();
    registry.visit(&mut |family, sample| {
        if family.name == "lookout_series_expired_counts_total" && *sample.labels == [REPORTS.name] {
            expired.push(sample.value);
        }
    });
    assert_eq!(expired, [SampleValue::Count(large + 2)]);
}

mod floods;
