//! The findings as a whole: bounds, exactness, floods, and what a restart leaves.

use std::cell::Cell;

use proptest::prelude::*;

use super::*;
use crate::classify::{Rules, classify};
use crate::config::SiteConfig;
use crate::decode::decode;
use crate::model::{ClientKey, Finding, Fingerprint};
use crate::normalize::{Mode, normalize};

const NOW: i64 = 1_795_351_500;
const DAY: i64 = 86_400;
const NO_SAMPLE: fn() -> Vec<u8> = || b"{}".to_vec();

struct World {
    findings: Findings,
    sites: SiteIndex,
    rules: Rules,
}

/// What a test varies of a report.
#[derive(Debug, Clone, Copy)]
struct Seen {
    fingerprint: u64,
    client: u32,
    second: i64,
    noise: bool,
}

fn decode_state(file: &[u8]) -> Option<State> {
    State::read(file, file.len() as u64).unwrap()
}

fn seen(fingerprint: u64, client: u32) -> Seen {
    Seen { fingerprint, client, second: 0, noise: false }
}

fn world(change: impl FnOnce(&mut config::Findings)) -> World {
    let mut settings = config::defaults().findings;
    change(&mut settings);
    let site = |name: &str| SiteConfig {
        name: name.to_owned(),
        hosts: vec![format!("{name}.example")],
        ..SiteConfig::default()
    };
    let sites = SiteIndex::new(&[site("shop"), site("blog")]);
    let started = Timestamp::from_second(NOW).unwrap();
    let registry = Arc::new(Registry::new(crate::kinds::families(), 10_000, 2, started).unwrap());
    World { findings: Findings::new(&settings, &sites, registry).unwrap(), sites, rules: Rules::default() }
}

impl World {
    /// Records reports that differ in what is given only. Returns how many of them made a finding.
    fn record(&self, all: impl IntoIterator<Item = Seen>) -> usize {
        self.record_on("shop", all)
    }

    fn record_on(&self, site: &str, all: impl IntoIterator<Item = Seen>) -> usize {
        let body = format!(
            r#"[{{"type":"csp-violation","url":"https://{site}.example/cart","body":{{
                "effectiveDirective":"script-src-elem","blockedURL":"https://x.example/","disposition":"enforce"}}}}]"#
        );
        let mut context = UploadContext {
            received: Timestamp::UNIX_EPOCH,
            uptime: 0,
            user_agent: None,
            disposition: None,
            site: None,
            key: None,
            query: &[],
            client: ClientKey::default(),
            client_address: None,
            span: None,
        };
        let mut new = 0;
        let mut all = Some(all);
        decode(body.as_bytes(), 1, |item| {
            let report = normalize(item.unwrap(), &context, config::defaults().privacy, Mode::Full);
            let mut classification = classify(&report, &context, &self.sites, &self.rules);
            let finding = Finding::new(&report, &classification);
            for seen in all.take().unwrap() {
                context.received = Timestamp::from_second(NOW + seen.second).unwrap();
                context.client = ClientKey(0xffff_ffff_0000_0000 | u64::from(seen.client));
                classification.noise = if seen.noise { Noise::Bot } else { Noise::None };
                let finding = Finding { fingerprint: Fingerprint(seen.fingerprint), ..finding };
                let client = self.findings.client(&context);
                let (report, classification, context) = (&report, &classification, &context);
                let (may_describe, may_make) = (true, &Cell::new(usize::MAX));
                let arrival =
                    Arrival { report, classification, finding, client, context, may_describe, may_make };
                new += usize::from(self.findings.record(&arrival, NO_SAMPLE));
            }
        })
        .unwrap();
        new
    }

    /// Returns number, clients and reports of each finding, sorted.
    fn list(&self) -> Vec<(u64, u64, u64)> {
        let mut list = Vec::new();
        self.findings.visit(|finding| list.push((finding.fingerprint.0, finding.clients(), finding.count)));
        list.sort_unstable();
        list
    }

    /// Returns `lookout_new_findings_total` by number of clients.
    fn reached(&self) -> [u64; 4] {
        let mut reached = [0; 4];
        self.findings.registry.visit(&mut |family, sample| {
            if family.name == NEW_FINDINGS.name {
                let position = ["1", "2", "5", "50"].iter().position(|clients| sample.labels[5] == *clients);
                reached[position.unwrap()] += sample.value.total() as u64;
            }
        });
        reached
    }

    fn has(&self, fingerprint: u64) -> bool {
        self.list().iter().any(|(known, ..)| *known == fingerprint)
    }

    fn learning(&self, site: &str) -> i64 {
        self.findings.registry.self_metrics.findings.learning.with_label_values(&[site]).get()
    }

    fn restarted(&self, second: i64) -> World {
        let next = world(|settings| *settings = self.findings.table.settings().clone());
        let state = decode_state(&self.findings.state().encode()).unwrap();
        next.findings.restore(state, Timestamp::from_second(NOW + second).unwrap());
        next
    }
}

fn any_seen() -> impl Strategy<Value = Seen> {
    (0..40_u64, 0..90_u32, 0..5_i64, any::<bool>()).prop_map(|(fingerprint, client, second, noise)| Seen {
        fingerprint: fingerprint.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        client,
        second,
        noise,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(40) })]

    /// Counts, clients up to 64 and what was reached depend on what was reported, and not on its order.
    #[test]
    fn reports_in_any_order_have_the_same_exact_findings(
        stream in prop::collection::vec(any_seen(), 1..600), by: prop::sample::Index,
    ) {
        let (world, other) = (world(|_| {}), world(|_| {}));
        let new = world.record(stream.clone());
        let mut rotated = stream.clone();
        rotated.rotate_left(by.index(stream.len()));
        prop_assert_eq!(other.record(rotated), new);
        prop_assert_eq!(world.list(), other.list());
        prop_assert_eq!(world.reached(), other.reached());
        let list = world.list();
        prop_assert_eq!(list.len(), new);
        prop_assert_eq!(list.iter().map(|(.., count)| count).sum::<u64>(), stream.len() as u64);
        for (fingerprint, clients, _) in list {
            let of = stream.iter().filter(|seen| seen.fingerprint == fingerprint).map(|seen| seen.client);
            let distinct = of.collect::<std::collections::HashSet<_>>().len() as u64;
            prop_assert!(clients == distinct || distinct > 64, "{clients} {distinct}");
        }
    }

    /// Now and then findings are evicted, expire, or are restored.
    #[test]
    fn table_keeps_both_limits(
        stream in prop::collection::vec((0..3000_u64, 0..4_u32, any::<bool>()), 1..1500),
        max in 1..600_usize, max_bytes in (64_usize << 10)..(1 << 20),
    ) {
        let mut world = world(|settings| (settings.max, settings.max_bytes) = (max, max_bytes));
        for (at, part) in stream.chunks(100).enumerate() {
            let part = part.iter().map(|(number, client, noise)| Seen {
                noise: *noise, second: at as i64, ..seen(number % (3 + 400 * (at as u64 % 7)), *client)
            });
            world.record(part.clone().chain(part.clone()).chain(part));
            world.findings.evict_for_demand();
            if at % 5 == 4 {
                world = world.restarted(at as i64);
            }
            let (findings, bytes, charged, used) = world.findings.table.usage();
            prop_assert!(findings <= max && bytes <= charged && charged == used && used <= max_bytes);
        }
        world.findings.expire(Timestamp::from_second(NOW + 40 * DAY).unwrap());
        prop_assert_eq!(world.findings.table.usage(), (0, 0, 0, 0));
    }

    #[test]
    fn any_bytes_are_no_state_or_a_harmless_one(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(decode_state(&bytes).is_none());
    }
}

#[test]
fn finding_is_counted_as_it_reaches_1_2_5_and_50_clients() {
    let world = world(|_| {});
    assert_eq!(world.record((0..4).map(|client| seen(1, client))), 1);
    assert_eq!(world.reached(), [1, 1, 0, 0]);
    world.record((0..5).chain(0..5).map(|client| seen(1, client)));
    assert_eq!(world.reached(), [1, 1, 1, 0]);
    // A day later, the finding is no news.
    world.record((0..60).map(|client| Seen { second: DAY, ..seen(1, client) }));
    world.record((0..49).map(|client| Seen { second: DAY, ..seen(2, client) }));
    assert_eq!(world.reached(), [2, 2, 2, 0]);
    world.record([Seen { second: 2 * DAY - 1, ..seen(2, 49) }]);
    assert_eq!(world.reached(), [2, 2, 2, 1]);
    let mut labels = Vec::new();
    world.findings.registry.visit(&mut |family, sample| {
        if family.name == NEW_FINDINGS.name && sample.labels[5] == "50" {
            labels = sample.labels.iter().map(|label| (*label).to_owned()).collect();
        }
    });
    assert_eq!(labels, ["shop", "csp-violation", "enforce", "runs", "none", "50"]);
}

/// What many clients share stays, and a new problem that many clients have is found during the flood.
fn survives_flood(addresses: u32, reports: u64) {
    let world = world(|settings| settings.max_bytes = 2 << 20);
    let real =
        |number: u64, clients: std::ops::Range<u32>| clients.map(move |client| seen(number, 1000 + client));
    (0..100).for_each(|number| assert_eq!(world.record(real(number, 0..60)), 1));
    let mut admitted_after = None;
    for (at, chunk) in (0..reports).collect::<Vec<_>>().chunks(2500).enumerate() {
        // Each invention twenty times, so that it is frequent.
        let forged = chunk.iter().map(|report| Seen {
            second: 1 + at as i64,
            ..seen((1 << 40) | (report / 20), (report % u64::from(addresses)) as u32)
        });
        world.record(forged);
        world.findings.evict_for_demand();
        if admitted_after.is_none() && at > 0 {
            let client = at as u32;
            world.record(
                (0..3).map(|more| Seen { second: 1 + at as i64, ..seen(1 << 50, 5000 + 3 * client + more) }),
            );
            admitted_after = world.has(1 << 50).then_some(at);
        }
    }
    assert!((0..100).all(|number| world.has(number)), "what 60 clients share is evicted");
    assert!(admitted_after.is_some_and(|seconds| seconds <= 5), "{admitted_after:?}");
    let (_, _, charged, used) = world.findings.table.usage();
    assert!(charged == used && used <= 2 << 20, "{used}");
    // The forged ones on one site cost no other site its findings.
    assert_eq!(world.record_on("blog", (0..50).map(|number| seen((1 << 60) | number, 1))), 50);
}

#[test]
fn flood_of_one_address_evicts_nothing_that_many_clients_share() {
    survives_flood(1, 12_500);
    survives_flood(1, 300_000);
}

#[test]
fn flood_of_20_addresses_evicts_nothing_that_many_clients_share() {
    survives_flood(20, 12_500);
    survives_flood(20, 300_000);
}

#[test]
fn evicted_finding_is_not_new_again() {
    let world = world(|settings| settings.max_bytes = 1 << 20);
    assert_eq!(world.record((0..3).map(|client| seen(7, client))), 1);
    let mut number = 1 << 40;
    while world.has(7) {
        world.record((0..20_000).map(|n| Seen { second: 1, ..seen(number + n / 20, (n % 20) as u32) }));
        world.findings.evict_for_demand();
        number += 1000;
        assert!(number < 1 << 41, "it is never evicted");
    }
    let before = world.reached();
    while !world.has(7) {
        assert_eq!(world.record((0..2).map(|client| Seen { second: 2, ..seen(7, client) })), 0);
        world.findings.evict_for_demand();
    }
    assert_eq!(world.reached(), before);
    world.record((0..60).map(|client| Seen { second: 3, ..seen(7, client) }));
    let [.., five, fifty] = world.reached();
    assert_eq!((five, fifty), (before[2] + 1, before[3] + 1), "what it had not reached is still news");
}

#[test]
fn restart_with_state_makes_nothing_new_and_counts_on() {
    let world = world(|_| {});
    world.record((0..100).map(|client| seen(1, client)).chain((0..4).map(|client| seen(2, client))));
    assert_eq!((world.learning("shop"), world.reached()), (1, [2, 2, 1, 1]));
    let next = world.restarted(10);
    assert_eq!(next.record((0..3).map(|client| Seen { second: 10, ..seen(1, client) })), 0);
    assert_eq!(next.record((0..5).map(|client| Seen { second: 10, ..seen(2, client) })), 0);
    assert_eq!(next.reached(), [0, 0, 1, 0], "the second finding reaches five");
    let clients = world.list()[0].1;
    assert_eq!(next.list(), [(1, clients, 103), (2, 5, 9)]);
    assert!((85..=115).contains(&clients));
    // A day after the first start, not after the last one.
    for (second, learning) in [(DAY - 1, 1), (DAY, 0)] {
        assert_eq!(world.restarted(second).learning("shop"), learning);
        assert_eq!(world.restarted(second).learning("unknown"), learning);
    }
    let expired = world.restarted(31 * DAY);
    assert_eq!((expired.list(), expired.record([Seen { second: 31 * DAY, ..seen(1, 1) }])), (vec![], 1));
}

#[test]
fn restored_findings_without_space_are_not_new_either() {
    let large = world(|_| {});
    large.record((0..2000).map(|number| seen(number, 1)));
    let small = world(|settings| (settings.max, settings.max_bytes) = (20_000, 1 << 20));
    let state = decode_state(&large.findings.state().encode()).unwrap();
    small.findings.restore(state, Timestamp::from_second(NOW).unwrap());
    assert!((1..2000).contains(&small.list().len()));
    assert_eq!(small.record((0..2000).map(|number| seen(number, 1))), 0);
}

#[test]
fn state_with_any_changed_byte_is_damaged() {
    let world = world(|_| {});
    world.record((0..20).map(|number| seen(number, 1)));
    let file = world.findings.state().encode();
    assert!(decode_state(&file).is_some());
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert!(decode_state(&damaged).is_none(), "{at}");
        assert!(decode_state(&file[..at]).is_none(), "{at}");
    }
}

/// Returns at most this many bytes for each read.
struct Slow<'f>(&'f [u8], usize);

impl std::io::Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

/// Wherever the parts of the file end that are read at once, and in whatever order an earlier version wrote it.
#[test]
fn large_state_is_restored_whole_from_any_parts_and_order() {
    let world = world(|_| {});
    world.record(
        (0..4000_u64).map(|number| seen(number.wrapping_mul(0x9e37_79b9_7f4a_7c15), number as u32 % 7)),
    );
    let state = world.findings.state();
    let order = |(.., last_seen, clients, _, _): &table::Saved| std::cmp::Reverse((*clients, *last_seen));
    assert!(state.findings.is_sorted_by_key(order), "what a start reads is in order");
    let file = state.encode();
    assert!(file.len() > 256 << 10);
    for most in [7, 64, 1000, 65_535, file.len()] {
        let read = State::read(Slow(&file, most), file.len() as u64).unwrap().unwrap();
        assert_eq!(read.findings, state.findings, "{most}");
        assert!(State::read(Slow(&file, most), file.len() as u64 - 1).unwrap().is_none(), "{most}");
    }
    let mut other = decode_state(&file).unwrap();
    other.findings.reverse();
    let next = self::world(|_| {});
    let reversed = serde_json::to_vec(&other).unwrap();
    let checksum = format!("\n{:08x}\n", crc32c::crc32c(&reversed));
    let reversed = decode_state(&[&reversed, checksum.as_bytes()].concat()).unwrap();
    assert!(reversed.findings.is_sorted_by_key(order));
    next.findings.restore(reversed, Timestamp::from_second(NOW).unwrap());
    assert_eq!(next.list(), world.list());
    assert_eq!(next.findings.state().findings.len(), 4000);
}

/// The parser of findings against serde_json.
#[test]
fn findings_are_parsed_as_by_serde_json() {
    let findings = |text: &str| {
        let json = format!(r#"{{"version":1,"sites":[[1,2]],"findings":[{text}],"evicted":[]}}"#);
        let expected = serde_json::from_str::<State>(&json).ok().map(|state| state.findings);
        let checksum = crc32c::crc32c(json.as_bytes());
        let found = decode_state(format!("{json}\n{checksum:08x}\n").as_bytes());
        let found = found.map(|state| {
            assert_eq!(state.sites, [(1, 2)], "{text}");
            state.findings
        });
        assert_eq!(found, expected, "{text}");
        expected
    };
    let (one, two) =
        ("[1,2,3,4,5,6,7,false]", "[18446744073709551615,0,10,9,9223372036854775807,0,255,true]");
    // The most clients first, as in the decoded state.
    assert_eq!(findings(&format!("{one},{two}")).unwrap().len(), 2);
    assert_eq!(findings(&format!("{one}, {one}")).unwrap().len(), 2);
    let long = "[12345678,123456789012345678,1,1234567890123456,99999999,10000000,1,false]";
    assert_eq!(findings(&format!("{long},{long}, {one},{two}")).unwrap().len(), 4);
    for valid in ["", one, " [1, 2,3,4,5,6,7,true ]", "[1,2,3,-4,-5,6,7,true]"] {
        assert!(findings(valid).is_some(), "{valid}");
    }
    for invalid in [
        "[1,2,3,4,5,6,256,true]",
        "[18446744073709551616,2,3,4,5,6,7,true]",
        "[1,2,3,9223372036854775808,5,6,7,true]",
        "[1,2,3,4,5,,7,true]",
        "[1,2,3,12345/78,5,6,7,true]",
        "[1,2,3,1234:678,5,6,7,true]",
        "[1,2,3,118446744073709551615,5,6,7,true]",
        "[1,2,3,4,5,6,7,true]x[1,2,3,4,5,6,7,true]",
        ",[1,2,3,4,5,6,7,true]",
        "[1,2,3,4,5,6,true]",
        "[1,2,3,4,5,6,7,8,true]",
        "[1,2,3,4,5,6,7,1]",
        "[1,2,3,4,5,6,7,true",
        "1",
    ] {
        assert!(findings(invalid).is_none(), "{invalid}");
    }
}

/// The largest numbers, and what a later version may write.
#[test]
fn hostile_state_does_not_overflow() {
    let state = |version: u32| {
        let numbers = format!("{0},{0},{0},{1},{1},{0},255", u64::MAX, i64::MIN);
        let json = format!(
            r#"{{"version":{version},"sites":[[1,{0}],[2,{1}]],"findings":[[{numbers},true],[3,3,3,{0},{0},9,9,false]],
                "evicted":[{{"fingerprint":{2},"last_seen":4294967295,"first_seen":4294967295}}]}}"#,
            i64::MAX,
            i64::MIN,
            u64::MAX
        );
        let checksum = crc32c::crc32c(json.as_bytes());
        decode_state(format!("{json}\n{checksum:08x}\n").as_bytes())
    };
    assert!(state(2).is_none(), "of another version");
    let world = world(|_| {});
    world.findings.restore(state(1).unwrap(), Timestamp::from_second(NOW).unwrap());
    world.record([seen(u64::MAX, 1), seen(3, 1)]);
    world.findings.expire(Timestamp::from_second(NOW).unwrap());
    decode_state(&world.findings.state().encode()).unwrap();
}
