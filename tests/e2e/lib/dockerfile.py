"""deploy/Dockerfile, read as far as tests look into it, and what .dockerignore lets a build of it see."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PATH = ROOT / "deploy/Dockerfile"
IGNORE = ROOT / ".dockerignore"


@dataclass
class Instruction:
    """One instruction: its name, its --flags, and the rest of its text."""

    name: str
    flags: dict
    text: str

    @property
    def words(self):
        """Its arguments; those of the exec form are JSON."""
        return json.loads(self.text) if self.text.startswith("[") else self.text.split()


@dataclass
class Stage:
    """What begins with a FROM."""

    image: str
    instructions: list = field(default_factory=list)

    def all(self, name):
        """Its instructions of this name."""
        return [instruction for instruction in self.instructions if instruction.name == name]

    def only(self, name):
        """The one of this name."""
        (instruction,) = self.all(name)
        return instruction


def stages():
    """The stages, in the order in which they are built."""
    found = []
    for instruction in instructions(PATH.read_text()):
        if instruction.name == "FROM":
            found.append(Stage(instruction.words[0]))
        elif found:
            found[-1].instructions.append(instruction)
    return found


def instructions(text):
    """Every instruction of a Dockerfile. Comments end where their line ends, also between joined lines."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for logical in re.split(r"(?<!\\)\n", "\n".join(lines)):
        name, _, rest = re.sub(r"\\\n", " ", logical).strip().partition(" ")
        flags, rest = {}, rest.strip()
        while found := re.match(r"--([a-z-]+)(?:=(\S+))?\s+", rest):
            flags[found.group(1)] = found.group(2)
            rest = rest[found.end():]
        yield Instruction(name.upper(), flags, rest)


def health_command():
    """What the engine runs to ask a container how it is."""
    words = stages()[-1].only("HEALTHCHECK").text
    return json.loads(words.removeprefix("CMD").strip())


def copies(stage):
    """(source, destination) of what a stage copies from the context; both relative."""
    for instruction in stage.all("COPY"):
        if "from" not in instruction.flags:
            *sources, destination = instruction.words
            for source in sources:
                inside = destination.endswith("/") or len(sources) > 1
                yield source, Path(destination, Path(source).name) if inside else Path(destination)


def files_under(source):
    """The files of the repository that a source stands for."""
    return {path for path in tracked() if path == source or path.startswith(source.rstrip("/") + "/")}


def tracked():
    """Every file of the repository."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    return listed.stdout.strip("\0").split("\0")


def visible(path):
    """Whether .dockerignore lets a build see a file: the last line that matches it, or a folder that it is
    in, decides."""
    parts, seen = path.split("/"), True
    for line in IGNORE.read_text().splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        exception, wanted = pattern.startswith("!"), pattern.lstrip("!").strip("/").split("/")
        if "**" in wanted:
            raise ValueError(f"{IGNORE}: these tests do not know what {pattern} means")
        matches = len(wanted) <= len(parts) and all(map(fnmatchcase, parts, wanted))
        seen = exception if matches else seen
    return seen


def lay_out(stage, directory):
    """Puts into a directory what a stage copies from the context, as it would find it there."""
    for source, destination in copies(stage):
        for path in files_under(source):
            target = directory / destination / Path(path).relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / path, target)
