"""The log queries of the boards, in a running VictoriaLogs."""

import time
from collections import Counter

import dashboard_files
import dashboard_links
from checks import equal
from dashboard_fixture import DashboardFixture
from http_client import request
from loki import select_logsql, stored
from marks import VICTORIA_LOGS, needs
from victoria_logs import VictoriaLogs


@needs("prometheus", "promtool", "openssl", VICTORIA_LOGS)
def test_queries(harness):
    """VictoriaLogs finds, by each query of a log panel or a link, the events that the other tests take it to find."""
    fixture, end = DashboardFixture(harness), time.time()
    store, events = VictoriaLogs(harness), stored(fixture.collector)
    for _, message in fixture.collector.received.logs:
        answer = request("POST", store.endpoint, message.SerializeToString(), {"Content-Type": "application/x-protobuf"})
        equal("VictoriaLogs did not take events", 200, answer.status, answer.text)
    followed, texts = dashboard_links.Links(fixture, end), {}
    for panel in dashboard_files.panels():
        for query in panel.queries:
            if query.language == "logsql":
                texts[fixture.values().in_query(query.text)] = panel.where
            followed.add(panel, query, fixture.ask(query, fixture.values(), end) if query.language == "promql" else [{"metric": {}}])
    wrong = []
    for text, where in {**texts, **followed.logs}.items():
        wanted = Counter(event["lookout_fingerprint"] for event in select_logsql(text, events))
        found = Counter(row["lookout.fingerprint"] for row in store.query(text))
        if found != wanted or not found:
            wrong.append(f"{where}: {text}: {found.total()} events in place of {wanted.total()}")
    equal("VictoriaLogs finds other events", "", "\n".join(wrong), store.root)
