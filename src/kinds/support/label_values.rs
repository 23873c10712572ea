//! Label values that several kinds share, and those that are too many for a kind's own file.

use crate::model::LabelValues;

/// CSP directive names: CSP Level 3, its companions, and those of earlier levels.
/// <https://w3c.github.io/webappsec-csp/#csp-directives>
pub static CSP_DIRECTIVES: LabelValues = LabelValues(&include!("label_values/csp_directives.in"));

/// NEL phases; `sxg` is Chromium's.
/// <https://w3c.github.io/network-error-logging/#dfn-phase>
pub(crate) static NEL_PHASES: LabelValues = LabelValues(&["application", "connection", "dns", "sxg"]);

/// NEL types: the specification's, Chromium's additions, and those of signed exchanges.
/// <https://w3c.github.io/network-error-logging/#predefined-network-error-types>
pub(crate) static NEL_TYPES: LabelValues = LabelValues(&include!("label_values/nel_types.in"));

pub(crate) static PROTOCOLS: LabelValues = LabelValues(&["http/1.0", "http/1.1", "h2", "h3"]);

/// What a request is for. The empty destination of `fetch()` counts as none.
/// <https://fetch.spec.whatwg.org/#concept-request-destination>
pub(crate) static DESTINATIONS: LabelValues = LabelValues(&include!("label_values/destinations.in"));

/// Policy-controlled features: those of the registry, of Chromium's and Firefox's lists, and names that
/// older browsers still use. Reports carry them in `featureId` or `policyId`.
/// <https://github.com/w3c/webappsec-permissions-policy/blob/main/features.md>
pub(crate) static PERMISSIONS_POLICY_FEATURES: LabelValues =
    LabelValues(&include!("label_values/permissions_policy_features.in"));

/// Configuration points of document policies in Chromium.
/// <https://wicg.github.io/document-policy/>
pub(crate) static DOCUMENT_POLICY_FEATURES: LabelValues =
    LabelValues(&include!("label_values/document_policy_features.in"));

/// Returns whether browsers load add-ons under this scheme.
pub fn is_extension_scheme(scheme: &str) -> bool {
    scheme.ends_with("-extension") || scheme == "webkit-masked-url"
}
