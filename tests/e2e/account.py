"""The one check of all tests of delivery: every report that was answered 204 has arrived, or the
daemon's counters say what became of it; nothing arrives that was not sent; and only what the receiver
took without its answer getting through arrives twice.
"""

from collections import Counter
from dataclasses import dataclass, field

from checks import Failure, equal, eventually
from exposition import grouped, total

DRAIN_SECONDS = 60


@dataclass
class Delivery:
    """What a receiver got, name by name."""

    # How often its requests were answered, and how often the answer did not get through.
    answered: Counter = field(default_factory=Counter)
    unanswered: Counter = field(default_factory=Counter)
    requests_unanswered: int = 0
    # Names that came again although a request with them had been answered.
    repeated: set = field(default_factory=set)

    @classmethod
    def of(cls, receivers):
        """Reads all that these receivers took."""
        delivery = cls()
        requests = [request for receiver in receivers for request in receiver.logs() if request.kept]
        for request in sorted(requests, key=lambda request: request.at):
            delivery.add(request)
        return delivery

    def add(self, request):
        """One request, in the order of arrival."""
        names = request.names()
        self.repeated.update(name for name in names if name in self.answered)
        (self.answered if request.answered else self.unanswered).update(names)
        self.requests_unanswered += not request.answered

    @property
    def arrived(self):
        """How often each name came."""
        return self.answered + self.unanswered

    @property
    def duplicates(self):
        """Reports that came more often than once."""
        return sum(count - 1 for count in self.arrived.values())

    def check(self, feeds, killed=False):
        """Nothing surplus, no duplicate without a lost answer. Gives the names that are missing."""
        acknowledged = Counter(name for feed in feeds for name in feed.acknowledged)
        unanswered = {name for feed in feeds for name in feed.unanswered}
        equal("Uploads that were answered with something else than 204", Counter(),
              sum((feed.refused for feed in feeds), Counter()), "the feed")
        if not killed:
            equal("Uploads that got no answer", set(), unanswered, "the feed")
            equal("Reports that came again after the daemon had got the answer", [],
                  sorted(self.repeated)[:5], f"the receiver: {len(self.repeated)} reports")
        surplus = self.arrived.keys() - acknowledged.keys() - unanswered
        equal("Reports that arrived and were never answered 204", [], sorted(surplus)[:5],
              f"the receiver: {len(surplus)} reports")
        return acknowledged.keys() - self.arrived.keys()


def same_reports(what, expected, found, where):
    """Both hold the same reports, each as often; shows only the first of what differs."""
    expected, found = Counter(expected), Counter(found)
    lacking, surplus = expected - found, found - expected
    if lacking or surplus:
        raise Failure(f"{what}\n  of {expected.total()} reports, {lacking.total()} are lacking: "
                      f"{sorted(lacking)[:5]}; {surplus.total()} are too many: {sorted(surplus)[:5]}\n"
                      f"  where:    {where}")


def fates(daemon, exporter="otlp"):
    """How its events ended, without the zeros: {fate: events}."""
    counted = grouped(daemon.scrape(), "lookout_events_total", "exporter", "fate")
    return {fate: count for (of, fate), count in counted.items() if of == exporter}


def pending(daemon, exporter="otlp", **place):
    """Events that have no fate yet."""
    return total(daemon.scrape(), "lookout_events_pending", exporter=exporter, **place)


def drained(daemon, seconds=DRAIN_SECONDS):
    """Waits until no event is without a fate."""
    eventually(lambda: equal("Events are still pending", 0, pending(daemon), daemon.tail()), seconds)


def settle(daemon, receiver, *feeds, seconds=DRAIN_SECONDS):
    """Waits until all is settled, and then compares what was sent, what is counted and what arrived.
    Gives the fates."""
    items = sum(len(feed.acknowledged) for feed in feeds)
    daemon.sent = items
    drained(daemon, seconds)
    eventually(daemon.check_books)
    ends, delivery = fates(daemon), Delivery.of([receiver])
    missing = delivery.check(feeds)
    say(daemon, items, missing, ends, delivery)
    # What came, but never with an answer, is for the daemon not delivered.
    never_answered = delivery.unanswered.keys() - delivery.answered.keys()
    equal("Events counted as delivered against events whose arrival was acknowledged",
          ends.get("delivered", 0), len(delivery.answered),
          f"the receiver; the fates are {ends}\n{daemon.tail()}")
    lost = sum(ends.values()) - ends.get("delivered", 0)
    if lost != len(missing) + len(never_answered):
        raise Failure(f"{len(missing)} reports that were answered 204 did not arrive, among them "
                      f"{sorted(missing)[:5]}; {len(never_answered)} arrived without an answer; but the "
                      f"fates are {ends}\n{daemon.tail()}")
    return ends


def say(daemon, items, missing, ends, delivery):
    """One line for the reader of the test's output."""
    lost = {fate: int(count) for fate, count in ends.items() if fate != "delivered"}
    print(f"       {daemon.name}: {items} reports, {len(missing)} missing, counted as {lost or 'none'}; "
          f"{delivery.duplicates} came twice after {delivery.requests_unanswered} lost answers",
          flush=True)
