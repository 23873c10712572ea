//! What several kinds share.

mod certificate;
mod fields;
mod label_values;
mod summary;

pub(super) use certificate::{CERTIFICATE, HOSTNAME, PORT, TRANSPORT, describe_certificate, server_name};
pub(super) use fields::{
    COLUMN_NUMBER, DISPOSITION, LINE_NUMBER, NOISE, PAGE, SOURCE_FILE, derived, field, one_of, unmapped,
};
pub use label_values::{CSP_DIRECTIVES, is_extension_scheme};
pub(super) use label_values::{
    DESTINATIONS, DOCUMENT_POLICY_FEATURES, NEL_PHASES, NEL_TYPES, PERMISSIONS_POLICY_FEATURES, PROTOCOLS,
};
pub(super) use summary::{
    REPORT_ONLY, blocked_request_summary, disposition_to_flag, feature_summary, page_of, policy_summary,
    source_suffix,
};
