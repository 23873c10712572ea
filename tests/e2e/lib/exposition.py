"""A parser of the Prometheus text format, into a mapping from series to value.

Independent of the daemon's encoder and of client libraries, so that no common error can hide a wrong escape or name.
"""

import re

from checks import Failure

SAMPLE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')
ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


def series(name, **labels):
    """The key of one series."""
    return name, frozenset(labels.items())


def parse(text):
    """Every sample of a scrape: {(name, frozenset of label pairs): value}."""
    samples = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        key, value = parse_line(line, number)
        if key in samples:
            raise Failure(f"/metrics line {number} has a series that was there before: {line}")
        samples[key] = value
    return samples


def parse_line(line, number):
    """One sample line."""
    match = SAMPLE.match(line)
    if not match:
        raise Failure(f"/metrics line {number} is not a sample: {line}")
    name, labels, value = match.groups()
    return (name, frozenset(parse_labels(labels or "", line, number))), float(value)


def parse_labels(text, line, number):
    """The pairs between the braces."""
    pairs, at = [], 0
    while at < len(text):
        match = LABEL.match(text, at)
        if not match:
            raise Failure(f"/metrics line {number}: cannot read the labels at {text[at:]!r}: {line}")
        value = re.sub(r"\\.", lambda m: ESCAPES.get(m.group(), m.group()), match.group(2))
        pairs.append((match.group(1), value))
        at = match.end()
    return pairs


def total(samples, name, **labels):
    """The sum of a family over all series that have these labels."""
    wanted = labels.items()
    return sum(value for (family, pairs), value in samples.items()
               if family == name and wanted <= dict(pairs).items())


def grouped(samples, name, *labels):
    """The family's sums by these labels, in this order, without the zeros."""
    sums = {}
    for (family, pairs), value in samples.items():
        if family == name and value:
            pairs = dict(pairs)
            group = tuple(pairs[label] for label in labels)
            sums[group] = sums.get(group, 0) + value
    return sums


def difference(expected, found):
    """Returns the differences of two scrapes as lines of text."""
    lines = []
    for key in sorted({**expected, **found}, key=lambda key: (key[0], sorted(key[1]))):
        left, right = expected.get(key, "nothing"), found.get(key, "nothing")
        if left != right:
            lines.append(f"{show(key)}: expected {left}, found {right}")
    return lines


def show(key):
    """A series as Prometheus writes it."""
    name, pairs = key
    return name + "{" + ",".join(f'{label}="{value}"' for label, value in sorted(pairs)) + "}"
