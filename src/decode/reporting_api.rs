//! The Reporting API's own shape: `{"age","type","url","user_agent","body"}`, in an array or bare.
//! <https://w3c.github.io/reporting/#serialize-reports>

use std::borrow::Cow;

use crate::model::{Age, Envelope, Object, RejectReason, Value};

/// Decodes one report. Unknown fields (`attempts`, `destination`) are ignored, as the specification requires.
pub(super) fn decode_report(mut object: Object<'_>) -> Result<Envelope<'_>, RejectReason> {
    let report_type = object.remove("type").and_then(into_string).ok_or(RejectReason::MissingType)?;
    let body = match object.remove("body") {
        Some(Value::Object(body)) => body,
        None | Some(Value::Null) => Object::default(),
        Some(_) => return Err(RejectReason::InvalidBody),
    };
    Ok(Envelope {
        report_type,
        age: Age::Milliseconds(object.remove("age")),
        url: object.remove("url").and_then(into_string),
        user_agent: object.remove("user_agent").and_then(into_string),
        body,
    })
}

/// Returns the text of a string that is not empty.
pub(super) fn into_string(value: Value<'_>) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}
