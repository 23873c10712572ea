"""The daemon's own metrics: intake, delivery, spool, series and process."""

import re

from lib import colors
from lib.board import Board, of_processes
from lib.logql import EVENTS as ALL_EVENTS
from lib.logql import explore, link_to_series
from lib.panels import PanelInfo, durations, lines, number, ranking, recent
from lib.promql import total
from lib.tables import Column, listing

HERE = 'instance=~"$instance"'
DOWN = "lookoutd is not scraped"
RATE, RANGE = "$__rate_interval", "$__range"
DELIVERED = (("The events that arrived", explore("${logs}", "loki", ALL_EVENTS)),)
FULL = ((None, colors.GOOD), (0.75, colors.WARNING), (0.9, colors.BAD))
# A link may not hold a regular expression with escapes, so it takes the names as they are.
INSTANCES = 'instance=~"${instance:pipe}"'
SUM = re.compile(r"\bsum (?:by \((.*?)\) )?\(")
SITES = 'site!~"unknown|other"'
WEEK, UNTIL, SLACK = 169, "dateTimeAsLocal", 1800  # hours; the steps of the query of the first time
FEW = ((None, colors.GOOD), (1, colors.BAD))


def of(name, *matchers):
    """The series of the chosen processes."""
    return f"{name}{{{', '.join((HERE, *matchers))}}}"


def learned(name, hours, *matchers, value=""):
    """Until when sites are learned: these hours from when Prometheus had the series first, if that is to come."""
    series = f"timestamp({of(name, SITES, *matchers)} {value})".replace(" )", ")")
    return (f"1000 * ((min by (site) (min_over_time({series}[{hours}h:30m]) or {series}) + {hours} * 3600) "
            f"> time() + {SLACK})")


def by_instance(expression):
    """Links to the series of a number, process by process."""
    apart = SUM.sub(lambda match: f"sum by ({', '.join(filter(None, ('instance', match.group(1))))}) (",
                    expression)
    return (("Process by process", link_to_series(apart.replace(HERE, INSTANCES))),)


def rate(name, *matchers, by=()):
    """How many each second, by these labels."""
    return total(f"rate({of(name, *matchers)}[{RATE}])", *by)


def increase(name, *matchers, by=()):
    """How many in the whole time range. These series all exist from the start, so none is missed."""
    return total(f"increase({of(name, *matchers)}[{RANGE}])", *by)


def info(title, description, expression, **more):
    """A panel's info, with a link to the series behind its numbers."""
    return PanelInfo(title, description, by_instance(expression), no_data=DOWN, **more)


def figure(title, description, expression, *steps, unit="short"):
    """One number."""
    return number(info(title, description, expression, unit=unit, width=4, height=4), expression, *steps)


def curves(title, description, expression, legend, *, unit="short", width=12, **how):
    """One query as lines."""
    return lines(info(title, description, expression, unit=unit, width=width), (expression, legend), **how)


def quantile(of_share, name, *by):
    """A quantile of a histogram."""
    labels = ", ".join(("le", *by))
    return f"histogram_quantile({of_share}, sum by ({labels}) (rate({of(name + '_bucket')}[{RATE}])))"


LOST = 'outcome=~"rejected|dropped_.+"'  # not what settings ask for, such as capped or folded
USED = f"max(sum by (instance) ({of('lookout_series')}) / sum by (instance) ({of('lookout_series_limit')}))"
SPOOLED = f"max({of('lookout_spool_bytes')} / ({of('lookout_spool_limit_bytes')} > 0)) " \
          f"or 0 * max({of('lookout_build_info')})"

NUMBERS = (
    figure("Processes", "How many processes of lookoutd are scraped.",
           f"count({of('lookout_build_info')})", (None, colors.BAD), (1, colors.GOOD)),
    figure("Youngest start", "How long the process that started last has run. If it is short repeatedly, "
           "the process is being restarted.", f"min(time() - {of('process_start_time_seconds')})",
           (None, colors.WARNING), (600, colors.GOOD), unit="s"),
    figure("Reports rejected", "Items of uploads that were not accepted as reports.",
           increase("lookout_reports_rejected_total"), (None, colors.GOOD), (1, colors.WARNING)),
    figure("Events lost", "Events that were rejected or dropped, at any exporter.",
           increase("lookout_events_total", LOST), *FEW),
    figure("Series budget used", "The maximum of all processes. When a family's quota is used up, "
           "labels become other; no count is lost.", USED, *FULL, unit="percentunit"),
    figure("Spool used", "The maximum of all processes; 0 without a spool. When it is full, events "
           "remain in memory, and are dropped when memory is full.", SPOOLED, *FULL, unit="percentunit"),
)

UPLOADS = (
    curves("Uploads by outcome", "Each POST to intake. accepted: at least one report was accepted. The "
           "table of answers in docs/intake.md explains the others.",
           rate("lookout_uploads_total", by=("outcome",)) + " > 0", "{{outcome}}", unit="reqps", width=8,
           colors=colors.UPLOADS, stacked=True),
    curves("Rejected items by reason", "Items of uploads that are not valid reports. The cause of a jump may be a "
           "new or broken client, or a scanner.", rate("lookout_reports_rejected_total", by=("reason",)),
           "{{reason}}", unit="cps", width=8),
    lines(info("Connections and uploads in flight", "Connections that intake serves, and uploads "
               "without a response yet. Both have limits: intake.max_connections and intake.max_in_flight.",
               of("lookout_connections"), width=8),
          (f"sum({of('lookout_connections')})", "connections"),
          (f"sum({of('lookout_uploads_in_flight')})", "uploads in flight")),
    curves("Connections without a response, by reason", "client_limit: of a client over "
           "intake.max_connections_per_client, mostly a proxy that is missing in intake.trusted_proxies. evicted: the "
           "longest idle at intake.max_connections.", rate("lookout_connection_errors_total", by=("reason",)),
           "{{reason}}", unit="cps", width=8),
    lines(info("Reloads that fail", "settings: processes whose last reload of the settings was rejected. The others: "
               "attempts to load a changed certificate, which are repeated.",
               of("lookout_config_last_reload_successful"), width=8),
          (f"sum({of('lookout_config_last_reload_successful')} == bool 0)", "settings"),
          (rate("lookout_tls_reload_failures_total", by=("listener",)), "certificate of {{listener}}")),
    curves("Age of the settings", "The time since the settings were last applied, by the start or a reload.",
           f"time() - max by (instance) ({of('lookout_config_last_reload_success_timestamp_seconds')})",
           "{{instance}}", unit="s", width=8),
    durations(info("How long do uploads take?", "From the request's head to the response, the client's "
                   "network included. The darker, the more uploads.",
                   of("lookout_upload_duration_seconds_bucket"), width=10),
              f"sum by (le) (increase({of('lookout_upload_duration_seconds_bucket')}[{RATE}]))"),
    lines(info("Upload latency", "Half of the uploads were faster than the median, all but one in a hundred "
               "faster than the 99 % line.", of("lookout_upload_duration_seconds_bucket"), unit="s", width=10),
          (quantile(0.5, "lookout_upload_duration_seconds"), "median"),
          (quantile(0.99, "lookout_upload_duration_seconds"), "99 %"),
          steps=((None, colors.GOOD), (1, colors.BAD))),
    figure("Clients with a wrong path", "Clients that sent reports to a path that intake does not serve, each counted "
           "once an hour. Their reports are lost; the log has the path.",
           increase("lookout_unknown_path_clients_total"), *FEW),
)

DELIVERY = (
    curves("Events by outcome", "By exporter and outcome: rejected and dropped events are lost. "
           "otlp_recovered: events that an earlier process left in the spool.",
           rate("lookout_events_total", by=("exporter", "outcome")) + " > 0", "{{exporter}} {{outcome}}",
           unit="cps", colors={f"{exporter} {outcome}": color for outcome, color in colors.EVENT_OUTCOMES.items()
                               for exporter in ("console", "otlp", "otlp_recovered")}),
    curves("Pending events by state", "Events without an outcome yet: in memory, in a request, in the spool; folding: "
           "until the end of a window of events.fold. If another line rises, the collector accepts fewer events than "
           "arrive.",
           f"sum by (exporter, state) ({of('lookout_events_pending')})", "{{exporter}} {{state}}",
           colors={f"{exporter} {state}": color for state, color in colors.PENDING_STATES.items()
                   for exporter in ("console", "otlp", "otlp_recovered")}),
    listing(PanelInfo("Lost events", "Each way in which events were lost in this time range. The "
                      "counters include all of them.", DELIVERED,
                      no_data="No event was lost", width=8), ("exporter", "outcome"),
            Column("Events", increase("lookout_events_total", LOST, by=("exporter", "outcome")),
                   steps=((None, colors.GOOD), (1, colors.BAD)))),
    curves("Export requests by outcome", "Attempts to send requests to the collector, retries included. ok is the "
           "desired outcome.",
           rate("lookout_export_requests_total", by=("signal", "code")) + " > 0", "{{signal}} {{code}}",
           unit="reqps", width=8, colors={"logs ok": colors.GOOD, "metrics ok": "light-green"}),
    lines(info("Export latency", "How long the collector took to respond.",
               of("lookout_export_duration_seconds_bucket"), unit="s", width=8),
          (quantile(0.5, "lookout_export_duration_seconds", "signal"), "{{signal}}, median"),
          (quantile(0.95, "lookout_export_duration_seconds", "signal"), "{{signal}}, 95 %")),
)

SPOOL = (
    lines(info("Spool against its limit", "Bytes of events on disk and their limit, summed over all "
               "processes. 0 without a spool.", of("lookout_spool_bytes"), unit="bytes", width=8),
          (f"sum({of('lookout_spool_bytes')})", "used"),
          (f"sum({of('lookout_spool_limit_bytes')})", "limit"),
          colors={"used": "blue", "limit": colors.BAD}),
    curves("Spool I/O errors", "Writes, reads and removals that failed. The daemon's log contains each "
           "error.", rate("lookout_spool_errors_total", by=("operation",)),
           "{{operation}}", unit="cps", width=8),
    figure("Recovered events", "Events of earlier processes, recovered from the spool at start.",
           increase("lookout_spool_recovered_events_total")),
    figure("Quarantined files", "Corrupt or unrecognized files of the spool's directory, moved to its folder "
           "quarantine.",
           increase("lookout_spool_quarantined_files_total", 'reason=~"unrecognized|corrupt"'), *FEW),
)

ROOM = (
    ranking(info("How full is each family?", "Series against the family's quota of metrics.max_series, in the "
                 "fullest process. Above 75 %, only frequent label values are admitted.",
                 of("lookout_series"), unit="percentunit", width=8, height=12),
            f"max by (family) ({of('lookout_series')} / ({of('lookout_series_limit')} > 0)) > 0",
            "{{family}}", *FULL, most=1),
    listing(info("Which labels became other?", "Observations whose label value exceeded the quota. all: "
                 "every label that is not a configured site. Configure your sites, or raise metrics.max_series.",
                 of("lookout_series_overflow_total"), width=8, height=12), ("family", "label"),
            Column("Observations", increase("lookout_series_overflow_total", by=("family", "label")),
                   steps=((None, colors.GOOD), (1, colors.WARNING)))),
    listing(info("Which series were evicted?", "Idle series that were evicted or expired, and what they had counted. "
                 "The daemon's totals lose nothing, but a sum over a family drops by that much.",
                 of("lookout_series_expired_total"), width=8, height=12), ("family",),
            Column("Series", increase("lookout_series_expired_total", by=("family",))),
            Column("Had counted", increase("lookout_series_expired_counts_total", by=("family",)))),
)

PROCESS = (
    curves("CPU", "Processor time, in cores.",
           f"rate({of('process_cpu_seconds_total')}[{RATE}])", "{{instance}}", width=6),
    lines(info("Memory", "Resident and virtual memory; the limit applies to resident memory.",
               of("process_resident_memory_bytes"), unit="bytes", width=6),
          (of("process_resident_memory_bytes"), "{{instance}}"),
          (of("process_virtual_memory_bytes"), "{{instance}} virtual")),
    curves("File descriptors used", "Of those that the system allows the process. Each connection takes one.",
           f"{of('process_open_fds')} / {of('process_max_fds')}", "{{instance}}", unit="percentunit",
           width=6, steps=FULL),
    curves("Threads", "Threads of the process. They hardly change.", of("process_threads"), "{{instance}}",
           width=6),
    listing(info("Which builds run?", "The version, the revision and the compiler of each process.",
                 of("lookout_build_info"), width=7), ("instance", "version", "revision", "rustc"),
            Column("Running", f"sum by (instance, version, revision, rustc) ({of('lookout_build_info')})",
                   unit="none")),
    listing(info("Which sites are being learned, and until when?", "Works at once: LookoutOutage where success_fraction is "
                 "set, LookoutNetworkFailing where most requests fail, the alerts about lookoutd. Later: all comparisons "
                 "with usual clients, new findings, LookoutSiteSilent (weekly pattern: on the days after).",
                 of("lookout_findings_learning"), width=9), ("site",),
            Column("Weekly pattern", learned("lookout_affected_clients_total", WEEK, 'what="other"', 'noise="none"'),
                   unit=UNTIL, limit=False),
            Column("Usual clients", learned("lookout_affected_clients_total", 20, 'what="other"', 'noise="none"'),
                   unit=UNTIL, limit=False),
            Column("New findings", learned("lookout_findings_learning", 48, value="== 1"), unit=UNTIL, limit=False)),
    figure("Clients not counted", "Clients beyond findings.max_clients in 5 minutes, which the numbers of clients do "
           "not include.", increase("lookout_affected_clients_overflow_total"), *FEW),
    figure("Log lines dropped", "Log lines that were dropped because stderr was not read.",
           increase("lookout_log_lines_dropped_total"), *FEW),
    recent(PanelInfo("Newest events", "Events here show that delivery works from end to end.",
                     DELIVERED, width=24, no_data="No event arrived in this time range"), ALL_EVENTS),
)

BOARD = Board("lookoutd-internals", "lookoutd: internals",
              "Intake, delivery, spool, series and process of the daemon.",
              (("Is lookoutd healthy?", NUMBERS), ("Does intake accept uploads?", UPLOADS),
               ("Does it deliver the events?", DELIVERY), ("Is the spool healthy?", SPOOL),
               ("Is the series quota sufficient?", ROOM), ("Is the process healthy?", PROCESS)),
              of_processes(), time="now-6h", refresh="1m")
