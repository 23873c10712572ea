//! What answers are made of: lists, times, and problems by RFC 9457.

use std::fmt::Display;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::config::ConfigError;

#[derive(Debug, Serialize)]
pub(super) struct List<T> {
    pub(super) items: Vec<T>,
}

/// Returns a moment as the console writes it.
pub(super) fn time(moment: Timestamp) -> String {
    format!("{moment:.3}")
}

/// Returns a value without the members that are null, because what is absent is omitted.
pub(super) fn without_null(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let present = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(present.map(|(name, value)| (name, without_null(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_null).collect(),
        value => value,
    }
}

#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    detail: String,
    /// Of the settings.
    errors: Vec<ConfigError>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), errors: Vec::new() }
    }

    pub(crate) fn with(self, errors: Vec<ConfigError>) -> Problem {
        Problem { errors, ..self }
    }

    pub(super) fn parameter(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(super) fn busy(what: &str) -> Problem {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, format!("{what}; retry later"))
    }

    pub(crate) fn internal(error: impl Display) -> Problem {
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let mut problem = json!({ "title": title, "status": self.status.as_u16(), "detail": self.detail });
        if !self.errors.is_empty() {
            problem["errors"] = json!(self.errors);
        }
        (self.status, [(CONTENT_TYPE, "application/problem+json")], problem.to_string()).into_response()
    }
}
