"""Content Security Policy: what is blocked, what is new, and what the next policy would block."""

from lib import colors
from lib.board import Board, of_reports
from lib.logs import EQUAL, MATCHES, NOT_EQUAL, events, link_to_events, live_page
from lib.panels import PanelInfo, bars, linked, number, ranking, recent
from lib.promql import CLIENTS, CSP, ENFORCED, FINDINGS, REPORT_ONLY, Family, counted, in_steps, most, new_since_yesterday, or_zero, share, total
from lib.tables import Column, listing

KIND = "csp-violation"
WITH_NOISE = Family("csp_violations")
THING = ("site", "directive", "blocked")
# A keyword or the beginning of the URL, and no longer host. No event has `other`, `other-scheme` and `none`.
OF_DIRECTIVE = ("csp.effective_directive", EQUAL, "${__data.fields.directive}")
OF_BLOCKED = ("csp.blocked_url", MATCHES, ".*${__data.fields.blocked}([^a-zA-Z0-9.-].*)?")


def row():
    """The links of a row."""
    site = "${__data.fields.site}"
    return (("Show events", link_to_events(KIND, site=site, where=(OF_DIRECTIVE, OF_BLOCKED))),
            ("All events of this site and directive", link_to_events(KIND, site=site, where=(OF_DIRECTIVE,))),
            ("Findings on the live page", live_page(kind=KIND)))


def series(label, attribute):
    """A link from a series of a graph to its events."""
    return (("Show events", link_to_events(KIND, where=((attribute, EQUAL, f"${{__field.labels.{label}}}"),))),)


def of_disposition(value):
    """A link to all violations of one disposition. An event without a disposition has none."""
    return (("Show events", link_to_events(KIND, where=(("csp.disposition", EQUAL, value),))),)


def numbers():
    """The row of numbers."""
    every = (("All violations", link_to_events(KIND)),)
    return (
        number(PanelInfo("Blocked", "Violations of enforced policies: the browser blocked something, and the page may be broken.",
                         of_disposition("enforce"), width=4, height=4),
               or_zero(total(counted(CSP.where(*ENFORCED)))), (None, colors.GOOD), (1, colors.WARNING)),
        number(PanelInfo("Clients affected", "Clients on whose pages an enforced policy of any kind blocked something, "
                         "each counted once in 5 minutes.", of_disposition("enforce"), width=4, height=4),
               or_zero(total(counted(CLIENTS.where('what="enforced"')))), (None, colors.GOOD), (1, colors.WARNING)),
        number(PanelInfo("Would be blocked", "Violations of report-only policies, and of policies of an unknown disposition.",
                         of_disposition("report"), width=4, height=4),
               or_zero(total(counted(CSP.where('disposition!="enforce"'))))),
        number(PanelInfo("Blocked origins", "Different origins and keywords that were, or would be, blocked.",
                         every, width=4, height=4),
               or_zero(f"count({total(counted(CSP), 'blocked')}>0)")),
        number(PanelInfo("New problems", "Findings about CSP: reported for the first time. While a site is learned, everything is new.",
                         (("Show events", link_to_events(KIND, where=(("lookout.new", EQUAL, "true"),))),), width=4, height=4),
               or_zero(total(counted(FINDINGS.where(f'kind="{KIND}"'))))),
        number(PanelInfo("Share of noise", "The share of violations with a cause outside the site: browser add-ons, proxies, bots. "
                         "The variable Noise does not affect it.",
                         (("Show noise", link_to_events(KIND, where=(("lookout.noise", NOT_EQUAL, "none"),))),),
                         unit="percentunit", no_data="No violations yet", width=4, height=4),
               share(counted(WITH_NOISE.where('noise!="none"')), counted(WITH_NOISE))),
    )


def over_time():
    """Since when."""
    return (
        linked(bars(PanelInfo("Violations by disposition", "enforce: blocked; report: would have been blocked; unknown: the report "
                              "does not state it.", series("disposition", "csp.disposition")),
                    (total(in_steps(CSP), "disposition"), "{{disposition}}"), colors=colors.DISPOSITION),
               "unknown", *of_disposition("")),
        bars(PanelInfo("Violations by directive", "Which part of the policy was violated. A jump on one directive is often a "
                       "deployment.", series("directive", "csp.effective_directive")), *most(CSP, "directive"), others=link_to_events(KIND)),
    )


def what():
    """What is blocked."""
    would, already = total(counted(CSP.where(*REPORT_ONLY)), *THING), total(counted(CSP.where(*ENFORCED)), *THING)
    return (
        listing(PanelInfo("What is blocked, and where?", "The most frequent violations. The origin `other`: the series quota was "
                          "used up.", row(), width=16, height=10),
                (*THING, "disposition"), Column("Violations", total(counted(CSP), *THING, "disposition"))),
        ranking(PanelInfo("Violations by noise class", "The cause outside the site; none: no such cause is known. The variable Noise "
                          "does not affect it.", series("noise", "lookout.noise"), width=8, height=10),
                total(counted(WITH_NOISE), "noise"), "{{noise}}"),
        listing(PanelInfo("New since yesterday", "Seen in the last 24 hours, but not in the week before.", row(),
                          no_data="Nothing new since yesterday", width=24, height=8),
                (*THING, "disposition"), Column("Violations", new_since_yesterday(CSP, *THING, "disposition"))),
        listing(PanelInfo("What would enforcing the report-only policy block?", "Violations of report-only policies that no enforced "
                          "policy blocks already. Allow or remove each before you enforce the policy.", row(),
                          no_data="Nothing that is not already blocked", width=24, height=7), THING,
                Column("Violations", f"({would}>0 unless {already}>0)")),
    )


def board():
    """The board."""
    newest = recent(PanelInfo("Newest violations", "One line for each violation. Its fields contain the page, the source and the "
                              "policy.", (("In Explore", link_to_events(KIND)),), unit="none", width=24, height=9,
                              no_data="No violations in this time range"), events(KIND))
    return Board("lookoutd-csp", "lookoutd: Content Security Policy",
                 "What policies block or would block, by site, directive and origin.",
                 (("How much?", numbers()), ("Since when?", over_time()), ("What?", what()),
                  ("Which exactly?", (newest,))), of_reports())
