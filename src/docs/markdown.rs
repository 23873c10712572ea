//! Tables in Markdown, and sections of a page between two comments.

/// Returns a table. Cells with a `|` or a line break are escaped.
pub fn table(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = vec!["---".to_owned(); head.len()];
    let escaped = |cell: &String| cell.replace('|', "\\|").replace('\n', " ");
    rows.fold(line(&head) + &line(&rule), |text, row| {
        text + &line(&row.iter().map(escaped).collect::<Vec<_>>())
    })
}

pub(super) fn code(text: &str) -> String {
    format!("`{text}`")
}

pub(super) fn plain(text: &str) -> String {
    text.replace('<', "&lt;").replace('*', "\\*")
}

pub(super) fn codes<'t>(texts: impl IntoIterator<Item = &'t str>) -> String {
    let texts: Vec<String> = texts.into_iter().map(code).collect();
    if texts.is_empty() { "–".to_owned() } else { texts.join(", ") }
}

/// Returns the text between `<!-- name -->` and `<!-- /name -->`.
pub fn section<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<!-- {name} -->\n"))?;
    Some(rest.split_once(&format!("<!-- /{name} -->"))?.0)
}

/// Returns the text with another content of that section.
pub fn with_section(text: &str, name: &str, content: &str) -> Option<String> {
    let old = section(text, name)?;
    let start = old.as_ptr() as usize - text.as_ptr() as usize;
    Some([&text[..start], "\n", content, "\n", &text[start + old.len()..]].concat())
}
