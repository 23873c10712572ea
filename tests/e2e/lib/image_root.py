"""A container without an engine: bubblewrap runs a command in a root file system that holds what the last
stage of deploy/Dockerfile holds and no more, cannot be written to, as any user, without capabilities. The image's
binary is static; a release binary brings the libraries that the static one contains.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import sandbox
from checks import expect

# Of Debian's libc6 and libgcc-s1; the loader's name differs by machine.
LIBRARIES = ("libc.so.6", "libm.so.6", "libgcc_s.so.1")
LOADER = re.compile(r"Requesting program interpreter: ([^\]]+)\]")


def needed(binary):
    """The names of the shared libraries that a program asks for."""
    return re.findall(r"\(NEEDED\)\s+Shared library: \[(.+)\]", readelf("-d", binary))


def readelf(option, binary):
    """What readelf says about a program."""
    return subprocess.run(["readelf", "-W", option, str(binary)], check=True, timeout=30,
                          capture_output=True, text=True).stdout


class ImageRoot:
    """The root file system, and how to run something in it."""

    @classmethod
    def unpacked(cls, harness, directory):
        """The root file system of an image that another program has unpacked."""
        image = cls.__new__(cls)
        image.harness, image.root = harness, directory
        for folder in ("proc", "dev"):
            (directory / folder).mkdir(exist_ok=True)
        return image

    def __init__(self, harness, path_in_image):
        self.harness, self.root = harness, harness.directory / "root"
        for folder in ("proc", "dev", "var/lib/lookoutd", "etc/lookoutd"):
            (self.root / folder).mkdir(parents=True)
        self.install(harness.binary, path_in_image)
        if loader := LOADER.search(readelf("-l", harness.binary)):
            self.install(loader.group(1), loader.group(1))
            self.install_libraries()

    def install_libraries(self):
        """Copies the libraries of a binary that is not static."""
        found = dict(re.findall(r"^\s+(\S+) => (\S+)", subprocess.run(
            ["ldd", str(self.harness.binary)], check=True, capture_output=True, text=True).stdout, re.M))
        for name in LIBRARIES:
            if name in found:
                self.install(found[name], found[name])

    def install(self, source, target):
        """Copies a file to where the image has it."""
        path = self.root / str(target).lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, path)

    def command(self, argv, env, user, writable=None, name="command"):
        """What runs this in it as `user` (number:number), with a volume at the spool's place if there is
        a directory for it. The process id of the command is then in child.json in the directory `name`."""
        uid, gid = user.split(":")
        (self.harness.directory / name).mkdir(exist_ok=True)
        bwrap = ["bwrap", "--unshare-user", "--uid", uid, "--gid", gid, "--cap-drop", "ALL",
                 "--unshare-ipc", "--unshare-uts", "--ro-bind", self.root, "/", "--ro-bind", "/proc", "/proc",
                 "--dev", "/dev", *(["--bind", writable, "/var/lib/lookoutd"] if writable else []),
                 "--chdir", "/", "--die-with-parent", "--clearenv", "--info-fd", "4"]
        for variable, value in env.items():
            bwrap += ["--setenv", variable, value]
        script = f'exec {shlex.join(map(str, bwrap))} "$@" 4> "$0/child.json"'
        return ["sh", "-c", script, str(self.harness.directory / name), *map(str, argv)]

    def run(self, argv, env, user):
        """Runs something to its end."""
        return subprocess.run(self.command(argv, env, user, name="run"), check=False, timeout=30,
                              capture_output=True, text=True, env={"PATH": os.environ["PATH"]})

    def start(self, argv, env, user, writable=None, name="container"):
        """Starts something that goes on, and gives back its process and the id of the one in the root."""
        process = self.harness.process(name, self.command(argv, env, user, writable, name),
                                       {"PATH": os.environ["PATH"]})
        return process, sandbox.child(self.harness.directory / name)

    def holds_only(self, expected):
        """Fails if there is more in it than the image would have."""
        found = {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}
        names = {Path(path).name for path in found}
        expect(names <= expected, "There is more in the root file system than the image has",
               expected=sorted(expected), found=sorted(names), where=self.root)
