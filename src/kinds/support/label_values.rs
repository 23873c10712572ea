//! The closed label vocabularies that more than one kind uses, and the ones too long to stand in a
//! kind's own file.

use crate::model::LabelValues;

pub use crate::kinds::support::features::{DOCUMENT_POLICY, PERMISSIONS_POLICY};

/// CSP directive names: CSP Level 3, its companions, and those of earlier levels.
/// <https://w3c.github.io/webappsec-csp/#csp-directives>
pub static CSP_DIRECTIVES: LabelValues = LabelValues(&[
    "script-src-elem",
    "style-src-elem",
    "img-src",
    "connect-src",
    "font-src",
    "script-src",
    "script-src-attr",
    "style-src",
    "style-src-attr",
    "frame-src",
    "default-src",
    "media-src",
    "object-src",
    "child-src",
    "worker-src",
    "manifest-src",
    "prefetch-src",
    "fenced-frame-src",
    "base-uri",
    "form-action",
    "frame-ancestors",
    "sandbox",
    "webrtc",
    "trusted-types",
    "require-trusted-types-for",
    "upgrade-insecure-requests",
    "block-all-mixed-content",
    "report-uri",
    "report-to",
    "navigate-to",
    "plugin-types",
    "require-sri-for",
    "referrer",
    "reflected-xss",
]);

/// NEL phases; `sxg` is Chromium's.
/// <https://w3c.github.io/network-error-logging/#dfn-phase>
pub static NEL_PHASES: LabelValues = LabelValues(&["application", "connection", "dns", "sxg"]);

/// NEL types: the specification's, Chromium's additions, and those of signed exchanges.
/// <https://w3c.github.io/network-error-logging/#predefined-network-error-types>
pub static NEL_TYPES: LabelValues = LabelValues(&[
    "ok",
    "http.error",
    "abandoned",
    "unknown",
    "dns.unreachable",
    "dns.name_not_resolved",
    "dns.failed",
    "dns.address_changed",
    "dns.timed_out",
    "dns.protocol",
    "dns.server",
    "tcp.timed_out",
    "tcp.closed",
    "tcp.reset",
    "tcp.refused",
    "tcp.aborted",
    "tcp.address_invalid",
    "tcp.address_unreachable",
    "tcp.failed",
    "tls.version_or_cipher_mismatch",
    "tls.bad_client_auth_cert",
    "tls.cert.name_invalid",
    "tls.cert.date_invalid",
    "tls.cert.authority_invalid",
    "tls.cert.invalid",
    "tls.cert.revoked",
    "tls.cert.pinned_key_not_in_cert_chain",
    "tls.protocol.error",
    "tls.failed",
    "tls.unrecognized_name_alert",
    "h2.ping_failed",
    "h2.protocol.error",
    "h3.protocol.error",
    "http.protocol.error",
    "http.failed",
    "http.request.range_not_satisfiable",
    "http.response.invalid",
    "http.response.invalid.empty",
    "http.response.invalid.content_length_mismatch",
    "http.response.invalid.incomplete_chunked_encoding",
    "http.response.invalid.invalid_chunked_encoding",
    "http.response.redirect_loop",
    "http.response.headers.truncated",
    "http.response.headers.multiple_content_disposition",
    "http.response.headers.multiple_content_length",
    "sxg.failed",
    "sxg.mi_error",
    "sxg.non_secure_distributor",
    "sxg.parse_error",
    "sxg.invalid_integrity_header",
    "sxg.signature_verification_error",
    "sxg.cert_verification_error",
    "sxg.cert_fetch_error",
    "sxg.cert_parse_error",
    "sxg.variant_mismatch",
    "sxg.header_integrity_mismatch",
]);

/// ALPN protocols as labels. Drafts of HTTP/3 (`h3-29`) count as `h3`.
pub static PROTOCOLS: LabelValues = LabelValues(&["http/1.0", "http/1.1", "h2", "h3"]);

/// What a request is for. The empty destination of `fetch()` counts as none.
/// <https://fetch.spec.whatwg.org/#concept-request-destination>
pub static DESTINATIONS: LabelValues = LabelValues(&[
    "audio",
    "audioworklet",
    "document",
    "embed",
    "font",
    "frame",
    "iframe",
    "image",
    "json",
    "manifest",
    "object",
    "paintworklet",
    "report",
    "script",
    "serviceworker",
    "sharedworker",
    "style",
    "text",
    "track",
    "video",
    "webidentity",
    "worker",
    "xslt",
]);

/// Schemes under which browsers load add-ons, bare or with a URL behind them.
pub fn is_extension_scheme(scheme: &str) -> bool {
    scheme.ends_with("-extension") || scheme == "webkit-masked-url"
}
