"""deploy/compose/compose.yaml as tests look at it: its services, what they mount, and their files laid out as
the containers would find them.
"""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parents[3] / "deploy/compose"
PATH = FOLDER / "compose.yaml"
README = FOLDER / "README.md"
VARIABLE = re.compile(r"\$\{(\w+)([^}]*)\}")


@dataclass
class Mount:
    """A volume of a service: of a path on the host, or of a name."""

    source: str
    target: str
    options: str

    @property
    def path(self):
        """Where on the host; None if it is a named volume."""
        return (FOLDER / self.source).resolve() if self.source.startswith(".") else None


class Service:
    """One service."""

    def __init__(self, name, content):
        self.name, self.content = name, content
        self.mounts = [Mount(*(volume + ":").split(":")[:3]) for volume in content.get("volumes", [])]

    @property
    def environment(self):
        """Its variables; those that compose fills in are empty."""
        return {name: VARIABLE.sub("", value) for name, value in self.content.get("environment", {}).items()}

    @property
    def health(self):
        """The command of its health check, as a container runs it."""
        mark, *argv = self.content["healthcheck"]["test"]
        assert mark == "CMD", "a health check runs without a shell"
        return argv

    def mounted(self, target):
        """The mount that a path in the container is on, if it is on one."""
        on = [mount for mount in self.mounts if Path(target).is_relative_to(mount.target)]
        return max(on, key=lambda mount: len(mount.target), default=None)

    def on_host(self, target):
        """Where a path in the container is on the host."""
        mount = self.mounted(target)
        return mount.path / Path(target).relative_to(mount.target)

    def paths(self):
        """The paths that its command and its environment name."""
        words = [*self.content.get("command", []), *self.environment.values()]
        return [found for word in words for found in re.findall(r"(?:^|=)(/[\w./-]+)$", word)]

    def lay_out(self, directory):
        """Copies what it mounts from the host to where the container has it, below this directory."""
        for mount in self.mounts:
            if mount.path:
                target = directory / mount.target.lstrip("/")
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if mount.path.is_dir() else shutil.copy2)(mount.path, target)
        return directory


def content():
    """The whole file."""
    return yaml.safe_load(PATH.read_text())


def services():
    """Its services by name."""
    return {name: Service(name, one) for name, one in content()["services"].items()}


def settings(service, option):
    """The settings file that a service's command names with this option, read, and where it is."""
    (path,) = [word.removeprefix(option) for word in service.content["command"] if word.startswith(option)]
    path = service.on_host(path)
    return yaml.safe_load(path.read_text()), path


def commands():
    """The shell commands of the README, block by block."""
    return re.findall(r"^```sh\n(.*?)^```", README.read_text(), re.M | re.S)


def command(start):
    """The one command of the README that begins so; a here-document is part of it."""
    (found,) = [text for block in commands() for text in split(block) if text.startswith(start)]
    return found


def split(block):
    """The commands of a block."""
    return re.findall(r"^(?:.*<<'EOF'\n(?:.*\n)*?EOF|.+)$", block, re.M)
