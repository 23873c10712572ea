#!/usr/bin/env python3
"""The entry point of the end-to-end tests: the real binary against real browsers, Prometheus and
collectors. `tests/run --all` calls it with everything installed; on its own:

    target/test-venv/bin/python tests/e2e/run.py [--binary PATH] [--jobs N] [--keep] [--list] [NAME...]

A NAME is a file (`otlp`) or one of its tests (`otlp.rotel_grpc`); without names, all run. A test that needs a
program, a Python package or a right that is missing here is left out and named. Several run at a time, because
most of them wait; the longest start first, and tests marked `alone`, which measure, run by themselves at the end.
"""

import argparse
import ast
import contextlib
import ctypes
import functools
import importlib
import io
import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import wait
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "lib"))

import marks  # noqa: E402 (the path of the support modules comes first)
from checks import Failure  # noqa: E402
from harness import Harness  # noqa: E402
from processes import Ended  # noqa: E402
from programs import Programs  # noqa: E402

TEST_SECONDS = 400  # far above what any test takes: it only turns a hang into a failure
REAP_SECONDS = 1
JOBS = 2 * (os.cpu_count() or 1)
ROOT = HERE.parents[1]
FILES = sorted(path.stem[5:] for path in HERE.glob("test_*.py"))
# Seconds of wall and of CPU that each test took when `--save-durations` was last given; they decide the order only.
DURATIONS = HERE / "durations.json"
UNKNOWN = (10.0, 5.0)
SLOWEST = 10
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Test:
    """One test, not yet run."""

    name: str
    function: object
    seconds: float
    cpu: float

    @property
    def alone(self):
        """Whether no other test may run beside it."""
        return getattr(self.function, "alone", False)

    @property
    def load(self):
        """The share of a core that it keeps busy on average."""
        return self.cpu / max(self.seconds, 0.1)


@dataclass
class Result:
    """The result of one test: `ok` or `FAILED`, its report, and what it took."""

    name: str
    end: str
    report: str
    seconds: float = 0.0
    cpu: float = 0.0


def main():
    """Runs the chosen tests; exit code 0 if none failed, 1 if one did, 2 for a wrong command line."""
    arguments = parse_arguments()
    chosen = choose(arguments.names)
    if arguments.list:
        print("\n".join(test.name for test in chosen))
        return 0
    if not arguments.binary.is_file():
        print(f"no binary at {arguments.binary}: run `cargo build --release --locked`, "
              "or name one with --binary", file=sys.stderr)
        return 2
    if arguments.names:
        print(f"not run: the {len(choose([])) - len(chosen)} tests that were not named")
    signal.signal(signal.SIGTERM, interrupt)
    began, results = time.monotonic(), []
    with tempfile.TemporaryDirectory(prefix="lookoutd-e2e-") as place:
        programs = Programs(Path(place) / "programs")
        missing = {test.name: lacks for test in chosen if (lacks := lacking(test))}
        for result in run_all([test for test in chosen if test.name not in missing], arguments, programs):
            results.append(result)
            print(result.report, end="", flush=True)
    for name, lacks in missing.items():
        print(f"LEFT OUT {name}: needs {', '.join(lacks)}")
    summarize(results, time.monotonic() - began)
    if arguments.save_durations:
        save_durations(results)
    ends = Counter(result.end for result in results)
    print(f"{ends['ok']} passed, {ends['FAILED']} failed" + (f", {len(missing)} skipped" if missing else ""),
          flush=True)
    return 1 if ends["FAILED"] else 0


def parse_arguments():
    """Returns the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", type=lambda text: Path(text).resolve(),
                        default=ROOT / "target/release/lookoutd")
    parser.add_argument("--keep", action="store_true", help="keep every test's directory")
    parser.add_argument("--jobs", type=int, default=JOBS,
                        help=f"how many run at a time at most (default {JOBS}: two per core)")
    parser.add_argument("--list", action="store_true", help="name the tests and run none")
    parser.add_argument("--save-durations", action="store_true", help=f"write the times to {DURATIONS.name}")
    parser.add_argument("names", nargs="*", metavar="NAME")
    return parser.parse_args()


def interrupt(_signal, _frame):
    """Handles SIGTERM as Ctrl-C is handled, in the runner and in its tests."""
    raise KeyboardInterrupt


def choose(names):
    """Returns the tests of these names, in the order in which they are written."""
    durations = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
    every = [Test(name, function, *durations.get(name, UNKNOWN))
             for file in FILES for name, function in tests_in(file)]
    known = {*FILES, *(test.name for test in every)}
    for name in names:
        if name not in known:
            sys.exit(f"no test is called {name!r}; there are: {', '.join(sorted(known))}")
    return [test for test in every if not names or test.name in names or test.name.split(".")[0] in names]


@functools.cache
def tests_in(file):
    """Returns the (name, function) pairs of a file. If it cannot be imported because a package is missing, each
    function is one that has only that need."""
    try:
        found = vars(importlib.import_module(f"test_{file}"))
    except ModuleNotFoundError as error:
        lacks = marks.needs(marks.package(error.name))(lambda _harness: None)
        tree = ast.parse((HERE / f"test_{file}.py").read_text())
        found = {node.name: lacks for node in tree.body if isinstance(node, ast.FunctionDef)}
    return [(f"{file}.{function[5:]}", test) for function, test in found.items() if function.startswith("test_")]


def lacking(test):
    """Returns the texts of what this test needs and is not here."""
    return [need.text for need in marks.needed(test.function) if not marks.present(need)]


def run_all(tests, arguments, programs):
    """Runs these tests, each in a separate process, and yields each result."""
    waiting = sorted(tests, key=lambda test: (test.alone, -test.seconds))
    context, running = get_context("fork"), {}
    try:
        while waiting or running:
            while test := next_test(waiting, [test for test, _ in running.values()], arguments.jobs):
                waiting.remove(test)
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=run, args=(test, arguments, programs, sender), name=test.name)
                process.start()
                sender.close()
                running[receiver] = test, process
            for receiver in wait(list(running)):
                test, process = running.pop(receiver)
                try:
                    result = receiver.recv()
                except EOFError:
                    process.join()
                    problem = indent(f"its process ended with {process.exitcode}")
                    result = Result(test.name, "FAILED", f"FAILED  {test.name}\n{problem}\n")
                receiver.close()
                process.join()
                yield result
    finally:  # also after a signal: each test ends what it started
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


def next_test(waiting, running, jobs):
    """Returns the longest waiting test that may start now: the cores are not yet busy with those that run."""
    if not running:
        return waiting[0] if waiting else None
    if len(running) >= jobs or any(test.alone for test in running):
        return None
    free = (os.cpu_count() or 1) - sum(test.load for test in running)
    return next((test for test in waiting if not test.alone and test.load <= free), None)


def run(test, arguments, programs, sender):
    """Runs one test in this process, and sends its result."""
    # Children of children, such as a browser's, are reaped here too, so that their CPU time is counted.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    with contextlib.redirect_stdout(io.StringIO()) as said:
        end, kept, problem = attempt(test, arguments, programs)
    seconds, cpu = time.monotonic() - began, cpu_seconds()
    report = f"{end:7} {test.name} ({seconds:.1f} s, CPU {cpu:.1f} s)\n"
    for text in (problem, kept):
        report += indent(text) + "\n" if text else ""
    sender.send(Result(test.name, end, said.getvalue() + report, seconds, cpu))


def attempt(test, arguments, programs):
    """Runs one test; returns its result, where its files are if they are kept, and what went wrong."""
    end, problem, harness = "FAILED", "", Harness(test.name, arguments.binary)
    os.environ["PATH"] = programs.path_for(test.name, marks.needed(test.function))
    try:
        with time_limit(TEST_SECONDS):
            test.function(harness)
            harness.finish()
        end = "ok"
    except (Failure, Ended) as failure:
        problem = str(failure)
    except (Exception, KeyboardInterrupt):  # an error in the test itself fails it as well
        problem = traceback.format_exc()
    finally:
        keep = arguments.keep or end == "FAILED"
        harness.close(keep)
    return end, f"kept for reading: {harness.directory}" if keep else "", problem


def cpu_seconds():
    """Returns the CPU time of this process and of all its ended children."""
    deadline = time.monotonic() + REAP_SECONDS
    with contextlib.suppress(ChildProcessError):  # none is left
        while time.monotonic() < deadline:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def summarize(results, seconds):
    """Prints what the run took, and the slowest tests."""
    if len(results) > SLOWEST:
        print(f"the slowest {SLOWEST}:")
        for result in sorted(results, key=lambda result: -result.seconds)[:SLOWEST]:
            print(f"  {result.seconds:6.1f} s, CPU {result.cpu:6.1f} s  {result.name}")
    print(f"{seconds:.0f} s, CPU {sum(result.cpu for result in results):.0f} s")


def save_durations(results):
    """Writes what the tests took, beside what is known of others."""
    known = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
    known |= {result.name: (round(result.seconds, 1), round(result.cpu, 1)) for result in results
              if result.end == "ok"}
    exist = {test.name for test in choose([])}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(took)}" for name, took in sorted(known.items())
                       if name in exist)
    DURATIONS.write_text("{\n" + lines + "\n}\n")


def indent(text):
    """Returns a problem set apart from the list of tests."""
    return "\n".join("       " + line for line in text.splitlines())


@contextlib.contextmanager
def time_limit(seconds):
    """Raises Ended in what takes longer."""
    def expired(_signal, frame):
        raise Ended(f"the test took longer than {seconds} s and was ended:\n"
                    + "".join(traceback.format_stack(frame)))
    signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


if __name__ == "__main__":
    sys.exit(main())
