//! The part of Markdown that the README uses.

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Fence<'t> {
    /// Text after the opening fence.
    pub(crate) language: &'t str,
    /// Lines between the fences.
    pub(crate) text: String,
}

/// Returns every fenced block, in order.
pub(crate) fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut fences = Vec::new();
    let mut open: Option<Fence<'_>> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => open = Some(Fence { language, text: String::new() }),
            (Some(_), Some(_)) => fences.extend(open.take()),
            (None, Some(fence)) => fence.text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    fences
}

/// Returns the texts in backquotes, outside of fences.
pub(crate) fn code_spans(text: &str) -> Vec<&str> {
    let mut fenced = false;
    let outside = text.lines().filter(|line| {
        let is_fence = line.starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    });
    outside.flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Returns the words of letters, digits and underscores, with their offsets.
pub(crate) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .map(move |word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// Returns the text between `<!-- name -->` and `<!-- /name -->`.
pub(crate) fn section<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(&format!("<!-- {name} -->\n"))?;
    Some(rest.split_once(&format!("<!-- /{name} -->"))?.0)
}

/// Returns the text with another content of that section.
pub(crate) fn with_section(text: &str, name: &str, content: &str) -> Option<String> {
    let old = section(text, name)?;
    let start = old.as_ptr() as usize - text.as_ptr() as usize;
    Some([&text[..start], "\n", content, "\n", &text[start + old.len()..]].concat())
}

/// Returns the URL without its scheme, and the body, of a `curl` with a here-document.
pub(crate) fn curl(command: &str) -> (&str, &str) {
    let (command, body) = command.split_once("<<'EOF'\n").unwrap();
    let url = command.split_whitespace().find_map(|word| word.strip_prefix("http://")).unwrap();
    (url, body.split_once("\nEOF\n").unwrap().0)
}
