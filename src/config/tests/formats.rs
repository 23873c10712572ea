//! Tests of the formats of scalars: what is valid, and what an error message expects instead.

use serde_json::{Value as Json, json};

use super::super::format::{
    bytes, duration, duration_or_off, duration_or_zero, fraction, milliseconds, number, number_or_off, parse,
    print, size, text,
};
use super::super::listen_address::ListenAddress;
use super::*;

/// Checks that a text is rejected, and what would be valid.
fn rejects(format: Json, text: &str, what: &str) {
    assert_eq!(parse(&format, text), Err(what.to_owned()), "{text:?}");
}

fn accepts(format: Json, text: &str) {
    assert!(parse(&format, text).is_ok(), "{text:?}");
}

#[test]
fn size_valid_or_invalid_text_is_parsed_or_rejected() {
    for (text, number) in [
        ("0", 0),
        ("65536", 65536),
        ("5B", 5),
        ("2KiB", 2048),
        ("1MiB", 1 << 20),
        ("3kB", 3000),
        ("1GB", 1_000_000_000),
    ] {
        accepts(size(0), text);
        assert_eq!(bytes(text), Some(number));
    }
    for text in ["", "MiB", "1 MiB", "1mib", "1.5MiB", "-1", "+1", "lots", "99999999999999999999GiB"] {
        rejects(size(0), text, "a size such as 1MiB or 65536");
    }
    rejects(size(10), "9", "a size of at least 10B");
    rejects(size(1 << 20), "1023KiB", "a size of at least 1MiB");
}

#[test]
fn duration_valid_or_invalid_text_is_parsed_or_rejected() {
    for (text, ms) in [
        ("1ms", 1),
        ("10s", 10_000),
        ("2m", 120_000),
        ("24h", 86_400_000),
        ("1h30m", 5_400_000),
        ("7d", 604_800_000),
    ] {
        accepts(duration(), text);
        assert_eq!(milliseconds(text), Some(ms));
    }
    for text in ["", "10", "s", "10 s", "1.5s", "-1s", "10sec", "1h30", "99999999999999999999h"] {
        rejects(duration(), text, "a duration such as 10s, 500ms or 24h");
    }
    rejects(duration(), "0s", "a duration longer than 0");
    rejects(duration(), "9999d", "a duration of at most 3650d");
    accepts(duration_or_off(), "off");
    accepts(duration_or_off(), "5s");
    rejects(duration_or_off(), "never", "off or a duration such as 10s, 500ms or 24h");
    for text in ["0", "0s", "250ms"] {
        accepts(duration_or_zero(), text);
    }
    rejects(duration_or_zero(), "10", "0 or a duration such as 10s, 500ms or 24h");
}

#[test]
fn size_and_duration_are_printed_in_a_unit_that_keeps_them() {
    for (number, text) in [(1, "1B"), (1500, "1500B"), (2048, "2KiB"), (16 << 20, "16MiB")] {
        assert_eq!(print(&size(0), &json!(number)), text);
        assert_eq!(bytes(text), Some(number));
    }
    for (ms, text) in [
        (1, "1ms"),
        (1500, "1500ms"),
        (10_000, "10s"),
        (60_000, "60s"),
        (86_400_000, "24h"),
        (30 * 86_400_000, "30d"),
    ] {
        assert_eq!(print(&duration(), &json!(Duration::from_millis(ms))), text);
        assert_eq!(milliseconds(text), Some(ms));
    }
}

#[test]
fn numbers_out_of_range_name_what_is_valid() {
    accepts(number(1, 7), "7");
    for text in ["", "0", "8", "1e0", "0x1", "+1", "-1", "1_0", "99999999999999999999"] {
        rejects(number(1, 7), text, "a whole number from 1 to 7");
    }
    accepts(number_or_off(1, 7), "7");
    accepts(number_or_off(1, 7), "Off");
    rejects(number_or_off(1, 7), "0", "off or a whole number from 1 to 7");
    for text in ["1", "0.5", "1e-2"] {
        accepts(fraction(), text);
    }
    for text in ["", "0", "1.1", "-0.5", "nan", "inf", "1/2", "50%"] {
        rejects(fraction(), text, "a fraction from 0.000001 to 1, such as 0.01");
    }
}

#[test]
fn address_network_and_text_invalid_name_what_is_valid() {
    accepts(text("address"), "[::1]:0");
    accepts(text("address"), ":80");
    rejects(text("address"), "80", ListenAddress::EXPECTED);
    accepts(text("network"), "10.0.0.0/8");
    accepts(text("network"), "::1");
    rejects(text("network"), "10/8", "a network such as 10.0.0.0/8 or an address");
    rejects(text("text"), "", "a text that is not empty");
    rejects(text("path"), "", "the path of a file");
    rejects(text("user name"), "a:b", "a name without colons");
    rejects(text("site name"), "other", "a name that is not reserved");
    rejects(text("site name"), &"x".repeat(65), "a name of 1 to 64 of A-Z a-z 0-9 . _ -");
}

#[test]
fn host_retired_and_query_attribute_invalid_name_what_is_valid() {
    for wrong in ["https://a", "a:80", "*", "*.", "a..b", "a/b", "", "1.2.3", "[::g]", "-a b", "*.*.a", "a."]
    {
        let what = "a host without scheme and port, such as www.shop.example or *.shop.example";
        rejects(text("host"), wrong, what);
    }
    rejects(text("host"), "bücher.example", "a host in the form browsers send (xn--…)");
    for wrong in ["", "a/b", "/a?b", "/a b"] {
        rejects(text("site or path"), wrong, "a site's name or a path that starts with /");
    }
    let what = "a query parameter's name (1 to 64 visible ASCII characters, none of & = # % +)";
    rejects(text("query parameter"), "a=b", what);
}

#[test]
fn entries_of_sites_and_rules_valid_are_read() {
    let yaml = "sites:\n- {name: shop, hosts: [WWW.Shop.example, '*.shop.example'], events_per_second: 500}\n\
                - {name: v6, hosts: ['[::1]', 127.0.0.1, localhost], min_sampling_fraction: 0.05}\n- {name: A.b_c-9}\n\
                rules: [{sample: x*, noise: BOT}]";
    let Config { sites, rules, .. } = from_yaml(yaml).unwrap();
    assert_eq!(sites[0].hosts, ["www.shop.example", "*.shop.example"]);
    assert_eq!((sites[0].events_per_second, sites[1].events_per_second), (Some(500), None));
    assert_eq!((sites[0].min_sampling_fraction, sites[1].min_sampling_fraction), (0.001, 0.05));
    assert_eq!(sites[1].hosts, ["[::1]", "127.0.0.1", "localhost"]);
    assert_eq!((sites[2].name.as_str(), sites[2].hosts.len()), ("A.b_c-9", 0));
    let rule = Rule { sample: vec!["x*".into()], noise: Some(Noise::Bot), ..Rule::default() };
    assert_eq!(rules, [rule]);
}
