#!/usr/bin/env python3
"""The entry point of the end-to-end tests: the real binary against real browsers, Prometheus and
collectors. `tests/run` calls it with everything installed; on its own:

    target/test-venv/bin/python tests/e2e/run.py [--binary PATH] [--keep] [--list] [NAME...]

A NAME is a file (`otlp`) or one of its tests (`otlp.rotel_grpc`); without names, all run. Two run at a time,
since most of them wait for something; those of a file that says ALONE, because they measure, run one by one
afterwards.
"""

import argparse
import contextlib
import importlib
import io
import signal
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))

from checks import Failure, NotRun  # noqa: E402 (the path of the support modules comes first)
from harness import Harness  # noqa: E402
from processes import Ended  # noqa: E402

TEST_SECONDS = 180  # far above what any test takes: it only turns a hang into a failure
JOBS = 2
ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path.stem[5:] for path in Path(__file__).parent.glob("test_*.py"))


def main():
    """Runs the chosen tests; exit code 0 if all passed, 1 if not, 2 if it was called wrongly."""
    arguments = parse_arguments()
    chosen = choose(arguments.names)
    if arguments.list:
        print("\n".join(name for name, _ in chosen))
        return 0
    if not arguments.binary.is_file():
        print(f"no binary at {arguments.binary}: run `cargo build --release --locked`, "
              "or name one with --binary", file=sys.stderr)
        return 2
    if arguments.names:
        print(f"not run: the {len(choose([])) - len(chosen)} tests that were not named")
    ends = Counter()
    for jobs, tests in split(chosen, arguments.jobs):
        for end, said in run_all(tests, jobs, arguments):
            ends[end] += 1
            print(said, end="", flush=True)
    print(f"{ends['ok']} passed, {ends['FAILED']} failed"
          + (f", {ends['NOT RUN']} not run" if ends["NOT RUN"] else ""), flush=True)
    return 1 if ends["FAILED"] else 0


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--binary", type=lambda text: Path(text).resolve(),
                        default=ROOT / "target/release/lookoutd")
    parser.add_argument("--keep", action="store_true", help="keep every test's directory")
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"how many run at a time (default {JOBS})")
    parser.add_argument("--list", action="store_true", help="name the tests and run none")
    parser.add_argument("names", nargs="*", metavar="NAME")
    return parser.parse_args()


def choose(names):
    """The tests of these names, as (name, function), in the order in which they are written."""
    every = [(f"{file}.{function[5:]}", test) for file in FILES
             for function, test in vars(importlib.import_module(f"test_{file}")).items()
             if function.startswith("test_")]
    known = {*FILES, *(name for name, _ in every)}
    for name in names:
        if name not in known:
            sys.exit(f"no test is called {name!r}; there are: {', '.join(sorted(known))}")
    return [(name, test) for name, test in every
            if not names or name in names or name.split(".")[0] in names]


def split(chosen, jobs):
    """Which tests run how many at a time: first those that bear company."""
    alone = {file for file in FILES if getattr(importlib.import_module(f"test_{file}"), "ALONE", False)}
    names = [name for name, _ in chosen]
    return [(jobs, [name for name in names if name.split(".")[0] not in alone]),
            (1, [name for name in names if name.split(".")[0] in alone])]


def run_all(names, jobs, arguments):
    """Runs these tests, each in a process of its own, and returns the result and the output of each."""
    with ProcessPoolExecutor(jobs, max_tasks_per_child=1, mp_context=get_context("spawn")) as pool:
        running = {pool.submit(run, name, arguments): name for name in names}
        try:
            for test in as_completed(running):
                try:
                    yield test.result()
                except BrokenExecutor as error:
                    yield "FAILED", f"FAILED  {running[test]}\n{indent(f'its process ended: {error}')}\n"
        finally:  # also when the run is broken off
            pool.shutdown(cancel_futures=True)


def run(name, arguments):
    """Runs one test and returns ok, FAILED or NOT RUN, and the report."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        end = attempt(name, arguments)
    return end, said.getvalue()


def attempt(name, arguments):
    """Runs one test, prints its result, and returns it."""
    began, end, harness = time.monotonic(), "FAILED", Harness(name, arguments.binary)
    [(_, test)] = choose([name])
    try:
        with time_limit(TEST_SECONDS):
            test(harness)
            harness.finish()
        end = "ok"
    except NotRun as reason:
        end, problem = "NOT RUN", str(reason)
    except (Failure, Ended) as failure:
        problem = str(failure)
    except Exception:  # an error in the test itself fails it as well
        problem = traceback.format_exc()
    finally:
        keep = arguments.keep or end == "FAILED"
        harness.close(keep)
    if end == "NOT RUN":
        print(f"{end} {name}: {problem}")
    else:
        print(f"{end:7} {name} ({time.monotonic() - began:.1f} s)")
    if end == "FAILED":
        print(indent(problem))
    if keep:
        print(indent(f"kept for reading: {harness.directory}"))
    return end


def indent(text):
    """A problem set apart from the list of tests."""
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
