"""What must hold of everything that a browser sent, whatever it was: each event says the right things
about its report, each is counted once with the labels that follow from it, and no secret came out.
"""

import json
from collections import Counter

from checks import equal, eventually, expect
from expected_labels import FAMILIES, labels_of, severity_of
from exposition import grouped

SECRET = "SECRET"


def check_all(daemon, browser):
    """Every event so far, every counter, every output."""
    events = daemon.events()
    for event in events:
        check_event(event, browser)
    for kind in {event["lookout"]["kind"] for event in events}:
        eventually(lambda kind=kind: check_family(daemon, events, FAMILIES[kind]))
    counted(daemon, "lookout_reports_total", Counter(
        (event["lookout"]["site"], event["lookout"]["kind"], browser) for event in events),
        "site", "kind", "browser")
    check_secrets(daemon)


def check_event(event, browser):
    """What lookoutd adds to a report."""
    about = event["lookout"]
    labels_of(event)
    expected = {"browser": browser, "noise": "none", "severity": severity_of(event)}
    equal("The fields of an event", expected, {name: about[name] for name in expected},
          json.dumps(event))
    expect(about["summary"], "An event has no summary", expected="a line of text",
           found=about["summary"], where=json.dumps(event))


def check_family(daemon, events, family):
    """The family's counters equal the counts of the events of all its kinds."""
    name, *labels = family
    expected = Counter((about["site"], *labels_of(event), about["noise"]) for event in events
                       for about in [event["lookout"]] if FAMILIES[about["kind"]][0] == name)
    counted(daemon, name, expected, "site", *(label for label, _ in labels), "noise")


def counted(daemon, family, expected, *labels):
    """A family has exactly these sums."""
    equal(f"{family} does not agree with the events", dict(expected),
          grouped(daemon.scrape(), family, *labels), daemon.admin + "/metrics")


def check_secrets(daemon):
    """Nothing of a query string or a fragment is on stdout, in the counters or in the log."""
    outputs = {"stdout": daemon.text("stdout"), "stderr": daemon.text("stderr"),
               "/metrics": daemon.scrape_text()}
    for where, said in outputs.items():
        lines = [line for line in said.splitlines() if SECRET in line]
        equal("A part of a URL that must not came out", [], lines, where)
