//! The part of Markdown that the documents use.

use std::collections::{BTreeMap, BTreeSet};

/// A fenced block.
#[derive(Debug)]
pub(crate) struct Fence<'t> {
    /// Text after the opening fence.
    pub(crate) language: &'t str,
    /// Line before the opening fence.
    pub(crate) before: &'t str,
    /// Number of the line of the opening fence.
    pub(crate) line: usize,
    /// Lines between the fences.
    pub(crate) text: String,
}

/// Returns every fenced block, in order.
pub(crate) fn fences(text: &str) -> Vec<Fence<'_>> {
    let mut fences = Vec::new();
    let mut open: Option<Fence<'_>> = None;
    let mut before = "";
    for (number, line) in (1..).zip(text.lines()) {
        match (line.strip_prefix("```"), &mut open) {
            (Some(language), None) => {
                open = Some(Fence { language, before, line: number, text: String::new() });
            }
            (Some(_), Some(_)) => fences.extend(open.take()),
            (None, Some(fence)) => fence.text += &format!("{line}\n"),
            (None, None) => {}
        }
        before = line;
    }
    assert!(open.is_none(), "a fence is not closed");
    fences
}

/// Returns the lines outside of fences.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence
    })
}

/// Returns the texts in backquotes, outside of fences.
pub(crate) fn code_spans(text: &str) -> Vec<&str> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Returns the targets of links and images, outside of fences and backquotes.
pub(crate) fn links(text: &str) -> Vec<String> {
    // A link's text may be in backquotes and may be broken over two lines; its target is neither.
    let plain: Vec<String> =
        prose(text).map(|line| line.split('`').step_by(2).collect::<Vec<_>>().join("`")).collect();
    let joined = plain.join("\n");
    let targets = joined.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.filter_map(|(target, _)| target.split_whitespace().next().map(str::to_owned)).collect()
}

/// Returns the anchors of the headings, as code forges derive them.
pub(crate) fn anchors(text: &str) -> BTreeSet<String> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let headings = prose(text).filter_map(|line| {
        let heading = line.trim_start_matches('#');
        heading.strip_prefix(' ').filter(|_| line.starts_with('#'))
    });
    let anchor = |heading: &str| {
        // Of a link only its text remains.
        let visible: String = heading
            .split("](")
            .enumerate()
            .map(|(index, part)| match index {
                0 => part,
                _ => part.split_once(')').map_or("", |(_, rest)| rest),
            })
            .collect();
        let kept = visible.trim().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let slug = kept.collect::<String>().to_lowercase().replace(' ', "-");
        let count = seen.entry(slug.clone()).or_default();
        *count += 1;
        if *count == 1 { slug } else { format!("{slug}-{}", *count - 1) }
    };
    headings.map(anchor).collect()
}

/// Returns the words of letters, digits and underscores, with their offsets.
pub(crate) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .map(move |word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

/// Returns the URL without its scheme, and the body, of a `curl` with a here-document.
pub(crate) fn curl(command: &str) -> (&str, &str) {
    let (command, body) = command.split_once("<<'EOF'\n").unwrap();
    let url = command.split_whitespace().find_map(|word| word.strip_prefix("http://")).unwrap();
    (url, body.split_once("\nEOF\n").unwrap().0)
}
