//! What several kinds share.

mod certificate;
mod fields;
mod label_values;
mod page;
mod policy;

pub(super) use certificate::{
    CERTIFICATE, CERTIFICATE_ATTRIBUTES, HOSTNAME, PORT, certificate_attributes, describe_certificate,
    replace_chains, server_name,
};
pub(super) use fields::{COLUMN_NUMBER, LINE_NUMBER, SOURCE_FILE, derived, field, unmapped};
pub use label_values::is_extension_scheme;
pub(super) use label_values::{
    CSP_DIRECTIVES, DESTINATIONS, DOCUMENT_POLICY_FEATURES, NEL_PHASES, NEL_TYPES,
    PERMISSIONS_POLICY_FEATURES, PROTOCOLS,
};
pub(super) use page::{page_of, source_suffix};
pub(super) use policy::{
    REPORT_ONLY, blocked_request_summary, disposition_to_flag, evaluate_policy, policy_summary,
    severity_unless_noise,
};
