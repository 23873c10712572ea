"""The spool: what memory cannot hold waits on disk, through outages, SIGTERM and kill -9, and arrives.
What an earlier process left has books of its own (`otlp_recovered`), so that those of each process hold.
"""

import subprocess
import time

from account import Delivery, fates, pending, same_reports
from checks import equal, eventually, expect
from exposition import total
from rig import Rig, at_once
from scripted import HANG, SLOW, TAKE, always
from scripted_http import HttpReceiver
from spool import MIB, RECOVERED, Spool, events_in, names_in, put_aside, recovered

OUTAGE_SECONDS = 30
IN_FLIGHT = 4  # requests, of which a kill can catch the acknowledgement
BATCH = 512


def start(bench, protocol="http", *, name=None, up=False, settings=None, **more):
    """A rig with a spool. Its collector is down at first."""
    spool = Spool(bench.directory / f"{name or protocol}-spool")
    rig = Rig(bench, protocol, name=name, up=up, delivery=spool.settings(**(settings or {})), **more)
    return rig, spool


def test_down(bench):
    """Down for 30 s with 2,000 reports each second and hardly any memory: nothing is lost."""
    at_once(lambda: down(bench, "http"), lambda: down(bench, "grpc"))


def down(bench, protocol):
    """An outage in the middle of the load."""
    rig, spool = start(bench, protocol, up=True)
    feed = rig.feed(2_000)
    rig.came(4)
    rig.receiver.down()
    feed.run_for(OUTAGE_SECONDS)
    spool.has(50_000, rig)
    spool.check_modes()
    spool.check_quiet(rig)
    same_reports("A report is in the spool twice", set(spool.reports()), spool.reports(), spool.directory)
    rig.receiver.up()
    equal("Fates", ["delivered"], list(rig.settle(seconds=90)), "/metrics")
    spool.check_empty(rig)


def test_old_events(bench):
    """What memory could hold goes to disk all the same when it has waited for 5 s, and survives kill -9."""
    rig, spool = start(bench, settings={"memory": "32MiB"})
    rig.send(100)
    spool.has(100, rig, seconds=10)
    rig.kill()
    rig.receiver.up()
    rig.start()
    equal("Fates of what was found", {"delivered": 100}, recovered(rig.daemon, 100), "/metrics")
    delivered_once(rig)
    spool.check_empty(rig)


def delivered_once(rig):
    """Every report arrived, and none of them twice."""
    delivery = Delivery.of([rig.receiver])
    missing = delivery.check(rig.feeds)
    equal("Reports that did not arrive", [], sorted(missing)[:5], f"{len(missing)} in all")
    equal("Reports that arrived twice", 0, delivery.duplicates, "the receiver")


def test_kill(bench):
    """kill -9 with a full spool, and again in the middle of sending it: nothing that was on disk is
    missing, and what comes twice is what was on its way."""
    at_once(lambda: kill(bench, "http"), lambda: kill(bench, "grpc"))


def kill(bench, protocol):
    """Three processes, one after the other."""
    rig, spool = start(bench, protocol)
    feed = rig.feed(2_000)
    spool.has(20 * BATCH, rig)
    rig.kill()
    feed.stop()
    written = spool.reports()
    same_reports("A report is in the spool twice", set(written), written, spool.directory)
    order = [names_in(path)[0] for path in spool.files()]
    rig.receiver.decide = always(SLOW)
    rig.receiver.up()
    rig.start()
    rig.came(6)
    rig.kill()
    left = spool.events()
    expect(0 < left < written.total(), "The second kill was not in the middle of sending",
           expected=f"some of {written.total()}", found=left, where=spool.directory)
    rig.receiver.decide = always(TAKE)
    rig.start()
    equal("Fates of what was found", {"delivered": left}, recovered(rig.daemon, left), "/metrics")
    check_kill(rig, written, order)
    spool.check_empty(rig)


def check_kill(rig, written, order):
    """What arrived, against what was on disk when the first process was killed."""
    delivery = Delivery.of([rig.receiver])
    delivery.check(rig.feeds, killed=True)
    missing = written.keys() - delivery.arrived.keys()
    equal("Reports that were on disk and did not arrive", [], sorted(missing)[:5], f"{len(missing)} in all")
    print(f"       {rig.name}: {written.total()} reports on disk at the first kill, {delivery.duplicates} "
          "came twice", flush=True)
    expect(delivery.duplicates <= IN_FLIGHT * BATCH, "More came twice than was on its way at the kill",
           expected=f"at most {IN_FLIGHT} requests", found=delivery.duplicates, where="the receiver")
    firsts = [request.names()[0] for request in rig.receiver.logs()]
    came = [firsts.index(name) for name in order]
    late = max(place - min(came[at:]) for at, place in enumerate(came))
    expect(late <= 2 * IN_FLIGHT, "Files were not sent oldest first", where=came,
           expected=f"no request before one that is older by more than {2 * IN_FLIGHT}", found=late)


def test_kill_while_up(bench):
    """kill -9 while all is well costs at most what came within the last second."""
    rig, spool = start(bench, up=True)
    feed = rig.feed(2_000)
    rig.came(8)
    rig.kill()
    feed.stop()
    left = spool.events()
    rig.start()
    recovered(rig.daemon, left)
    missing = Delivery.of([rig.receiver]).check(rig.feeds, killed=True)
    print(f"       {len(missing)} of {len(feed.acknowledged)} reports missing", flush=True)
    expect(len(missing) <= 2_000, "kill -9 cost more than a second's reports", expected="2,000 at most",
           found=len(missing), where=rig.daemon.tail())


def test_sigterm_while_down(bench):
    """SIGTERM while the collector is down: what is left goes to disk at once, and the next process
    delivers all of it, once."""
    at_once(lambda: sigterm(bench, "http"), lambda: sigterm(bench, "grpc"),
            lambda: sigterm(bench, "http", hangs=True), lambda: sigterm(bench, "grpc", hangs=True))


def sigterm(bench, protocol, hangs=False):
    """With a refusing collector there is nothing to wait for. One that hangs gets the whole timeout."""
    timeout = 2 if hangs else 10
    rig, spool = start(bench, protocol, name=f"{protocol}-hangs" if hangs else protocol, up=hangs,
                       settings={"shutdown_timeout": f"{timeout}s"})
    rig.receiver.decide = always(HANG)
    feed = rig.feed(1_000).run_for(3)
    began = time.monotonic()
    rig.daemon.terminate()
    seconds = time.monotonic() - began
    expect(seconds < 5, "SIGTERM while the collector is down took too long", expected="a few seconds",
           found=f"{seconds:.1f} s", where=rig.daemon.tail())
    same_reports("Reports in the spool against those answered 204", feed.acknowledged, spool.reports(),
                 spool.directory)
    rig.receiver.decide = always(TAKE)
    if not hangs:
        rig.receiver.up()
    rig.start()
    sent = len(feed.acknowledged)
    equal("Fates of what was found", {"delivered": sent}, recovered(rig.daemon, sent), "/metrics")
    equal("Fates of this process's own events", {}, fates(rig.daemon), "/metrics")
    delivered_once(rig)
    spool.check_empty(rig)


def test_both_books(bench):
    """What was found and what comes now are sent side by side, each in its own books."""
    rig, spool = start(bench)
    first = rig.send(1_000)
    rig.daemon.terminate()
    equal("Events in the spool", 1_000, spool.events(), spool.directory)
    rig.start()
    eventually(lambda: equal("Events found that wait", 1_000, pending(rig.daemon, RECOVERED), "/metrics"))
    second = rig.feed(1_000).run_for(3)
    rig.daemon.sent = len(second.acknowledged)
    eventually(rig.daemon.check_books)
    rig.receiver.up()
    equal("Fates of what was found", {"delivered": len(first.acknowledged)},
          recovered(rig.daemon, 1_000), "/metrics")
    eventually(lambda: equal("Fates of what came now", {"delivered": rig.daemon.sent}, fates(rig.daemon),
                             "/metrics"), 60)
    delivered_once(rig)


def test_files(bench):
    """Each file is a request: curl delivers it to any collector."""
    rig, spool = start(bench)
    feed = rig.feed(1_000).run_for(3)
    rig.daemon.terminate()
    fresh = bench.closing(HttpReceiver())
    for path in spool.files():
        done = subprocess.run(
            ["curl", "-sS", "--data-binary", f"@{path}", "-H", "content-type: application/x-protobuf", "-w",
             "%{http_code}", "-o", "/dev/null", f"http://127.0.0.1:{fresh.port}/v1/logs"],
            capture_output=True, text=True, timeout=30, check=False)
        equal(f"What curl says about {path.name}", (0, "200", ""),
              (done.returncode, done.stdout, done.stderr), path)
    found = [name for request in fresh.logs() for name in request.names()]
    same_reports("Reports in the files against those answered 204", feed.acknowledged, found,
                 spool.directory)


def test_torn_and_foreign(bench):
    """What is no file of events, or not a whole one, is set aside and counted. Its neighbours are sent."""
    rig, spool = start(bench)
    feed = rig.feed(1_000).run_for(2)
    rig.daemon.terminate()
    torn, *whole = spool.files()
    events = sum(map(events_in, whole))
    expect(len(whole) > 1, "Too few files for this test", expected="three", found=whole,
           where=spool.directory)
    lost = names_in(torn)
    torn.write_bytes(torn.read_bytes()[:-7])
    # The last has a number that no 64 bits hold; that must not be the end.
    strange = [spool.directory / name for name in (
        "00000000000000099999-3.binpb", "README.txt", "1-1.binpb", "99999999999999999999-3.binpb")]
    for path in strange:
        path.write_bytes(b"\xff" * 100)
    rig.receiver.up()
    rig.start()
    # Also what a torn file was to hold is counted, by its name, and its fate is that it was lost.
    recovered(rig.daemon, events + len(lost) + 3)
    equal("Events of torn files", len(lost) + 3,
          total(rig.daemon.scrape(), "lookout_events_total", exporter=RECOVERED,
                fate="dropped_spool_damaged"), "/metrics")
    equal("Files set aside", sorted(path.name for path in (torn, *strange)), spool.set_aside(),
          spool.directory)
    counted = put_aside(rig.daemon)
    equal("Files counted as set aside", {"torn": 2, "foreign": 3}, counted, "/metrics")
    missing = Delivery.of([rig.receiver]).check([feed])
    same_reports("Reports that did not arrive against those of the torn file", lost, missing,
                 spool.directory)
    spool.check_empty(rig)


def test_full(bench):
    """`max_bytes` is never exceeded; what does not fit is dropped and counted."""
    rig, spool = start(bench, settings={"max_bytes": "2MiB"})
    equal("lookout_spool_limit_bytes", 2 * MIB, total(rig.daemon.scrape(), "lookout_spool_limit_bytes"),
          "/metrics")
    feed, sizes = rig.feed(2_000), []
    eventually(lambda: overfull(rig, spool, sizes))
    feed.stop()
    expect(max(sizes) <= 2 * MIB, "The spool was larger than delivery.spool.max_bytes", expected=2 * MIB,
           found=max(sizes), where=f"{len(sizes)} looks at the files and at lookout_spool_bytes")
    rig.receiver.up()
    equal("Fates", {"delivered", "dropped_queue_full"}, set(rig.settle()), "/metrics")
    spool.check_empty(rig)


def overfull(rig, spool, sizes):
    """Waits until much had to be dropped, and looks at the sizes meanwhile."""
    sizes += [spool.bytes(), total(rig.daemon.scrape(), "lookout_spool_bytes")]
    dropped = fates(rig.daemon).get("dropped_queue_full", 0)
    expect(dropped > 5_000, "Hardly anything is dropped although the spool must be full", expected="5,000",
           found=dropped, where=f"/metrics; {sizes[-2:]}\n{rig.daemon.tail()}")
