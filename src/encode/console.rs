//! The event as one JSON line: the normalized report, and under `lookout` what lookoutd adds to it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use crate::model::{Event, LabelEnum, Value, Versions, has_byte};

/// Appends the event's line, newline included.
pub fn write_json_line(event: &Event<'_>, out: &mut Vec<u8>) {
    let Event { report, classification, finding, is_new, severity, summary, query, client_address, .. } =
        event;
    let mut line = Members::new(out);
    line.value("age", &report.age);
    line.text("type", &report.report_type);
    line.text("url", &report.url);
    line.text("user_agent", &report.user_agent);
    let mut body = Members::new(line.name("body"));
    for (name, value) in &report.body.0 {
        match value {
            Value::String(text) => body.text(name, text),
            value => body.value(name, value),
        }
    }
    body.end();
    let mut fields = Members::new(line.name("lookout"));
    fields.time("received", report.received);
    fields.time("occurred", report.occurred);
    fields.text("kind", report.kind.name);
    fields.text("site", classification.site.as_str());
    fields.text("severity", severity.as_str());
    fields.text("summary", summary);
    if let Some(page) = classification.page {
        fields.text("page", page);
    }
    fields.text("noise", classification.noise.as_str());
    if let Some(rule) = classification.rule {
        fields.text("rule", rule);
    }
    fields.text("browser", classification.browser.as_str());
    let Versions { browser, os, os_version } = &classification.versions;
    let versions = [("browser_version", browser.as_str()), ("os", os), ("os_version", os_version.as_str())];
    for (name, text) in versions.into_iter().filter(|(_, text)| !text.is_empty()) {
        fields.text(name, text);
    }
    fields.text("fingerprint", finding.fingerprint.encode(&mut [0; 16]));
    if *is_new {
        fields.value("new", &true);
    }
    if let Some(rate) = event.sample_rate {
        fields.value("sample_rate", &rate);
    }
    if let Some(address) = client_address {
        fields.text("client_address", address);
    }
    if !query.is_empty() {
        fields.value("query", &query.iter().map(|(name, value)| (name, value)).collect::<BTreeMap<_, _>>());
    }
    if !report.unknown_members.is_empty() {
        fields.text("unknown_members", &report.unknown_members);
    }
    if report.dropped_members > 0 {
        fields.value("dropped_members", &report.dropped_members);
    }
    fields.end();
    line.end();
    out.push(b'\n');
}

/// The last bytes of a line: the ends of `lookout`, of the report and of the line.
const END: &[u8] = b"}}\n";

/// Appends a written line as that of this number of reports.
pub fn write_folded_line(line: &[u8], count: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(line.strip_suffix(END).unwrap_or(line));
    out.extend_from_slice(format!(",\"count\":{count}").as_bytes());
    out.extend_from_slice(END);
}

/// Writes a JSON object. serde_json compares each byte of a text; most texts have none to escape, which
/// [`has_byte`] finds sooner.
struct Members<'o> {
    out: &'o mut Vec<u8>,
    before: u8,
}

impl Members<'_> {
    fn new(out: &mut Vec<u8>) -> Members<'_> {
        Members { out, before: b'{' }
    }

    /// Begins a member. Its name is one of the program's own, which have nothing to escape.
    #[inline(always)] // so that a name is copied by its known length
    fn name(&mut self, name: &str) -> &mut Vec<u8> {
        debug_assert!(!has_byte(name.as_bytes(), is_escaped), "{name}");
        self.out.extend_from_slice(&[self.before, b'"']);
        self.before = b',';
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    #[inline(always)]
    fn text(&mut self, name: &str, text: &str) {
        write_text(text, self.name(name));
    }

    fn time(&mut self, name: &str, time: Timestamp) {
        let out = self.name(name);
        out.push(b'"');
        write_time(time, out);
        out.push(b'"');
    }

    fn value(&mut self, name: &str, value: &impl Serialize) {
        write_value(value, self.name(name));
    }

    fn end(self) {
        self.out.extend_from_slice(if self.before == b'{' { b"{}" } else { b"}" });
    }
}

thread_local! {
    /// The day of the last time, in days since the epoch, and its date with a `T`.
    static DATE: RefCell<(i64, String)> = const { RefCell::new((-1, String::new())) };
}

/// Writes a time by RFC 3339 in UTC, with milliseconds. jiff, which costs more, writes only the date.
fn write_time(time: Timestamp, out: &mut Vec<u8>) {
    const DAY: i64 = 24 * 60 * 60;
    let (second, millisecond) = (time.as_second(), i64::from(time.subsec_millisecond()));
    if time < Timestamp::UNIX_EPOCH {
        return out.extend_from_slice(format!("{time:.3}").as_bytes());
    }
    DATE.with_borrow_mut(|(day, date)| {
        if *day != second / DAY {
            *day = second / DAY;
            *date = time.to_string();
            date.truncate(date.find('T').map_or(0, |end| end + 1));
        }
        out.extend_from_slice(date.as_bytes());
    });
    let second = second % DAY;
    let digit = |number: i64| b'0' + (number % 10) as u8;
    let [hours, minutes, seconds] =
        [second / 3600, second / 60 % 60, second % 60].map(|it| [digit(it / 10), digit(it)]);
    let milliseconds = [millisecond / 100, millisecond / 10, millisecond].map(digit);
    for part in [&hours[..], b":", &minutes, b":", &seconds, b".", &milliseconds, b"Z"] {
        out.extend_from_slice(part);
    }
}

fn is_escaped(byte: u8) -> bool {
    (byte < b' ') | (byte == b'"') | (byte == b'\\')
}

fn write_text(text: &str, out: &mut Vec<u8>) {
    if has_byte(text.as_bytes(), is_escaped) {
        return write_value(text, out);
    }
    out.push(b'"');
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

fn write_value(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    // JSON cannot be written to memory only if a key is not text, which does not occur.
    _ = serde_json::to_writer(out, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_that_of_jiff() {
        for second in [-1, 0, 1, 59, 60, 86_399, 86_400, 951_782_400, 1_798_761_599, 253_402_207_200] {
            for nanosecond in [0, 1, 999_999, 1_000_000, 12_345_678, 999_999_999] {
                let time = Timestamp::new(second, nanosecond).unwrap();
                let mut out = Vec::new();
                write_time(time, &mut out);
                assert_eq!(String::from_utf8(out).unwrap(), format!("{time:.3}"));
            }
        }
    }
}
