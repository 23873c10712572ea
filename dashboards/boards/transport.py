"""Transport security: certificates that clients did not accept, and mail that is not encrypted."""

from lib import colors
from lib.board import Board, of_reports
from lib.logql import events, link_to_events
from lib.panels import PanelInfo, bars, lines, number, recent
from lib.promql import Family, counted, in_steps, or_zero, share, total
from lib.tables import Column, listing

HPKP, EXPECT_CT = Family("hpkp_violations"), Family("expect_ct_violations")
EXPECT_STAPLE, SESSIONS = Family("expect_staple_violations"), Family("smtp_tls_sessions")
FAILED = SESSIONS.where('result!="success"')
CERTIFICATES = ("hpkp", "expect-ct", "expect-staple")
MAIL = "smtp-tlsrpt"
BAD = ((None, colors.GOOD), (1, colors.BAD))
RATIO_STEPS = ((None, colors.GOOD), (0.001, colors.WARNING), (0.02, colors.BAD))
NO_MAIL = "No reports of mail senders"


def behind(*kinds):
    """A link to the events of these kinds."""
    return (("Show events", link_to_events(*kinds)),)


def row(*kinds):
    """A link from a row to the events of its site."""
    return (("Show events", link_to_events(*kinds, site="${__data.fields.site}")),)


NUMBERS = (
    number(PanelInfo("Pinned keys that did not match", "A certificate held none of the keys that the client had "
                     "pinned: a third party intercepts the connection, or the pins are wrong. The client did "
                     "not connect.",
                     behind("hpkp"), width=6, height=4), or_zero(total(counted(HPKP))), *BAD),
    number(PanelInfo("Certificates without transparency", "Expect-CT: a certificate without proof that it was "
                     "logged.", behind("expect-ct"), width=6, height=4),
           or_zero(total(counted(EXPECT_CT))), *BAD),
    number(PanelInfo("Bad stapled responses", "Expect-Staple: a server stapled no OCSP response to its "
                     "certificate, or an invalid one.", behind("expect-staple"), width=6, height=4),
           or_zero(total(counted(EXPECT_STAPLE))), *BAD),
    number(PanelInfo("Mail sessions that failed", "The share of SMTP sessions in which TLS failed, as "
                     "mail senders report once a day.", behind(MAIL), unit="percentunit", no_data=NO_MAIL,
                     width=6, height=4),
           share(counted(FAILED), counted(SESSIONS)), *RATIO_STEPS),
)

WEB = (
    bars(PanelInfo("Certificate failures over time", "If a jump follows a new certificate, the certificate is the "
                   "cause.", behind(*CERTIFICATES), width=24),
         (total(in_steps(HPKP)), "pinning"), (total(in_steps(EXPECT_CT)), "transparency"),
         (total(in_steps(EXPECT_STAPLE)), "stapling")),
    listing(PanelInfo("Pinning, by site", "Sites whose pinned keys did not match. The event names the "
                      "certificate's issuer and its keys.", row("hpkp"), width=6), ("site",),
            Column("Failures", total(counted(HPKP), "site"))),
    listing(PanelInfo("Transparency, by site", "Sites without proof of logging, and whether the client "
                      "did not connect (enforce).", row("expect-ct"), width=8), ("site", "disposition"),
            Column("Failures", total(counted(EXPECT_CT), "site", "disposition"))),
    listing(PanelInfo("Stapling, by site", "Whether a response was stapled, and its status of the certificate.",
                      row("expect-staple"), width=10), ("site", "response_status", "cert_status"),
            Column("Failures", total(counted(EXPECT_STAPLE), "site", "response_status", "cert_status"))),
)

POST = (
    bars(PanelInfo("Mail sessions by result", "Sessions in the reports of mail senders, which arrive once a "
                   "day, so bars come in bursts.", behind(MAIL)),
         (total(in_steps(SESSIONS), "result"), "{{result}}"), colors={"success": colors.GOOD}),
    lines(PanelInfo("Mail sessions that fail, by site", "The share of sessions in which TLS failed, over the "
                    "day before each point.", (("Show events", link_to_events(
                        MAIL, site="${__field.labels.site}")),), unit="percentunit", no_data=NO_MAIL),
          (share(counted(FAILED, "1d"), counted(SESSIONS, "1d"), "site"), "{{site}}"),
          steps=RATIO_STEPS).interval("30m"),
    listing(PanelInfo("Why do mail sessions fail?", "By the site's policy (sts, tlsa or none found) and the "
                      "reason that the senders report.", row(MAIL), width=24), ("site", "policy", "result"),
            Column("Failed sessions", f"{total(counted(FAILED), 'site', 'policy', 'result')} > 0")),
)

EVENTS = (
    recent(PanelInfo("Recent events", "What clients and mail senders reported, the newest first.",
                     behind(*CERTIFICATES, MAIL), width=24, height=12,
                     no_data="No such events in this time range"),
           events(*CERTIFICATES, MAIL)),
)

BOARD = Board("lookoutd-transport", "lookoutd: transport security",
              "Pinned keys, certificate transparency, stapling, and TLS between mail servers.",
              (("Is anything rejected?", NUMBERS), ("What is wrong with certificates?", WEB),
               ("Is mail encrypted?", POST), ("Which exactly?", EVENTS)), of_reports(), time="now-7d")
