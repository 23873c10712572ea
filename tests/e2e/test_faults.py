"""A collector that fails in every way there is, and events that must not get lost by it, unless the
counters say so. Each report has a name of its own (`feed`), and at the end what was answered 204, what
arrived and what is counted must agree to the report (`account`).
"""

from certificates import Authority
from checks import Failure, equal, eventually, expect
from exposition import total
from otlp_metrics import compare
from rig import Rig, at_once, over_both
from scripted import (CLOSE, CUT, DISCARD, HANG, RESET, SLOW, always, busy, in_turn, names_of, partial,
                      refuse)

BATCH = 512
# A collector that asks for a delay gets it, and what the daemon adds of its own: 1 s to 2 s of jitter.
ASKED_SECONDS = 3
LATE_SECONDS = ASKED_SECONDS + 5
OUTAGE_SECONDS = 30
SHORT = {"OTEL_EXPORTER_OTLP_TIMEOUT": "500"}
OFTEN = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "500"}


def test_the_check_itself(bench):
    """A receiver that acknowledges and throws away is found out, by both protocols."""
    over_both(bench, discarding)


def discarding(rig):
    """The first request is gone, with the names of all its reports."""
    rig.receiver.decide = in_turn(DISCARD)
    rig.send(BATCH + 100, per_upload=4)
    try:
        rig.settle()
    except Failure as failure:
        expect("512" in str(failure) or "100" in str(failure), "The check found something else",
               expected="the events of one request", found=failure, where="account.settle")
        return
    raise Failure("The receiver threw acknowledged reports away, and the check found nothing")


def test_absent_at_start(bench):
    """The collector comes later than the first reports."""
    over_both(bench, absent, up=False)


def absent(rig):
    """Reports before and after it came."""
    feed = rig.feed(500)
    rig.says(r'code="connect".*Connection refused')
    rig.receiver.up()
    rig.came(1)
    feed.stop()
    nothing_lost(rig)


def nothing_lost(rig, **options):
    """Every report arrived, and every fate is `delivered`."""
    equal("Events have other fates than delivered", ["delivered"], list(rig.settle(**options)),
          f"/metrics\n{rig.daemon.tail()}")


def test_down(bench):
    """Down for 30 s, and 2,000 reports each second to three daemons. What memory holds arrives. What it
    does not hold is counted, to the report. The metrics agree again afterwards."""
    at_once(lambda: down(Rig(bench, "http", env=OFTEN)),
            lambda: down(Rig(bench, "grpc", env=OFTEN)),
            lambda: small_memory(Rig(bench, "http", name="small", delivery={"memory_bytes": "1MiB"})))


def down(rig):
    """An outage in the middle of the load. Gives the fates."""
    feed = rig.feed(2_000)
    rig.came(4)
    rig.receiver.down()
    feed.run_for(OUTAGE_SECONDS)
    rig.receiver.up()
    ends = rig.settle(seconds=90)
    expect(ends.keys() <= {"delivered", "dropped_queue_full"}, "An outage has other ends than it may",
           expected="delivered, or dropped for want of memory", found=ends, where="/metrics")
    if rig.env["OTEL_METRICS_EXPORTER"] == "otlp":
        eventually(lambda: compare(rig.daemon, [request.message() for request
                                                in rig.receiver.of("metrics")[-20:]]))
    return ends


def small_memory(rig):
    """1 MiB holds a second or two: here the newest reports must go."""
    ends = down(rig)
    expect(ends.get("dropped_queue_full", 0) > 10 * BATCH, "1 MiB cannot hold half a minute of reports",
           expected="most of 60,000 dropped", found=ends, where="/metrics")


def test_restarts_under_load(bench):
    """The collector goes and comes back five times, each time with requests in its hands."""
    over_both(bench, restarts, env={"OTEL_EXPORTER_OTLP_TIMEOUT": "2000"})


def restarts(rig):
    """Of these requests some were taken, and their answers are lost."""
    rig.receiver.decide = always(SLOW)
    feed = rig.feed(1_000)
    for _ in range(5):
        rig.came(len(rig.receiver.logs()) + 2)
        rig.receiver.down()
        rig.receiver.up()
    feed.stop()
    nothing_lost(rig)


def test_too_busy(bench):
    """429 and 503 with Retry-After, RESOURCE_EXHAUSTED and UNAVAILABLE with RetryInfo: the collector gets
    the time it asks for, and then the same events."""
    over_both(bench, too_busy)


def too_busy(rig):
    """Two requests, both turned away at first."""
    rig.receiver.decide = in_turn(busy(429, ASKED_SECONDS), busy(503, ASKED_SECONDS))
    rig.send(600)
    nothing_lost(rig)
    turned_away = [request for request in rig.receiver.logs() if not request.kept]
    equal("Requests that were turned away", 2, len(turned_away), "the receiver")
    for request in turned_away:
        first = names_of(request.message())[0]
        again = next(later for later in rig.receiver.logs() if later.kept and first in later.names())
        seconds = again.at - request.at
        expect(ASKED_SECONDS <= seconds < LATE_SECONDS,
               f"A collector that answered {request.reply.status} asked for another delay",
               expected=f"{ASKED_SECONDS} s to {LATE_SECONDS} s", found=f"{seconds:.2f} s",
               where=f"the receiver\n{rig.daemon.tail()}")


def test_refused(bench):
    """A request that is refused for good is counted and explained, is not sent again, and holds nothing
    up."""
    reasons = {400: "the 7th attribute is poison", 413: "more than I can eat"}
    at_once(*(lambda protocol=protocol, status=status: poison(
        Rig(bench, protocol, name=f"{protocol}-{status}"), status, reasons[status])
        for protocol in ("http", "grpc") for status in reasons))


def poison(rig, status, reason):
    """The receiver chokes on one report, and so on the request that holds it, whenever it comes."""
    feed = rig.feed(1_000)
    poisoned = feed.senders[0].names(5)[3]
    rig.receiver.decide = lambda request: refuse(
        status if poisoned in names_of(request.message()) else 200, reason)
    feed.run_for(3)
    ends = rig.settle()
    refused = [request for request in rig.receiver.logs() if not request.kept]
    equal("Tries of a request that was refused for good", 1, len(refused), "the receiver")
    equal("Events counted as rejected", len(names_of(refused[0].message())), ends.get("rejected"),
          "/metrics")
    equal("Fates", {"delivered", "rejected"}, set(ends), "/metrics")
    rig.says(f"WARN .*{reason}")


def test_partial_success(bench):
    """What the collector takes is delivered, what it does not is rejected, and the log has its words."""
    over_both(bench, partly)


def partly(rig):
    """Seven of the first request, and nothing of the second, but with a warning."""
    rig.receiver.decide = in_turn(partial(7, "7 of them are too old"), partial(0, "slow down, please"))
    rig.send(600)
    equal("Fates", {"delivered": 593, "rejected": 7}, rig.settle(), "/metrics")
    rig.says("WARN .*7 of them are too old")
    rig.says("WARN .*slow down, please")


def test_hangs(bench):
    """A collector that accepts and never answers costs a timeout, and no event."""
    over_both(bench, hangs, env=SHORT)


def hangs(rig):
    """The first three requests hang, all of which the timeout ends."""
    rig.receiver.decide = in_turn(HANG, HANG, HANG)
    rig.feed(1_000).run_for(3)
    nothing_lost(rig, seconds=10)
    expect(tries(rig, "timeout") == 3, "Tries counted as timeouts", expected=3,
           found=tries(rig, "timeout"), where="/metrics")


def tries(rig, code):
    """How many tries of requests of events ended so."""
    return total(rig.daemon.scrape(), "lookout_export_requests_total", signal="logs", code=code)


def test_lost_answers(bench):
    """The collector takes a request, and its answer never comes, or half of it: the request is sent
    again, and only that one."""
    at_once(lambda: lost_answers(Rig(bench, "http"), CLOSE, CUT),
            lambda: lost_answers(Rig(bench, "grpc"), CLOSE, CLOSE))


def lost_answers(rig, *replies):
    """So many requests twice, and each report at least once."""
    rig.receiver.decide = in_turn(*replies)
    rig.feed(1_000).run_for(3)
    nothing_lost(rig)
    unanswered = [request for request in rig.receiver.logs() if request.kept and not request.answered]
    equal("Requests whose answer was lost", len(replies), len(unanswered), "the receiver")


def test_resets(bench):
    """The connection is reset instead of an answer."""
    rig = Rig(bench)
    rig.receiver.decide = in_turn(RESET, RESET)
    rig.feed(1_000).run_for(3)
    nothing_lost(rig)
    expect(tries(rig, "broken") == 2, "Tries counted as broken connections", expected=2,
           found=tries(rig, "broken"), where="/metrics")


def test_slow(bench):
    """300 ms for each answer, and 5,000 reports a second: nothing is lost, and nothing heaps up."""
    over_both(bench, slow)


def slow(rig):
    """Four requests at a time are enough for 6,800 reports a second."""
    rig.receiver.decide = always(SLOW)
    feed = rig.feed(5_000, per_upload=50).run_for(6)
    sent = len(feed.acknowledged)
    expect(sent > 0.9 * 6 * 5_000, "The feed was not as fast as the test means it to be",
           expected="30,000 reports in 6 s", found=sent, where="this machine is too busy for this test")
    nothing_lost(rig, seconds=10)


def test_expired_certificate(bench):
    """Nothing goes to a collector whose certificate has expired. Once it has a good one, all of it does."""
    authority = Authority(bench.directory, ["localhost"])
    authority.make_certificate(["localhost"], ago="3d")
    rigs = [Rig(bench, protocol, authority=authority,
                env={"OTEL_EXPORTER_OTLP_CERTIFICATE": authority.ca}) for protocol in ("http", "grpc")]
    for rig in rigs:
        rig.send(1_000)
        rig.says('WARN .*code="connect".*(?i:expired)')
    equal("Requests that went to a collector with an expired certificate", [0, 0],
          [len(rig.receiver.logs()) for rig in rigs], "the receivers")
    authority.make_certificate(["localhost"])
    for rig in rigs:
        rig.receiver.down()
        rig.receiver.up()
    at_once(*(lambda rig=rig: nothing_lost(rig) for rig in rigs))
