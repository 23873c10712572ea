"""The end-to-end tests on pytest: the real binary against real browsers, Prometheus and collectors. `tests/run --all`
runs them with everything installed. Some of them:

    target/test-venv/bin/pytest tests/e2e/test_otlp.py [--binary PATH] [--keep]

A test that needs a program or a right that is missing here is skipped and named with the reason. Several run at a
time, because most of them wait.
"""

import contextlib
import ctypes
import fcntl
import os
import signal
import tempfile
from pathlib import Path

import marks
import pytest
from checks import Failure
from harness import Harness
from processes import Ended, descendants
from programs import Programs

HERE = Path(__file__).resolve().parent
PR_SET_CHILD_SUBREAPER = 36
STOP = signal.SIGINT, signal.SIGTERM


def pytest_addoption(parser):
    """Adds the options of these tests."""
    group = parser.getgroup("lookoutd")
    group.addoption("--binary", default=str(HERE.parents[1] / "target/release/lookoutd"), help="the tested binary")
    group.addoption("--keep", action="store_true", help="keep every test's directory, not only those of failed tests")


def pytest_configure(config):
    """Prepares the run, and each worker's."""
    if not config.option.collectonly and not binary(config).is_file():
        raise pytest.UsageError(f"no binary at {binary(config)}: run `cargo build --release --locked`, "
                                "or name one with --binary")
    for number in STOP:
        signal.signal(number, interrupt)
    # Children of ended children, such as a browser's, become children of this process.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def interrupt(_number, _frame):
    """Ends the run once, because a second signal would interrupt the end of the tests' processes."""
    for number in STOP:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def pytest_keyboard_interrupt():
    """Ends the workers' tests at once, because pytest-xdist waits for them and then kills the workers."""
    for pid in descendants(os.getpid(), "python"):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


def pytest_unconfigure():
    """Ends what a killed or crashed worker left."""
    end_descendants()


def pytest_xdist_auto_num_workers():
    """Returns three workers for two cores, because most tests wait most of the time."""
    return len(os.sched_getaffinity(0)) * 3 // 2


def pytest_collection_modifyitems(items):
    """Puts the tests that run alone last, so that no worker waits for them before."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Skips a test that lacks something."""
    if missing := [need.text for need in needed(item) if not marks.present(need)]:
        pytest.skip(f"needs {', '.join(missing)}")


@pytest.hookimpl(wrapper=True, trylast=True)  # inside of the time limit and the captured output
def pytest_runtest_call(item):
    """Checks the daemons after a test. A failed check is reported by its text, and another error by its traceback."""
    harness = item.funcargs["harness"]
    try:
        result = yield
        harness.finish()
        return result
    except (Exception, pytest.fail.Exception) as error:
        harness.failed = True
        kept = f"kept for reading: {harness.directory}"
        if isinstance(error, (Failure, Ended)):
            raise pytest.fail.Exception(f"{error}\n{kept}", pytrace=False) from None
        error.add_note(kept)
        raise


@pytest.fixture(scope="session")
def programs():
    """The programs that tests may run."""
    with tempfile.TemporaryDirectory(prefix="lookoutd-e2e-") as directory:
        yield Programs(Path(directory))


@pytest.fixture(autouse=True)
def harness(request, programs, monkeypatch):
    """The harness of a test, with only the programs that it needs in PATH."""
    name = f"{request.path.stem[5:]}.{request.node.name[5:]}"
    monkeypatch.setenv("PATH", programs.path_for(name, needed(request.node)))
    with turn(request.node.get_closest_marker("alone") is not None):
        created, keep = Harness(name, binary(request.config)), request.config.option.keep
        try:
            yield created
        finally:
            created.close(keep or created.failed)
            end_descendants()
            if keep:
                print("kept for reading:", created.directory)


@contextlib.contextmanager
def turn(alone):
    """Waits, in all workers, until a test that runs alone has no other beside it."""
    lock = os.open(HERE, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
    finally:
        os.close(lock)


def end_descendants():
    """Ends what a test started without its harness, and what its programs left."""
    while left := descendants(os.getpid(), ""):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def needed(item):
    """Returns what a test needs."""
    return tuple(dict.fromkeys(need for mark in item.iter_markers("needs") for need in mark.args))


def binary(config):
    """Returns the path of the tested binary."""
    return config.invocation_params.dir / config.option.binary
