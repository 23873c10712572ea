"""Content Security Policy: what is blocked, what is new, and what the next policy would block."""

from lib import colors
from lib.board import Board, of_reports
from lib.logql import events, link_to_events
from lib.panels import PanelInfo, bars, linked, number, ranking, recent
from lib.promql import (CSP, ENFORCED, REPORT_ONLY, Family, counted, counted_before, in_steps,
                        movement, new_since_yesterday, or_zero, share, total)
from lib.tables import Column, listing

KIND = "csp-violation"
WITH_NOISE = Family("csp_violations")
THING = ("site", "directive", "blocked")
# A keyword or the beginning of the URL, and no longer host. No event has `other`, `other-scheme` and `none`.
OF_DIRECTIVE = 'csp_effective_directive="${__data.fields.directive}"'
OF_BLOCKED = 'csp_blocked_url=~".*${__data.fields.blocked}([^a-zA-Z0-9.-].*)?"'
ROW = (("Show events", link_to_events(KIND, site="${__data.fields.site}",
                                               where=(OF_DIRECTIVE, OF_BLOCKED))),
       ("All events of this site and directive", link_to_events(KIND, site="${__data.fields.site}",
                                                                where=(OF_DIRECTIVE,))))


def series(label, attribute):
    """A link from a series of a graph to its events."""
    return (("Show events", link_to_events(
        KIND, where=(f'{attribute}="${{__field.labels.{label}}}"',))),)


def of_disposition(value):
    """A link to all violations of one disposition. An event without a disposition has none."""
    return (("Show events", link_to_events(KIND, where=(f'csp_disposition="{value}"',))),)


WOULD = total(counted(CSP.where(*REPORT_ONLY)), *THING)
ALREADY = total(counted(CSP.where(*ENFORCED)), *THING)
LAST, BEFORE = total(counted(CSP, "24h"), *THING), total(counted_before(CSP), *THING)
FRESH = new_since_yesterday(CSP, *THING, "disposition")

NUMBERS = (
    number(PanelInfo("Enforced violations", "Browsers blocked something. Users may have missed it.",
                     of_disposition("enforce"), width=4, height=4),
           or_zero(total(counted(CSP.where(*ENFORCED)))), (None, colors.GOOD), (1, colors.WARNING)),
    number(PanelInfo("Report-only violations", "What a report-only policy would have blocked.",
                     of_disposition("report"), width=4, height=4),
           or_zero(total(counted(CSP.where(*REPORT_ONLY))))),
    number(PanelInfo("Unknown disposition", "Legacy report-uri reports that do not state whether the policy was "
                     "enforced. A path that ends in /report-only declares it.",
                     of_disposition(""), width=4, height=4),
           or_zero(total(counted(CSP.where('disposition="unknown"'))))),
    number(PanelInfo("Blocked origins", "The number of different origins and keywords that were blocked.",
                     (("All violations", link_to_events(KIND)),), width=4, height=4),
           or_zero(f"count({total(counted(CSP), 'blocked')} > 0)")),
    number(PanelInfo("New combinations since yesterday", "Combinations of site, directive, origin and "
                     "disposition of the last 24 hours that did not occur in the week before.",
                     (("All violations", link_to_events(KIND)),), width=4, height=4),
           or_zero(f"count({FRESH})"), (None, colors.GOOD), (1, colors.WARNING)),
    number(PanelInfo("Share of noise", "The share of violations with a cause outside the site: browser "
                     "add-ons, proxies, bots. The variable Noise does not affect it.",
                     (("Show noise", link_to_events(KIND, where=('lookout_noise!="none"',))),),
                     unit="percentunit", no_data="No violations", width=4, height=4),
           share(counted(WITH_NOISE.where('noise!="none"')), counted(WITH_NOISE))),
)

OVER_TIME = (
    linked(bars(PanelInfo("Violations by disposition", "Red: blocked; yellow: would have been blocked; "
                          "blue: unknown.", series("disposition", "csp_disposition"), width=8),
                (total(in_steps(CSP), "disposition"), "{{disposition}}"), colors=colors.DISPOSITION),
           "unknown", *of_disposition("")),
    bars(PanelInfo("Violations by directive", "Which part of the policy was violated.",
                   series("directive", "csp_effective_directive"), width=8),
         (total(in_steps(CSP), "directive"), "{{directive}}")),
    bars(PanelInfo("Violations by site", "Violations by site. A jump on one site alone is often a "
                   "deployment.",
                   (("Show events", link_to_events(KIND, site="${__field.labels.site}")),), width=8),
         (total(in_steps(CSP), "site"), "{{site}}")),
)

WHAT = (
    listing(PanelInfo("What is blocked, and where?", "The most frequent violations. The origin `other`: the series "
                      "quota was used up.", ROW, width=16, height=10),
            (*THING, "disposition"),
            Column("Violations", total(counted(CSP), *THING, "disposition"))),
    ranking(PanelInfo("Violations by class of noise", "The cause outside the site; none: no such cause is "
                      "known. The variable Noise does not affect it.",
                      series("noise", "lookout_noise"), width=8, height=10),
            total(counted(WITH_NOISE), "noise"), "{{noise}}", colors=colors.NOISE),
)

MOVED = (
    listing(PanelInfo("New since yesterday", "Seen in the last 24 hours, but not in the week before. The first "
                      "violation of a new kind appears at once.", ROW, no_data="Nothing new since yesterday"),
            (*THING, "disposition"), Column("Violations", FRESH)),
    listing(PanelInfo("Top movers", "The last 24 hours against the 24 hours before, the largest increase first; "
                      "reverse the order of Change for the largest decrease.", ROW,
                      no_data="Nothing changed since yesterday"), THING,
            Column("Change", movement(LAST, BEFORE, *THING),
                   steps=((None, colors.GOOD), (1, colors.WARNING))),
            Column("Last 24 h", LAST, limit=False), Column("24 h before", BEFORE, limit=False)),
    listing(PanelInfo("What would enforcing the report-only policy block?", "Violations of report-only policies "
                      "in this time range that no enforced policy blocks already. Allow or remove each before "
                      "you enforce the policy.", ROW,
                      no_data="Nothing: no report-only violation that is not already blocked",
                      width=24), THING,
            Column("Would be blocked", f"({WOULD} > 0 unless {ALREADY} > 0)")),
)

EVENTS = (
    recent(PanelInfo("Recent violations", "One line for each violation, the newest first. Its fields contain the "
                     "page, the source and the policy.", (("In Explore", link_to_events(KIND)),),
                     width=24, height=12, no_data="No violations in this time range"), events(KIND)),
)

BOARD = Board("lookoutd-csp", "lookoutd: Content Security Policy",
              "What policies block or would block, by site, directive and origin.",
              (("How much?", NUMBERS), ("Since when?", OVER_TIME), ("What?", WHAT),
               ("What is new, and what comes next?", MOVED), ("Which exactly?", EVENTS)), of_reports())
