"""The programs that a test can run: of those in `marks.PROGRAMS`, only the ones that its marks name. A missing mark
then fails the test everywhere, and not only where the program is missing.
"""

import os
import shutil

from marks import PROGRAMS

# Where administrators' programs are, such as web servers; not in every user's PATH.
os.environ["PATH"] = os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin"))
STUB = """#!/bin/sh
echo "$(basename "$0") is not among the marks of this test: add it to its @needs(...)" >&2
exit 127
"""


class Programs:
    """A stub for each installed program of `PROGRAMS`, and for each test links that come before them in PATH."""

    def __init__(self, directory):
        self.directory, self.installed = directory, {}
        stubs = directory / "stubs"
        stubs.mkdir(parents=True)
        for program in PROGRAMS:
            if path := shutil.which(program):
                self.installed[program] = path
                (stubs / program).write_text(STUB)
                (stubs / program).chmod(0o755)
        self.path = os.pathsep.join((str(stubs), os.environ["PATH"]))

    def path_for(self, name, needed):
        """Returns the PATH of the test of this name with these needs."""
        links = self.directory / name
        links.mkdir()
        for program in {program for need in needed for program in need.programs} & self.installed.keys():
            (links / program).symlink_to(self.installed[program])
        return os.pathsep.join((str(links), self.path))
