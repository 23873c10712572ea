"""Failure messages of tests, and waiting.

A failure must let its reader act without opening the test: what was expected, what was found, where
it was found, and what to do about it. And nothing here sleeps in the hope that it was long enough:
a wait asks again until the answer is right, and when its time is up it fails with the last answer.
"""

import time

# Far longer than any wait takes on a machine that also does other work: it only ends what never becomes right.
DEADLINE_SECONDS = 60


class Failure(AssertionError):
    """A check that did not hold; its text is for a person."""


def fail(what, *, expected, found, where, todo=None):
    """Fails with the four things a reader needs."""
    lines = [what, f"  expected: {expected}", f"  found:    {found}", f"  where:    {where}"]
    if todo:
        lines.append(f"  to do:    {todo}")
    raise Failure("\n".join(lines))


def expect(ok, what, *, expected, found, where, todo=None):
    """Fails unless `ok`."""
    if not ok:
        fail(what, expected=expected, found=found, where=where, todo=todo)


def equal(what, expected, found, where, todo=None):
    """Fails unless both are the same; of two mappings, it shows only what differs."""
    if expected == found:
        return
    if isinstance(expected, dict) and isinstance(found, dict):
        expected, found = differing(expected, found)
    fail(what, expected=expected, found=found, where=where, todo=todo)


def differing(left, right):
    """The entries of two mappings that are not the same in both."""
    keys = [key for key in {**left, **right} if left.get(key) != right.get(key)]
    return ({key: left[key] for key in keys if key in left},
            {key: right[key] for key in keys if key in right})


def eventually(check, seconds=DEADLINE_SECONDS):
    """Calls `check` until it raises no Failure, and gives back what it returned."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return check()
        except Failure as failure:
            if time.monotonic() >= deadline:
                raise Failure(f"{failure}\n  (still so after {seconds} s)") from None
        time.sleep(0.05)
