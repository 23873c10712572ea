"""Reads the names out of PromQL: which metrics an expression reads, which labels it asks them for, and by
which it groups and matches. Prometheus' API tells of an expression only that it is one, so it is read here,
token by token; test_alert_files.py lets Prometheus itself confirm what was found.
"""

import re

TOKEN = re.compile(r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
  | (?P<step>:\d+(?:ms|[smhdwy])(?=\]))
  | (?P<number>0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?:ms|[smhdwy])?(?:\d+(?:ms|[smhdwy]))*)
  | (?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
  | (?P<sign>=~|!~|!=|==|<=|>=|[-+*/%^<>=(){}\[\],:@])
""", re.VERBOSE)
LISTS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = {"and", "or", "unless", "bool", "offset", "atan2", "start", "end", "inf", "nan"}


class Names:
    """What was found: selectors as (metric, {(label, operator, value)}), and labels of lists."""

    def __init__(self, text):
        self.selectors, self.labels = [], set()
        self.tokens, self.at = list(tokens(text)), 0
        while self.at < len(self.tokens):
            self.read()

    @property
    def metrics(self):
        """The metrics."""
        return {metric for metric, _ in self.selectors}

    def next(self):
        """The next token, and goes on."""
        token = self.tokens[self.at]
        self.at += 1
        return token

    def sees(self, sign):
        """Whether this sign comes next."""
        return self.at < len(self.tokens) and self.tokens[self.at] == ("sign", sign)

    def read(self):
        """One token and what belongs to it."""
        kind, text = self.next()
        if (kind, text) == ("sign", "{"):
            self.selectors.append(("", self.matchers()))
        elif kind == "name" and text.lower() in LISTS:
            self.label_list()
        elif kind == "name" and text.lower() not in WORDS and not self.sees("(") and not self.aggregates():
            opened = self.sees("{") and self.next()
            self.selectors.append((text, self.matchers() if opened else set()))

    def aggregates(self):
        """Whether `by` or `without` comes next: then the name before it was an aggregation."""
        return self.at < len(self.tokens) and self.tokens[self.at][1] in ("by", "without")

    def label_list(self):
        """The labels in parentheses after a word of LISTS, which may be without them."""
        if self.sees("("):
            while self.next() != ("sign", ")"):
                kind, text = self.tokens[self.at - 1]
                self.labels |= {text} if kind == "name" else set()

    def matchers(self):
        """What is between braces, the first of which has been read."""
        found = set()
        while not self.sees("}"):
            label, operator, value = self.next()[1], self.next()[1], self.next()[1]
            found.add((label, operator, value[1:-1]))
            if self.sees(","):
                self.next()
        self.next()
        return found


def tokens(text):
    """The tokens of an expression, without space and comments. What is none of them is an error."""
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if not match:
            raise ValueError(f"no PromQL at {text[at:at + 20]!r} in {text!r}")
        if match.lastgroup != "space":
            yield match.lastgroup, match.group()
        at = match.end()
