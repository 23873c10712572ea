//! The registry as a whole: sums are exact and samples bounded, whatever is counted, by several threads and with
//! evictions meanwhile.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use prometheus::proto::{LabelPair, Metric};
use proptest::prelude::*;

use super::Allocation;
use super::sample::SAMPLES;
use super::series::Series;
use super::{EvictionFilter, Registry, SampleValue, frequency_sketch};
use crate::config::MetricsConfig;
use crate::kinds::{self, REPORTS, csp_violation, network_error};
use crate::model::{Family, Increment, Label, MetricType, OTHER, Observation, SiteLabel};

mod floods;
mod sites;

/// One observation: its family, and the unbounded labels as small numbers.
#[derive(Debug, Clone, Copy)]
struct Seen {
    family: u8,
    site: u16,
    unbounded: u16,
    /// Its count, if the family is a counter.
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

fn registry(limit: usize, sites: usize) -> Registry {
    Registry::new(kinds::families(), limit, sites, NOW).unwrap()
}

fn min_limit() -> usize {
    registry(0, 0).min_limit()
}

fn csp<'a>(blocked: Label<'a>) -> Observation<'a> {
    let bounded = Label::bounded;
    Observation::increment(
        &csp_violation::VIOLATIONS,
        [bounded("enforce"), bounded("img-src"), blocked, bounded("none"), bounded("checkout")],
    )
}

fn add_to(registry: &Registry, site: SiteLabel<'_>, seen: Seen, uptime: u32) {
    let blocked = format!("https://b{}.example", seen.unbounded);
    let bounded = Label::bounded;
    let mut observation = match seen.family {
        0 => Observation::increment(&REPORTS, [bounded("crash"), bounded("chrome")]),
        1 => csp(Label::unbounded(&blocked)),
        2 => Observation::new(
            &network_error::ESTIMATED,
            [bounded("dns"), bounded("ok"), bounded("none")],
            // A power of two, so that the sum is exact in any order.
            Increment::Sum(0.25),
        ),
        _ => Observation::new(&network_error::DURATION, [bounded("dns")], Increment::Duration(0.5)),
    };
    if let Increment::Count(count) = &mut observation.amount {
        *count = seen.count;
    }
    registry.add(site, &observation, NOW, uptime, &Cell::new(usize::MAX));
}

fn add(registry: &Registry, seen: Seen, uptime: u32) {
    add_to(registry, SiteLabel::host(&format!("s{}.example", seen.site)), seen, uptime);
}

fn violation(registry: &Registry, site: SiteLabel<'_>, blocked: &str, uptime: u32) {
    registry.add(site, &csp(Label::unbounded(blocked)), NOW, uptime, &Cell::new(usize::MAX));
}

fn configured(position: usize) -> SiteLabel<'static> {
    SiteLabel {
        label: Label::bounded(&"abcdefghijklmnopqrst"[position..=position]),
        configured: Some(position),
    }
}

/// Returns all series of a family, by their labels.
fn series(registry: &Registry, family: &Family) -> HashMap<Vec<String>, f64> {
    let mut series = HashMap::new();
    registry.visit(&mut |known, sample| {
        if known.name == family.name {
            let labels = sample.labels.iter().map(|label| (*label).to_owned()).collect();
            assert_eq!(series.insert(labels, sample.value.total()), None, "a series is there twice");
        }
    });
    series
}

fn violations(registry: &Registry) -> HashMap<Vec<String>, f64> {
    series(registry, &csp_violation::VIOLATIONS)
}

/// Returns the value of a self-metric.
fn own(registry: &Registry, name: &str, labels: &[&str]) -> f64 {
    let families = registry.self_metrics.gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    let has_labels =
        |metric: &&Metric| metric.get_label().iter().map(LabelPair::value).eq(labels.iter().copied());
    let metric = family.get_metric().iter().find(has_labels).unwrap();
    metric.get_counter().get_value() + metric.get_gauge().get_value()
}

/// Returns what evicted series of the family had counted.
fn expired(registry: &Registry, family: &Family) -> SampleValue {
    let mut expired = Vec::new();
    registry.visit(&mut |known, sample| {
        if known.name == "lookout_series_expired_counts_total" && *sample.labels == [family.name] {
            expired.push(sample.value);
        }
    });
    assert_eq!(expired.len(), 1);
    expired.remove(0)
}

/// Returns what was counted in the family: by its series, and by evicted ones.
fn counted(registry: &Registry, family: &Family) -> f64 {
    series(registry, family).values().sum::<f64>() + expired(registry, family).total()
}

/// Returns the number of samples that one series of the family has in a scrape.
fn samples_per_series(family: &Family) -> usize {
    if family.metric_type == MetricType::Histogram { SAMPLES } else { 1 }
}

/// Returns the number of samples of a scrape of this registry.
fn samples(registry: &Registry) -> usize {
    let mut samples = registry.self_metrics.samples();
    registry.visit(&mut |family, _| samples += samples_per_series(family));
    samples
}

/// Records the last value of each series by its id, and asserts that none decreased.
fn check_growing(registry: &Registry, lives: &mut HashMap<u64, f64>) {
    registry.visit(&mut |family, sample| {
        if COUNTED.iter().any(|counted| counted.name == family.name) {
            let now = sample.value.total();
            let before = lives.insert(sample.id, now).unwrap_or(0.0);
            assert!(now >= before, "{} decreased from {before} to {now}", family.name);
        }
    });
}

fn seen() -> impl Strategy<Value = Seen> {
    (0..4_u8, 0..40_u16, 0..400_u16, 1..1000_u64).prop_map(|(family, site, unbounded, count)| Seen {
        family,
        site,
        unbounded,
        count,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    /// Now and then time passes, and series are evicted.
    #[test]
    fn any_stream_of_observations_has_exact_sums_and_bounded_samples(
        stream in prop::collection::vec((seen(), 0..30_u32), 1..1500),
        spare in 0..600_usize,
        sites in 0..4_usize,
    ) {
        let limit = min_limit() + spare;
        let registry = registry(limit, sites);
        let mut added = [0.0; 4];
        let mut lives = HashMap::new();
        let mut uptime = 0;
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

/// A new kind may add a family, for which the setting's minimum has to grow.
#[test]
fn smallest_max_series_that_can_be_set_is_enough() {
    let needed = min_limit();
    let allowed = MetricsConfig::MIN_SERIES;
    assert!(needed <= allowed, "metrics.max_series may be {allowed}, but the families need {needed}");
}

/// The n-th observation of a thread.
fn nth(thread: u32, n: u32) -> Seen {
    let mixed = (thread * 7919 + n).wrapping_mul(2_654_435_761) >> 8;
    Seen {
        family: (mixed % 4) as u8,
        site: (mixed / 4 % 300) as u16,
        unbounded: (mixed / 1200 % 3000) as u16,
        count: 1,
    }
}

/// Eight threads count while one reads and evicts.
#[test]
fn additions_of_eight_threads_are_all_counted() {
    let limit = min_limit() + 500;
    let registry = registry(limit, 0);
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
    // Every series releases what it had reserved.
    registry.expire(Duration::ZERO, u32::MAX, ANY);
    for quota in &registry.quotas {
        assert_eq!(own(&registry, "lookout_series", &[quota.family.name]), 0.0);
        assert_eq!(series(&registry, quota.family).len(), 0);
    }
}

#[test]
fn full_registry_drops_the_finest_detail_first() {
    let registry = registry(min_limit(), 0);
    // A site that lost its detail early has a series for the rest; later ones share that of `other`.
    registry.add(SiteLabel::host("s0.example"), &csp(OTHER), NOW, 0, &Cell::new(usize::MAX));
    (0..1999).for_each(|n| add(&registry, Seen { family: 1, site: n % 200, unbounded: n, count: 1 }, 0));
    let labels: Vec<_> = violations(&registry).into_keys().map(|labels| labels[0..4].to_vec()).collect();
    assert!(
        labels.iter().any(|labels| labels[3].starts_with("https://")),
        "the first ones keep their detail"
    );
    assert!(labels.contains(&["other", "enforce", "img-src", "other"].map(str::to_owned).to_vec()));
    assert_eq!(counted(&registry, &csp_violation::VIOLATIONS), 2000.0);
    let overflow =
        |label| own(&registry, "lookout_series_overflow_total", &[csp_violation::VIOLATIONS.name, label]);
    let (blocked, site) = (overflow("blocked"), overflow("site"));
    assert!(blocked > site && site > 0.0, "{blocked} {site}");
    assert_eq!(overflow("all"), 0.0, "bounded labels find capacity");
}

#[test]
fn configured_site_keeps_its_capacity_and_name_during_a_flood_on_another() {
    let registry = registry(min_limit() + 2000, 2);
    // Every origin is frequent.
    for round in 0..6 {
        (0..5000).for_each(|n| violation(&registry, configured(0), &format!("https://x{n}.example"), round));
    }
    let of = |site: &str| violations(&registry).keys().filter(|labels| labels[0] == site).count();
    assert!(of("a") > 20, "{}", of("a"));
    violation(&registry, configured(1), "https://cdn.example", 6);
    assert!(
        violations(&registry).keys().any(|labels| labels[0] == "b" && labels[3] == "https://cdn.example")
    );
    // Now with every bounded label too.
    for directive in ["img-src", "script-src", "style-src", "font-src", "frame-src", "connect-src"] {
        for noise in ["none", "extension", "injected", "intermediary", "browser", "local", "bot"] {
            for disposition in ["enforce", "report", "unknown"] {
                for blocked in ["inline", "eval", "data", "blob", "self", "extension", "other-scheme"] {
                    let labels = [disposition, directive, blocked, noise, "checkout"].map(Label::bounded);
                    registry.add(
                        configured(1),
                        &Observation::increment(&csp_violation::VIOLATIONS, labels),
                        NOW,
                        7,
                        &Cell::new(usize::MAX),
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
fn more_sites_than_fallback_slots_still_count_everything() {
    let sites = 20;
    let registry = registry(min_limit(), 400);
    assert!(!registry.isolates_sites());
    for n in 0..3000 {
        violation(&registry, configured(n % sites), &format!("https://x{n}.example"), 0);
    }
    assert!(samples(&registry) <= min_limit());
    assert_eq!(counted(&registry, &csp_violation::VIOLATIONS), 3000.0);
    // A page is a configured one or absent.
    let lost = ["other", "other", "other", "other", "other", ""];
    assert!(violations(&registry).keys().any(|labels| *labels == lost), "{:?}", violations(&registry));
}

#[test]
fn expired_series_release_their_capacity() {
    let registry = registry(min_limit(), 0);
    (0..500).for_each(|n| add(&registry, Seen { family: 0, site: n, unbounded: 0, count: 1 }, 0));
    registry.expire(IDLE, 1000, ANY);
    add(&registry, Seen { family: 0, site: 9999, unbounded: 0, count: 1 }, 1000);
    let sites: Vec<_> = series(&registry, &REPORTS).into_keys().map(|labels| labels[0].clone()).collect();
    assert_eq!(sites, ["s9999.example"]);
}

#[test]
fn updated_series_does_not_expire() {
    let registry = registry(10_000, 0);
    add(&registry, Seen { family: 0, site: 1, unbounded: 0, count: 1 }, 0);
    add(&registry, Seen { family: 0, site: 2, unbounded: 0, count: 1 }, 0);
    add(&registry, Seen { family: 0, site: 1, unbounded: 0, count: 1 }, 90);
    registry.expire(IDLE, 120, ANY);
    let left: Vec<_> = series(&registry, &REPORTS).into_values().collect();
    assert_eq!(left, [2.0], "the two additions of the updated one");
}

#[test]
fn series_fits_a_cache_line() {
    assert_eq!(size_of::<Series>(), 64);
}

#[test]
fn ids_stay_unique_beyond_32_bits() {
    let registry = registry(10_000, 0);
    registry.next_id.store(u64::from(u32::MAX), Ordering::Relaxed);
    for site in 0..10 {
        add(&registry, Seen { family: 0, site, unbounded: 0, count: 1 }, 0);
    }
    let mut ids = std::collections::HashSet::new();
    registry.visit(&mut |family, sample| assert!(ids.insert(sample.id), "{} has another's id", family.name));
    assert!(ids.contains(&(u64::from(u32::MAX) + 9)));
}

#[test]
fn count_saturates_at_the_largest_signed_integer() {
    let registry = registry(10_000, 0);
    let most = || {
        let mut counts = Vec::new();
        registry.visit(&mut |family, sample| match sample.value {
            SampleValue::Count(count) if std::ptr::eq(family, &REPORTS) => counts.push(count),
            _ => (),
        });
        counts
    };
    for count in [u64::MAX, 7, u64::MAX] {
        add(&registry, Seen { family: 0, site: 1, unbounded: 0, count }, 0);
        assert_eq!(most(), [i64::MAX.unsigned_abs()]);
    }
}

#[test]
fn counts_of_evicted_series_are_exact() {
    let registry = registry(10_000, 0);
    // Not exact as a float.
    let large = (1 << 53) + 1;
    for (uptime, count) in [(0, large), (1000, 1), (2000, 1)] {
        add(&registry, Seen { family: 0, site: 1, unbounded: 0, count }, uptime);
        registry.expire(IDLE, uptime + 500, ANY);
    }
    assert_eq!(expired(&registry, &REPORTS), SampleValue::Count(large + 2));
}
