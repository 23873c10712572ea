//! The documents of the repository.

use std::path::Path;

use crate::path;

/// A document.
pub(crate) struct Page {
    /// Its path in the repository.
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Returns the documents about lookoutd itself.
pub(crate) fn all() -> Vec<Page> {
    below(&["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs"])
}

/// Returns the documents at those of these paths that exist, and in folders below them, without links to folders:
/// the chart has some, to folders that are read anyway.
pub(crate) fn below(names: &[&str]) -> Vec<Page> {
    let mut pages = Vec::new();
    for path in names.iter().map(|name| path(name)).filter(|path| path.exists()) {
        visit(&path, &mut pages);
    }
    pages.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(pages.iter().any(|page| page.name == "README.md"));
    pages
}

fn visit(path: &Path, pages: &mut Vec<Page>) {
    if path.is_symlink() {
        return;
    }
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            visit(&entry.unwrap().path(), pages);
        }
    } else if path.extension().is_some_and(|extension| extension == "md") {
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        pages.push(Page { name: name.to_str().unwrap().to_owned(), text });
    }
}
