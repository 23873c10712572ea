//! The generated files of the documentation.

use std::path::{Path, PathBuf};
use std::{fs, io};

use thiserror::Error;

use crate::config;
use crate::docs::{event, markdown, tables};

/// Page, name and content of a generated section.
type Section = (&'static str, &'static str, fn() -> String);

static SECTIONS: &[Section] = &[
    ("kinds.md", "kinds", tables::kinds),
    ("events.md", "members", event::members),
    ("events.md", "events", event::attributes),
    ("metrics.md", "metrics", tables::metrics),
    ("metrics.md", "values", tables::values),
    ("configuration.md", "settings", tables::settings),
];

/// Why the pages cannot be generated.
#[derive(Debug, Error)]
#[allow(missing_docs)] // the messages describe the variants
pub enum DocsError {
    #[error("cannot read {path}: {1}; expected the directory of the pages: lookoutd docs DIRECTORY", path = .0.display())]
    Unreadable(PathBuf, io::Error),
    #[error("{path}: found no section {1}; add the lines <!-- {1} --> and <!-- /{1} -->", path = .0.display())]
    NoSection(PathBuf, &'static str),
    #[error("cannot write {path}: {1}", path = .0.display())]
    Unwritable(PathBuf, io::Error),
}

/// Returns path and content of each generated file: the pages with their sections replaced, and the schemas.
///
/// # Errors
/// Returns an error if a page, or a section in it, is missing.
pub fn generate_pages(directory: &Path) -> Result<Vec<(PathBuf, String)>, DocsError> {
    let mut files: Vec<(PathBuf, String)> = Vec::new();
    for (page, name, content) in SECTIONS {
        let path = directory.join(page);
        let text = match files.pop_if(|(last, _)| *last == path) {
            Some((_, text)) => text,
            None => fs::read_to_string(&path).map_err(|error| DocsError::Unreadable(path.clone(), error))?,
        };
        let text = markdown::with_section(&text, name, &content());
        let text = text.ok_or_else(|| DocsError::NoSection(path.clone(), name))?;
        files.push((path, text));
    }
    files.push((directory.join("event.schema.json"), event::schema()));
    files.push((directory.join("schema.json"), config::json_schema()));
    Ok(files)
}

/// Writes the generated files into a directory that has the pages.
///
/// # Errors
/// Returns an error if a page, or a section in it, is missing, or if a file cannot be written.
pub fn write_pages(directory: &Path) -> Result<(), DocsError> {
    for (path, text) in generate_pages(directory)? {
        fs::write(&path, text).map_err(|error| DocsError::Unwritable(path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_pages_names_the_missing_page_or_section() {
        let directory = tempfile::tempdir().unwrap();
        let message = |directory: &Path| write_pages(directory).unwrap_err().to_string();
        let path = directory.path().join("kinds.md");
        let start = format!("cannot read {}: No such file", path.display());
        assert!(message(directory.path()).starts_with(&start), "{}", message(directory.path()));
        fs::write(&path, "# Kinds\n").unwrap();
        let start = format!("{}: found no section kinds; add the lines <!-- kinds -->", path.display());
        assert!(message(directory.path()).starts_with(&start), "{}", message(directory.path()));
    }

    #[test]
    fn write_pages_replaces_sections_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        for (page, ..) in SECTIONS {
            let sections = SECTIONS.iter().filter(|(of, ..)| of == page);
            let sections = sections.map(|(_, name, _)| format!("<!-- {name} -->\nOLD\n<!-- /{name} -->\n"));
            let text = format!("first\n{}last\n", sections.collect::<String>());
            fs::write(directory.path().join(page), text).unwrap();
        }
        write_pages(directory.path()).unwrap();
        for (page, name, content) in SECTIONS {
            let text = fs::read_to_string(directory.path().join(page)).unwrap();
            assert!(
                text.starts_with("first\n<!--") && text.ends_with("-->\nlast\n") && !text.contains("\nOLD\n")
            );
            assert_eq!(markdown::section(&text, name), Some(&*format!("\n{}\n", content())));
        }
        assert!(directory.path().join("schema.json").exists());
    }
}
