//! Changes of the configured sites: sums stay exact, and every series is charged once.

use super::*;
use crate::kinds::AFFECTED_CLIENTS;
use crate::model::Names;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Returns the label of a site, if it is configured, else that of no site, or of a host of its name.
fn label(names: &Names, site: &'static str) -> SiteLabel<'static> {
    match names.id(site).filter(|id| names.configured().contains(id)) {
        Some(id) => SiteLabel { label: Label::bounded(site), configured: Some(id) },
        None if names.configured().is_empty() => SiteLabel::host(site),
        None => SiteLabel::UNKNOWN,
    }
}

fn change(registry: &Registry, names: &Names, configured: &[&'static str]) -> Names {
    let names = names.change(configured.iter().copied());
    registry.set_sites(&names);
    let clients = [Label::bounded("enforced"), Label::bounded("none")];
    for id in names.configured() {
        let site = SiteLabel { label: Label::bounded(names.name(*id)), configured: Some(*id) };
        registry.pin(site, &Observation::increment(&AFFECTED_CLIENTS, clients), NOW);
    }
    names
}

/// Returns what each quota has charged, and what its series take.
fn charged(registry: &Registry) -> Vec<(usize, usize)> {
    let mut taken: HashMap<&str, usize> = HashMap::new();
    for shard in &registry.shards {
        for series in shard.0.lock().iter() {
            let is_charged = !matches!(series.allocation, Allocation::Fallback | Allocation::Pinned);
            let samples = if is_charged { samples_per_series(series.family) } else { 0 };
            *taken.entry(series.family.name).or_default() += samples;
        }
    }
    let of = |name| taken.get(name).copied().unwrap_or_default();
    registry.quotas.iter().map(|quota| (quota.sites.used_and_limit().0, of(quota.family.name))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn series_are_charged_once_and_sums_are_exact_whatever_sites_are_configured(
        changes in proptest::collection::vec((0..16u8, proptest::collection::vec((0..4usize, 0..60u16), 0..120)), 1..8),
    ) {
        let registry = registry(min_limit() + 400, 0);
        let (mut names, mut added, mut uptime) = (Names::default(), 0.0, 0);
        for (configured, reports) in changes {
            let configured: Vec<_> = (0..4).filter(|at| configured & (1 << at) != 0).map(|at| NAMES[at]).collect();
            names = change(&registry, &names, &configured);
            for (site, unbounded) in reports {
                add_to(&registry, label(&names, NAMES[site]), Seen { family: 1, site: 0, unbounded, count: 3 }, uptime);
                added += 3.0;
            }
            uptime += 10;
            registry.evict_for_demand(MIN_IDLE, uptime, ANY);
            for (charged, taken) in charged(&registry) {
                prop_assert_eq!(charged, taken);
            }
            let sum: f64 = violations(&registry).values().sum();
            prop_assert_eq!(sum + expired(&registry, &csp_violation::VIOLATIONS).total(), added);
        }
        registry.expire(IDLE, uptime + 1000, ANY);
        prop_assert!(charged(&registry).iter().all(|(charged, _)| *charged == 0));
        // Those of removed sites expire, too.
        let pinned = series(&registry, &AFFECTED_CLIENTS).len();
        prop_assert_eq!(pinned, names.configured().len());
    }
}

#[test]
fn site_that_is_added_gets_its_part_of_a_full_registry() {
    let registry = registry(min_limit() + 3000, 1);
    let names = change(&registry, &Names::default(), &["a"]);
    let flood = |uptime| {
        for blocked in 0..3000 {
            for _ in 0..4 {
                violation(&registry, label(&names, "a"), &format!("https://b{blocked}.example"), uptime);
            }
        }
    };
    flood(0);
    let quota = registry.quota(&csp_violation::VIOLATIONS).unwrap();
    let full = quota.sites.used_and_limit().0;
    let names = change(&registry, &names, &["a", "b"]);
    let own = |uptime| {
        (0..5)
            .for_each(|n| violation(&registry, label(&names, "b"), &format!("https://c{n}.example"), uptime));
        let of_b = violations(&registry).into_keys().filter(|labels| labels[0] == "b");
        of_b.filter(|labels| labels[3] != "other").count()
    };
    own(1);
    for uptime in (30..90).step_by(10) {
        assert!(quota.sites.used_and_limit().0 <= full.max(quota.usable_and_limit().1), "{uptime}");
        registry.evict_for_demand(MIN_IDLE, uptime, ANY);
        own(uptime);
    }
    assert_eq!(own(100), 5);
}
