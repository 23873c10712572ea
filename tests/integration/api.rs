//! The live page's API on the real binary, and attacks on its guards.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use boon::{Compiler, Schemas};
use lookoutd::kinds;
use lookoutd::model::{LabelEnum, Noise};
use serde_json::{Value, json};

use crate::support::daemon::{Daemon, Setup};
use crate::support::eventually;
use crate::support::http::{Connection, Request};

/// A report whose every secret is in a place of its own.
const SECRETS: &str = r#"{"type":"csp-violation","age":7,"url":"https://shop.example/cart?SECRET1=1#SECRET2","body":{
    "documentURL":"https://shop.example/cart?SECRET1=1","blockedURL":"https://u:SECRET3@evil.example/reset/a81bc81bSECRET4",
    "effectiveDirective":"img-src","originalPolicy":"img-src 'nonce-SECRET5'","disposition":"enforce"}}"#;

const ENDPOINTS: [&str; 5] = ["status", "events", "rejected", "findings", "policy?site=shop.example"];

fn get(daemon: &Daemon, path: &str) -> Value {
    let answer = daemon.get_admin(&format!("/api/v1/{path}"));
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

fn report(n: usize) -> String {
    format!(
        r#"{{"type":"csp-violation","url":"https://shop.example/{n}","body":{{"effectiveDirective":"img-src","blockedURL":"https://b.example/","disposition":"enforce"}}}}"#
    )
}

/// Opens a stream, and returns it after its head.
fn open(admin: SocketAddr, query: &str, headers: &str) -> Connection {
    let mut stream = Connection::open(admin);
    let request = format!(
        "GET /api/v1/events{query} HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n{headers}\r\n"
    );
    stream.write(request.as_bytes()).unwrap();
    let head = stream.until("content-type");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.contains("text/event-stream"), "{head}");
    // The first comment: the stream is open.
    stream.until(": ");
    stream
}

#[test]
fn event_has_its_series_its_rule_and_what_was_removed_but_no_value() {
    let daemon = Daemon::start();
    assert_eq!(daemon.post("/report", SECRETS).status, 204);
    let events = get(&daemon, "events?detail=true");
    let event = &events["items"][0];
    assert_eq!((&event["id"], &event["event"]["lookout"]["site"]), (&json!(1), &json!("shop.example")));
    let labels = json!({"site": "shop.example", "kind": "csp-violation", "browser": "other"});
    assert_eq!(event["series"][0], json!({"name": "lookout_reports_total", "labels": labels}));
    assert_eq!(event["series"][1]["name"], "lookout_csp_violations_total");
    assert_eq!(event["series"][1]["labels"]["blocked"], "https://evil.example");
    let removed: BTreeSet<_> = event["redacted"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["pointer"].as_str().unwrap(), it["rule"].as_str().unwrap()))
        .collect();
    let expected = [
        ("/body/blockedURL", "credentials"),
        ("/body/blockedURL", "secret"),
        ("/body/documentURL", "query"),
        ("/body/originalPolicy", "nonce"),
        ("/url", "fragment"),
        ("/url", "query"),
    ];
    assert_eq!(removed, BTreeSet::from(expected));
    assert_eq!(event.get("rule"), None);
    let line = get(&daemon, "events");
    assert_eq!(line["items"][0], event["event"]);
    assert_eq!(
        line["items"][0].to_string(),
        serde_json::from_str::<Value>(&daemon.stdout.at_least(1)[0]).unwrap().to_string()
    );
    for path in ENDPOINTS.into_iter().chain(["events?detail=true", "findings?sort=first"]) {
        let answer = get(&daemon, path).to_string();
        assert!(!answer.contains("SECRET"), "{path}: {answer}");
    }
    assert_eq!(daemon.post("/report", r#"{"type":"csp-violation","url":"https://shop.example/","body":{"blockedURL":"new-extension://a/b.js"}}"#).status, 204);
    let rule = get(&daemon, "events?detail=true&noise=extension")["items"][0]["rule"].clone();
    assert_eq!(rule, json!({"name": "builtin:extension_scheme"}));
}

#[test]
fn user_rule_is_named_by_its_position() {
    let rules = "rules: [{ sample: x, noise: bot }, { document_url: shop.example, noise: injected }]";
    let daemon = Setup::yaml(rules).start();
    daemon.post("/report", report(1));
    let event = &get(&daemon, "events?detail=true")["items"][0];
    assert_eq!(
        (&event["rule"], &event["event"]["lookout"]["noise"]),
        (&json!({"name": "rules[1]"}), &json!("injected"))
    );
}

#[test]
fn lists_are_filtered_sorted_and_limited() {
    let daemon = Daemon::start();
    for n in 0..5 {
        daemon.post("/report", report(n));
    }
    daemon.post("/report", r#"[{"type":"crash","url":"https://blog.example/","body":{"reason":"oom"}}]"#);
    let count = |path: &str| get(&daemon, path)["items"].as_array().unwrap().len();
    assert_eq!(count("events"), 6);
    assert_eq!(count("events?limit=4"), 4);
    assert_eq!(count("events?site=blog.example"), 1);
    assert_eq!(count("events?kind=csp-violation&noise=none&site=shop.example"), 5);
    assert_eq!(count("events?noise=bot"), 0);
    let newest = get(&daemon, "events?kind=csp-violation&limit=1");
    assert_eq!(newest["items"][0]["url"], "https://shop.example/4");
    assert_eq!((count("findings"), count("findings?new=true"), count("findings?new=false")), (2, 2, 0));
    let findings = get(&daemon, "findings?sort=count");
    let finding = &findings["items"][0];
    assert_eq!(
        (&finding["count"], &finding["clients"], &finding["class"]),
        (&json!(5), &json!(1), &json!("other"))
    );
    assert_eq!(finding["pages"].as_array().unwrap().len(), 5);
    assert_eq!(finding["browsers"], json!({"other": 5}));
    assert_eq!(finding["sample"]["lookout"]["new"], true);
    let one = get(&daemon, &format!("findings/{}", finding["fingerprint"].as_str().unwrap()));
    assert_eq!(&one, finding);
    let seen = |sort: &str, time: &str| {
        let list = get(&daemon, &format!("findings?sort={sort}"));
        list["items"].as_array().unwrap().iter().map(|item| item[time].to_string()).collect::<Vec<_>>()
    };
    for (sort, time) in [("first", "first_seen"), ("last", "last_seen")] {
        assert!(seen(sort, time).is_sorted_by(|a, b| a >= b), "{sort}: the last one comes first");
    }
    assert_eq!(get(&daemon, "findings"), get(&daemon, "findings?sort=last"));
    let status = get(&daemon, "status");
    assert_eq!(status["intake"]["uploads"], json!({"accepted": 6}));
    assert_eq!((&status["intake"]["reports"], &status["findings"]["count"]), (&json!(6), &json!(2)));
    assert_eq!(status["sites"], json!(["blog.example", "shop.example"]));
    assert_eq!(status["scrape"], json!({}));
    daemon.scrape();
    assert!(get(&daemon, "status")["scrape"]["last"].is_string());
}

/// Closes every object of the schemas, so that a member that is not described is an error.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.values_mut().for_each(close);
            if members.get("type").is_some_and(|of| of.is_string()) && members.contains_key("properties") {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

/// The description is written by hand.
#[test]
fn answers_and_parameters_are_those_of_the_description() {
    let read = |name: &str| {
        let path = format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str::<Value>(&std::fs::read_to_string(path).unwrap()).unwrap()
    };
    let description = read("openapi.json");
    assert_eq!(description["info"]["version"], env!("CARGO_PKG_VERSION"));
    let (base, mut closed) = ("http://docs.example", description.clone());
    close(&mut closed["components"]["schemas"]);
    let mut compiler = Compiler::new();
    compiler.add_resource(&format!("{base}/openapi.json"), closed).unwrap();
    compiler.add_resource(&format!("{base}/event.schema.json"), read("event.schema.json")).unwrap();
    let setup = Setup::yaml(
        "{ admin: { unready_after: 1ms, grafana: 'https://g.example' }, delivery: { spool: { directory: spool } }, otlp: { metrics: { exporters: otlp, \
         endpoint: 'http://127.0.0.1:1/', interval: 3s } } }",
    );
    let daemon = setup.variable("OTEL_NO_SUCH", "1").start();
    daemon.post("/report", SECRETS);
    daemon.post("/report", r#"{"type":"csp-violation","url":"https://shop.example/","body":{"blockedURL":"new-extension://a/b.js"}}"#);
    daemon.post("/report?a", r#"[{"url":"https://a.example/"}]"#);
    daemon.scrape();
    eventually("a failed export of metrics", || {
        let status = get(&daemon, "status");
        if status["not_ready_reason"].is_string() { Ok(()) } else { Err(status.to_string()) }
    });
    let fingerprint = get(&daemon, "findings")["items"][0]["fingerprint"].as_str().unwrap().to_owned();
    let mut answers = String::new();
    for (path, operations) in description["paths"].as_object().unwrap() {
        let parameters = operations["get"]["parameters"].as_array().unwrap();
        let name = path.strip_prefix("/api/v1/").unwrap().replace("{fingerprint}", &fingerprint);
        let query = parameters.iter().filter(|it| it["in"] == "query").map(|it| it["name"].as_str().unwrap());
        let names = query.collect::<Vec<_>>().join(", ");
        let problem = daemon.get_admin(&format!("/api/v1/{name}?unknown=1")).json();
        let expected = if names.is_empty() { "none" } else { &names };
        assert_eq!(problem["detail"], format!("unknown parameter; expected {expected}"), "{path}");
        let escaped = path.replace('/', "~1").replace('{', "%7B").replace('}', "%7D");
        let schema = format!(
            "{base}/openapi.json#/paths/{escaped}/get/responses/200/content/application~1json/schema"
        );
        let mut schemas = Schemas::new();
        let index = compiler.compile(&schema, &mut schemas).unwrap();
        for query in if name == "policy" { ["?site=shop.example"; 2] } else { ["", "?detail=true"] } {
            if query == "?detail=true" && name != "events" {
                continue;
            }
            let answer = get(&daemon, &format!("{name}{query}"));
            schemas.validate(&answer, index).unwrap_or_else(|error| panic!("{path}: {error:#}"));
            answers += &answer.to_string();
        }
        for parameter in parameters {
            let schema = &parameter["schema"];
            let words = match parameter["name"].as_str().unwrap() {
                "kind" => kinds::ALL.iter().map(|kind| kind.name).collect(),
                "noise" => Noise::ALL.iter().map(|noise| noise.as_str()).collect(),
                "sort" => vec!["count", "clients", "first", "last"],
                "limit" => {
                    assert_eq!((&schema["default"], &schema["maximum"]), (&json!(100), &json!(1000)));
                    continue;
                }
                _ => continue,
            };
            assert_eq!(schema["enum"], json!(words), "{path}");
        }
    }
    // No export succeeds here, intake has no TLS, and no event waits for long.
    let absent = ["last_success", "certificates", "listener", "not_after", "pending"];
    for (name, schema) in description["components"]["schemas"].as_object().unwrap() {
        for member in schema["properties"].as_object().unwrap().keys() {
            let is_seen = answers.contains(&format!("\"{member}\":"));
            assert!(is_seen || absent.contains(&member.as_str()), "{name}.{member}");
        }
    }
}

#[test]
fn wrong_parameters_get_a_problem() {
    let daemon = Daemon::start();
    for path in [
        "status?site=a",
        "events?sit=a",
        "events?site=",
        "events?limit=0",
        "events?limit=1001",
        "events?limit=x",
        "events?limit=1&limit=1",
        "events?kind=csp",
        "events?noise=all",
        "events?detail=1",
        "rejected?site=a",
        "findings?sort=name",
        "findings?new=yes",
        "findings/0?x=1",
        "policy",
        "policy?site=a&min_clients=0",
    ] {
        let answer = daemon.get_admin(&format!("/api/v1/{path}"));
        assert_eq!(answer.status, 400, "{path}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{path}");
        assert_eq!(answer.json()["status"], 400, "{path}");
    }
    for path in ["/api/v1/findings/0123456789abcdef", "/api/v1/nothing", "/api/x"] {
        let answer = daemon.get_admin(path);
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (404, Some("application/problem+json")),
            "{path}"
        );
    }
}

#[test]
fn rejections_are_listed_without_secrets() {
    let setup = Setup::yaml(
        "intake: { max_body_bytes: 2KiB, retired: [/csp] }\nsites: [{ name: shop, hosts: [shop.example] }]",
    );
    let daemon = setup.start();
    let agent = ("user-agent", "Probe/1 https://a.example/?SECRET");
    let send = |target: &str, body: &str, items| {
        daemon.send(&Request::post(target, body).header(agent.0, agent.1), items).status
    };
    assert_eq!(send("/report?SECRET=1", "hello https://a.example/x?SECRET=1 'nonce-SECRET'", 0), 400);
    assert_eq!(send("/report", r#"[{"url":"https://a.example/?SECRET"},7]"#, 2), 400);
    assert_eq!(send("/report/nowhere", "{}", 0), 404);
    assert_eq!(send("/csp", "{}", 0), 410);
    assert_eq!(send("/reset/a81bc81bSECRET", "{}", 0), 404);
    assert_eq!(send("/report", &"x".repeat(3000), 0), 413);
    assert_eq!(Request::new("PUT", "/report").send(daemon.intake).status, 405);
    let rejected = get(&daemon, "rejected")["items"].clone();
    let of = |name: &str| rejected.as_array().unwrap().iter().map(|it| it[name].clone()).collect::<Vec<_>>();
    let outcomes = [
        "method_not_allowed",
        "too_large",
        "unknown_path",
        "retired",
        "unknown_site",
        "no_reports",
        "not_an_object",
        "missing_type",
        "invalid_json",
    ];
    assert_eq!(of("outcome"), outcomes.map(Value::from));
    assert_eq!(of("status")[..2], [json!(405), json!(413)]);
    let stages: Vec<_> = of("stage").into_iter().filter(|stage| stage == "report").collect();
    assert_eq!(stages.len(), 2);
    assert_eq!(rejected[8]["prefix"], "hello https://a.example/x 'nonce-*'");
    assert_eq!(
        (&rejected[8]["path"], &rejected[8]["user_agent"]),
        (&json!("/report"), &json!("Probe/1 https://a.example/"))
    );
    assert!(!rejected.to_string().contains("SECRET"), "{rejected}");
    assert_eq!(get(&daemon, "rejected?limit=2")["items"].as_array().unwrap().len(), 2);
}

#[test]
fn flood_of_rejections_stays_in_its_window() {
    let daemon = Daemon::start();
    for _ in 0..300 {
        daemon.post("/report", "x".repeat(1000));
    }
    let rejected = get(&daemon, "rejected?limit=1000")["items"].clone();
    assert_eq!(rejected.as_array().unwrap().len(), 100);
    assert!(rejected.to_string().len() < 100 * 512, "{}", rejected.to_string().len());
}

#[test]
fn window_of_events_is_bounded_in_number_and_bytes() {
    let daemon = Daemon::start();
    for batch in 0..20 {
        let items: Vec<_> = (0..250).map(|n| report(batch * 250 + n)).collect();
        assert_eq!(daemon.post("/report", format!("[{}]", items.join(","))).status, 204);
    }
    let events = get(&daemon, "events?limit=1000&detail=true")["items"].clone();
    let ids: Vec<u64> = events.as_array().unwrap().iter().map(|it| it["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), 500);
    assert!(ids.is_sorted_by(|a, b| a > b) && ids[0] <= 5000, "{ids:?}");
    assert_eq!(get(&daemon, "status")["intake"]["reports"], 5000);
    // A second later there is room for 100 events, which are as large as events can be.
    let long = "<\\u0001>".repeat(4000);
    let large = format!(
        r#"{{"type":"crash","url":"https://shop.example/large","body":{{"stack":"{long}","a":"{long}"}}}}"#
    );
    eventually("a window full of large events", || {
        daemon.post("/report", &large);
        let events = get(&daemon, "events?limit=1000")["items"].clone();
        let bytes = events.to_string().len();
        assert!(bytes <= 1 << 20, "{bytes}");
        let large =
            events.as_array().unwrap().iter().filter(|it| it["url"] == "https://shop.example/large").count();
        if large >= 40 && events.as_array().unwrap().len() < 500 {
            Ok(())
        } else {
            Err(format!("{large} large"))
        }
    });
}

#[test]
fn stream_begins_with_the_next_event_or_where_the_reader_was() {
    let daemon = Daemon::start();
    daemon.post("/report", report(1));
    let mut next = open(daemon.admin, "?site=shop.example", "");
    let mut past = open(daemon.admin, "?limit=1&detail=true", "");
    let mut resumed = open(daemon.admin, "", "last-event-id: 0\r\n");
    let mut restarted = open(daemon.admin, "", "last-event-id: 99\r\n");
    let mut filtered = open(daemon.admin, "?site=blog.example", "");
    daemon.post("/report", report(2));
    daemon.post("/report", report(3).replace("shop", "blog"));
    let received = next.until("data: ");
    assert!(received.contains("id: 2\nevent: report\ndata: {\"age\""), "{received}");
    for stream in [&mut past, &mut resumed, &mut restarted] {
        let received = stream.until("https://shop.example/2");
        assert!(received.contains("id: 1\n") && !received.contains("missed"), "{received}");
    }
    let received = filtered.until("data: ");
    assert!(received.contains("id: 3\nevent: report\n") && !received.contains("id: 2"), "{received}");
}

#[test]
fn stream_has_the_number_of_missed_events() {
    let daemon = Daemon::start();
    for batch in 0..8 {
        let items: Vec<_> = (0..200).map(|n| report(batch * 200 + n)).collect();
        daemon.post("/report", format!("[{}]", items.join(",")));
    }
    let mut stream = open(daemon.admin, "", "last-event-id: 7\r\n");
    let received = stream.until("data: ");
    let oldest =
        get(&daemon, "events?limit=1000&detail=true")["items"].as_array().unwrap().last().unwrap()["id"]
            .clone();
    let missed = oldest.as_u64().unwrap() - 8;
    assert!(received.ends_with(&format!("event: missed\ndata: {{\"count\":{missed}}}\n")), "{received}");
}

#[test]
fn ninth_reader_gets_503_and_takes_the_place_of_one_that_left() {
    let daemon = Daemon::start();
    let mut streams: Vec<_> = (0..8).map(|_| open(daemon.admin, "", "")).collect();
    let request = || Request::new("GET", "/api/v1/events").header("accept", "text/event-stream");
    let answer = request().send(daemon.admin);
    assert_eq!((answer.status, answer.header("content-type")), (503, Some("application/problem+json")));
    assert_eq!(get(&daemon, "events")["items"], json!([]), "lists have places of their own");
    streams.pop();
    eventually("a free place", || {
        let mut stream = Connection::open(daemon.admin);
        stream
            .write(b"GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n")
            .unwrap();
        let line = stream.until("HTTP/1.1");
        if line.contains(" 200 ") { Ok(()) } else { Err(line) }
    });
}

#[test]
fn streams_end_at_once_at_shutdown() {
    let daemon = Daemon::start();
    let mut streams: Vec<_> = (0..8).map(|_| open(daemon.admin, "", "")).collect();
    // A reader that reads nothing.
    let items: Vec<_> = (0..250).map(report).collect();
    daemon.post("/report", format!("[{}]", items.join(",")));
    let begun = Instant::now();
    daemon.signal("TERM");
    for stream in &mut streams {
        let received = stream.until("never");
        assert!(received.ends_with("0\r\n\r\n"), "the stream is complete: {received:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    daemon.leave();
}

#[test]
fn page_is_html_for_browsers_and_loads_nothing_from_elsewhere() {
    let daemon = Daemon::start();
    let page = Request::new("GET", "/").header("accept", "text/html,*/*;q=0.8").send(daemon.admin);
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "require-trusted-types-for 'script'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "{policy}");
    }
    let text = daemon.get_admin("/");
    assert!(text.header("content-type").unwrap().starts_with("text/plain"), "{text:?}");
    for (path, content_type) in [("/page.js", "text/javascript"), ("/page.css", "text/css")] {
        let file = daemon.get_admin(path);
        assert!(
            file.status == 200 && file.header("content-type").unwrap().starts_with(content_type),
            "{file:?}"
        );
    }
}

#[test]
fn page_that_is_off_is_not_there() {
    let daemon = Setup::yaml("admin: { page: off }").start();
    daemon.post("/report", report(1));
    for path in ["/page.js", "/page.css", "/api/v1/status", "/api/v1/events", "/api"] {
        assert_eq!(daemon.get_admin(path).status, 404, "{path}");
    }
    let index = Request::new("GET", "/").header("accept", "text/html").send(daemon.admin);
    assert!(
        index.status == 200 && index.header("content-type").unwrap().starts_with("text/plain"),
        "{index:?}"
    );
}

#[test]
fn every_answer_of_admin_has_the_headers_of_protection() {
    let daemon = Setup::yaml("admin: { auth: { bearer: t0ken } }").authorized("Bearer t0ken").start();
    let unauthorized = Request::new("GET", "/").send(daemon.admin);
    let foreign = Request::new("POST", "/-/healthy").header("origin", "null").send(daemon.admin);
    let unlisted = Request::new("GET", "/").header("host", "evil.example").send(daemon.admin);
    assert_eq!([unauthorized.status, foreign.status, unlisted.status], [401, 403, 403]);
    let paths = [
        "/",
        "/metrics",
        "/-/healthy",
        "/-/ready",
        "/nowhere",
        "/page.js",
        "/api/v1/status",
        "/api/v1/events?x=1",
    ];
    for answer in
        paths.map(|path| daemon.get_admin(path)).into_iter().chain([unauthorized, foreign, unlisted])
    {
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{answer:?}");
        assert!(
            answer.header("content-security-policy").unwrap().contains("frame-ancestors 'none'"),
            "{answer:?}"
        );
        assert_eq!(answer.header("access-control-allow-origin"), None, "{answer:?}");
    }
}

#[test]
fn token_is_the_password_of_any_user() {
    let yaml = "{ admin: { auth: { bearer: t0ken } }, otlp: { headers: { api-key: t0ken } } }";
    let daemon = Setup::yaml(yaml).authorized("Bearer t0ken").start();
    let status = get(&daemon, "status").to_string();
    assert!(status.contains("admin.auth.bearer") && !status.contains("t0ken"), "{status}");
    // `anna:t0ken`, `:t0ken`, `anna:t0kem`, `t0ken:`
    for (credentials, status) in
        [("YW5uYTp0MGtlbg==", 200), ("OnQwa2Vu", 200), ("YW5uYTp0MGtlbQ==", 401), ("dDBrZW46", 401)]
    {
        for path in ["/", "/api/v1/status", "/api/v1/events", "/metrics"] {
            let basic = format!("Basic {credentials}");
            let answer = Request::new("GET", path).header("authorization", &basic).send(daemon.admin);
            assert_eq!(answer.status, status, "{path} with {credentials}");
        }
    }
    let challenge = Request::new("GET", "/").send(daemon.admin);
    assert!(
        challenge
            .headers
            .iter()
            .any(|(name, value)| name == "www-authenticate" && value.starts_with("Basic "))
    );
}

/// A page elsewhere whose requests reach admin by its address.
#[test]
fn requests_of_a_page_elsewhere_change_nothing() {
    let daemon = Daemon::start();
    let own = format!("http://{}", daemon.admin);
    let host = daemon.admin.to_string();
    for (name, value, status) in [
        ("origin", "http://evil.example", 403),
        ("origin", "null", 403),
        ("origin", "http://127.0.0.1:1", 403),
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("origin", &own, 405),
        ("sec-fetch-site", "same-origin", 405),
        ("accept", "*/*", 405),
    ] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
            let request = Request::new(method, "/api/v1/status").header("host", &host).header(name, value);
            assert_eq!(request.send(daemon.admin).status, status, "{method} {name}: {value}");
        }
    }
}

/// A page whose name was made to resolve to this address.
#[test]
fn rebound_name_reads_neither_page_nor_api() {
    let daemon = Daemon::start();
    daemon.post("/report", report(1));
    for path in ["/", "/page.js", "/api/v1/events", "/api/v1/status"] {
        for host in ["evil.example", "evil.example:18480", "127.0.0.1.evil.example"] {
            let request =
                Request::new("GET", path).header("host", host).header("accept", "text/event-stream");
            let answer = request.send(daemon.admin);
            assert_eq!(answer.status, 403, "{path} by {host}");
            assert!(!answer.text().contains("shop.example"), "{answer:?}");
        }
    }
}
