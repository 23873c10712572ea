"""Reports that attack the person who looks at them: markup, scripts and bidirectional characters in every field."""

import json

MARKUP = ('"><img src=x onerror=alert(1)><script>alert(2)</script><svg onload=alert(3)><iframe srcdoc="<script>'
          'alert(4)</script>"></iframe><base href=//evil.example/><style>*{display:none}</style>')
BIDI = "\u202egpj.exe\u2066\u2067abc\u2069\u200f\u061c"
LONG = "A" * 1_000_000
# Members that hold a text, by kind.
MEMBERS = {
    "csp-violation": ("documentURL", "referrer", "blockedURL", "effectiveDirective", "originalPolicy", "sourceFile",
                      "sample", "disposition"),
    "network-error": ("phase", "type", "method", "protocol", "server_ip", "referrer"),
    "deprecation": ("id", "message", "sourceFile"),
    "intervention": ("id", "message", "sourceFile"),
    "crash": ("reason", "stack", "visibility_state"),
    "permissions-policy-violation": ("featureId", "policyId", "message", "sourceFile", "disposition"),
    "integrity-violation": ("documentURL", "blockedURL", "destination"),
    "coep": ("type", "blockedURL", "destination", "disposition"),
    "coop": ("type", "effectivePolicy", "openerURL", "disposition"),
    MARKUP: ("anything", MARKUP),
}


def reports(attack):
    """Reports of each kind with this text in every field, also as parts of URLs."""
    for kind, members in MEMBERS.items():
        body = dict.fromkeys(members, attack)
        yield {"age": 0, "type": kind, "url": f"https://www.shop.example/{attack}", "user_agent": attack, "body": body}
        yield {"age": 0, "type": kind, "url": attack, "user_agent": attack, "body": {
            name: f"https://evil.example/{attack}" for name in members}}


def bodies():
    """Uploads of them, each with its number of reports; a long text is one report each."""
    for attack in (MARKUP, BIDI, MARKUP + BIDI):
        made = list(reports(attack))
        yield json.dumps(made), len(made)
    yield json.dumps([{"age": 0, "type": "csp-violation", "url": "https://www.shop.example/", "body": {
        "documentURL": "https://www.shop.example/", "effectiveDirective": "img-src", "blockedURL": "inline",
        "sample": LONG}}]), 1
