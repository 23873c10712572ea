//! Resource and scope of everything that the daemon exports.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_semantic_conventions::resource::{SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION};

use crate::config::Otlp;

pub(crate) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: env!("CARGO_PKG_NAME").to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

/// Returns the resource.
pub fn build_resource(otlp: &Otlp, instance_id: &str) -> Resource {
    let attributes = resource_attributes(otlp, instance_id).into_iter();
    let attributes = attributes.map(|(key, value)| string_attribute(key, value)).collect();
    Resource { attributes, ..Resource::default() }
}

pub(crate) fn string_attribute(key: String, value: String) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value)) });
    KeyValue { key, value, ..KeyValue::default() }
}

/// Returns the resource as pairs with unique keys: first the service's own, then the configured
/// ones, of which the last with a key counts. `service.name` has a setting of its own.
pub fn resource_attributes(otlp: &Otlp, instance_id: &str) -> Vec<(String, String)> {
    let mut attributes = vec![
        (SERVICE_NAME.to_owned(), otlp.service_name.clone()),
        (SERVICE_VERSION.to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        (SERVICE_INSTANCE_ID.to_owned(), instance_id.to_owned()),
    ];
    for (key, value) in otlp.resource_attributes.iter().filter(|(key, _)| key != SERVICE_NAME) {
        match attributes.iter_mut().find(|(known, _)| known == key) {
            Some(known) => known.1.clone_from(value),
            None => attributes.push((key.clone(), value.clone())),
        }
    }
    attributes
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Logs, Metrics, Temporality};

    #[test]
    fn configured_attributes_override_all_but_the_service_name() {
        let configured = [("service.name", "no"), ("service.version", "7"), ("a", "1"), ("a", "2")];
        let owned = |pairs: &[(&str, &str)]| -> Vec<_> {
            pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
        };
        let otlp = Otlp {
            logs: Logs { console: false, otlp: None },
            metrics: Metrics {
                otlp: None,
                interval: Duration::from_secs(60),
                temporality: Temporality::Cumulative,
            },
            traces: None,
            diagnostics: None,
            service_name: "shop-reports".to_owned(),
            resource_attributes: owned(&configured),
        };
        let expected = [
            ("service.name", "shop-reports"),
            ("service.version", "7"),
            ("service.instance.id", "id-1"),
            ("a", "2"),
        ];
        assert_eq!(resource_attributes(&otlp, "id-1"), owned(&expected));
    }
}
