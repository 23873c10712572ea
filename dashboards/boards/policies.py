"""Everything but CSP and network errors: other policies, deprecated features, crashes, certificates, mail."""

from lib import colors
from lib.board import Board, of_reports
from lib.logs import EQUAL, events, link_to_events, live_page
from lib.panels import PanelInfo, bars, number, ranking, recent
from lib.promql import Family, counted, filtered, in_steps, most, or_zero, share, total
from lib.tables import Column, listing

# All families that the other boards do not show, without mail, whose many sessions would hide the others.
OTHERS = Family('!~"reports|csp_violations|network.+|affected.+|new_findings|smtp.+"')
PERMISSIONS = ("permissions-policy-violation", "potential-permissions-policy-violation")
CERTIFICATES = ("hpkp", "expect-ct", "expect-staple")
MAIL = "smtp-tlsrpt"
SESSIONS = Family("smtp_tls_sessions")
CRASHES = filtered("crashes")


def row(kind, *more, where=()):
    """The links of a row about a site and kinds."""
    return (("Show events", link_to_events(kind, *more, site="${__data.fields.site}", where=where)),
            ("Findings on the live page", live_page(kind=kind)))


def table(title, description, family, labels, *kinds, width=12, height=8, where=()):
    """A table of one family."""
    return listing(PanelInfo(title, description, row(*kinds, where=where), width=width, height=height), ("site", *labels),
                   Column("Reports", total(counted(family), "site", *labels)))


def figure(title, description, expression, kinds, *steps, **more):
    """A number about these kinds."""
    return number(PanelInfo(title, description, (("Show events", link_to_events(*kinds)),), width=6, height=4, **more),
                  expression, *steps)


def numbers():
    """What is always shown."""
    return (
        figure("Deprecated features in use", "Features that pages use and browsers will remove.",
               or_zero(f"count({total(counted(filtered('deprecations')), 'id')}>0)"), ("deprecation",),
               (None, colors.GOOD), (1, colors.WARNING)),
        figure("Page crashes", "Pages that crashed. The user lost everything typed into them.", or_zero(total(counted(CRASHES))),
               ("crash",), (None, colors.GOOD), (1, colors.BAD)),
        figure("Certificate problems", "Connections whose certificate the client did not accept or found without proof: pinned keys, "
               "Expect-CT, Expect-Staple.", or_zero(total(counted(Family('=~"hpkp.+|expect.+"')))), CERTIFICATES,
               (None, colors.GOOD), (1, colors.BAD)),
        figure("Mail sessions that failed", "The share of SMTP sessions in which TLS failed, as mail senders report once a day.",
               share(counted(SESSIONS.where('result!="success"')), counted(SESSIONS)), (MAIL,),
               (None, colors.GOOD), (0.001, colors.WARNING), (0.02, colors.BAD), unit="percentunit",
               no_data="No reports of mail senders yet"),
        bars(PanelInfo("Reports by family", "Reports in each step of the graph, except those about CSP, the network and mail.",
                       (("Show events", link_to_events()),), width=24), *most(OTHERS, "family"), others=link_to_events()),
    )


def board():
    """The board."""
    feature = (("permissions_policy.feature", EQUAL, "${__data.fields.feature}"),)
    identified = {kind: ((f"{kind}.id", EQUAL, "${__data.fields.id}"),) for kind in ("deprecation", "intervention")}
    rows = (
        ("Is there anything?", numbers()),
        ("+Deprecated features and interventions", (
            table("Which deprecated features are in use?", "Each will stop working when browsers remove it. The event contains the line "
                  "of the script.", filtered("deprecations"), ("id",), "deprecation", width=24, height=7, where=identified["deprecation"]),
            table("Where do browsers intervene?", "Actions that browsers blocked or changed, to protect the user.",
                  filtered("interventions"), ("id",), "intervention", width=24, height=6, where=identified["intervention"]))),
        ("+Crashes", (
            bars(PanelInfo("Crashes by reason", "oom: out of memory; unresponsive: the page hung; none: the browser sent no reason.",
                           (("Show events", link_to_events("crash")),)), (total(in_steps(CRASHES), "reason"), "{{reason}}")),
            table("Where do pages crash?", "A crash in the background (hidden) affects the user less than a visible one.", CRASHES,
                  ("reason", "visibility"), "crash"))),
        ("+Permissions and document policies", (
            table("Permissions policy", "Features that a page or a frame used without permission. potential: a frame requests a feature "
                  "that it will not get.", filtered("permissions_policy_violations"), ("feature", "potential", "disposition"),
                  *PERMISSIONS, where=feature),
            table("Document policy", "Features that the page's document policy forbids.", filtered("document_policy_violations"),
                  ("feature", "disposition"), "document-policy-violation"))),
        ("+Cross-origin isolation", (
            table("Cross-origin embedder policy (COEP)", "Cross-origin resources that do not allow being embedded.",
                  filtered("coep_violations"), ("violation", "destination", "blocked", "disposition"), "coep", width=24),
            table("Cross-origin opener policy (COOP)", "Windows that were, or would be, separated from their opener.",
                  filtered("coop_violations"), ("violation", "policy", "disposition"), "coop", width=24, height=6),
            table("Document isolation policy", "Resources that an isolated page may not embed.", filtered("dip_violations"),
                  ("destination", "blocked", "disposition"), "dip", width=24, height=6))),
        ("+Integrity and connections", (
            table("Integrity policy", "Scripts and styles without the integrity metadata that the policy requires.",
                  filtered("integrity_violations"), ("destination", "blocked", "disposition"), "integrity-violation"),
            table("Connection allowlist", "Connections to destinations outside the allowlist: where data went, or would have gone.",
                  filtered("connection_allowlist_violations"), ("blocked", "disposition"), "connection-allowlist"),
            table("Web application integrity (WAICT)", "Resources that the page's manifest does not cover, and manifests that could not "
                  "be used.", filtered("waict_violations"), ("reason", "disposition"), "waict-violation"),
            ranking(PanelInfo("Script hashes", "With report-sha256 in a policy, browsers report the hash of each script: an inventory, "
                              "not a problem. The events name the scripts.", (("Show events", link_to_events("csp-hash")),)),
                    total(counted(filtered("csp_hashes")), "site", "destination"), "{{site}}, {{destination}}"))),
        ("+Certificates and mail", (
            table("Pinned keys that did not match", "A third party intercepts the connection, or the pins are wrong. The event names "
                  "the certificate's issuer and its keys.", Family("hpkp_violations"), (), "hpkp", width=6),
            table("Certificates without transparency", "Expect-CT: no proof that the certificate was logged. enforce: the client did "
                  "not connect.", Family("expect_ct_violations"), ("disposition",), "expect-ct", width=8),
            table("Missing or bad OCSP responses", "Expect-Staple: whether a response was stapled, and its status of the certificate.",
                  Family("expect_staple_violations"), ("response_status", "cert_status"), "expect-staple", width=10),
            bars(PanelInfo("Mail sessions by result", "Sessions in the reports of mail senders, which arrive once a day.",
                           (("Show events", link_to_events(MAIL)),)), *most(SESSIONS, "result"), others=link_to_events(MAIL), colors={"success": colors.GOOD}),
            listing(PanelInfo("Why do mail sessions fail?", "By the site's policy (sts, tlsa or none found) and the reason that the "
                              "senders report.", row(MAIL), no_data="No mail session failed"), ("site", "policy", "result"),
                    Column("Failed sessions", total(counted(SESSIONS.where('result!="success"')), "site", "policy", "result"))))),
        ("Which exactly?", (
            recent(PanelInfo("Newest events", "Reports of the kinds on this board.", (("In Explore", link_to_events()),), unit="none",
                             width=24, height=9, no_data="No such events in this time range"),
                   events("deprecation", "intervention", "crash", "coep", "coop", "dip", "integrity-violation", "connection-allowlist",
                          "waict-violation", "document-policy-violation", *PERMISSIONS, *CERTIFICATES, MAIL)),)),
    )
    return Board("lookoutd-policies", "lookoutd: other policies",
                 "Deprecated features, crashes, policies other than CSP, certificates and mail.", rows, of_reports(), time="now-7d")
