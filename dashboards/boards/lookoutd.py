"""The daemon's own metrics: intake, delivery, spool, series and process."""

import re

from grafana_foundation_sdk.models import dashboard
from grafana_foundation_sdk.models.common import BarGaugeNamePlacement

from lib import colors
from lib.board import Board, of_processes
from lib.logs import everything, link_to_everything, link_to_series
from lib.panels import COUNT, PanelInfo, lines, number, ranking, recent
from lib.promql import PROCESS, total
from lib.tables import Column, listing, problems

DOWN = "lookoutd is not scraped"
RATE, RANGE = "$__rate_interval", "$__range"
FULL = ((None, colors.GOOD), (0.75, colors.WARNING), (0.9, colors.BAD))
FEW = ((None, colors.GOOD), (1, colors.BAD))
# A link may not hold a regular expression with escapes, so it takes the names as they are.
IN_LINKS = PROCESS.replace("$environment", "${environment:pipe}").replace("$job", "${job:pipe}").replace(
    "$instance", "${instance:pipe}")
SUM = re.compile(r"\bsum(?: by\((.*?)\))?\(")
LOST = 'outcome=~"rejected|dropped_.+"'  # not what settings ask for, such as capped or folded


def of(name, *matchers):
    """The series of the selected processes."""
    return f"{name}{{{','.join((PROCESS, *matchers))}}}"


def by_instance(expression):
    """Links to the series of a number, process by process."""
    apart = SUM.sub(lambda match: f"sum by({','.join(filter(None, ('instance', match.group(1))))})(", expression)
    return (("Process by process", link_to_series(apart.replace(PROCESS, IN_LINKS))),)


def rate(name, *matchers, by=()):
    """How many each second, by these labels."""
    return total(f"rate({of(name, *matchers)}[{RATE}])", *by)


def increase(name, *matchers, by=()):
    """How many in the whole time range. These series all exist from the start, so none is missed."""
    return total(f"increase({of(name, *matchers)}[{RANGE}])", *by)


def info(title, description, expression, no_data=DOWN, **more):
    """A panel's info, with a link to the series behind its numbers."""
    return PanelInfo(title, description, by_instance(expression), no_data=no_data, **more)


def figure(title, description, expression, *steps, unit=COUNT):
    """One number."""
    return number(info(title, description, expression, unit=unit, width=4, height=4), expression, *steps)


def curves(title, description, expression, legend, *, unit, width=12, **how):
    """One query as lines."""
    return lines(info(title, description, expression, unit=unit, width=width, no_data="None in this time range"),
                 (expression, legend), **how)


def quantile(of_share, name, *by):
    """A quantile of a histogram."""
    labels = ",".join(("le", *by))
    return f"histogram_quantile({of_share},sum by({labels})(rate({of(name + '_bucket')}[{RATE}])))>=0"


def numbers():
    """The row of numbers."""
    used = f"max(sum by(job,instance)({of('lookout_series')})/sum by(job,instance)({of('lookout_series_limit')}))"
    spooled = f"max({of('lookout_spool_bytes')}/({of('lookout_spool_limit_bytes')}>0)) or 0*max({of('lookout_build_info')})"
    return (
        figure("Processes", "Processes of lookoutd that are scraped.", f"count({of('lookout_build_info')})",
               (None, colors.BAD), (1, colors.GOOD)),
        figure("Youngest start", "How long the process that started last has run. If it is short repeatedly, the process is being "
               "restarted.", f"min(time()-{of('process_start_time_seconds')})", (None, "blue"), (600, colors.GOOD), unit="s"),
        figure("Reports rejected", "Items of uploads that were not accepted as reports.", increase("lookout_reports_rejected_total"),
               (None, colors.GOOD), (1, colors.WARNING)),
        figure("Events lost", "Events that were rejected or dropped, at any exporter. The counters include them.",
               increase("lookout_events_total", LOST), *FEW),
        figure("Series quota used", "In the fullest process. When a family's quota is used up, labels become other; no count is lost.",
               used, *FULL, unit="percentunit"),
        figure("Spool used", "In the fullest process; 0 without a spool. When it is full, events remain in memory, and are dropped "
               "when memory is full.", spooled, *FULL, unit="percentunit"),
    )


def wrong():
    """What went wrong, and what is normal."""
    return (
        problems(info("What went wrong?", "All that is not zero among what should be. docs/runbook.md describes each.",
                      of("lookout_build_info"), no_data="Nothing in this time range", height=11),
                 (increase("lookout_reports_rejected_total", by=("reason",)), "report rejected: {{reason}}"),
                 (increase("lookout_uploads_total", 'outcome!="accepted"', by=("outcome",)), "upload: {{outcome}}"),
                 (increase("lookout_events_total", LOST, by=("exporter", "outcome")), "event lost: {{exporter}} {{outcome}}"),
                 (increase("lookout_export_requests_total", 'code!~"ok|partial_success"', by=("signal", "code")),
                  "export attempt failed: {{signal}} {{code}}"),
                 (increase("lookout_series_overflow_total", by=("family", "label")), "label became other: {{label}} of {{family}}"),
                 (increase("lookout_series_expired_counts_total", by=("family",)), "counts of expired series: {{family}}"),
                 (increase("lookout_series_expired_total", by=("family",)), "series expired: {{family}}"),
                 (increase("lookout_spool_errors_total", by=("operation",)), "spool I/O error: {{operation}}"),
                 (increase("lookout_spool_quarantined_files_total", by=("reason",)), "spool file quarantined: {{reason}}"),
                 (increase("lookout_spool_recovered_events_total"), "events of an earlier process recovered"),
                 (increase("lookout_unknown_path_clients_total"), "clients that use an unknown path"),
                 (increase("lookout_connection_errors_total", by=("reason",)), "connection without a response: {{reason}}"),
                 (total(f"{of('lookout_config_last_reload_successful')}==bool 0"), "processes whose last reload of settings was rejected"),
                 (increase("lookout_tls_reload_failures_total", by=("listener",)), "certificate not loaded: {{listener}}"),
                 (increase("lookout_affected_clients_overflow_total"), "clients not counted"),
                 (increase("lookout_log_lines_dropped_total"), "log lines dropped")),
        ranking(info("How full is each family?", "Series against the family's quota of metrics.max_series, in the fullest process: the "
                     "ten fullest. Above 75 %, only frequent label values are admitted.", of("lookout_series"), unit="percentunit",
                     width=12, height=11),
                f"max by(family)({of('lookout_series')}/({of('lookout_series_limit')}>0))>0", "{{family}}", (None, "blue"), *FULL[1:],
                most=1).name_placement(BarGaugeNamePlacement.TOP).with_transformation(dashboard.DataTransformerConfig(
                    id_val="renameByRegex", options={"regex": "lookout_(.+?)(_total|_seconds)?$", "renamePattern": "$1"})),
    )


def uploads():
    """Intake."""
    return (
        curves("Uploads by outcome", "Each POST to intake. accepted: at least one report was accepted.",
               rate("lookout_uploads_total", by=("outcome",)) + ">0", "{{outcome}}", unit="reqps", width=8, colors=colors.UPLOADS),
        lines(info("How long do uploads take?", "From the request's head to the response, the client's network included. Half were "
                   "faster than the median, all but one in a hundred faster than the 99 % line.",
                   of("lookout_upload_duration_seconds_bucket"), unit="s", width=8, no_data="No uploads yet"),
              (quantile(0.5, "lookout_upload_duration_seconds"), "median"),
              (quantile(0.99, "lookout_upload_duration_seconds"), "99 %")),
        lines(info("Connections and uploads in flight", "Connections of intake, and uploads without a response yet. Limits: "
                   "intake.max_connections and intake.max_in_flight.", of("lookout_connections"), width=8),
              (f"sum({of('lookout_connections')})", "connections"), (f"sum({of('lookout_uploads_in_flight')})", "uploads in flight")),
    )


def delivery():
    """Delivery and the spool."""
    return (
        lines(info("Events by outcome", "Events of all exporters. delivered is the desired outcome; capped, filtered, folded and sampled "
                   "are what settings ask for; the others are lost.", of("lookout_events_total"), unit="cps", width=8,
                   no_data="No events yet"),
              (rate("lookout_events_total", by=("outcome",)) + ">0", "{{outcome}}"), colors=colors.EVENTS),
        lines(info("Pending events", "Events without an outcome yet; folding: until the end of a window of events.fold. If another "
                   "line rises, the collector accepts fewer events than arrive.",
                   of("lookout_events_pending"), width=8),
              (f"sum by(state)({of('lookout_events_pending')})", "{{state}}"), colors=colors.PENDING),
        lines(info("Spool", "Bytes of events on disk, of all processes. 0 without a spool.", of("lookout_spool_bytes"), unit="bytes",
                   width=8), (f"sum({of('lookout_spool_bytes')})", "used")),
        curves("Export requests by result", "Requests to the collector, retries included. ok is the desired result.",
               rate("lookout_export_requests_total", by=("signal", "code")) + ">0", "{{signal}} {{code}}", unit="reqps"),
        lines(info("How long does the collector take?", "Until it responded to a request of lookoutd.",
                   of("lookout_export_duration_seconds_bucket"), unit="s", no_data="No export requests yet"),
              (quantile(0.5, "lookout_export_duration_seconds", "signal"), "{{signal}}, median"),
              (quantile(0.95, "lookout_export_duration_seconds", "signal"), "{{signal}}, 95 %")),
    )


def of_build(metric):
    """A metric of each process, with the labels of its build."""
    return f"sum by(instance,version,revision,rustc)({of(metric)}*on(job,instance)group_right() {of('lookout_build_info')})"


def process():
    """The process."""
    def each(metric):
        return f"topk(12,{metric})"

    return (
        curves("Memory", "Memory that the process occupies (resident).", each(of("process_resident_memory_bytes")), "{{instance}}", unit="bytes", width=8),
        curves("Processor", "Processor time used, in cores.", each(f"rate({of('process_cpu_seconds_total')}[{RATE}])"), "{{instance}}",
               unit="none", width=8),
        lines(info("Files and threads", "Open file descriptors, of which each connection takes one, and threads, in the process with "
                   "the most.", of("process_open_fds"), width=8),
              (f"max({of('process_open_fds')})", "file descriptors"), (f"max({of('process_threads')})", "threads")),
        listing(info("Which builds run?", "The version, the revision and the compiler of each process, when it last took its settings, "
                     "at the start or by a reload, the number of file descriptors that the system allows it, and its findings, with "
                     "the share of their memory. When that is full, those with the fewest clients are evicted.",
                     of("lookout_build_info"), width=24, height=5), ("instance", "version", "revision", "rustc"),
                Column("File limit", of_build("process_max_fds"), steps=((None, "text"),)),
                Column("Findings", of_build("lookout_findings"), steps=((None, "text"),)),
                Column("Findings full", f"{of_build('lookout_findings_bytes')}/{of_build('lookout_findings_limit_bytes')}",
                       unit="percentunit"),
                Column("Settings of", "1000*" + of_build("lookout_config_last_reload_success_timestamp_seconds"), unit="dateTimeFromNow",
                       width=130)),
        listing(info("Which certificates expire, and when?", "The earliest end of the certificates that are in use. Alerts come 14 and 3 "
                     "days before.", of("lookout_tls_certificate_not_after_timestamp_seconds"), unit="dateTimeFromNow",
                     no_data="lookoutd uses no certificate", width=24, height=5), ("listener",),
                Column("Expires", f"1000*min by(listener)({of('lookout_tls_certificate_not_after_timestamp_seconds')})",
                       unit="dateTimeFromNow", steps=((None, "text"),), limit=False)),
        recent(PanelInfo("Newest events", "Events here show that delivery works from end to end.",
                         (("The events that arrived", link_to_everything()),), unit="none", width=24, height=9,
                         no_data="No event arrived in this time range"), everything()),
    )


def board():
    """The board."""
    return Board("lookoutd-internals", "lookoutd: itself", "Intake, delivery, spool, series and process of the daemon.",
                 (("Is lookoutd healthy?", numbers()), ("Is anything wrong?", wrong()), ("Does intake accept uploads?", uploads()),
                  ("Does it deliver the events?", delivery()), ("Is the process healthy?", process())),
                 of_processes(), time="now-6h", refresh="1m")
