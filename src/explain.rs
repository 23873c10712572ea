//! `lookoutd explain`: one upload through the whole path, without a daemon.

use std::sync::Arc;

use http::Uri;
use serde_json::{Value, json};

use crate::clock;
use crate::config::Config;
use crate::intake::{RequestTarget, refused};
use crate::kinds;
use crate::metrics::{Registry, SampleValue};
use crate::model::{ClientKey, LabelEnum, UploadContext, UploadOutcome};
use crate::pipeline::Pipeline;
use crate::recent::Recent;

/// Returns what becomes of an upload to this path, as JSON, and its outcome.
///
/// # Errors
/// Returns an error if the metrics cannot be registered, which tests rule out.
pub fn explain(
    config: &Config,
    uri: &Uri,
    user_agent: Option<&str>,
    body: &[u8],
) -> Result<(Value, UploadOutcome), prometheus::Error> {
    let now = clock::now();
    let registry = Registry::new(kinds::families(), config.metrics.max_series, config.sites.len(), now)?;
    let mut pipeline = Pipeline::new(config, Arc::new(registry), None, None);
    let recent = Arc::new(Recent::unlimited());
    pipeline.recent = Some(recent.clone());
    let target = RequestTarget::parse(uri, &config.intake, config.privacy, &pipeline.settings.load().sites);
    let (is_endpoint, target) = (target.is_some(), target.unwrap_or_default());
    let context = UploadContext {
        received: now,
        uptime: 0,
        user_agent,
        disposition: target.disposition,
        site: target.site,
        key: target.key,
        query: &target.query,
        client: ClientKey::default(),
        client_address: None,
        span: None,
    };
    let mut rejected = Vec::new();
    let outcome = if !is_endpoint {
        UploadOutcome::UnknownPath
    } else if let Some(refused) = refused(&target, &config.intake.retired, &pipeline.settings.load().sites) {
        refused
    } else if body.len() > config.intake.max_body_bytes {
        UploadOutcome::TooLarge
    } else {
        pipeline.process(&pipeline.settings.load().sites.redact_keys(body), &context, |index, reason| {
            rejected.push(json!({ "index": index, "reason": reason.as_str() }));
        })
    };
    let events = recent.events_after(0);
    let mut redacted = Vec::new();
    for (at, event) in events.iter().enumerate() {
        for it in &event.details.redacted {
            redacted.push(json!({ "pointer": format!("/events/{at}{}", it.pointer), "rule": it.rule }));
        }
    }
    let document = json!({
        "events": events.iter().map(|event| &event.line).collect::<Vec<_>>(),
        "series": series(&pipeline.registry),
        "rejected": rejected,
        "redacted": redacted,
        "rule": events.iter().map(|event| event.details.rule.as_ref().map(|rule| &rule.name)).collect::<Vec<_>>(),
    });
    Ok((document, outcome))
}

/// Returns the series that are not 0, in order.
fn series(registry: &Registry) -> Vec<Value> {
    let mut series = Vec::new();
    registry.visit(&mut |family, sample| {
        let (suffix, value) = match &sample.value {
            SampleValue::Count(count) => ("", json!(count)),
            SampleValue::Float(sum) => ("", json!(sum)),
            SampleValue::Histogram(histogram) => ("_count", json!(histogram.count())),
        };
        if value.as_f64() != Some(0.0) {
            let name = format!("{}{suffix}", family.name);
            let labels = family.labels.iter().zip(sample.labels).filter(|(_, label)| !label.is_empty());
            let labels: Value = labels.map(|(name, label)| (*name, json!(label))).collect();
            series.push(json!({ "name": name, "labels": labels, "value": value }));
        }
    });
    series.sort_by_cached_key(Value::to_string);
    series
}
