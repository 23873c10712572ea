//! The Reporting API's own shape: `{"age","type","url","user_agent","body"}`, in an array or bare.
//! <https://w3c.github.io/reporting/#serialize-reports>

use std::borrow::Cow;

use crate::model::{Age, Envelope, Object, RejectReason, Value};

/// Decodes one report. Unknown fields (`attempts`, `destination`) are ignored, as the specification requires.
pub(super) fn decode_report(object: Object<'_>) -> Result<Envelope<'_>, RejectReason> {
    let [mut report_type, mut body, mut age, mut url, mut user_agent] = [const { None }; 5];
    // The last one of several counts.
    for (name, value) in object.0 {
        match &*name {
            "type" => report_type = Some(value),
            "body" => body = Some(value),
            "age" => age = Some(value),
            "url" => url = Some(value),
            "user_agent" => user_agent = Some(value),
            _ => {}
        }
    }
    let report_type = report_type.and_then(into_string).ok_or(RejectReason::MissingType)?;
    let body = match body {
        Some(Value::Object(body)) => body,
        None | Some(Value::Null) => Object::default(),
        Some(_) => return Err(RejectReason::InvalidBody),
    };
    Ok(Envelope {
        report_type,
        age: Age::Milliseconds(age),
        url: url.and_then(into_string),
        user_agent: user_agent.and_then(into_string),
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
