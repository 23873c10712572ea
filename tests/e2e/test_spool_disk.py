"""What can go wrong with the spool's directory: the disk is full or read-only, somebody removes or damages
files, somebody else wants it too. Whatever it is, intake goes on and every event is counted.
"""

import re
import shutil

from account import fates, pending
from checks import equal, eventually, expect
from daemon import Lookoutd
from rig import Rig
from spool import Spool, errors, events_in
from surroundings import Disk

SETTING = "delivery.spool"
IN_FLIGHT, BATCH = 4, 512
# A stall of intake would be one of seconds.
P99_SECONDS = 0.25


def on_disk(bench, size):
    """A rig whose spool is on a disk of its own; its collector is down."""
    disk = bench.closing(Disk(bench.directory / "disk", size))
    spool = Spool(disk.directory / "spool")
    return Rig(bench, up=False, delivery=spool.settings()), spool, disk


def start(bench):
    """The same in the test's directory."""
    spool = Spool(bench.directory / "spool")
    return Rig(bench, up=False, delivery=spool.settings()), spool


def check_intake(feed):
    """Uploads were answered as if nothing were wrong."""
    p99 = feed.percentile(0.99)
    expect(p99 < P99_SECONDS, "p99 of uploads while the disk fails", expected=f"{P99_SECONDS} s at most",
           found=f"{p99:.3f} s", where="the feed")


def test_disk_full(bench):
    """A full disk is a counted drop. What was written before it was full arrives."""
    rig, spool, _disk = on_disk(bench, "2m")
    feed = rig.feed(2_000)
    eventually(lambda: trouble(rig, "write"), 30)
    eventually(lambda: expect(sum(fates(rig.daemon).values()) > 1_000, "Memory and disk are full, and hardly "
                              "anything is dropped", expected="1,000 events", found=fates(rig.daemon),
                              where=f"/metrics\n{rig.daemon.tail()}"))
    feed.stop()
    check_intake(feed)
    rig.says("WARN .*(No space left|spool)|ERROR .*(No space left|spool)")
    rig.receiver.up()
    ends = rig.settle()
    expect(sum(ends.values()) > ends.get("delivered", 0) > 2_000, "Fates after a full disk",
           expected="some delivered, some dropped", found=ends, where="/metrics")
    spool.check_empty(rig)


def trouble(rig, operation, at_least=1):
    """Waits until that fails."""
    found = errors(rig.daemon, operation)
    expect(found >= at_least, f"No {operation} failed", expected=f"{at_least} or more", found=found,
           where=f"lookout_spool_errors_total\n{rig.daemon.tail()}")


def test_read_only_while_running(bench):
    """The disk becomes read-only: what is on it is sent, what comes now and does not fit into memory is
    dropped and counted."""
    rig, spool, disk = on_disk(bench, "16m")
    feed = rig.feed(2_000)
    spool.has(4_000, rig)
    disk.read_only()
    eventually(lambda: trouble(rig, "write"), 30)
    feed.stop()
    check_intake(feed)
    rig.receiver.up()
    ends = rig.settle()
    expect(ends.get("delivered", 0) >= 4_000, "Fates after the disk became read-only",
           expected="what was on it is delivered", found=ends, where="/metrics")
    eventually(lambda: trouble(rig, "remove"))
    disk.writable()


def test_read_only_at_start(bench):
    """lookoutd does not start with a spool that it cannot write, and says which."""
    disk = bench.closing(Disk(bench.directory / "disk", "2m"))
    spool = Spool(disk.directory / "spool")
    disk.read_only()
    check_refused(bench, spool, "first")


def test_shared(bench):
    """A second process does not get the directory; the first one goes on."""
    rig, spool = start(bench)
    check_refused(bench, spool, "second")
    rig.feed(2_000).run_for(3)
    rig.receiver.up()
    equal("Fates", ["delivered"], list(rig.settle()), "/metrics")


def check_refused(bench, spool, name):
    """It ends with exit code 1, and names the setting and the directory."""
    settings = "".join(f"  {key}: {value}\n" for key, value in spool.settings().items())
    daemon = Lookoutd(bench.binary, bench.directory, config="delivery:\n" + settings, name=name,
                      env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    bench.processes.append(daemon)
    equal("The exit code of a daemon that cannot have its spool", 1, daemon.wait(), daemon.tail())
    said = daemon.text("stderr")
    for needed in (SETTING, str(spool.directory)):
        expect(re.search(re.escape(needed), said), "The message does not say what is wrong",
               expected=needed, found=said, where=daemon.files["stderr"])


def test_removed_while_running(bench):
    """Somebody removes the directory: the events in it are counted as damaged, and it is made anew."""
    rig, spool = start(bench)
    rig.feed(2_000).run_for(3)
    gone = all_on_disk(rig, spool)
    shutil.rmtree(spool.directory)
    rig.feed(2_000).run_for(3)
    spool.has(1_000, rig)
    spool.check_modes()
    rig.receiver.up()
    ends = rig.settle()
    # What was on its way already, may arrive all the same.
    expect(gone - IN_FLIGHT * BATCH <= ends.get("dropped_spool_damaged", 0) <= gone,
           "Events of the removed directory that are counted as damaged",
           expected=f"{gone}, but for {IN_FLIGHT} requests", found=ends, where="/metrics")
    equal("Fates", {"delivered", "dropped_spool_damaged"}, set(ends), "/metrics")
    spool.check_empty(rig)


def all_on_disk(rig, spool):
    """Waits until nothing is in memory any more but what is being tried; gives the events on disk."""
    eventually(lambda: equal("Events in memory", 0, pending(rig.daemon, place="memory"),
                             rig.daemon.tail()))
    spool.check_quiet(rig)
    return spool.events()


def test_damaged_while_running(bench):
    """One file vanishes and one is cut short: their events are counted as damaged, and no others."""
    rig, spool = start(bench)
    rig.feed(2_000).run_for(4)
    all_on_disk(rig, spool)
    # The newest: the oldest may be on their way.
    vanishing, cut = spool.files()[-2:]
    damaged = events_in(vanishing) + events_in(cut)
    vanishing.unlink()
    cut.write_bytes(cut.read_bytes()[:-7])
    rig.receiver.up()
    ends = rig.settle()
    equal("Events of damaged files", damaged, ends.get("dropped_spool_damaged"), f"/metrics: {ends}")
    equal("Fates", {"delivered", "dropped_spool_damaged"}, set(ends), "/metrics")
    spool.check_empty(rig)
