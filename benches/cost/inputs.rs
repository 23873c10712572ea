//! Bodies made to cost the most for each of their bytes, and a normal batch to compare them with.

/// The name of the normal batch.
pub(crate) const NORMAL: &str = "normal batch";

/// Reports of a batch: as many as the default settings take of one upload.
const REPORTS: usize = 256;
/// Bytes of a body that is not limited by the number of its reports.
const LENGTH: usize = 16 * 1024;

/// An input: its name, and a body by the number of the upload. Most are the same each time.
pub(crate) type Input = (&'static str, Box<dyn Fn(usize) -> String>);

/// Returns all inputs, the normal batch first. `capture` is a captured CSP violation.
pub(crate) fn all(capture: &str) -> Vec<Input> {
    let report = capture.trim().trim_start_matches('[').trim_end_matches(']').to_owned();
    let mut inputs: Vec<Input> = vec![(NORMAL, Box::new(move |_| batch(|_| report.clone())))];
    let mut add = |name, body: fn(usize) -> String| inputs.push((name, Box::new(body)));

    // Many small reports.
    add("empty legacy reports", |_| batch(|_| r#"{"csp-report":{}}"#.into()));
    add("empty reports", |_| batch(|_| r#"{"type":"x","body":{}}"#.into()));
    add("types alone", |_| batch(|_| r#"{"type":"x"}"#.into()));
    add("types of known kinds", |_| {
        batch(|at| format!(r#"{{"type":"{}"}}"#, ["crash", "coop", "nel", "csp"][at % 4]))
    });
    add("types, all different", |upload| {
        batch(|at| format!(r#"{{"type":"{}"}}"#, word(upload * REPORTS + at)))
    });
    add("network errors, empty", |_| batch(|_| r#"{"type":"network-error","body":{}}"#.into()));
    add("network errors, different", |upload| {
        batch(|at| {
            let (host, kind) = (word(upload * REPORTS + at), ["tcp.reset", "dns.failed", "ok"][at % 3]);
            format!(r#"{{"type":"network-error","url":"http://{host}","body":{{"type":"{kind}"}}}}"#)
        })
    });
    add("blocked hosts, different", |upload| {
        batch(|at| format!(r#"{{"csp-report":{{"blocked-uri":"http://{}"}}}}"#, word(upload * REPORTS + at)))
    });
    add("sites, different", |upload| {
        batch(|at| format!(r#"{{"csp-report":{{"document-uri":"http://{}"}}}}"#, word(upload * REPORTS + at)))
    });
    add("sites, referrers and agents, different", |upload| {
        batch(|at| {
            let word = word(upload * REPORTS + at);
            format!(
                r#"{{"type":"csp","url":"http://{word}","user_agent":"{word}","body":{{"blockedURL":"http://{word}"}}}}"#
            )
        })
    });
    add("agents of browsers, different", |upload| {
        batch(|at| {
            let version = upload * REPORTS + at;
            format!(r#"{{"type":"x","user_agent":"Mozilla/5.0 (X11) Chrome/{version} Edg/{version}"}}"#)
        })
    });
    add("samples, different", |upload| {
        batch(|at| format!(r#"{{"csp-report":{{"script-sample":"{}"}}}}"#, word(upload * REPORTS + at)))
    });
    add("expect-ct", |_| batch(|_| r#"{"expect-ct-report":{"hostname":"a","port":1}}"#.into()));
    add("hpkp", |_| batch(|_| r#"{"hostname":"a.b","known-pins":[]}"#.into()));
    add("mail reports", |_| batch(|_| r#"{"organization-name":"x","policies":[]}"#.into()));
    add("mail reports, policies", |_| {
        format!(
            r#"{{"organization-name":"x","policies":[{}]}}"#,
            again(r#"{"summary":{"total-failure-session-count":1}}"#, ",")
        )
    });
    add("rejected items", |_| again("1", ",").list());
    add("rejected reports", |_| batch(|_| "{}".into()));
    add("reports without type", |_| batch(|_| r#"{"a":1}"#.into()));

    // Many values and members.
    add("empty objects", |_| value(&again("{}", ",").list()));
    add("too many objects", |_| value(&vec!["{}"; 100_000].join(",").list()));
    add("empty lists", |_| value(&again("[]", ",").list()));
    add("nested lists", |_| value(&again("[[[[1]]]]", ",").list()));
    add("numbers", |_| value(&again("1", ",").list()));
    add("few numbers", |_| value(&vec!["1"; 4000].join(",").list()));
    add("long numbers", |_| value(&again("1.2345678901234567890123456789e-300", ",").list()));
    add("integers", |_| value(&again("12345678901234567890", ",").list()));
    add("empty texts", |_| value(&again("\"\"", ",").list()));
    add("empty batches", |_| again("[]", ",").list());
    add("batch of empty objects", |_| again("{}", ",").list());
    add("depth", |_| format!("{}{}", "[".repeat(LENGTH / 2), "]".repeat(LENGTH / 2)));
    add("depth in reports", |_| {
        batch(|_| format!(r#"{{"type":"x","body":{}1{}}}"#, r#"{"":"#.repeat(100), "}".repeat(100)))
    });
    add("unreadable in the end", |_| format!(r#"[{},1e999]"#, vec![r#"{"type":"x"}"#; 255].join(",")));
    add("deep in the end", |_| {
        let deep = "[".repeat(200) + &"]".repeat(200);
        format!("[{},{deep}]", vec![r#"{"type":"x"}"#; 255].join(","))
    });
    add("names", |_| members("x", |at| format!(r#""{}":1"#, word(at))));
    add("names of one kind", |_| members("csp-violation", |at| format!(r#""{}":1"#, word(at))));
    add("names, repeated", |_| members("csp-violation", |_| "\"sample\":\"\"".into()));
    add("names of few members", |_| {
        batch(|_| {
            format!(
                r#"{{"type":"x","body":{{{}}}}}"#,
                (0..40).map(|at| format!(r#""{}":1"#, word(at))).collect::<Vec<_>>().join(",")
            )
        })
    });
    add("names in reports, different", |upload| {
        batch(|at| {
            let first = (upload * REPORTS + at) * 8;
            let names: Vec<_> = (first..first + 8).map(|at| format!(r#""{}":1"#, word(at))).collect();
            format!(r#"{{"type":"x","body":{{{}}}}}"#, names.join(","))
        })
    });
    add("names with escapes", |_| members("x", |_| r#""\n":1"#.into()));
    add("texts with escapes", |_| value(&again(r#""\n""#, ",").list()));
    add("texts in few reports", |_| {
        batch(|_| format!(r#"{{"type":"x","body":{{"a":[{}]}}}}"#, vec!["\"b\""; 100].join(",")))
    });

    // Texts and URLs.
    for (name, part) in TEXTS {
        let texts = move |_| sample(&part.repeat(LENGTH / part.len()));
        inputs.push((name, Box::new(texts)));
    }
    for (name, part) in TEXTS {
        // Of the length that is kept, in each field that has texts.
        let text = json(&part.repeat((256 / part.len()).max(1)));
        let body = format!(
            r#"{{"csp-report":{{"script-sample":{text},"blocked-uri":{text},"source-file":{text},"document-uri":{text},"effective-directive":{text},"x":{text}}}}}"#
        );
        inputs.push((name_in_fields(name), Box::new(move |_| batch(|_| body.clone()))));
    }
    inputs
}

/// Parts that are repeated in a text.
const TEXTS: [(&str, &str); 37] = [
    ("letters", "a"),
    ("blanks", " "),
    ("markers of URLs", "a:// "),
    ("hosts", "http://a.b "),
    ("hosts in capitals", "HTTP://A.B "),
    ("paths", "/a "),
    ("paths of hosts", "a.b/c "),
    ("users in URLs", "//a@b "),
    ("escapes of URLs", "%2/"),
    ("percent escapes", "%41"),
    ("percent escapes of escapes", "%2525"),
    ("escaped slashes", "\\/"),
    ("escapes of scripts", "\\x25"),
    ("escapes of scripts, code points", "\\u{41}"),
    ("escapes of scripts, units", "\\u0041"),
    ("escapes of markup", "&#47;"),
    ("names of markup", "&amp;"),
    ("controls", "\u{1}"),
    ("hidden characters", "\u{202e}"),
    ("hidden characters, escaped", "\\u{202E}"),
    ("capitals beyond ASCII", "\u{130}"),
    ("punctuation of triggers", ":/?#"),
    ("queries", "?a=b "),
    ("queries of paths", "/?a&b "),
    ("fragments", "#a=b "),
    ("nonces", "nonce-a "),
    ("nonces of markup", "nonce=\"a\" "),
    ("tokens", "eyJhbGciOiJIUzI1 "),
    ("data URLs", "data:a/b;c,d "),
    ("file URLs", "file:/a "),
    ("segments after reset", "/reset/ab-cdefgh"),
    (
        "identifiers of a segment after others",
        "/mOnClickAttributeNames/4XDTI2MTMjE1MTUyMFoX!DTQwMDczMTE1MTUyMFoX!DTQwMDczMTE1MTUyMFoX",
    ),
    ("random segment", "aB1-"),
    ("random words", "aB1cD2eF3gH4iJ5kL6mN "),
    ("IPv6", "http://[::1]:1 "),
    ("Punycode", "http://xn--a.b "),
    ("positions", "http://a:1:1 "),
];

fn name_in_fields(name: &str) -> &'static str {
    // A few names once per process.
    Box::leak(format!("{name}, in fields").into_boxed_str())
}

/// Returns a word that differs from that of any other number.
fn word(mut number: usize) -> String {
    let mut word = String::from("w");
    while number > 0 || word.len() < 2 {
        word.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    word
}

fn batch(report: impl Fn(usize) -> String) -> String {
    (0..REPORTS).map(report).collect::<Vec<_>>().join(",").list()
}

fn again(part: &str, separator: &str) -> String {
    vec![part; LENGTH / (part.len() + separator.len())].join(separator)
}

trait List {
    fn list(&self) -> String;
}

impl List for String {
    fn list(&self) -> String {
        format!("[{self}]")
    }
}

fn json(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

fn value(value: &str) -> String {
    format!(r#"[{{"type":"x","body":{{"a":{value}}}}}]"#)
}

fn sample(text: &str) -> String {
    format!(r#"[{{"type":"csp-violation","body":{{"sample":{}}}}}]"#, json(text))
}

fn members(kind: &str, member: impl Fn(usize) -> String) -> String {
    let (mut all, mut length) = (Vec::new(), 0);
    while length < LENGTH {
        all.push(member(all.len()));
        length += all[all.len() - 1].len() + 1;
    }
    format!(r#"[{{"type":"{kind}","body":{{{}}}}}]"#, all.join(","))
}
