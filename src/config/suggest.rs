//! "Did you mean": the known word that a misspelt one is nearest to.

/// The nearest of `known`, where one is near enough to be meant.
pub(super) fn suggest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    let most = ((length / 4).max(1) + 1).min(length.saturating_sub(1));
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean X?`, or nothing.
pub(super) fn suggestion<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    suggest(word, known).map(|known| format!("; did you mean {known}?")).unwrap_or_default()
}

/// Levenshtein's distance, in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (y, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            left = (diagonal + usize::from(x != *y)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("é", "e", 1),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(a, b), d, "{a} {b}");
        }
    }

    #[test]
    fn only_what_may_be_meant_is_suggested() {
        let known = || ["hosts", "name", "events_per_second"].into_iter();
        assert_eq!(suggest("host", known()), Some("hosts"));
        assert_eq!(suggest("nmae", known()), Some("name"));
        assert_eq!(suggest("event_per_seconds", known()), Some("events_per_second"));
        assert_eq!(suggest("colour", known()), None);
        assert_eq!(suggest("x", ["y", "z"].into_iter()), None);
        assert_eq!(suggest("", known()), None);
        assert_eq!(suggestion("host", known()), "; did you mean hosts?");
        assert_eq!(suggestion("colour", known()), "");
    }
}
