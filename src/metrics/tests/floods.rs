//! That neither a flood nor what came first takes the room of those who keep coming: not that of the flooded
//! site, and much less that of another.

use super::*;

/// How many violations of this origin were counted under its own name.
fn named(registry: &Registry, blocked: &str) -> f64 {
    violations(registry).into_iter().filter(|(labels, _)| labels[3] == blocked).map(|(_, count)| count).sum()
}

/// That it got its series when it had come often enough. Seldom the sketch takes others' refusals for its
/// own, or forgets one of them meanwhile.
fn assert_let_in(registry: &Registry, blocked: &str, came: u32) {
    let named = named(registry, blocked);
    assert!(
        (came - u32::from(frequency_sketch::ADMISSION_THRESHOLD)..came).contains(&(named as u32)),
        "{named} of {came}"
    );
}

#[test]
fn what_keeps_coming_gets_a_series_though_junk_came_first() {
    let registry = Registry::new(10_000, 1, NOW);
    (0..100_000).for_each(|n| violation(&registry, configured(0), &format!("https://junk-{n}.example"), 0));
    (0..50).for_each(|_| violation(&registry, configured(0), "https://cdn.example", 1));
    assert_let_in(&registry, "https://cdn.example", 50);
    assert_eq!(counted(&registry, &csp_violation::VIOLATIONS), 100_050.0);
}

#[test]
fn a_host_that_keeps_coming_gets_series_though_invented_hosts_came_first() {
    let registry = Registry::new(10_000, 0, NOW);
    (0..100_000).for_each(|n| {
        violation(&registry, SiteLabel::host(&format!("invented-{n}.example")), "https://x.example", 0);
    });
    (0..50).for_each(|_| violation(&registry, SiteLabel::host("shop.example"), "https://cdn.example", 1));
    assert_let_in(&registry, "https://cdn.example", 50);
}

#[test]
fn one_off_junk_gives_its_series_up_where_they_are_wanted() {
    let registry = Registry::new(Registry::min_limit() + 200, 1, NOW);
    // Junk that comes again takes even the room of what keeps coming.
    for _ in 0..5 {
        (0..3000).for_each(|n| violation(&registry, configured(0), &format!("https://junk-{n}.example"), 0));
    }
    let come =
        |uptime| (0..10).for_each(|_| violation(&registry, configured(0), "https://cdn.example", uptime));
    come(1);
    assert_eq!(named(&registry, "https://cdn.example"), 0.0);
    registry.evict_for_demand(MIN_IDLE, 2, ANY);
    come(2);
    assert_eq!(
        named(&registry, "https://cdn.example"),
        0.0,
        "exports have not told the junk's last values yet"
    );
    // Its heat cools with each look for idle series.
    (0..3).for_each(|_| registry.expire(IDLE, 30, ANY));
    come(30);
    registry.evict_for_demand(MIN_IDLE, 31, &|_, _| false);
    come(31);
    assert_eq!(named(&registry, "https://cdn.example"), 0.0, "something forbids any series to go");
    registry.evict_for_demand(MIN_IDLE, 32, ANY);
    come(32);
    assert_eq!(named(&registry, "https://cdn.example"), 10.0);
    assert_eq!(counted(&registry, &csp_violation::VIOLATIONS), 15_050.0);
}

/// A violation whose labels are all closed; each number is another combination.
fn closed_violation(registry: &Registry, site: SiteLabel<'_>, nth: usize, uptime: u32) {
    const DIRECTIVES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    const KEYWORDS: [&str; 12] = ["A", "B", "C", "D", "E", "F", "G", "H", "I", "J", "K", "L"];
    const NOISE: [&str; 7] = ["t", "u", "v", "w", "x", "y", "z"];
    let labels = [
        ["enforce", "report", "unknown"][nth % 3],
        DIRECTIVES[nth / 3 % 8],
        KEYWORDS[nth / 24 % 12],
        NOISE[nth / 288 % 7],
    ];
    registry.add(
        site,
        &Observation::increment(&csp_violation::VIOLATIONS, labels.map(Label::bounded)),
        NOW,
        uptime,
    );
}

/// For how many of the site's series this is true.
fn held(registry: &Registry, site: &str, is: impl Fn(&[String]) -> bool) -> usize {
    violations(registry).keys().filter(|labels| labels[0] == site && is(labels)).count()
}

#[test]
fn a_flood_on_one_site_takes_nothing_that_another_is_guaranteed() {
    let registry = Registry::new(10_000, 2, NOW);
    let reserved = registry.quota(&csp_violation::VIOLATIONS).unwrap().reserved_capacity(1);
    // Each origin comes once, and thrice as many as are guaranteed: the last quarter stays empty.
    (0..reserved * 3).for_each(|n| violation(&registry, configured(0), &format!("https://a{n}.example"), 0));
    let before = held(&registry, "a", |_| true);
    assert!(before > reserved);
    for uptime in 100..300 {
        // A second's flood on the neighbour, each origin of which keeps coming; then one on no site at all.
        for site in [configured(1), SiteLabel::UNKNOWN] {
            (0..100 * u32::from(frequency_sketch::ADMISSION_THRESHOLD)).for_each(|n| {
                violation(&registry, site, &format!("https://b{uptime}-{}.example", n % 100), uptime);
            });
        }
        registry.evict_for_demand(MIN_IDLE, uptime, ANY);
    }
    let after = held(&registry, "a", |_| true);
    assert!(after >= reserved * 3 / 4, "{after} of {before} with {reserved} guaranteed");
    assert!(
        held(&registry, "b", |labels| labels[3].starts_with("https://b29")) > 100,
        "its own junk goes for it"
    );
}

#[test]
fn what_is_lent_to_the_greatest_borrower_goes_for_one_that_may_borrow() {
    let registry = Registry::new(10_000, 2, NOW);
    for _ in 0..6 {
        (0..5000).for_each(|n| violation(&registry, configured(0), &format!("https://a{n}.example"), 0));
    }
    (0..3).for_each(|_| registry.expire(IDLE, 30, ANY));
    let (greedy, reserved) = (
        held(&registry, "a", |_| true),
        registry.quota(&csp_violation::VIOLATIONS).unwrap().reserved_capacity(1),
    );
    // The other's own room is full of what is alive, and it wants twice as much.
    for uptime in 30..130 {
        for n in 0..reserved * 2 {
            (0..frequency_sketch::ADMISSION_THRESHOLD)
                .for_each(|_| violation(&registry, configured(1), &format!("https://b{n}.example"), uptime));
        }
        registry.evict_for_demand(MIN_IDLE, uptime, ANY);
    }
    let (left, got) = (held(&registry, "a", |_| true), held(&registry, "b", |_| true));
    assert!(got >= reserved * 2, "{got} with {reserved} guaranteed");
    assert!(left < greedy && left > reserved, "{left} of {greedy}, {reserved} guaranteed");
}

#[test]
fn closed_combinations_cannot_lock_an_origin_out() {
    let registry = Registry::new(10_000, 1, NOW);
    // Often enough to fill the last quarter.
    for _ in 0..5 {
        (0..2016).for_each(|n| closed_violation(&registry, configured(0), n, 0));
    }
    (0..3).for_each(|_| registry.expire(IDLE, 30, ANY));
    let come =
        |uptime| (0..20).for_each(|_| violation(&registry, configured(0), "https://cdn.example", uptime));
    come(31);
    assert_eq!(named(&registry, "https://cdn.example"), 0.0, "no room yet");
    registry.evict_for_demand(MIN_IDLE, 32, ANY);
    come(33);
    assert_eq!(named(&registry, "https://cdn.example"), 20.0);
    assert_eq!(counted(&registry, &csp_violation::VIOLATIONS), 5.0 * 2016.0 + 40.0);
    assert!(violations(&registry).keys().all(|labels| labels[0] == "a"), "the site keeps its name");
}

#[test]
fn origins_cannot_lock_closed_combinations_out() {
    let registry = Registry::new(10_000, 1, NOW);
    // Junk that came once leaves the last quarter to what follows it, its own coarse set first of all.
    (0..5000).for_each(|n| violation(&registry, configured(0), &format!("https://junk-{n}.example"), 0));
    let coarse = |labels: &[String]| labels[1..] == ["enforce", "img-src", "other", "none"];
    assert_eq!(held(&registry, "a", coarse), 1);
    closed_violation(&registry, configured(0), 0, 0);
    assert_eq!(named(&registry, "A"), 1.0, "the first at once");
    // Junk that comes again fills all but the last eighth.
    for _ in 0..5 {
        (0..5000).for_each(|n| violation(&registry, configured(0), &format!("https://junk-{n}.example"), 0));
    }
    closed_violation(&registry, configured(0), 24, 0);
    assert_eq!(named(&registry, "B"), 1.0, "that is theirs alone");
    let of_img_src: f64 = violations(&registry)
        .into_iter()
        .filter(|(labels, _)| labels[1..3] == ["enforce", "img-src"])
        .map(|(_, count)| count)
        .sum();
    assert_eq!(of_img_src, 30_000.0, "no closed label is lost");
}

#[test]
fn with_many_sites_none_takes_all_of_a_small_share() {
    let sites = 100;
    let registry = Registry::new(10_000, sites, NOW);
    let phase = |site, n: usize| {
        let phase = format!("phase-{n}");
        let labels = [Label::unbounded(&phase)];
        let observation = Observation::new(&network_error::DURATION, labels, Increment::Duration(0.5));
        registry.add(
            SiteLabel { label: Label::bounded(site), configured: Some(usize::from(site == "b")) },
            &observation,
            NOW,
            0,
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
fn what_is_guaranteed_is_whole_series_and_the_rest_is_lent() {
    for sites in [0, 1, 7, 30, 100] {
        let registry = Registry::new(10_000, sites, NOW);
        for quota in &registry.quotas {
            let reserved = quota.reserved_capacity(sites.min(1));
            assert_eq!(reserved % quota.samples_per_series(), 0);
            assert!(
                quota.usable() + quota.samples_per_series() > quota.limit(),
                "{} {sites}",
                quota.family.name
            );
        }
    }
}

#[test]
fn nothing_is_searched_where_nothing_could_go() {
    let registry = Registry::new(Registry::min_limit(), 1, NOW);
    let quota = registry.quota(&network_error::DURATION).unwrap();
    for _ in 0..10 {
        add_to(&registry, configured(0), Seen { family: 3, site: 0, open: 0, count: 1 }, 0);
    }
    assert!(quota.take_demand().is_none(), "no series of the family but the reserve");
}
