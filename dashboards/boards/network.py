"""Network Error Logging: do users reach the sites, and where do requests fail?"""

from lib import colors
from lib.board import Board, of_reports
from lib.logs import EQUAL, NOT_EQUAL, events, link_to_events, live_page
from lib.panels import PanelInfo, bars, lines, number, ranking, recent
from lib.promql import CLIENTS, REQUESTS, SITE, counted, filtered, in_steps, most, or_zero, share, total
from lib.tables import Column, listing

KIND = "network-error"
FAILED = REQUESTS.where('outcome!="ok"')
SUCCEEDED = REQUESTS.where('outcome="ok"')
RECEIVED = filtered("network_reports")
FAILURE = ("nel.type", NOT_EQUAL, "ok")
RATIO_STEPS = ((None, colors.BAD), (0.95, colors.WARNING), (0.99, colors.GOOD))
BUCKETS = f"lookout_network_request_duration_seconds_bucket{{{SITE}}}"
NOT_SAMPLED = "No network reports yet: is a NEL header set?"


def quantile(of):
    """A quantile of the durations, by phase."""
    return f"histogram_quantile({of},sum by(le,phase)(rate({BUCKETS}[$__rate_interval])))>=0"


def numbers():
    """The row of numbers."""
    failures, every = (("Show failures", link_to_events(KIND, where=(FAILURE,))),), (("Show events", link_to_events(KIND)),)
    return (
        number(PanelInfo("Success rate", "The share of successful requests, each report weighted by 1/sampling_fraction. "
                         "Without a success_fraction above 0 in the NEL header, browsers report failures only, and this is 0.",
                         failures, unit="percentunit", no_data=NOT_SAMPLED, width=6, height=4),
               share(counted(SUCCEEDED), counted(REQUESTS)), *RATIO_STEPS),
        number(PanelInfo("Failed requests", "Requests that failed, estimated from the reports. This includes requests that the user "
                         "or a script abandoned.", failures, width=6, height=4),
               or_zero(total(counted(FAILED))), (None, colors.GOOD), (1, colors.WARNING)),
        number(PanelInfo("Clients with failures", "Clients with a request that failed, each counted once in 5 minutes.", failures,
                         width=6, height=4),
               or_zero(total(counted(CLIENTS.where('what="network"')))), (None, colors.GOOD), (1, colors.WARNING)),
        number(PanelInfo("Requests for each report", "How many requests a report stands for on average. 1: no sampling; a high "
                         "number: the estimates are rough.", every, unit="none", width=6, height=4, no_data=NOT_SAMPLED),
               f"{total(counted(REQUESTS))}/({total(counted(RECEIVED))}>0)"),
    )


def over_time():
    """Since when."""
    return (
        bars(PanelInfo("Failed requests by site", "Requests that failed, estimated from the reports.",
                       (("Show failures", link_to_events(KIND, site="${__field.labels.site}", where=(FAILURE,))),)),
             *most(FAILED, "site"), others=link_to_events(KIND, where=(FAILURE,))),
        bars(PanelInfo("Failed requests by phase", "Where requests fail: dns: name lookup; connection; application: request and "
                       "response. Estimated.", (("Show failures", link_to_events(
                           KIND, where=(FAILURE, ("nel.phase", EQUAL, "${__field.labels.phase}")))),)),
             (total(in_steps(FAILED), "phase"), "{{phase}}"), colors=colors.PHASE),
    )


def what():
    """What fails."""
    site, failures = "${__data.fields.site}", (("Show failures", link_to_events(KIND, where=(FAILURE,))),)
    return (
        listing(PanelInfo("What fails, and where?", "Failed requests by site, phase and outcome, estimated, and the number of reports "
                          "behind the estimate.", (("Show failures", link_to_events(
                              KIND, site=site, where=(("nel.type", EQUAL, "${__data.fields.outcome}"),))),
                              ("Findings on the live page", live_page(kind=KIND))),
                          no_data="No failures in this time range", width=16, height=10), ("site", "phase", "outcome"),
                Column("Failed requests", total(counted(FAILED), "site", "phase", "outcome"), width=130),
                Column("Reports", total(counted(RECEIVED.where('outcome!="ok"')), "site", "phase", "outcome"))),
        ranking(PanelInfo("Failures by protocol", "A proxy or a load balancer often causes a problem of one protocol alone. none: the "
                          "request ended before a protocol was chosen.", failures, no_data="No failures in this time range",
                          width=8, height=10),
                total(counted(RECEIVED.where('outcome!="ok"')), "protocol"), "{{protocol}}"),
        lines(PanelInfo("How long do requests take?", "Half of the reported requests were faster than the median, all but one in twenty "
                        "faster than the 95 % line. Unweighted, without noise.",
                        (("Show events", link_to_events(KIND)),), unit="s", no_data=NOT_SAMPLED, width=24),
              (quantile(0.5), "{{phase}}, median"), (quantile(0.95), "{{phase}}, 95 %")),
    )


def board():
    """The board."""
    newest = recent(PanelInfo("Newest failures", "One line for each failed request.",
                              (("In Explore", link_to_events(KIND, where=(FAILURE,))),), unit="none", width=24, height=9,
                              no_data="No failures in this time range"), events(KIND, where=(FAILURE,)))
    return Board("lookoutd-network", "lookoutd: network",
                 "Do users reach the sites? Success with sampling corrected, failures by phase and outcome.",
                 (("Do users reach the sites?", numbers()), ("Since when?", over_time()), ("What fails?", what()),
                  ("Which exactly?", (newest,))), of_reports())
