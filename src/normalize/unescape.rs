//! Decodes the escapes under which texts hide a URL or a token: those of URLs (`%2F`), of scripts (`\x2f`,
//! `\u002f`, `\u{2f}`) and of markup (`&#47;`, `&#x2f;`, `&quot;`).

/// The largest number of escapes around one another that are decoded.
pub(super) const MAX_ESCAPES: usize = 3;

/// Returns the decoded text; `None` if it has no escape.
pub(super) fn unescape(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut done = 0;
    for at in memchr::memchr3_iter(b'%', b'\\', b'&', bytes) {
        if at < done {
            continue;
        }
        let Some((length, decoded)) = escape_at(&bytes[at..]) else { continue };
        out.extend_from_slice(&bytes[done..at]);
        match decoded {
            Decoded::Byte(byte) => out.push(byte),
            Decoded::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        done = at + length;
    }
    if done == 0 {
        return None;
    }
    out.extend_from_slice(&bytes[done..]);
    Some(String::from_utf8_lossy(&out).into_owned())
}

enum Decoded {
    /// A byte of UTF-8.
    Byte(u8),
    Char(char),
}

/// Returns the length of the escape at the start, and what it stands for.
fn escape_at(bytes: &[u8]) -> Option<(usize, Decoded)> {
    let coded = |start: usize, length: usize| {
        let c = char::from_u32(number(bytes.get(start..start + length)?, 16)?)?;
        Some((start + length, Decoded::Char(c)))
    };
    let closed_by = |end: u8, start: usize, radix: u32| {
        let length = bytes[start..].iter().take(8).position(|byte| *byte == end)?;
        let c = char::from_u32(number(&bytes[start..start + length], radix)?)?;
        Some((start + length + 1, Decoded::Char(c)))
    };
    match bytes {
        [b'%', ..] => {
            let byte = u8::try_from(number(bytes.get(1..3)?, 16)?).ok()?;
            Some((3, Decoded::Byte(byte)))
        }
        [b'\\', b'u', b'{', ..] => closed_by(b'}', 3, 16),
        [b'\\', b'u', ..] => coded(2, 4),
        [b'\\', b'x', ..] => coded(2, 2),
        [b'&', b'#', b'x' | b'X', ..] => closed_by(b';', 3, 16),
        [b'&', b'#', ..] => closed_by(b';', 2, 10),
        [b'&', ..] => {
            const NAMES: [(&[u8], char); 6] = [
                (b"&quot;", '"'),
                (b"&apos;", '\''),
                (b"&amp;", '&'),
                (b"&sol;", '/'),
                (b"&colon;", ':'),
                (b"&lt;", '<'),
            ];
            let (name, c) = NAMES.iter().find(|(name, _)| bytes.starts_with(name))?;
            Some((name.len(), Decoded::Char(*c)))
        }
        _ => None,
    }
}

/// Returns the number that these digits are; `None` if one is no digit.
fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let add =
        |number: u32, digit: &u8| number.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?);
    if digits.is_empty() { None } else { digits.iter().try_fold(0, add) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        for (text, decoded) in [
            ("https%3A%2F%2Fa%2fb", "https://a/b"),
            (r"\x2freset\u002Fa\u{2f}b", "/reset/a/b"),
            ("&#47;a&#x2F;b&quot;&amp;quot;", "/a/b\"&quot;"),
            ("f%C3%BCr \\u00fcber", "für über"),
            ("%ff%", "\u{fffd}%"),
            ("%25%32%46", "%2F"),
        ] {
            assert_eq!(unescape(text).as_deref(), Some(decoded), "{text}");
        }
        for text in
            ["plain", "100 %", "%2", "%zz", r"\d+\x", r"\u{}", r"\u{110000}", "a && b", "&#;", "&unknown;"]
        {
            assert_eq!(unescape(text), None, "{text}");
        }
    }
}
