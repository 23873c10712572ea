"""The common check of the delivery tests: every report answered 204 has arrived, or the daemon's counters have its
outcome; no unknown report arrives; and only reports of requests whose response was lost arrive twice.
"""

from collections import Counter
from dataclasses import dataclass, field

from checks import Failure, equal, eventually
from exposition import grouped, total

DRAIN_SECONDS = 60


@dataclass
class Delivery:
    """The reports that a receiver has, by name."""

    # Requests by whether their response reached the daemon.
    answered: Counter = field(default_factory=Counter)
    unanswered: Counter = field(default_factory=Counter)
    requests_unanswered: int = 0
    # Names that arrived again after an answered request.
    repeated: set = field(default_factory=set)

    @classmethod
    def of(cls, receivers):
        """Collects everything that these receivers accepted."""
        delivery = cls()
        requests = [request for receiver in receivers for request in receiver.logs() if request.kept]
        for request in sorted(requests, key=lambda request: request.at):
            delivery.add(request)
        return delivery

    def add(self, request):
        """Adds a request, in the order of arrival."""
        names = request.names()
        self.repeated.update(name for name in names if name in self.answered)
        (self.answered if request.answered else self.unanswered).update(names)
        self.requests_unanswered += not request.answered

    @property
    def arrived(self):
        """How often each name arrived."""
        return self.answered + self.unanswered

    @property
    def duplicates(self):
        """Number of surplus arrivals."""
        return sum(count - 1 for count in self.arrived.values())

    def check(self, generators, killed=False):
        """Checks for unknown reports and unexplained duplicates; returns the missing names."""
        acknowledged = Counter(name for generator in generators for name in generator.acknowledged)
        unanswered = {name for generator in generators for name in generator.unanswered}
        equal("Uploads that were answered with something else than 204", Counter(),
              sum((generator.refused for generator in generators), Counter()), "the report generator")
        if not killed:
            equal("Uploads that got no answer", set(), unanswered, "the report generator")
            equal("Reports that came again after the daemon had got the answer", [],
                  sorted(self.repeated)[:5], f"the receiver: {len(self.repeated)} reports")
        surplus = self.arrived.keys() - acknowledged.keys() - unanswered
        equal("Reports that arrived and were never answered 204", [], sorted(surplus)[:5],
              f"the receiver: {len(surplus)} reports")
        return acknowledged.keys() - self.arrived.keys()


def same_reports(what, expected, found, where):
    """Checks that both hold the same reports equally often; shows the first differences."""
    expected, found = Counter(expected), Counter(found)
    lacking, surplus = expected - found, found - expected
    if lacking or surplus:
        raise Failure(f"{what}\n  of {expected.total()} reports, {lacking.total()} are lacking: "
                      f"{sorted(lacking)[:5]}; {surplus.total()} are too many: {sorted(surplus)[:5]}\n"
                      f"  where:    {where}")


def event_outcomes(daemon, exporter="otlp"):
    """Returns its events by outcome, without zeros."""
    counted = grouped(daemon.scrape(), "lookout_events_total", "exporter", "outcome")
    return {outcome: count for (of, outcome), count in counted.items() if of == exporter}


def pending(daemon, exporter="otlp", **state):
    """Returns the number of events without an outcome yet."""
    return total(daemon.scrape(), "lookout_events_pending", exporter=exporter, **state)


def drained(daemon, seconds=DRAIN_SECONDS):
    """Waits until every event has an outcome."""
    eventually(lambda: equal("Events are still pending", 0, pending(daemon), daemon.tail()), seconds)


def check_delivery(daemon, receiver, *generators, seconds=DRAIN_SECONDS):
    """Waits until every event has an outcome, then compares reports sent, counted and arrived. Returns the
    outcomes."""
    items = sum(len(generator.acknowledged) for generator in generators)
    daemon.sent = items
    drained(daemon, seconds)
    eventually(daemon.check_accounting)
    outcomes, delivery = event_outcomes(daemon), Delivery.of([receiver])
    missing = delivery.check(generators)
    print_summary(daemon, items, missing, outcomes, delivery)
    # Events that arrived without a response count as not delivered.
    never_answered = delivery.unanswered.keys() - delivery.answered.keys()
    equal("Events counted as delivered against events whose arrival was acknowledged",
          outcomes.get("delivered", 0), len(delivery.answered),
          f"the receiver; the outcomes are {outcomes}\n{daemon.tail()}")
    lost = sum(outcomes.values()) - outcomes.get("delivered", 0)
    if lost != len(missing) + len(never_answered):
        raise Failure(f"{len(missing)} reports that were answered 204 did not arrive, among them "
                      f"{sorted(missing)[:5]}; {len(never_answered)} arrived without an answer; but the "
                      f"outcomes are {outcomes}\n{daemon.tail()}")
    return outcomes


def print_summary(daemon, items, missing, outcomes, delivery):
    """Prints a summary line."""
    lost = {outcome: int(count) for outcome, count in outcomes.items() if outcome != "delivered"}
    print(f"       {daemon.name}: {items} reports, {len(missing)} missing, counted as {lost or 'none'}; "
          f"{delivery.duplicates} came twice after {delivery.requests_unanswered} lost answers",
          flush=True)
