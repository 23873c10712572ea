//! Label values that several kinds share, and those that are too many for a kind's own file.

use crate::model::LabelValues;

/// CSP directive names: CSP Level 3, its companions, and those of earlier levels.
/// <https://w3c.github.io/webappsec-csp/#csp-directives>
#[rustfmt::skip]
pub(crate) static CSP_DIRECTIVES: LabelValues = LabelValues(&[
    "script-src-elem", "style-src-elem", "img-src", "connect-src", "font-src", "script-src",
    "script-src-attr", "style-src", "style-src-attr", "frame-src", "default-src", "media-src", "object-src",
    "child-src", "worker-src", "manifest-src", "prefetch-src", "fenced-frame-src", "base-uri", "form-action",
    "frame-ancestors", "sandbox", "webrtc", "trusted-types", "require-trusted-types-for",
    "upgrade-insecure-requests", "block-all-mixed-content", "report-uri", "report-to", "navigate-to",
    "plugin-types", "require-sri-for", "referrer", "reflected-xss",
]);

/// NEL phases; `sxg` is Chromium's.
/// <https://w3c.github.io/network-error-logging/#dfn-phase>
pub(crate) static NEL_PHASES: LabelValues = LabelValues(&["application", "connection", "dns", "sxg"]);

/// NEL types: the specification's, Chromium's additions, and those of signed exchanges.
/// <https://w3c.github.io/network-error-logging/#predefined-network-error-types>
#[rustfmt::skip]
pub(crate) static NEL_TYPES: LabelValues = LabelValues(&[
    "ok", "http.error", "abandoned", "unknown", "dns.unreachable", "dns.name_not_resolved", "dns.failed",
    "dns.address_changed", "dns.timed_out", "dns.protocol", "dns.server", "tcp.timed_out", "tcp.closed",
    "tcp.reset", "tcp.refused", "tcp.aborted", "tcp.address_invalid", "tcp.address_unreachable", "tcp.failed",
    "tls.version_or_cipher_mismatch", "tls.bad_client_auth_cert", "tls.cert.name_invalid",
    "tls.cert.date_invalid", "tls.cert.authority_invalid", "tls.cert.invalid", "tls.cert.revoked",
    "tls.cert.pinned_key_not_in_cert_chain", "tls.protocol.error", "tls.failed",
    "tls.unrecognized_name_alert", "h2.ping_failed", "h2.protocol.error", "h3.protocol.error",
    "http.protocol.error", "http.failed", "http.request.range_not_satisfiable", "http.response.invalid",
    "http.response.invalid.empty", "http.response.invalid.content_length_mismatch",
    "http.response.invalid.incomplete_chunked_encoding", "http.response.invalid.invalid_chunked_encoding",
    "http.response.redirect_loop", "http.response.headers.truncated",
    "http.response.headers.multiple_content_disposition", "http.response.headers.multiple_content_length",
    "sxg.failed", "sxg.mi_error", "sxg.non_secure_distributor", "sxg.parse_error",
    "sxg.invalid_integrity_header", "sxg.signature_verification_error", "sxg.cert_verification_error",
    "sxg.cert_fetch_error", "sxg.cert_parse_error", "sxg.variant_mismatch", "sxg.header_integrity_mismatch",
]);

/// ALPN protocols.
pub(crate) static PROTOCOLS: LabelValues = LabelValues(&["http/1.0", "http/1.1", "h2", "h3"]);

/// What a request is for. The empty destination of `fetch()` counts as none.
/// <https://fetch.spec.whatwg.org/#concept-request-destination>
#[rustfmt::skip]
pub(crate) static DESTINATIONS: LabelValues = LabelValues(&[
    "audio", "audioworklet", "document", "embed", "font", "frame", "iframe", "image", "json", "manifest",
    "object", "paintworklet", "report", "script", "serviceworker", "sharedworker", "style", "text", "track",
    "video", "webidentity", "worker", "xslt",
]);

/// Policy-controlled features: those of the registry, of Chromium's and Firefox's lists, and names that
/// older browsers still use. Reports carry them in `featureId` or `policyId`.
/// <https://github.com/w3c/webappsec-permissions-policy/blob/main/features.md>
#[rustfmt::skip]
pub(crate) static PERMISSIONS_POLICY_FEATURES: LabelValues = LabelValues(&[
    "accelerometer", "all-screens-capture", "ambient-light-sensor", "aria-notify", "attribution-reporting",
    "autofill", "autoplay", "battery", "bluetooth", "browsing-topics", "camera", "captured-surface-control",
    "ch-device-memory", "ch-downlink", "ch-dpr", "ch-ect", "ch-lang", "ch-prefers-color-scheme",
    "ch-prefers-reduced-motion", "ch-prefers-reduced-transparency", "ch-rtt", "ch-save-data", "ch-ua",
    "ch-ua-arch", "ch-ua-bitness", "ch-ua-form-factors", "ch-ua-full", "ch-ua-full-version",
    "ch-ua-full-version-list", "ch-ua-high-entropy-values", "ch-ua-mobile", "ch-ua-model", "ch-ua-platform",
    "ch-ua-platform-version", "ch-ua-wow64", "ch-viewport-height", "ch-viewport-width", "ch-width",
    "clipboard-read", "clipboard-write", "compute-pressure", "controlled-frame", "conversion-measurement",
    "cross-origin-isolated", "deferred-fetch", "deferred-fetch-minimal", "device-attributes",
    "digital-credentials-create", "digital-credentials-get", "direct-sockets", "direct-sockets-multicast",
    "direct-sockets-private", "display-capture", "document-domain", "document-write", "encrypted-media",
    "execution-while-not-rendered", "execution-while-out-of-viewport", "fenced-unpartitioned-storage-read",
    "focus-without-user-activation", "font-display-late-swap", "frobulate", "fullscreen", "gamepad",
    "geolocation", "gyroscope", "hid", "identity-credential-get", "identity-credentials-get",
    "idle-detection", "image-compression", "interest-cohort", "join-ad-interest-group", "keyboard-map",
    "language-detector", "language-model", "layout-animations", "legacy-image-formats",
    "loading-frame-default-eager", "local-fonts", "local-network", "local-network-access", "loopback-network",
    "magnetometer", "manual-text", "max-downscaling-image", "media-playback-while-not-visible", "mediasession",
    "microphone", "midi",
    "monetization", "navigation-override", "on-device-speech-recognition", "otp-credentials",
    "oversized-images", "payment", "picture-in-picture", "popins", "popups", "private-aggregation",
    "private-state-token-issuance", "private-state-token-redemption", "publickey-credentials-create",
    "publickey-credentials-get", "record-ad-auction-events", "rewriter", "run-ad-auction", "screen-wake-lock",
    "serial", "shared-autofill", "shared-storage", "shared-storage-select-url", "smart-card", "speaker",
    "speaker-selection", "storage-access", "sub-apps", "summarizer", "sync-script", "sync-xhr",
    "tools", "top-level-storage-access", "translator", "trust-token-redemption", "unload", "unoptimized-images",
    "unoptimized-lossless-images", "unoptimized-lossless-images-strict", "unoptimized-lossy-images",
    "unsized-media", "usb", "usb-unrestricted", "vertical-scroll", "vibrate", "vr", "wake-lock",
    "web-app-installation", "web-printing", "web-share", "window-management", "window-placement", "writer",
    "xr", "xr-spatial-tracking",
]);

/// Configuration points of document policies in Chromium.
/// <https://wicg.github.io/document-policy/>
#[rustfmt::skip]
pub(crate) static DOCUMENT_POLICY_FEATURES: LabelValues = LabelValues(&[
    "document-write", "expect-no-linked-resources", "font-display-late-swap", "force-load-at-top",
    "include-js-call-stacks-in-crash-reports", "js-profiling", "layout-animations", "lossless-images-max-bpp",
    "lossless-images-strict-max-bpp", "lossy-images-max-bpp", "network-efficiency-guardrails",
    "oversized-images", "sync-script", "sync-xhr", "unoptimized-lossless-images",
    "unoptimized-lossless-images-strict", "unoptimized-lossy-images", "unsized-media",
]);

/// Returns whether browsers load add-ons under this scheme.
pub fn is_extension_scheme(scheme: &str) -> bool {
    scheme.ends_with("-extension") || scheme == "webkit-masked-url"
}
