"""A root file system of its own for the installation of a package: a copy of the minimal Debian that
tests/e2e/clean-root makes.
"""

import hashlib
import os
import subprocess
from pathlib import Path

from checks import Failure
from daemon import Lookoutd

CLEAN = Path(__file__).resolve().parents[3] / "target/test-roots/debian"
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}


class PackageRoot:
    """The copy, and what is done in it."""

    def __init__(self, harness):
        self.harness, self.path = harness, harness.directory / "root"
        run("cp", "-a", "--reflink=auto", CLEAN, self.path)

    def run(self, *argv, check=True):
        """Runs a command in it as root, and returns what it wrote."""
        return run("chroot", self.path, *argv, check=check)

    def inside(self, path):
        """Returns where a path of it is outside."""
        return self.path / str(path).lstrip("/")

    def files(self):
        """Returns the files and directories: {path: (mode, owner, group, digest or target)}."""
        found = {}
        for directory, directories, names in os.walk(self.path):
            for name in directories + names:
                path = Path(directory, name)
                status = path.lstat()
                content = (os.readlink(path) if path.is_symlink() else
                           hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None)
                found["/" + str(path.relative_to(self.path))] = (
                    oct(status.st_mode), status.st_uid, status.st_gid, content)
        return found

    def start(self, **env):
        """Starts the installed binary as the service would: as its user, with the packaged settings, but on ports that
        the system picks."""
        daemon = Lookoutd("/usr/bin/lookoutd", self.harness.directory, name="installed",
                          command_prefix=["chroot", "--userspec=lookoutd:lookoutd", self.path],
                          env={"LOOKOUT_CONFIG": "/etc/lookoutd/lookoutd.yaml", **env})
        self.harness.processes.append(daemon)
        self.harness.daemons.append(daemon)
        return daemon.listening()


def run(*argv, check=True, cwd=None, env=None):
    """Runs a command to its end; returns its output, both streams."""
    done = subprocess.run([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace", timeout=150, check=False, cwd=cwd,
                          env={**ENVIRONMENT, **(env or {})})
    if check and done.returncode:
        raise Failure(f"{' '.join(map(str, argv))} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout
