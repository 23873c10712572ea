use serde::de::DeserializeSeed;

use super::*;
use crate::model::{ValueBudget, ValueSeed};
use crate::normalize::limits::MAX_NESTED;

fn sanitized(json: &str) -> (String, u32) {
    let budget = ValueBudget::new(1 << 20);
    let value = ValueSeed::new(&budget).deserialize(&mut serde_json::Deserializer::from_str(json)).unwrap();
    let mut nested = NestedSanitizer::new(MAX_NESTED, crate::config::defaults().privacy);
    let sanitized = nested.sanitize(value);
    (serde_json::to_string(&sanitized.unwrap()).unwrap(), nested.dropped)
}

#[test]
fn value_within_the_budget_is_unchanged() {
    let texts = vec!["\"wörd \\\\ \\\" \""; 950].join(",");
    let numbers = vec!["7"; 8000].join(",");
    let objects = vec![r#"{"":[null,-1.5,true,{}]}"#; 600].join(",");
    for json in [format!("[{texts}]"), format!("[{numbers}]"), format!("[{objects}]")] {
        assert!(json.len() < MAX_NESTED && json.len() > MAX_NESTED - 4096, "{}", json.len());
        assert_eq!(sanitized(&json).0, json);
    }
}

#[test]
fn value_over_the_budget_is_truncated_visibly() {
    let long = "x".repeat(1000);
    let members: Vec<_> = (0..4000).map(|at| format!("\"a{at}\":[7]")).collect();
    for (json, end) in [
        (format!("[{}]", vec![format!("\"{long}\""); 20].join(",")), "…\"]"),
        (format!("[{}]", vec!["\"word\""; 4000].join(",")), "…\"]"),
        (format!("{{{}}}", members.join(",")), "\"…\":\"…\"}"),
    ] {
        let (text, _) = sanitized(&json);
        assert!(text.ends_with(end), "{}", &text[text.len() - 40..]);
        assert!((MAX_NESTED - 128..=MAX_NESTED).contains(&text.len()), "{}", text.len());
    }
}

#[test]
fn value_that_is_too_deep_is_truncated_visibly() {
    let nested =
        |depth: usize, inner: &str| format!("{}{inner}{}", r#"{"a":["#.repeat(depth), "]}".repeat(depth));
    assert_eq!(sanitized(&nested(MAX_DEPTH / 2, "1")).0, nested(MAX_DEPTH / 2, "1"));
    assert_eq!(sanitized(&nested(50, "1")).0, nested(MAX_DEPTH / 2, "\"…\""));
}

#[test]
fn repeated_member_of_a_nested_object_has_its_last_value() {
    let (text, _) = sanitized(r#"[{"a":1,"b":2,"a":3,"a?k=1":4}]"#);
    assert_eq!(text, r#"[{"a":4,"b":2}]"#);
}

/// Returns the unknown members of an object, and the number of dropped ones.
fn unknown(json: &str) -> (String, u32) {
    let budget = ValueBudget::new(1 << 20);
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let Value::Object(object) = ValueSeed::new(&budget).deserialize(&mut deserializer).unwrap() else {
        panic!("{json}")
    };
    unknown_members(object, crate::config::defaults().privacy)
}

#[test]
fn unknown_members_are_bounded_in_number_and_size() {
    assert_eq!(unknown("{}"), (String::new(), 0));
    assert_eq!(unknown(r#"{"a":null}"#), (String::new(), 0));
    assert_eq!(unknown(r#"{"a":[null,"x"],"a":{"b":1.5}}"#), (r#"{"a":{"b":1.5}}"#.to_owned(), 0));
    let many = |count: usize, value: &str| {
        let members: Vec<_> = (0..count).map(|at| format!("\"m{at}\":{value}")).collect();
        unknown(&format!("{{{}}}", members.join(",")))
    };
    let (whole, dropped) = many(MAX_UNKNOWN_FIELDS, "7");
    assert!(whole.ends_with("\"m31\":7}") && dropped == 0, "{whole}");
    let (cut, dropped) = many(1431, "7");
    assert!(cut.ends_with("\"m30\":7,\"…\":\"…\"}") && dropped == 1400, "{cut}");
    let long = format!("\"{}\"", "x".repeat(900));
    let deep = format!("{}1{}", "[".repeat(MAX_DEPTH), "]".repeat(MAX_DEPTH));
    let objects = format!("{}1{}", "{\"k\":".repeat(MAX_DEPTH), "}".repeat(MAX_DEPTH));
    for value in [&*long, &deep, &objects, "[{},{},[],1e300,\"é\"]", "{\"a\":-1.2345678901234567e-300}"] {
        for count in [5, 20, 32, 200] {
            let (text, dropped) = many(count, value);
            assert!(text.len() <= MAX_UNKNOWN, "{} of {count} × {value}", text.len());
            let read: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).unwrap();
            assert!(read.len() <= MAX_UNKNOWN_FIELDS, "{text}");
            let is_cut = text.contains('…');
            assert_eq!(is_cut, dropped > 0 || text.len() + 160 > MAX_UNKNOWN, "{dropped}: {text}");
        }
    }
}
