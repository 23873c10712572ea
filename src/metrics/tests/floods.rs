//! Floods: neither they nor early series take the capacity of frequent label sets, on the flooded site or on
//! another.

use std::cell::Cell;

use super::*;

/// Returns how many violations of this origin were counted under its own name.
fn named(registry: &Registry, blocked: &str) -> f64 {
    violations(registry).into_iter().filter(|(labels, _)| labels[3] == blocked).map(|(_, count)| count).sum()
}

/// Asserts that the origin got its series once it was frequent. The sketch is an estimate: it may attribute other
/// rejections to the origin, or forget one.
fn assert_admitted(registry: &Registry, blocked: &str, seen: u32) {
    let named = named(registry, blocked);
    assert!(
        (seen - u32::from(frequency_sketch::ADMISSION_THRESHOLD)..seen).contains(&(named as u32)),
        "{named} of {seen}"
    );
}

#[test]
fn frequent_origin_gets_a_series_after_a_flood_of_junk() {
    let registry = registry(10_000, 1);
    (0..100_000).for_each(|n| violation(&registry, configured(0), &format!("https://junk-{n}.example"), 0));
    (0..50).for_each(|_| violation(&registry, configured(0), "https://cdn.example", 1));
    assert_admitted(&registry, "https://cdn.example", 50);
    assert_eq!(counted(&registry, &csp_violation::VIOLATIONS), 100_050.0);
}

#[test]
fn attempts_that_find_no_capacity_use_up_nothing_of_what_an_upload_may_make() {
    let registry = registry(10_000, 1);
    (0..100_000).for_each(|n| violation(&registry, configured(0), &format!("https://junk-{n}.example"), 0));
    let may_make = Cell::new(1);
    let add = |blocked: &str| {
        registry.add(configured(0), &csp(Label::unbounded(blocked)), NOW, 1, &may_make);
    };
    (0..20).for_each(|n| add(&format!("https://more-{n}.example")));
    assert_eq!(may_make.get(), 1);
    (0..50).for_each(|_| add("https://cdn.example"));
    assert_admitted(&registry, "https://cdn.example", 50);
    assert_eq!(may_make.get(), 0);
    (0..50).for_each(|_| add("https://late.example"));
    assert_eq!(named(&registry, "https://late.example"), 0.0, "a second one is another upload's");
    assert_eq!(counted(&registry, &csp_violation::VIOLATIONS), 100_120.0);
}

#[test]
fn frequent_host_gets_series_after_a_flood_of_invented_hosts() {
    let registry = registry(10_000, 0);
    (0..100_000).for_each(|n| {
        violation(&registry, SiteLabel::host(&format!("invented-{n}.example")), "https://x.example", 0);
    });
    (0..50).for_each(|_| violation(&registry, SiteLabel::host("shop.example"), "https://cdn.example", 1));
    assert_admitted(&registry, "https://cdn.example", 50);
}

#[test]
fn idle_junk_is_evicted_for_a_frequent_origin() {
    let registry = registry(min_limit() + 200, 1);
    // Repeated junk takes even the capacity of frequent label sets.
    for _ in 0..5 {
        (0..3000).for_each(|n| violation(&registry, configured(0), &format!("https://junk-{n}.example"), 0));
    }
    let add =
        |uptime| (0..10).for_each(|_| violation(&registry, configured(0), "https://cdn.example", uptime));
    add(1);
    assert_eq!(named(&registry, "https://cdn.example"), 0.0);
    registry.evict_for_demand(MIN_IDLE, 2, ANY);
    add(2);
    assert_eq!(named(&registry, "https://cdn.example"), 0.0, "the junk is not idle for long enough");
    // Its hits decay with each expiry.
    (0..3).for_each(|_| registry.expire(IDLE, 30, ANY));
    add(30);
    registry.evict_for_demand(MIN_IDLE, 31, &|_, _| false);
    add(31);
    assert_eq!(named(&registry, "https://cdn.example"), 0.0, "the filter forbids any eviction");
    registry.evict_for_demand(MIN_IDLE, 32, ANY);
    add(32);
    assert_eq!(named(&registry, "https://cdn.example"), 10.0);
    assert_eq!(counted(&registry, &csp_violation::VIOLATIONS), 15_050.0);
}

/// Counts a violation with bounded labels only; each number is another combination.
fn bounded_violation(registry: &Registry, site: SiteLabel<'_>, nth: usize, uptime: u32) {
    const DIRECTIVES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const KEYWORDS: [&str; 12] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"];
    const NOISE: [&str; 7] = ["t", "u", "v", "w", "x", "y", "z"];
    let labels = [
        ["enforce", "report", "unknown"][nth % 3],
        DIRECTIVES[nth / 3 % 8],
        KEYWORDS[nth / 24 % 12],
        NOISE[nth / 288 % 7],
        "",
    ];
    registry.add(
        site,
        &Observation::increment(&csp_violation::VIOLATIONS, labels.map(Label::bounded)),
        NOW,
        uptime,
        &Cell::new(usize::MAX),
    );
}

/// Returns for how many of the site's series `is` is true.
fn held(registry: &Registry, site: &str, is: impl Fn(&[String]) -> bool) -> usize {
    violations(registry).keys().filter(|labels| labels[0] == site && is(labels)).count()
}

#[test]
fn flood_on_one_site_takes_no_reserved_capacity_of_another() {
    let registry = registry(10_000, 2);
    let reserved = registry.quota(&csp_violation::VIOLATIONS).unwrap().reserved_capacity(1);
    // Each origin is seen once, and three times as many as are reserved: the last quarter stays empty.
    (0..reserved * 3).for_each(|n| violation(&registry, configured(0), &format!("https://a{n}.example"), 0));
    let before = held(&registry, "a", |_| true);
    assert!(before > reserved);
    for uptime in 100..300 {
        // One second of a flood of frequent origins on another site, then of one on no site.
        for site in [configured(1), SiteLabel::UNKNOWN] {
            (0..100 * u32::from(frequency_sketch::ADMISSION_THRESHOLD)).for_each(|n| {
                violation(&registry, site, &format!("https://b{uptime}-{}.example", n % 100), uptime);
            });
        }
        registry.evict_for_demand(MIN_IDLE, uptime, ANY);
    }
    let after = held(&registry, "a", |_| true);
    assert!(after >= reserved * 3 / 4, "{after} of {before} with {reserved} reserved");
    assert!(
        held(&registry, "b", |labels| labels[3].starts_with("https://b29")) > 100,
        "its own junk is evicted for it"
    );
}

#[test]
fn shared_series_of_the_largest_user_are_evicted_for_another_site() {
    let registry = registry(10_000, 2);
    for _ in 0..6 {
        (0..5000).for_each(|n| violation(&registry, configured(0), &format!("https://a{n}.example"), 0));
    }
    (0..3).for_each(|_| registry.expire(IDLE, 30, ANY));
    let greedy = held(&registry, "a", |_| true);
    let reserved = registry.quota(&csp_violation::VIOLATIONS).unwrap().reserved_capacity(1);
    // The other site's reserved capacity is full of active series, and it needs twice as much.
    for uptime in 30..130 {
        for n in 0..reserved * 2 {
            (0..frequency_sketch::ADMISSION_THRESHOLD)
                .for_each(|_| violation(&registry, configured(1), &format!("https://b{n}.example"), uptime));
        }
        registry.evict_for_demand(MIN_IDLE, uptime, ANY);
    }
    let left = held(&registry, "a", |_| true);
    let got = held(&registry, "b", |_| true);
    assert!(got >= reserved * 2, "{got} with {reserved} reserved");
    assert!(left < greedy && left > reserved, "{left} of {greedy}, {reserved} reserved");
}

#[test]
fn bounded_combinations_do_not_lock_out_an_origin() {
    let registry = registry(10_000, 1);
    // Frequent enough to fill the last quarter.
    for _ in 0..5 {
        (0..2016).for_each(|n| bounded_violation(&registry, configured(0), n, 0));
    }
    (0..3).for_each(|_| registry.expire(IDLE, 30, ANY));
    let add =
        |uptime| (0..20).for_each(|_| violation(&registry, configured(0), "https://cdn.example", uptime));
    add(31);
    assert_eq!(named(&registry, "https://cdn.example"), 0.0, "no capacity yet");
    registry.evict_for_demand(MIN_IDLE, 32, ANY);
    add(33);
    assert_eq!(named(&registry, "https://cdn.example"), 20.0);
    assert_eq!(counted(&registry, &csp_violation::VIOLATIONS), 5.0 * 2016.0 + 40.0);
    assert!(violations(&registry).keys().all(|labels| labels[0] == "a"), "the site keeps its name");
}

#[test]
fn origins_do_not_lock_out_bounded_combinations() {
    let registry = registry(10_000, 1);
    // Junk that is seen once leaves the last quarter free, and its own coarse label set is the first there.
    (0..5000).for_each(|n| violation(&registry, configured(0), &format!("https://junk-{n}.example"), 0));
    let coarse = |labels: &[String]| labels[1..] == ["enforce", "img-src", "other", "none", "checkout"];
    assert_eq!(held(&registry, "a", coarse), 1);
    bounded_violation(&registry, configured(0), 0, 0);
    assert_eq!(named(&registry, "A"), 1.0, "the first at once");
    // Repeated junk fills all but the last eighth.
    for _ in 0..5 {
        (0..5000).for_each(|n| violation(&registry, configured(0), &format!("https://junk-{n}.example"), 0));
    }
    bounded_violation(&registry, configured(0), 24, 0);
    assert_eq!(named(&registry, "B"), 1.0, "the last eighth is for bounded labels alone");
    let of_img_src: f64 = violations(&registry)
        .into_iter()
        .filter(|(labels, _)| labels[1..3] == ["enforce", "img-src"])
        .map(|(_, count)| count)
        .sum();
    assert_eq!(of_img_src, 30_000.0, "no bounded label is lost");
}

#[test]
fn with_many_sites_none_takes_all_of_a_small_quota() {
    let sites = 100;
    let registry = registry(10_000, sites);
    let phase = |site, n: usize| {
        let phase = format!("phase-{n}");
        let labels = [Label::unbounded(&phase)];
        let observation = Observation::new(&network_error::DURATION, labels, Increment::Duration(0.5));
        registry.add(
            SiteLabel { label: Label::bounded(site), configured: Some(usize::from(site == "b")) },
            &observation,
            NOW,
            0,
            &Cell::new(usize::MAX),
        );
    };
    for site in ["a", "b"] {
        (0..1000).for_each(|n| (0..6).for_each(|_| phase(site, n % 50)));
    }
    let of = |site: &str| {
        let series = series(&registry, &network_error::DURATION);
        series.keys().filter(|labels| labels[0] == site && labels[1] != "other").count()
    };
    assert!(of("a") > 4 && of("b") > 4, "{} {}", of("a"), of("b"));
}

#[test]
fn reserved_capacity_is_whole_series_and_the_rest_is_shared() {
    for sites in [0, 1, 7, 30, 100] {
        let registry = registry(10_000, sites);
        for quota in &registry.quotas {
            let reserved = quota.reserved_capacity(sites.min(1));
            let (usable, limit) = quota.usable_and_limit();
            assert_eq!(reserved % quota.samples_per_series(), 0);
            assert!(usable + quota.samples_per_series() > limit, "{} {sites}", quota.family.name);
        }
    }
}

#[test]
fn demand_that_no_eviction_can_satisfy_is_dropped() {
    let registry = registry(min_limit(), 1);
    let quota = registry.quota(&network_error::DURATION).unwrap();
    for _ in 0..10 {
        add_to(&registry, configured(0), Seen { family: 3, site: 0, unbounded: 0, count: 1 }, 0);
    }
    assert!(quota.sites.take_demand().is_none(), "the family has no series but a fallback one");
}
