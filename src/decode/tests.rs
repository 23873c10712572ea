//! Decoding of every known shape, and of invalid bodies.

use crate::decode::decode;
use crate::model::{Age, Envelope, RejectReason, UploadOutcome};

/// Each item as its type or the reason of its rejection.
fn outcomes(body: &[u8]) -> Result<Vec<Result<String, RejectReason>>, UploadOutcome> {
    let mut found = Vec::new();
    decode(body, 256, |item| found.push(item.map(|envelope| envelope.report_type.into_owned())))?;
    Ok(found)
}

fn accepted(report_type: &str) -> Result<String, RejectReason> {
    Ok(report_type.to_owned())
}

fn check_single(body: &str, check: impl Fn(Envelope<'_>)) {
    let mut seen = 0;
    decode(body.as_bytes(), 256, |item| {
        seen += 1;
        check(item.unwrap());
    })
    .unwrap();
    assert_eq!(seen, 1);
}

#[test]
fn decode_with_every_shape_returns_its_type() {
    for (body, report_type) in [
        (r#"[{"type":"crash","age":1,"url":"https://a.example/","body":{}}]"#, "crash"),
        (r#"{"type":"csp-violation","url":"https://a.example/","body":{}}"#, "csp-violation"),
        (r#"{"csp-report":{"document-uri":"https://a.example/"}}"#, "csp-violation"),
        (r#"{"type":"x","url":"https://a.example/","csp-report":{}}"#, "csp-violation"),
        (r#"{"csp-report":{"documentURI":"https://a.example/","blockedURI":"inline"}}"#, "csp-violation"),
        (r#"{"violated-directive":"script-src","blocked-uri":"inline"}"#, "csp-violation"),
        (r#"{"csp_report":{"document_uri":"https://a.example/"}}"#, "csp-violation"),
        (r#"{"violatedDirective":"script-src","documentURI":"https://a.example/"}"#, "csp-violation"),
        (r#"{"effective_directive":"script-src","blocked_uri":"inline"}"#, "csp-violation"),
        (
            r#"{"type":"securitypolicyviolation","effectiveDirective":"img-src","blockedURI":"data"}"#,
            "csp-violation",
        ),
        (r#"{"type":"coep","violatedDirective":"img-src","blockedURL":"https://a.example/"}"#, "coep"),
        (r#"{"expect-ct-report":{"hostname":"a.example","port":443}}"#, "expect-ct"),
        (r#"{"expect-staple-report":{"hostname":"a.example"}}"#, "expect-staple"),
        (r#"{"hostname":"a.example","response-status":"MISSING"}"#, "expect-staple"),
        (r#"{"hostname":"a.example","known-pins":[]}"#, "hpkp"),
        (r#"{"organization-name":"x","policies":[]}"#, "smtp-tlsrpt"),
    ] {
        assert_eq!(outcomes(body.as_bytes()), Ok(vec![accepted(report_type)]), "{body}");
    }
}

#[test]
fn transport_report_with_host_and_date_has_url_and_time() {
    check_single(
        r#"{"expect-ct-report":{"hostname":"a.example","port":8443,"date-time":"2021-04-06T13:00:50Z"}}"#,
        |envelope| {
            assert_eq!(envelope.url.as_deref(), Some("https://a.example:8443/"));
            assert_eq!(envelope.age, Age::At(Some("2021-04-06T13:00:50Z".into())));
        },
    );
}

#[test]
fn csp_report_with_url_in_body_or_envelope_has_document_url() {
    for body in [
        r#"{"type":"csp-violation","url":"https://a.example/","csp-report":{}}"#,
        r#"{"url":"https://b.example/","csp-report":{"document-uri":"https://a.example/"}}"#,
    ] {
        check_single(body, |envelope| {
            assert_eq!(envelope.url.as_deref(), Some("https://a.example/"), "{body}")
        });
    }
}

#[test]
fn expect_ct_report_without_host_or_port_is_rejected() {
    for rest in ["", r#""hostname":"a.example""#, r#""port":443"#, r#""hostname":"a.example","port":0"#] {
        let body = format!(r#"{{"expect-ct-report":{{{rest}}}}}"#);
        assert_eq!(outcomes(body.as_bytes()), Ok(vec![Err(RejectReason::MissingHost)]), "{body}");
    }
}

#[test]
fn smtp_tls_report_has_first_domain_and_end_of_range() {
    check_single(
        r#"{"organization-name":"x","date-range":{"end-datetime":"2016-04-01T23:59:59Z"},
            "policies":[{},{"policy":{"policy-domain":"Shop.Example"}}]}"#,
        |envelope| {
            assert_eq!(envelope.url.as_deref(), Some("https://shop.example/"));
            assert_eq!(envelope.age, Age::At(Some("2016-04-01T23:59:59Z".into())));
        },
    );
}

#[test]
fn decode_with_invalid_json_returns_error() {
    for body in [&b""[..], b" ", b"x", b"{", b"[{}", b"[1,]", b"{\"a\":}", b"[] []", b"\xff\xfe", b"nul"] {
        assert_eq!(outcomes(body), Err(UploadOutcome::InvalidJson), "{body:?}");
    }
}

#[test]
fn item_that_is_no_report_is_rejected_with_reason() {
    use RejectReason::{InvalidBody, MissingType, NotAnObject};
    for (body, reasons) in [
        ("[]", vec![]),
        ("null", vec![NotAnObject]),
        ("\"text\"", vec![NotAnObject]),
        ("7", vec![NotAnObject]),
        ("{}", vec![MissingType]),
        (r#"{"type":""}"#, vec![MissingType]),
        (r#"{"type":7,"body":{}}"#, vec![MissingType]),
        (r#"[{"type":"x","body":[]},null]"#, vec![InvalidBody, NotAnObject]),
        (r#"{"csp-report":"x"}"#, vec![InvalidBody]),
    ] {
        let expected: Vec<_> = reasons.into_iter().map(Err).collect();
        assert_eq!(outcomes(body.as_bytes()), Ok(expected), "{body}");
    }
}

#[test]
fn invalid_item_leaves_its_neighbors_accepted() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let good = r#"{"type":"good","body":{}}"#;
    for bad in
        [format!(r#"{{"type":"deep","body":{{"x":{deep}}}}}"#), r#"{"type":"huge","age":1e999}"#.to_owned()]
    {
        let body = format!("[{good},{bad},{good}]");
        let expected = vec![accepted("good"), Err(RejectReason::Unparsable), accepted("good")];
        assert_eq!(outcomes(body.as_bytes()), Ok(expected));
    }
}

#[test]
fn item_that_one_pass_cannot_read_is_read_alone() {
    let long = format!(r#"{{"type":"long","body":{{"x":"{}"}}}}"#, "x".repeat(100_000));
    for filler in [r#"{"type":"short"}"#, &long] {
        let half_pair = r#"{"type":"csp-violation","body":{"sample":"\ud83d"}}"#;
        let deep = format!(r#"{{"type":"deep","body":{{"x":{}{}}}}}"#, "[".repeat(64), "]".repeat(64));
        let body = format!("[\n\t{filler},\r\n{half_pair},{deep},{{\"type\":\"a\tb\"}}]");
        assert_eq!(outcomes(body.as_bytes()), Err(UploadOutcome::InvalidJson), "a tab in a text");
        let body = format!("[\n\t{filler},\r\n{half_pair} , {deep}]");
        let found: Vec<_> = outcomes(body.as_bytes()).unwrap().into_iter().map(Result::unwrap).collect();
        assert_eq!(found[1..], ["csp-violation", "deep"]);
        let mut samples = Vec::new();
        let sample = |item: Envelope<'_>| item.body.get_str("sample").map(str::to_owned);
        decode(body.as_bytes(), 256, |item| samples.extend(sample(item.unwrap()))).unwrap();
        assert_eq!(samples, ["\u{fffd}"]);
    }
}

#[test]
fn decode_with_known_defects_repairs_the_text() {
    let sample = |text: &str| format!(r#"[{{"type":"csp-violation","body":{{"sample":"{text}"}}}}]"#);
    let expect = |body: &[u8], expected: &str| {
        decode(body, 256, |item| assert_eq!(item.unwrap().body.get_str("sample"), Some(expected))).unwrap();
    };
    expect(sample(r"alert('\ud83d").as_bytes(), "alert('\u{fffd}");
    expect(&[b"\xef\xbb\xbf", sample("x").as_bytes()].concat(), "x");
    let mut invalid = sample("x?").into_bytes();
    let at = invalid.iter().position(|byte| *byte == b'?').unwrap();
    invalid[at] = 0xff;
    expect(&invalid, "x\u{fffd}");
}

#[test]
fn items_beyond_the_limit_are_rejected_as_over_limit() {
    let body = format!("[{}]", vec![r#"{"type":"t","body":{}}"#; 300].join(","));
    let items = outcomes(body.as_bytes()).unwrap();
    assert_eq!(items.iter().filter(|item| item.is_ok()).count(), 256);
    assert_eq!(items.iter().filter(|item| **item == Err(RejectReason::OverLimit)).count(), 44);
}

#[test]
fn field_written_twice_has_its_last_value() {
    check_single(r#"{"type":"a","type":"b","body":{"x":1},"body":{"x":2}}"#, |envelope| {
        assert_eq!(envelope.report_type, "b");
        assert_eq!(envelope.body.get_u64("x"), Some(2));
    });
}
