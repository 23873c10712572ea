"""Reports of a shop, such as an engineer sees on an ordinary day: violations of a report-only and of an enforced
policy, a browser extension, network errors, a deprecation, a crash."""

CHROME = ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
          "Chrome/156.0.0.0 Safari/537.36")
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"
SAFARI = ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
          "Version/26.2 Safari/605.1.15")
POLICY = "default-src 'self'; img-src 'self' https://images.shop.example; report-to default"
SITES = """
sites:
  - { name: shop, hosts: [www.shop.example] }
  - { name: pay, hosts: [pay.shop.example] }
intake: { trusted_proxies: [127.0.0.0/8] }
"""


def violation(page, directive, blocked, *, disposition="report", agent=CHROME, **body):
    """A violation of a content security policy."""
    return report("csp-violation", page, agent, {
        "documentURL": page, "effectiveDirective": directive, "blockedURL": blocked, "disposition": disposition,
        "originalPolicy": POLICY, "statusCode": 200, **body})


def report(kind, page, agent, body):
    """A report of the Reporting API."""
    return {"age": 0, "type": kind, "url": page, "user_agent": agent, "body": body}


SHOP, PAY = "https://www.shop.example", "https://pay.shop.example"
# A report, and how many clients send it.
REPORTS = (
    (violation(f"{SHOP}/", "script-src-elem", "https://tags.example/gtm.js?id=GTM-1", lineNumber=12,
               sourceFile=f"{SHOP}/"), 14),
    (violation(f"{SHOP}/cart?session=8731", "script-src-elem", "https://cdn.example/cart/3.2/cart.min.js"), 9),
    (violation(f"{SHOP}/cart", "style-src-elem", "https://fonts.example/css2?family=Inter", agent=FIREFOX), 7),
    (violation(f"{SHOP}/cart", "font-src", "https://fonts.example/inter/v4/latin.woff2", agent=SAFARI), 6),
    (violation(f"{SHOP}/product/4711", "img-src", "https://images.partner.example/4711/large.webp"), 8),
    (violation(f"{SHOP}/checkout", "connect-src", "https://collect.example/v1/beacon?u=42", agent=FIREFOX), 5),
    (violation(f"{SHOP}/product/4711", "script-src-elem", "inline", sample="window.dataLayer = window.dataLa",
               lineNumber=48, columnNumber=9, sourceFile=f"{SHOP}/product/4711"), 3),
    (violation(f"{SHOP}/account", "script-src-elem", "chrome-extension", sourceFile="chrome-extension"), 4),
    (violation(f"{PAY}/card", "frame-src", "https://bank.example/3ds/challenge", disposition="enforce"), 2),
    (violation(f"{PAY}/card", "connect-src", "https://skimmer.example/c?d=1", disposition="enforce"), 1),
    (report("network-error", f"{SHOP}/api/stock?sku=4711", CHROME, {
        "elapsed_time": 30021, "method": "GET", "phase": "connection", "protocol": "h2", "referrer": f"{SHOP}/product/4711",
        "sampling_fraction": 1.0, "server_ip": "192.0.2.10", "status_code": 0, "type": "tcp.timed_out"}), 3),
    (report("deprecation", f"{SHOP}/", CHROME, {
        "id": "UnloadHandler", "message": "Unload event listeners are deprecated and will be removed.", "lineNumber": 7,
        "sourceFile": f"{SHOP}/assets/legacy.js", "anticipatedRemoval": "2027-06-30"}), 2),
    (report("crash", f"{SHOP}/product/4711", CHROME, {"reason": "oom", "is_top_level": True}), 1),
)


def send(daemon):
    """Sends them all, mixed, and each at last. Each client has an address of its own."""
    for client in range(max(clients for _, clients in REPORTS), 0, -1):
        for number, (one, clients) in reversed(list(enumerate(REPORTS))):
            if client <= clients:
                daemon.post([one], User_Agent=one["user_agent"], X_Forwarded_For=f"198.51.{number + 100}.{client}")
    return sum(clients for _, clients in REPORTS)
