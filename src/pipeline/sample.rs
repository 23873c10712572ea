//! One event in bounded space: the sample of a finding, and what the live page shows.

use std::borrow::Cow;

use crate::encode::write_json_line;
use crate::model::Event;

/// Returns the event's console line without its end. Its longest members are left out until it is short enough; if it
/// never is, the line is empty.
pub(super) fn sample(event: &Event<'_>, max: usize) -> Vec<u8> {
    let mut line = Vec::with_capacity(1024);
    let mut report = Cow::Borrowed(event.report);
    loop {
        line.clear();
        write_json_line(&Event { report: &report, ..*event }, &mut line);
        line.pop();
        if line.len() <= max {
            return line;
        }
        let report = report.to_mut();
        let length = |value| serde_json::to_string(value).map_or(0, |json: String| json.len());
        let longest = (0..report.body.0.len()).max_by_key(|at| length(&report.body.0[*at].1));
        match longest {
            Some(at) => drop(report.body.0.remove(at)),
            None if report.unknown_members.is_empty() => return Vec::new(),
            None => report.unknown_members.clear(),
        }
    }
}
