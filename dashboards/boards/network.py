"""Network Error Logging: do users reach the sites, and where do requests fail?"""

from lib import colors
from lib.board import Board, of_reports
from lib.logql import events, link_to_events
from lib.panels import PanelInfo, bars, durations, lines, number, ranking, recent
from lib.promql import SITE, REQUESTS, counted, filtered, in_steps, or_zero, share, total
from lib.tables import Column, listing

KIND = "network-error"
FAILED = REQUESTS.where('outcome!="ok"')
SUCCEEDED = REQUESTS.where('outcome="ok"')
RECEIVED = filtered("network_reports")
FAILURE = 'nel_type!="ok"'
FAILURES = (("Show failures", link_to_events(KIND, where=(FAILURE,))),)
ALL = (("Show events", link_to_events(KIND)),)
RATIO_STEPS = ((None, colors.BAD), (0.95, colors.WARNING), (0.99, colors.GOOD))
BUCKETS = f"lookout_network_request_duration_seconds_bucket{{{SITE}}}"
NOT_SAMPLED = "No network reports: is a NEL header set?"


def quantile(of):
    """A quantile of the durations, by phase."""
    return f"histogram_quantile({of}, sum by (le, phase) (rate({BUCKETS}[$__rate_interval])))"


def ratio_in_steps():
    """The success ratio of each step, by site."""
    return share(in_steps(SUCCEEDED), in_steps(REQUESTS), "site")


NUMBERS = (
    number(PanelInfo("Requests that succeed", "The share of successful requests, each report weighted by "
                     "1/sampling_fraction. Without a success_fraction above 0 in the NEL header, browsers report "
                     "failures only, and this is 0.", FAILURES, unit="percentunit", no_data=NOT_SAMPLED,
                     width=6, height=4),
           share(counted(SUCCEEDED), counted(REQUESTS)), *RATIO_STEPS),
    number(PanelInfo("Failed requests", "How many requests failed, estimated from the reports: each counts "
                     "1/sampling_fraction. This includes requests that the user or a script abandoned.",
                     FAILURES, width=6, height=4),
           or_zero(total(counted(FAILED))), (None, colors.GOOD), (1, colors.WARNING)),
    number(PanelInfo("Reports received", "Network reports of any outcome, unweighted.", ALL, width=6, height=4),
           or_zero(total(counted(RECEIVED)))),
    number(PanelInfo("Requests for each report", "How many requests a report represents on average. 1: no "
                     "sampling; a high number: the estimates are rough.", ALL, unit="none",
                     width=6, height=4, no_data=NOT_SAMPLED),
           f"{total(counted(REQUESTS))} / ({total(counted(RECEIVED))} > 0)"),
)

OVER_TIME = (
    lines(PanelInfo("How many requests succeed?", "The share of successful requests by site, with sampling "
                    "corrected.", (("Show failures", link_to_events(
                        KIND, site="${__field.labels.site}", where=(FAILURE,))),), unit="percentunit",
                    no_data=NOT_SAMPLED), (ratio_in_steps(), "{{site}}"), steps=RATIO_STEPS).max(1)
    .interval("5m"),
    bars(PanelInfo("Failed requests by phase", "The phase in which requests fail: DNS lookup, connection, or "
                   "request and response. Estimated.", (("Show failures", link_to_events(
                       KIND, where=(FAILURE, 'nel_phase="${__field.labels.phase}"'))),)),
         (total(in_steps(FAILED), "phase"), "{{phase}}"), colors=colors.PHASE),
)

WHAT = (
    listing(PanelInfo("What fails, and where?", "Failed requests by site, phase and outcome, estimated, and the "
                      "number of reports behind the estimate.", (("Show failures", link_to_events(
                          KIND, site="${__data.fields.site}",
                          where=('nel_type="${__data.fields.outcome}"',))),), width=16, height=10),
            ("site", "phase", "outcome"),
            Column("Failed requests", total(counted(FAILED), "site", "phase", "outcome")),
            Column("Reports", total(counted(RECEIVED.where('outcome!="ok"')), "site", "phase", "outcome"))),
    ranking(PanelInfo("Failures by protocol", "A proxy or a load balancer often causes a problem of one protocol "
                      "alone. none: the request ended before a protocol was chosen.", FAILURES, width=8, height=10),
            total(counted(RECEIVED.where('outcome!="ok"')), "protocol"), "{{protocol}}"),
)

SLOW = (
    durations(PanelInfo("How long did the reported requests take?", "A darker cell means more requests. "
                        "Reports are not weighted here, so failures are overrepresented. Noise and the first report of a "
                        "site and phase are not included.", ALL,
                        no_data=NOT_SAMPLED),
              f"sum by (le) (increase({BUCKETS}[$__rate_interval]))"),
    lines(PanelInfo("Durations by phase", "Half of the reported requests were faster than the median, all but "
                    "one in twenty faster than the 95 % line.", ALL, unit="s", no_data=NOT_SAMPLED),
          (quantile(0.5), "{{phase}}, median"), (quantile(0.95), "{{phase}}, 95 %")),
)

EVENTS = (
    recent(PanelInfo("Recent failures", "One line for each failed request, the newest first.", FAILURES,
                     width=24, height=12, no_data="No failures in this time range"),
           events(KIND, where=(FAILURE,))),
)

BOARD = Board("lookoutd-network", "lookoutd: network",
              "Do users reach the sites? Success with sampling corrected, failures by phase and outcome.",
              (("Do users reach the sites?", NUMBERS), ("Since when?", OVER_TIME), ("What fails?", WHAT),
               ("How slow is it?", SLOW), ("Which exactly?", EVENTS)), of_reports())
