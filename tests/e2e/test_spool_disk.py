"""Faults of the spool's directory: a full or read-only disk, removed or damaged files, a second process that uses
it. In every case intake continues and every event is counted.
"""

import re
import shutil

from checks import equal, eventually, expect
from daemon import Lookoutd
from delivery_accounting import event_outcomes, pending
from fault_env import Disk
from marks import DISK, needs
from otlp_fixture import OtlpFixture
from spool_directory import Spool, errors, events_in

SETTING = "delivery.spool"
IN_FLIGHT, BATCH = 4, 512
# A stall of intake would be one of seconds.
P99_SECONDS = 1.0


def on_disk(harness, size):
    """A fixture whose spool is on a separate disk; its collector is down."""
    disk = harness.closing(Disk(harness.directory / "disk", size))
    spool = Spool(disk.directory / "spool")
    return OtlpFixture(harness, up=False, delivery=spool.settings()), spool, disk


def start(harness):
    """Builds the same with the spool in the test's directory."""
    spool = Spool(harness.directory / "spool")
    return OtlpFixture(harness, up=False, delivery=spool.settings()), spool


def check_intake(generator):
    """Checks that uploads were answered as fast as without a fault."""
    p99 = generator.percentile(0.99)
    expect(p99 < P99_SECONDS, "p99 of uploads while the disk fails", expected=f"{P99_SECONDS} s at most",
           found=f"{p99:.3f} s", where="the report generator")


@needs(DISK)
def test_disk_full(harness):
    """A full disk is a counted drop. What was written before it was full arrives."""
    fixture, spool, _disk = on_disk(harness, "2m")
    generator = fixture.generate(2_000)
    eventually(lambda: trouble(fixture, "write"), 30)
    eventually(lambda: expect(sum(event_outcomes(fixture.daemon).values()) > 1_000,
                              "Memory and disk are full, and few events are dropped",
                              expected="1,000 events", found=event_outcomes(fixture.daemon),
                              where=f"/metrics\n{fixture.daemon.tail()}"))
    generator.stop()
    check_intake(generator)
    fixture.wait_for_log("WARN .*(No space left|spool)|ERROR .*(No space left|spool)")
    fixture.receiver.up()
    outcomes = fixture.check_delivery()
    expect(sum(outcomes.values()) > outcomes.get("delivered", 0) > 2_000, "Outcomes after a full disk",
           expected="some delivered, some dropped", found=outcomes, where="/metrics")
    spool.check_empty(fixture)


def trouble(fixture, operation, at_least=1):
    """Checks that enough operations of this kind have failed."""
    found = errors(fixture.daemon, operation)
    expect(found >= at_least, f"No {operation} failed", expected=f"{at_least} or more", found=found,
           where=f"lookout_spool_errors_total\n{fixture.daemon.tail()}")


@needs(DISK)
def test_read_only_while_running(harness):
    """The disk becomes read-only: what is on it is sent, what comes now and does not fit into memory is
    dropped and counted."""
    fixture, spool, disk = on_disk(harness, "16m")
    generator = fixture.generate(2_000)
    spool.has(4_000, fixture)
    disk.read_only()
    eventually(lambda: trouble(fixture, "write"), 30)
    generator.stop()
    check_intake(generator)
    fixture.receiver.up()
    outcomes = fixture.check_delivery()
    expect(outcomes.get("delivered", 0) >= 4_000, "Outcomes after the disk became read-only",
           expected="what was on it is delivered", found=outcomes, where="/metrics")
    eventually(lambda: trouble(fixture, "remove"))
    disk.writable()


@needs(DISK)
def test_read_only_at_start(harness):
    """lookoutd does not start with an unwritable spool, and logs its directory."""
    disk = harness.closing(Disk(harness.directory / "disk", "2m"))
    spool = Spool(disk.directory / "spool")
    disk.read_only()
    check_refused(harness, spool, "first")


def test_shared(harness):
    """A second process cannot use the directory; the first one continues."""
    fixture, spool = start(harness)
    check_refused(harness, spool, "second")
    fixture.generate(2_000).run_for(3)
    fixture.receiver.up()
    equal("Outcomes", ["delivered"], list(fixture.check_delivery()), "/metrics")


def check_refused(harness, spool, name):
    """Checks that it exits with 1 and logs the setting and the directory."""
    settings = "".join(f"  {key}: {value}\n" for key, value in spool.settings().items())
    daemon = Lookoutd(harness.binary, harness.directory, config="delivery:\n" + settings, name=name,
                      env={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})
    harness.processes.append(daemon)
    equal("The exit code of a daemon that cannot have its spool", 1, daemon.wait(), daemon.tail())
    said = daemon.text("stderr")
    for needed in (SETTING, str(spool.directory)):
        expect(re.search(re.escape(needed), said), "The message lacks the cause",
               expected=needed, found=said, where=daemon.files["stderr"])


def test_removed_while_running(harness):
    """When the directory is removed, its events are counted as damaged, and it is created again."""
    fixture, spool = start(harness)
    fixture.generate(2_000).run_for(3)
    gone = all_on_disk(fixture, spool)
    shutil.rmtree(spool.directory)
    fixture.generate(2_000).run_for(3)
    spool.has(1_000, fixture)
    spool.check_modes()
    fixture.receiver.up()
    outcomes = fixture.check_delivery()
    # Requests in flight may still arrive.
    expect(gone - IN_FLIGHT * BATCH <= outcomes.get("dropped_spool_damaged", 0) <= gone,
           "Events of the removed directory that are counted as damaged",
           expected=f"{gone}, but for {IN_FLIGHT} requests", found=outcomes, where="/metrics")
    equal("Outcomes", {"delivered", "dropped_spool_damaged"}, set(outcomes), "/metrics")
    spool.check_empty(fixture)


def all_on_disk(fixture, spool):
    """Waits until memory holds only requests in flight; returns the number of events on disk."""
    eventually(lambda: equal("Events in memory", 0, pending(fixture.daemon, state="queued"),
                             fixture.daemon.tail()))
    spool.check_quiet(fixture)
    return spool.events()


def test_damaged_while_running(harness):
    """One file vanishes and one is cut short: their events are counted as damaged, and no others."""
    fixture, spool = start(harness)
    fixture.generate(2_000).run_for(4)
    all_on_disk(fixture, spool)
    # The newest: the oldest may be on their way.
    vanishing, cut = spool.files()[-2:]
    damaged = events_in(vanishing) + events_in(cut)
    vanishing.unlink()
    cut.write_bytes(cut.read_bytes()[:-7])
    fixture.receiver.up()
    outcomes = fixture.check_delivery()
    equal("Events of damaged files", damaged, outcomes.get("dropped_spool_damaged"), f"/metrics: {outcomes}")
    equal("Outcomes", {"delivered", "dropped_spool_damaged"}, set(outcomes), "/metrics")
    spool.check_empty(fixture)
