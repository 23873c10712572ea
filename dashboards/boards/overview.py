"""All sites and all kinds of reports: what is wrong now, and what changed since yesterday."""

from lib import colors
from lib.board import Board, of_reports
from lib.logql import events, link_to_events
from lib.panels import PanelInfo, bars, number, ranking, recent
from lib.promql import (CSP, ENFORCED, REPORTS, REQUESTS, by_kind, counted, counted_before,
                        filtered, grown, in_steps, movement, new_since_yesterday, or_zero, share, total)
from lib.tables import Column, listing

UID = "lookoutd-overview"
ALL = ("Show events", link_to_events())
OF_SITE = "/d/{uid}?var-site=${{__data.fields.site}}&${{metrics:queryparam}}&${{logs:queryparam}}" \
          "&${{noise:queryparam}}&${{__url_time_range}}"


def to_board(title, uid):
    """A link from a row about a site to that site on another board."""
    return title, OF_SITE.format(uid=uid)


def changes(window_of):
    """Reports of one day by site and kind."""
    return f"({by_kind(window_of, 'site')})"


def day(family):
    """The last day."""
    return counted(family, "24h")


NOW, BEFORE = changes(day), changes(counted_before)
CRASHES = filtered("crashes")
SUCCESS = share(counted(REQUESTS.where('outcome="ok"')), counted(REQUESTS))
NEW = " + ".join(f"({or_zero(f'count({new_since_yesterday(family, *by)})')})"
                 for family, by in ((CSP, ("site", "directive", "blocked")),
                                    (filtered("deprecations"), ("site", "id")),
                                    (filtered("interventions"), ("site", "id"))))
CLIENTS = filtered("affected_clients")
FINDINGS = filtered("new_findings").where('clients="1"')
LOST = 'sum(increase(lookout_events_total{outcome=~"rejected|dropped_.+"}[$__range]))'

NUMBERS = (
    number(PanelInfo("Reports taken", "How many reports were accepted in this time range. The variable Noise "
                     "filters all but those about certificates, mail, and of the kinds test and other.", (ALL,), width=4, height=4),
           or_zero(f"sum({by_kind(counted)})")),
    number(PanelInfo("Enforced violations", "CSP violations in which a browser blocked something. Users may "
                     "have missed it.",
                     (("Show events", link_to_events(
                         "csp-violation", where=('csp_disposition="enforce"',))),), width=4, height=4),
           or_zero(total(counted(CSP.where(*ENFORCED)))), (None, colors.GOOD), (1, colors.WARNING)),
    number(PanelInfo("Crashes", "Pages that crashed. The user lost everything typed into them.",
                     (("Show events", link_to_events("crash")),), width=4, height=4),
           or_zero(total(counted(CRASHES))), (None, colors.GOOD), (1, colors.BAD)),
    number(PanelInfo("Requests that succeed", "The share of successful requests among those that browsers "
                     "reported on, each weighted by 1/sampling_fraction. It needs a success_fraction above 0 in "
                     "the site's NEL header.",
                     (("Show failures", link_to_events("network-error", where=('nel_type!="ok"',))),),
                     unit="percentunit", no_data="No network reports", width=4, height=4),
           SUCCESS, (None, colors.BAD), (0.95, colors.WARNING), (0.99, colors.GOOD)),
    number(PanelInfo("New since yesterday", "Blocked origins, deprecated features and interventions of the last "
                     "24 hours that did not occur in the week before. The tables on the boards list them.", (ALL,),
                     width=4, height=4),
           NEW, (None, colors.GOOD), (1, colors.WARNING)),
    number(PanelInfo("Events lost", "Events that were rejected or dropped, at any exporter. The "
                     "counters above include them.",
                     (("Show outcomes", "/d/lookoutd-internals?${metrics:queryparam}&${__url_time_range}"),),
                     width=4, height=4, no_data="lookoutd is not scraped"),
           LOST, (None, colors.GOOD), (1, colors.BAD)),
)

CHANGED = (
    bars(PanelInfo("Reports by kind", "Reports in each step of the graph. Look for a new color or a "
                   "jump. other: types without a separate kind; its events are only in the list "
                   "of all events.",
                   (("The events of this kind", link_to_events(
                       where=('browser_report_type=~"${__field.labels.kind}"',))),)),
         (f"{by_kind(in_steps)}", "{{kind}}")),
    bars(PanelInfo("Reports by site", "Reports in each step of the graph, by site.",
                   (("The events of this site", link_to_events(site="${__field.labels.site}")),)),
         (f"sum by (site) ({by_kind(in_steps, 'site')})", "{{site}}")),
    bars(PanelInfo("Clients by what happened", "Clients in each step of the graph, each counted once in 5 minutes for "
                   "a site and what happened to it, however many reports it sends.", (ALL,)),
         (f"sum by (what) (increase({CLIENTS.counter}[$__interval]))", "{{what}}")),
    listing(PanelInfo("New findings", "Distinct problems that were reported for the first time, by site, kind and what "
                      "they are. runs: foreign code in the page; exfiltrates: data that leaves it.",
                      (("Show events", link_to_events(site="${__data.fields.site}",
                                                      where=('lookout_new="true"',))),),
                      no_data="Nothing new in this time range"), ("site", "kind", "disposition", "class"),
            Column("Findings", total(grown(FINDINGS), "site", "kind", "disposition", "class") + " > 0",
                   steps=((None, colors.GOOD), (1, colors.WARNING)))),
    listing(PanelInfo("What changed since yesterday?", "Reports of the 24 hours up to the end of the time range, "
                      "against the 24 hours before. Positive: more than the day before.",
                      (("Show events", link_to_events(
                          site="${__data.fields.site}",
                          where=('browser_report_type=~"${__data.fields.kind}"',))),),
                      no_data="Nothing changed since yesterday"), ("site", "kind"),
            Column("Change", movement(NOW, BEFORE, "site", "kind"),
                   steps=((None, colors.GOOD), (1, colors.WARNING))),
            Column("Last 24 h", NOW, limit=False), Column("24 h before", BEFORE, limit=False)),
    listing(PanelInfo("Sites", "Each site with its most severe problems. A site's name links to the boards.",
                      (to_board("Its CSP violations", "lookoutd-csp"),
                       to_board("Its network errors", "lookoutd-network"),
                       to_board("Its use of the platform", "lookoutd-platform"),
                       ("Its events", link_to_events(site="${__data.fields.site}")))), ("site",),
            Column("Reports", f"sum by (site) ({by_kind(counted, 'site')})"),
            Column("Enforced", total(counted(CSP.where(*ENFORCED)), "site"),
                   steps=((None, "text"), (1, colors.WARNING))),
            Column("Network failures", total(counted(REQUESTS.where('outcome!="ok"')), "site"),
                   steps=((None, "text"), (1, colors.WARNING))),
            Column("Crashes", total(counted(CRASHES), "site"), steps=((None, "text"), (1, colors.BAD)))),
)

EVENTS = (
    ranking(PanelInfo("Browsers", "Which browsers send the reports. A problem in only one browser is often "
                      "caused by that browser. The variable Noise does not affect it.",
                      (("The events of this browser", link_to_events(
                          where=('user_agent_name="${__field.labels.browser}"',))),), width=6, height=10),
            total(counted(REPORTS), "browser"), "{{browser}}"),
    recent(PanelInfo("Newest errors", "Events of severity ERROR, without noise: an enforced policy, a crash "
                     "or a key that does not match affected a user.",
                     (("All events", link_to_events()),), width=18, height=10,
                     no_data="No errors in this time range"),
           events(where=('severity_text="ERROR"',))),
)

BOARD = Board(UID, "lookoutd: overview", "What browsers report about all sites, and what changed.",
              (("How are the sites?", NUMBERS), ("What changed?", CHANGED), ("Which browsers and errors?", EVENTS)),
              of_reports())
