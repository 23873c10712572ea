"""All sites and all kinds of reports: what is wrong now, and what changed since yesterday."""

from lib import colors
from lib.board import Board, of_reports
from lib.logs import EQUAL, MATCHES, NOT_EQUAL, events, link_to_events, live_page
from lib.panels import PanelInfo, alerts, bars, number, ranking, recent
from lib.promql import (CLIENTS, CSP, ENFORCED, FINDINGS, REPORTS, REQUESTS, SITE, counted, day, filtered, in_steps,
                        most, or_zero, share, total)
from lib.tables import Column, listing

UID = "lookoutd-overview"
LEARNING = f"lookout_findings_learning{{{SITE}}}"
UNTIL, SLACK = "dateTimeFromNow", 1800  # the steps of the query of the first time
OTHER = ',what="other",noise="none"'
WARNED = ((None, "text"), (1, colors.BAD))
OF_SITE = "/d/{uid}?var-site=${{__data.fields.site}}&${{metrics:queryparam}}&${{logs:queryparam}}" \
          "&${{noise:queryparam}}&${{__url_time_range}}"


def learned(name, hours, matchers="", value=""):
    """Until when sites are learned: these hours from when Prometheus had the series first, if that is to come."""
    series = f'timestamp({name}{{{SITE},site!~"unknown|other"{matchers}}}{value})'
    return (f"1000*((min by(site)(min_over_time({series}[{hours}h:30m]) or {series})+{hours}*3600)>time()+{SLACK})")


def to_board(title, uid):
    """A link from a row about a site to that site on another board."""
    return title, OF_SITE.format(uid=uid)


def numbers():
    """The row of numbers."""
    every = ("Show events", link_to_events())
    return (
        number(PanelInfo("Reports", "Reports accepted in this time range, of all kinds and noise classes.", (every,), width=4, height=4),
               or_zero(total(counted(REPORTS)))),
        number(PanelInfo("Clients affected", "Clients on whose pages an enforced policy blocked something. A client "
                         "is an address and counts once in 5 minutes.",
                         (("Show events", link_to_events("csp-violation", where=(("csp.disposition", EQUAL, "enforce"),))),),
                         width=4, height=4),
               or_zero(total(counted(CLIENTS.where('what="enforced"')))), (None, colors.GOOD), (1, colors.WARNING)),
        number(PanelInfo("Page crashes", "Pages that crashed. The user lost everything typed into them.",
                         (("Show events", link_to_events("crash")),), width=4, height=4),
               or_zero(total(counted(filtered("crashes")))), (None, colors.GOOD), (1, colors.BAD)),
        number(PanelInfo("Success rate", "The share of successful requests, estimated from network reports. It needs a "
                         "success_fraction above 0 in the site's NEL header.",
                         (("Show failures", link_to_events("network-error", where=(("nel.type", NOT_EQUAL, "ok"),))),),
                         unit="percentunit", no_data="No network reports yet", width=4, height=4),
               share(counted(REQUESTS.where('outcome="ok"')), counted(REQUESTS)),
               (None, colors.BAD), (0.95, colors.WARNING), (0.99, colors.GOOD)),
        number(PanelInfo("New problems", "Findings: distinct problems reported for the first time. While a site is learned, "
                         "everything is new.", (("Show events", link_to_events(where=(("lookout.new", EQUAL, "true"),))),),
                         width=4, height=4),
               or_zero(total(counted(FINDINGS)))),
        number(PanelInfo("Sites in learning", "Sites in their first 24 hours, in which old problems also count as new. Alerts "
                         "about new problems wait for them.", (every,), width=4, height=4, no_data="No site yet"),
               f"count(max by(site)({LEARNING})==1) or {or_zero('0*max(' + LEARNING + ')')}", (None, colors.GOOD), (1, "blue")),
    )


def wrong():
    """What needs attention."""
    return (
        alerts(PanelInfo("Alerts", "Alerts of lookoutd's rules that fire, or will if their cause lasts.",
                         (("Show events", link_to_events()),), unit="none", no_data="No alert", width=8, height=9)),
        listing(PanelInfo("New problems by site and kind", "Findings in this time range. runs: foreign code in the page; exfiltrates: "
                          "data that leaves it. The live page lists each with a sample.",
                          (("Findings on the live page", live_page(kind="${__data.fields.kind}")),
                           ("Show events", link_to_events(site="${__data.fields.site}",
                                                          where=(("lookout.new", EQUAL, "true"),)))),
                          no_data="Nothing new in this time range", width=16, height=9),
                ("site", "kind", "disposition", "class"),
                Column("Findings", total(counted(FINDINGS), "site", "kind", "disposition", "class"))),
    )


def reported():
    """What is reported, by kind, by site and by browser."""
    every = (("Show events", link_to_events()),)
    return (
        bars(PanelInfo("Reports by kind", "Reports in each step of the graph. Look for a new color or a jump.",
                       (("The events of this kind", link_to_events(
                           where=(("browser.report.type", MATCHES, "${__field.labels.kind}"),))),)), *most(REPORTS, "kind"), others=link_to_events()),
        bars(PanelInfo("Clients by what happened", "Each client counts once in 5 minutes for a site and what happened, however many "
                       "reports it sends. network_ok: a request that succeeded.", every),
             (total(in_steps(CLIENTS), "what"), "{{what}}"), colors=colors.WHAT),
        listing(PanelInfo("Sites", "Each site with its reports and worst problems in this time range.",
                          (to_board("Its CSP violations", "lookoutd-csp"), to_board("Its network errors", "lookoutd-network"),
                           to_board("Its other reports", "lookoutd-policies"), ("Findings on the live page", live_page()),
                           ("Its events", link_to_events(site="${__data.fields.site}"))), width=16, height=9), ("site",),
                Column("Reports", total(counted(REPORTS), "site")),
                Column("Blocked", total(counted(CSP.where(*ENFORCED)), "site"), steps=WARNED),
                Column("Failed requests", total(counted(REQUESTS.where('outcome!="ok"')), "site"), steps=WARNED, width=130),
                Column("Crashes", total(counted(filtered("crashes")), "site"), steps=((None, "text"), (1, colors.BAD)))),
        ranking(PanelInfo("Browsers", "Which browsers send the reports. A problem in only one browser is often caused by it.",
                          (("The events of this browser", link_to_events(
                              where=(("user_agent.name", EQUAL, "${__field.labels.browser}"),))),), width=8, height=9),
                total(counted(REPORTS), "browser"), "{{browser}}"),
    )


def changed():
    """What changed since yesterday, and the newest errors."""
    now, before, both = (total(count, "site", "kind") for count in (
        day(REPORTS), day(REPORTS, before=True), counted(REPORTS, "2d")))
    return (
        listing(PanelInfo("What changed since yesterday?", "Reports of the last 24 hours against the 24 hours before; the greatest "
                          "increase first.",
                          (("Show events", link_to_events(site="${__data.fields.site}", where=(
                              ("browser.report.type", MATCHES, "${__data.fields.kind}"),))),),
                          no_data="Nothing changed since yesterday", height=10), ("site", "kind"),
                Column("Change", f"sort_desc(({both}-2*{before} or {both})!=0)", limit=False, steps=((None, "text"),), width=90),
                Column("Last 24 h", now, limit=False, width=95), Column("24 h before", before, limit=False, width=110)),
        listing(PanelInfo("Which sites are being learned, and until when?", "Works at once: LookoutOutage where success_fraction is "
                          "set, LookoutNetworkFailing where most requests fail, the alerts about lookoutd. Later: all comparisons "
                          "with usual clients, new findings, LookoutSiteSilent (weekly pattern: on the days after).",
                          (("Show events", link_to_events(site="${__data.fields.site}")),), unit=UNTIL,
                          no_data="None: all alerts work", height=10), ("site",),
                Column("Weekly pattern", learned("lookout_affected_clients_total", 169, OTHER), unit=UNTIL, limit=False, width=140),
                Column("Usual clients", learned("lookout_affected_clients_total", 20, OTHER), unit=UNTIL, limit=False, width=140),
                Column("New findings", learned("lookout_findings_learning", 48, value="==1"), unit=UNTIL, limit=False, width=140)),
        recent(PanelInfo("Newest errors", "Events of severity ERROR, without noise: an enforced policy, a crash or a wrong key "
                         "affected a user.", (("All events", link_to_events()),), unit="none", width=24, height=9,
                         no_data="No errors in this time range"),
               events(where=(("severity_text", EQUAL, "ERROR"),))),
    )


def board():
    """The board."""
    return Board(UID, "lookoutd: overview", "What browsers report about all sites, and what changed.",
                 (("How are the sites?", numbers()), ("What is wrong?", wrong()), ("What is reported?", reported()),
                  ("What changed?", changed())), of_reports())
