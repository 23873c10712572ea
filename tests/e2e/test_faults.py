"""Faults of the collector: absent, down, slow, hanging, resetting, rejecting. No event is lost without being
counted. Each report has a unique name (`report_generator`), and at the end the reports answered 204, those that
arrived and the counters must agree exactly (`delivery_accounting`).
"""

import re

from certificates import Authority
from checks import Failure, equal, eventually, expect
from exposition import total
from marks import CLOCK, needs
from otlp_fixture import OtlpFixture, run_concurrently, run_on_both_protocols
from otlp_metrics import compare
from scripted_receiver import (CLOSE, CUT, DISCARD, HANG, RESET, SLOW, always, busy, in_turn, names_of, partial,
                               refuse)

BATCH = 512
# The daemon waits for the delay that a collector requests, plus 1 s to 2 s of jitter.
ASKED_SECONDS = 3
LATE_SECONDS = ASKED_SECONDS + 5
OUTAGE_SECONDS = 30
SHORT = {"OTEL_EXPORTER_OTLP_TIMEOUT": "500"}
OFTEN = {"OTEL_METRICS_EXPORTER": "otlp", "OTEL_METRIC_EXPORT_INTERVAL": "500"}


def test_the_check_itself(harness):
    """A receiver that acknowledges and throws away is found out, by both protocols."""
    run_on_both_protocols(harness, discarding)


def discarding(fixture):
    """The first request is gone, with the names of all its reports: a batch, or what came until it was sent."""
    fixture.receiver.decide = in_turn(DISCARD)
    fixture.send(BATCH + 100, per_upload=4)
    try:
        fixture.check_delivery()
    except Failure as failure:
        [gone] = [request for request in fixture.receiver.logs() if not request.kept]
        expect(re.search(rf"found: +{BATCH + 100 - len(names_of(gone.message()))}$", str(failure), re.M),
               "The check found something else", expected="the events of one request lacking", found=failure,
               where="delivery_accounting.check_delivery")
        return
    raise Failure("The receiver threw acknowledged reports away, and the check found nothing")


def test_absent_at_start(harness):
    """The collector comes later than the first reports."""
    run_on_both_protocols(harness, absent, up=False)


def absent(fixture):
    """Reports before and after it came."""
    generator = fixture.generate(500)
    fixture.wait_for_log(r'code="connect".*Connection refused')
    fixture.receiver.up()
    fixture.wait_for_requests(1)
    generator.stop()
    nothing_lost(fixture)


def nothing_lost(fixture, **options):
    """Every report arrived, and every outcome is `delivered`."""
    equal("Events have other outcomes than delivered", ["delivered"], list(fixture.check_delivery(**options)),
          f"/metrics\n{fixture.daemon.tail()}")


def test_down(harness):
    """Down for 30 s, and 2,000 reports each second to three daemons. What memory holds arrives. What it
    does not hold is counted, to the report. The metrics agree again afterwards."""
    run_concurrently(lambda: down(OtlpFixture(harness, "http", env=OFTEN)),
                     lambda: down(OtlpFixture(harness, "grpc", env=OFTEN)),
                     lambda: small_memory(OtlpFixture(harness, "http", name="small",
                                                      delivery={"memory_bytes": "1MiB"})))


def down(fixture):
    """An outage in the middle of the load; returns the outcomes."""
    generator = fixture.generate(2_000)
    fixture.wait_for_requests(4)
    fixture.receiver.down()
    generator.run_for(OUTAGE_SECONDS)
    fixture.receiver.up()
    outcomes = fixture.check_delivery(seconds=90)
    expect(outcomes.keys() <= {"delivered", "dropped_queue_full"}, "An outage has outcomes that it must not have",
           expected="delivered, or dropped for want of memory", found=outcomes, where="/metrics")
    if fixture.env["OTEL_METRICS_EXPORTER"] == "otlp":
        eventually(lambda: compare(fixture.daemon, [request.message() for request
                                                    in fixture.receiver.of("metrics")[-20:]]))
    return outcomes


def small_memory(fixture):
    """1 MiB holds a second or two: here the newest reports must go."""
    outcomes = down(fixture)
    expect(outcomes.get("dropped_queue_full", 0) > 10 * BATCH, "1 MiB cannot hold half a minute of reports",
           expected="most of 60,000 dropped", found=outcomes, where="/metrics")


def test_restarts_under_load(harness):
    """The collector stops and restarts five times, each time with requests in flight."""
    run_on_both_protocols(harness, restarts, env={"OTEL_EXPORTER_OTLP_TIMEOUT": "2000"})


def restarts(fixture):
    """Of these requests some were taken, and their answers are lost."""
    fixture.receiver.decide = always(SLOW)
    generator = fixture.generate(1_000)
    for _ in range(5):
        fixture.wait_for_requests(len(fixture.receiver.logs()) + 2)
        fixture.receiver.down()
        fixture.receiver.up()
    generator.stop()
    nothing_lost(fixture)


def test_too_busy(harness):
    """429 and 503 with Retry-After, RESOURCE_EXHAUSTED and UNAVAILABLE with RetryInfo: the collector gets
    the time it asks for, and then the same events."""
    run_on_both_protocols(harness, too_busy)


def too_busy(fixture):
    """Two requests, both turned away at first."""
    fixture.receiver.decide = in_turn(busy(429, ASKED_SECONDS), busy(503, ASKED_SECONDS))
    fixture.send(600)
    nothing_lost(fixture)
    turned_away = [request for request in fixture.receiver.logs() if not request.kept]
    equal("Requests that were turned away", 2, len(turned_away), "the receiver")
    for request in turned_away:
        first = names_of(request.message())[0]
        again = next(later for later in fixture.receiver.logs() if later.kept and first in later.names())
        seconds = again.at - request.at
        expect(ASKED_SECONDS <= seconds < LATE_SECONDS,
               f"A collector that answered {request.reply.status} requested another delay",
               expected=f"{ASKED_SECONDS} s to {LATE_SECONDS} s", found=f"{seconds:.2f} s",
               where=f"the receiver\n{fixture.daemon.tail()}")


def test_refused(harness):
    """A request that is refused for good is counted and explained, is not sent again, and holds nothing
    up."""
    reasons = {400: "the 7th attribute is poison", 413: "more than I can eat"}
    run_concurrently(*(lambda protocol=protocol, status=status: poison(
        OtlpFixture(harness, protocol, name=f"{protocol}-{status}"), status, reasons[status])
        for protocol in ("http", "grpc") for status in reasons))


def poison(fixture, status, reason):
    """The receiver chokes on one report, and so on the request that holds it, whenever it comes."""
    generator = fixture.generate(1_000)
    poisoned = generator.senders[0].names(5)[3]
    fixture.receiver.decide = lambda request: refuse(
        status if poisoned in names_of(request.message()) else 200, reason)
    generator.run_for(3)
    outcomes = fixture.check_delivery()
    refused = [request for request in fixture.receiver.logs() if not request.kept]
    equal("Tries of a request that was refused for good", 1, len(refused), "the receiver")
    equal("Events counted as rejected", len(names_of(refused[0].message())), outcomes.get("rejected"),
          "/metrics")
    equal("Outcomes", {"delivered", "rejected"}, set(outcomes), "/metrics")
    fixture.wait_for_log(f"WARN .*{reason}")


def test_partial_success(harness):
    """What the collector takes is delivered, what it does not is rejected, and the log has its words."""
    run_on_both_protocols(harness, partly)


def partly(fixture):
    """Seven of the first request, and nothing of the second, but with a warning."""
    fixture.receiver.decide = in_turn(partial(7, "7 of them are too old"), partial(0, "slow down, please"))
    fixture.send(600)
    equal("Outcomes", {"delivered": 593, "rejected": 7}, fixture.check_delivery(), "/metrics")
    fixture.wait_for_log("WARN .*7 of them are too old")
    fixture.wait_for_log("WARN .*slow down, please")


def test_hangs(harness):
    """A collector that accepts and never answers costs a timeout, and no event."""
    run_on_both_protocols(harness, hangs, env=SHORT)


def hangs(fixture):
    """The first three requests hang, all of which the timeout ends."""
    fixture.receiver.decide = in_turn(HANG, HANG, HANG)
    fixture.generate(1_000).run_for(3)
    nothing_lost(fixture, seconds=30)
    expect(tries(fixture, "timeout") == 3, "Tries counted as timeouts", expected=3,
           found=tries(fixture, "timeout"), where="/metrics")


def tries(fixture, code):
    """How many tries of requests of events ended so."""
    return total(fixture.daemon.scrape(), "lookout_export_requests_total", signal="logs", code=code)


def test_lost_answers(harness):
    """The collector takes a request, and its answer never comes, or half of it: the request is sent
    again, and only that one."""
    run_concurrently(lambda: lost_answers(OtlpFixture(harness, "http"), CLOSE, CUT),
                     lambda: lost_answers(OtlpFixture(harness, "grpc"), CLOSE, CLOSE))


def lost_answers(fixture, *replies):
    """Checks that this many requests arrived twice, and each report at least once."""
    fixture.receiver.decide = in_turn(*replies)
    fixture.generate(1_000).run_for(3)
    nothing_lost(fixture)
    unanswered = [request for request in fixture.receiver.logs() if request.kept and not request.answered]
    equal("Requests whose answer was lost", len(replies), len(unanswered), "the receiver")


def test_resets(harness):
    """The connection is reset instead of an answer."""
    fixture = OtlpFixture(harness)
    fixture.receiver.decide = in_turn(RESET, RESET)
    fixture.generate(1_000).run_for(3)
    nothing_lost(fixture)
    expect(tries(fixture, "connection_lost") == 2, "Tries counted as broken connections", expected=2,
           found=tries(fixture, "connection_lost"), where="/metrics")


def test_slow(harness):
    """300 ms for each answer, and 5,000 reports a second: nothing is lost, and nothing heaps up."""
    run_on_both_protocols(harness, slow)


def slow(fixture):
    """Four requests at a time are enough for 6,800 reports a second."""
    fixture.receiver.decide = always(SLOW)
    fixture.generate(5_000, per_upload=50).run_for(6, reports=27_000)
    nothing_lost(fixture, seconds=30)


@needs("openssl", CLOCK)
def test_expired_certificate(harness):
    """Nothing is sent to a collector with an expired certificate. With a valid one, everything is delivered."""
    authority = Authority(harness.directory, ["localhost"])
    authority.make_certificate(["localhost"], ago="3d")
    rigs = [OtlpFixture(harness, protocol, authority=authority,
                        env={"OTEL_EXPORTER_OTLP_CERTIFICATE": authority.ca}) for protocol in ("http", "grpc")]
    for fixture in rigs:
        fixture.send(1_000)
        fixture.wait_for_log('WARN .*code="connect".*(?i:expired)')
    equal("Requests that went to a collector with an expired certificate", [0, 0],
          [len(fixture.receiver.logs()) for fixture in rigs], "the receivers")
    authority.make_certificate(["localhost"])
    for fixture in rigs:
        fixture.receiver.down()
        fixture.receiver.up()
    run_concurrently(*(lambda fixture=fixture: nothing_lost(fixture) for fixture in rigs))
