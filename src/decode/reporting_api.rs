//! The Reporting API's own shape: `{"age","type","url","user_agent","body"}`, in an array or bare.
//! <https://w3c.github.io/reporting/#serialize-reports>

use std::borrow::Cow;

use crate::outcome::Rejection;
use crate::report::{Age, Envelope};
use crate::value::{Object, Value};

/// Reads one report. Members of the envelope that no one knows (`attempts`, `destination`) are
/// ignored, as the specification asks.
pub(super) fn read(mut object: Object<'_>) -> Result<Envelope<'_>, Rejection> {
    let report_type = object.take("type").and_then(text).ok_or(Rejection::NoType)?;
    let body = match object.take("body") {
        Some(Value::Object(body)) => body,
        None | Some(Value::Null) => Object::default(),
        Some(_) => return Err(Rejection::BadBody),
    };
    Ok(Envelope {
        report_type,
        age: Age::Milliseconds(object.take("age")),
        url: object.take("url").and_then(text),
        user_agent: object.take("user_agent").and_then(text),
        body,
    })
}

/// Text that says something.
pub(super) fn text(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}
