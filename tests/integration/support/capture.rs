//! The corpus: captures of real browsers (tests/corpus), and samples of what they no longer or not yet send
//! (tests/samples).

use std::path::{Path, PathBuf};

use serde_json::Value;

/// A recorded request.
pub(crate) struct Capture {
    /// `chromium/001-…`, without the extension.
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Unix seconds.
    pub(crate) received_at: f64,
    pub(crate) page_url: String,
}

impl Capture {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }

    pub(crate) fn received(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond((self.received_at * 1e3) as i64).unwrap()
    }

    pub(crate) fn is_post(&self) -> bool {
        self.method == "POST"
    }
}

/// Returns a path below `tests`.
pub(crate) fn tests_path(below: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(below)
}

/// Returns all captures and samples, by name.
pub(crate) fn all() -> Vec<Capture> {
    let mut captures: Vec<Capture> =
        files_below(&tests_path("corpus")).iter().map(|it| capture(it)).collect();
    captures.extend(files_below(&tests_path("samples")).iter().map(|it| sample(it)));
    captures.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(captures.len() > 300, "the corpus is missing");
    captures
}

/// Returns the uploads among them.
pub(crate) fn uploads() -> Vec<Capture> {
    all().into_iter().filter(Capture::is_post).collect()
}

/// Returns every JSON file below a directory, which may be absent.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(directory) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn name(path: &Path, root: &str) -> String {
    let below = path.strip_prefix(tests_path(root)).unwrap().with_extension("");
    below.to_str().unwrap().to_owned()
}

fn capture(path: &Path) -> Capture {
    let file: Value = serde_json::from_str(&read(path)).unwrap();
    let request = &file["request"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let headers = request["headers"].as_object().unwrap();
    Capture {
        name: name(path, "corpus"),
        method: text(&request["method"]),
        headers: headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
        body: text(&request["body"]),
        received_at: file["meta"]["received_at"].as_f64().unwrap(),
        page_url: text(&file["page_url"]),
    }
}

/// Reads a sample: a media type and a body.
fn sample(path: &Path) -> Capture {
    let file: Value = serde_json::from_str(&read(path)).unwrap();
    let text = |name: &str| file[name].as_str().unwrap().to_owned();
    Capture {
        name: format!("samples/{}", name(path, "samples")),
        method: "POST".to_owned(),
        headers: vec![("Content-Type".to_owned(), text("content_type"))],
        body: text("body"),
        received_at: 1_795_351_600.0,
        page_url: String::new(),
    }
}
