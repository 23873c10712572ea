"""The spool: events that do not fit into memory are kept on disk through outages, SIGTERM and kill -9, and
delivered afterwards. Recovered events are counted separately (`otlp_recovered`), so that each process accounts
for its own.
"""

import subprocess
import time

from checks import equal, eventually, expect
from delivery_accounting import Delivery, event_outcomes, pending, same_reports
from exposition import total
from marks import needs
from otlp_fixture import OtlpFixture, run_concurrently
from scripted_http import HttpReceiver
from scripted_receiver import HANG, SLOW, TAKE, always
from spool_directory import MIB, RECOVERED, Spool, events_in, names_in, quarantine_counts, recovered

OUTAGE_SECONDS = 30
IN_FLIGHT = 4  # requests, of which a kill can catch the acknowledgement
BATCH = 512


def start(harness, protocol="http", *, name=None, up=False, settings=None, **more):
    """A fixture with a spool. Its collector is down at first."""
    spool = Spool(harness.directory / f"{name or protocol}-spool")
    fixture = OtlpFixture(harness, protocol, name=name, up=up, delivery=spool.settings(**(settings or {})), **more)
    return fixture, spool


def test_down(harness):
    """An outage of 30 s at 2,000 reports per second with little memory loses nothing."""
    run_concurrently(lambda: down(harness, "http"), lambda: down(harness, "grpc"))


def down(harness, protocol):
    """An outage in the middle of the load. Memory holds the events of three seconds, in which a busy disk may not write."""
    fixture, spool = start(harness, protocol, up=True, settings={"memory": "4MiB"})
    generator = fixture.generate(2_000)
    fixture.wait_for_requests(4)
    fixture.receiver.down()
    generator.run_for(OUTAGE_SECONDS, reports=55_000)
    spool.has(50_000, fixture)
    spool.check_modes()
    spool.check_quiet(fixture)
    written = spool.reports()
    same_reports("A report is in the spool twice", set(written), written, spool.directory)
    fixture.receiver.up()
    equal("Outcomes", ["delivered"], list(fixture.check_delivery(seconds=90)), "/metrics")
    spool.check_empty(fixture)


def test_old_events(harness):
    """Events that have waited for 5 s are spilled even if memory could hold them, and survive kill -9."""
    fixture, spool = start(harness, settings={"memory": "32MiB"})
    fixture.send(100)
    spool.has(100, fixture)
    fixture.kill()
    fixture.receiver.up()
    fixture.start()
    equal("Outcomes of recovered events", {"delivered": 100}, recovered(fixture.daemon, 100), "/metrics")
    delivered_once(fixture)
    spool.check_empty(fixture)


def delivered_once(fixture):
    """Every report arrived, and none of them twice."""
    delivery = Delivery.of([fixture.receiver])
    missing = delivery.check(fixture.generators)
    equal("Reports that did not arrive", [], sorted(missing)[:5], f"{len(missing)} in all")
    equal("Reports that arrived twice", 0, delivery.duplicates, "the receiver")


def test_kill(harness):
    """kill -9 with a full spool, and again in the middle of sending it: nothing that was on disk is
    missing, and what comes twice is what was on its way."""
    run_concurrently(lambda: kill(harness, "http"), lambda: kill(harness, "grpc"))


def kill(harness, protocol):
    """Three processes, one after the other."""
    fixture, spool = start(harness, protocol)
    generator = fixture.generate(2_000)
    spool.has(20 * BATCH, fixture)
    fixture.kill()
    generator.stop()
    written = spool.reports()
    same_reports("A report is in the spool twice", set(written), written, spool.directory)
    order = [names_in(path)[0] for path in spool.files()]
    fixture.receiver.decide = always(SLOW)
    fixture.receiver.up()
    fixture.start()
    fixture.wait_for_requests(6)
    fixture.kill()
    left = spool.events()
    expect(0 < left < written.total(), "The second kill was not in the middle of sending",
           expected=f"some of {written.total()}", found=left, where=spool.directory)
    fixture.receiver.decide = always(TAKE)
    fixture.start()
    equal("Outcomes of recovered events", {"delivered": left}, recovered(fixture.daemon, left), "/metrics")
    check_kill(fixture, written, order)
    spool.check_empty(fixture)


def check_kill(fixture, written, order):
    """What arrived, against what was on disk when the first process was killed."""
    delivery = Delivery.of([fixture.receiver])
    delivery.check(fixture.generators, killed=True)
    missing = written.keys() - delivery.arrived.keys()
    equal("Reports that were on disk and did not arrive", [], sorted(missing)[:5], f"{len(missing)} in all")
    print(f"       {fixture.name}: {written.total()} reports on disk at the first kill, {delivery.duplicates} "
          "came twice", flush=True)
    expect(delivery.duplicates <= IN_FLIGHT * BATCH, "More came twice than was on its way at the kill",
           expected=f"at most {IN_FLIGHT} requests", found=delivery.duplicates, where="the receiver")
    firsts = [request.names()[0] for request in fixture.receiver.logs()]
    came = [firsts.index(name) for name in order]
    late = max(place - min(came[at:]) for at, place in enumerate(came))
    # A request may be overtaken several times by the others in flight; without an order it would be by dozens.
    most = 4 * IN_FLIGHT
    expect(late <= most, "Files were not sent oldest first", where=came,
           expected=f"no request before one that is older by more than {most}", found=late)


def test_kill_while_up(harness):
    """kill -9 without an outage loses at most the reports of the last second."""
    fixture, spool = start(harness, up=True)
    generator = fixture.generate(2_000)
    fixture.wait_for_requests(8)
    fixture.kill()
    generator.stop()
    left = spool.events()
    fixture.start()
    recovered(fixture.daemon, left)
    missing = Delivery.of([fixture.receiver]).check(fixture.generators, killed=True)
    print(f"       {len(missing)} of {len(generator.acknowledged)} reports missing", flush=True)
    expect(len(missing) <= 2_000, "kill -9 cost more than a second's reports", expected="2,000 at most",
           found=len(missing), where=fixture.daemon.tail())


def test_sigterm_while_down(harness):
    """SIGTERM while the collector is down: the remaining events are spilled at once, and the next process
    delivers each of them once."""
    run_concurrently(lambda: sigterm(harness, "http"), lambda: sigterm(harness, "grpc"),
                     lambda: sigterm(harness, "http", hangs=True), lambda: sigterm(harness, "grpc", hangs=True))


def sigterm(harness, protocol, hangs=False):
    """A collector that refuses connections ends the wait at once; one that hangs takes the whole timeout."""
    timeout = 2 if hangs else 10
    fixture, spool = start(harness, protocol, name=f"{protocol}-hangs" if hangs else protocol, up=hangs,
                           settings={"shutdown_timeout": f"{timeout}s", "memory": "8MiB"})
    fixture.receiver.decide = always(HANG)
    generator = fixture.generate(1_000).run_for(3)
    began = time.monotonic()
    fixture.daemon.terminate()
    seconds = time.monotonic() - began
    expect(seconds < 5, "SIGTERM while the collector is down took too long", expected="a few seconds",
           found=f"{seconds:.1f} s", where=fixture.daemon.tail())
    same_reports("Reports in the spool against those answered 204", generator.acknowledged, spool.reports(),
                 spool.directory)
    fixture.receiver.decide = always(TAKE)
    if not hangs:
        fixture.receiver.up()
    fixture.start()
    sent = len(generator.acknowledged)
    equal("Outcomes of recovered events", {"delivered": sent}, recovered(fixture.daemon, sent), "/metrics")
    equal("Outcomes of this process's own events", {}, event_outcomes(fixture.daemon), "/metrics")
    delivered_once(fixture)
    spool.check_empty(fixture)


def test_recovered_events_are_accounted_separately(harness):
    """Recovered and new events are sent side by side and counted separately."""
    fixture, spool = start(harness)
    first = fixture.send(1_000)
    fixture.daemon.terminate()
    equal("Events in the spool", 1_000, spool.events(), spool.directory)
    fixture.start()
    eventually(lambda: equal("Recovered events that are pending", 1_000, pending(fixture.daemon, RECOVERED),
                             "/metrics"))
    second = fixture.generate(1_000).run_for(3)
    fixture.daemon.sent = len(second.acknowledged)
    eventually(fixture.daemon.check_accounting)
    fixture.receiver.up()
    equal("Outcomes of recovered events", {"delivered": len(first.acknowledged)},
          recovered(fixture.daemon, 1_000), "/metrics")
    eventually(lambda: equal("Outcomes of new events", {"delivered": fixture.daemon.sent},
                             event_outcomes(fixture.daemon), "/metrics"), 60)
    delivered_once(fixture)


@needs("curl")
def test_files(harness):
    """Each file is a request: curl delivers it to any collector."""
    fixture, spool = start(harness)
    generator = fixture.generate(1_000).run_for(3)
    fixture.daemon.terminate()
    fresh = harness.closing(HttpReceiver())
    for path in spool.files():
        done = subprocess.run(
            ["curl", "-sS", "--data-binary", f"@{path}", "-H", "content-type: application/x-protobuf", "-w",
             "%{http_code}", "-o", "/dev/null", f"http://127.0.0.1:{fresh.port}/v1/logs"],
            capture_output=True, text=True, timeout=30, check=False)
        equal(f"The result of curl for {path.name}", (0, "200", ""),
              (done.returncode, done.stdout, done.stderr), path)
    found = [name for request in fresh.logs() for name in request.names()]
    same_reports("Reports in the files against those answered 204", generator.acknowledged, found,
                 spool.directory)


def test_corrupt_and_unrecognized_files_are_quarantined(harness):
    """Unrecognized and corrupt files are quarantined and counted; the other files are sent."""
    fixture, spool = start(harness)
    generator = fixture.generate(1_000).run_for(4)
    fixture.daemon.terminate()
    truncated, flipped, renamed, *whole = spool.files()
    lost = names_in(truncated) + names_in(flipped)
    truncated.write_bytes(truncated.read_bytes()[:-7])
    # A bit of a text: the framing stays valid.
    content = bytearray(flipped.read_bytes())
    content[content.index(b"www.shop.example")] ^= 1
    flipped.write_bytes(content)
    # A number that is not true: what counts is the content.
    sequence, _, checksum = renamed.name.split("-")
    renamed = renamed.rename(spool.directory / f"{sequence}-999999999-{checksum}")
    events = sum(map(events_in, whole)) + len(names_in(renamed))
    # The last number overflows 64 bits, which must not end the daemon.
    strange = [spool.directory / name for name in (
        "00000000000000099999-999999999.binpb", "README.txt", "1-1.binpb", "99999999999999999999-3.binpb")]
    for path in strange:
        path.write_bytes(b"\xff" * 100)
    fixture.receiver.up()
    fixture.start()
    # The events of a corrupt file are counted as lost.
    recovered(fixture.daemon, events + len(lost))
    equal("Events of corrupt files", len(lost),
          total(fixture.daemon.scrape(), "lookout_events_total", exporter=RECOVERED,
                outcome="dropped_spool_damaged"), "/metrics")
    equal("Quarantined files", sorted(path.name for path in (truncated, flipped, *strange)), spool.quarantined(),
          spool.directory)
    counted = quarantine_counts(fixture.daemon)
    equal("Files counted as quarantined", {"corrupt": 2, "unrecognized": 4}, counted, "/metrics")
    missing = Delivery.of([fixture.receiver]).check([generator])
    same_reports("Reports that did not arrive against those of the corrupt files", lost, missing,
                 spool.directory)
    spool.check_empty(fixture)


def test_full(harness):
    """`max_bytes` is never exceeded; what does not fit is dropped and counted."""
    fixture, spool = start(harness, settings={"max_bytes": "2MiB"})
    equal("lookout_spool_limit_bytes", 2 * MIB, total(fixture.daemon.scrape(), "lookout_spool_limit_bytes"),
          "/metrics")
    generator, sizes = fixture.generate(2_000), []
    eventually(lambda: overfull(fixture, spool, sizes))
    generator.stop()
    expect(max(sizes) <= 2 * MIB, "The spool was larger than delivery.spool.max_bytes", expected=2 * MIB,
           found=max(sizes), where=f"{len(sizes)} samples of the files and at lookout_spool_bytes")
    fixture.receiver.up()
    equal("Outcomes", {"delivered", "dropped_queue_full"}, set(fixture.check_delivery()), "/metrics")
    spool.check_empty(fixture)


def overfull(fixture, spool, sizes):
    """Waits until many events were dropped, sampling the sizes meanwhile."""
    sizes += [spool.bytes(), total(fixture.daemon.scrape(), "lookout_spool_bytes")]
    dropped = event_outcomes(fixture.daemon).get("dropped_queue_full", 0)
    expect(dropped > 5_000, "Few events are dropped although the spool must be full", expected="5,000",
           found=dropped, where=f"/metrics; {sizes[-2:]}\n{fixture.daemon.tail()}")
