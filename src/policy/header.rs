//! The header of a Content Security Policy: the current one, to which sources are added without losing any.

/// Directives with a list of sources that reports can extend, in the order in which they are added.
#[rustfmt::skip]
const SOURCE_LISTS: [&str; 18] = [
    "script-src", "script-src-elem", "script-src-attr", "style-src", "style-src-elem", "style-src-attr", "img-src",
    "font-src", "connect-src", "media-src", "object-src", "child-src", "frame-src", "fenced-frame-src", "worker-src",
    "manifest-src", "base-uri", "form-action",
];

/// Returns the directives that apply where one is absent, in this order.
fn fallbacks(name: &str) -> &'static [&'static str] {
    match name {
        "base-uri" | "form-action" => &[],
        "script-src-elem" | "script-src-attr" => &["script-src", "default-src"],
        "style-src-elem" | "style-src-attr" => &["style-src", "default-src"],
        "frame-src" => &["child-src", "default-src"],
        "fenced-frame-src" => &["frame-src", "child-src", "default-src"],
        "worker-src" => &["child-src", "script-src", "default-src"],
        _ => &["default-src"],
    }
}

/// Why a baseline cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "the baseline must be the value of one Content-Security-Policy header, in ASCII and without commas: found {0:?}"
)]
pub struct BaselineError(char);

/// Directives in order, each a name in lower case and its tokens.
#[derive(Debug, Default, Clone)]
pub(super) struct Header(Vec<(String, Vec<String>)>);

impl Header {
    /// Parses a header. An empty one becomes `default-src 'none'`, and so does one without any list of sources.
    pub(super) fn parse(text: &str) -> Result<Header, BaselineError> {
        let is_valid = |c: char| c.is_ascii_graphic() && c != ',' || c.is_ascii_whitespace();
        if let Some(wrong) = text.chars().find(|c| !is_valid(*c)) {
            return Err(BaselineError(wrong));
        }
        let mut header = Header::default();
        for directive in text.split(';') {
            let mut tokens = directive.split_ascii_whitespace().map(str::to_owned);
            if let Some(name) = tokens.next() {
                header.0.push((name.to_ascii_lowercase(), tokens.collect()));
            }
        }
        let is_fetch =
            |name: &str| name == "default-src" || SOURCE_LISTS.contains(&name) && !fallbacks(name).is_empty();
        if !header.0.iter().any(|(name, _)| is_fetch(name)) {
            header.0.insert(0, ("default-src".to_owned(), vec!["'none'".to_owned()]));
        }
        Ok(header)
    }

    /// Returns the tokens of a directive. A browser ignores all but the first of a name.
    fn get(&self, name: &str) -> Option<&Vec<String>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, tokens)| tokens)
    }

    /// Returns the directive that is extended for an effective one; `None` if it has no list of sources to extend.
    pub(super) fn target(&self, effective: &str) -> Option<&'static str> {
        let folded = match effective {
            "script-src-elem" | "script-src-attr" => "script-src",
            "style-src-elem" | "style-src-attr" => "style-src",
            "child-src" => "frame-src",
            other => other,
        };
        let name = if self.get(effective).is_some() { effective } else { folded };
        SOURCE_LISTS.into_iter().find(|known| *known == name)
    }

    /// Returns what a directive allows: its own tokens, or those of the first present one that applies instead.
    pub(super) fn granted(&self, name: &str) -> &[String] {
        let mut names = [name].into_iter().chain(fallbacks(name).iter().copied());
        names.find_map(|name| self.get(name)).map_or(&[], Vec::as_slice)
    }

    pub(super) fn set(&mut self, name: &str, mut tokens: Vec<String>) {
        tokens.retain(|token| !token.eq_ignore_ascii_case("'none'"));
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, own)) => *own = tokens,
            None => self.0.push((name.to_owned(), tokens)),
        }
    }

    pub(super) fn rank(name: &str) -> usize {
        SOURCE_LISTS.iter().position(|known| *known == name).unwrap_or(SOURCE_LISTS.len())
    }

    pub(super) fn value(&self) -> String {
        let directives =
            self.0.iter().map(|(name, tokens)| [std::slice::from_ref(name), tokens].concat().join(" "));
        directives.collect::<Vec<_>>().join("; ")
    }
}
