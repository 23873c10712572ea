"""nginx and HAProxy in front of several lookoutd, with the configurations of docs/scaling.md; put in place are the
addresses."""

import os
import re
import signal
import socket

from checks import Failure, equal, eventually, expect
from marks import ROOT
from processes import descendants, free_port
from web_servers import FOLDER, Nginx

DOCUMENT = ROOT / "docs/scaling.md"
UPSTREAM = re.compile(r"^upstream lookoutd \{\n.*?^\}\n", re.M | re.S)
SERVER = re.compile(r"10\.0\.0\.1(\d):8\d+")
BY_CLIENT = "#hash $remote_addr consistent;"


def documented(name):
    """The file of this name in docs/scaling.md."""
    (text,) = re.findall(rf"^```\w+\n# {re.escape(name)}\n(.*?)^```", DOCUMENT.read_text(), re.M | re.S)
    return text


class Balancer(Nginx):
    """The shipped nginx with the document's upstream in place of its own."""

    def __init__(self, harness, authority, replicas):
        self.replicas, self.out, self.by_client = replicas, None, False
        super().__init__(harness, authority, f"http://{replicas[0].listen}")

    def replace(self, text):
        """A shipped file with the addresses of the replicas."""
        found = UPSTREAM.search(text)
        if found:
            upstream = documented("upstream.conf")
            equal("Servers of the upstream", len(self.replicas), len(SERVER.findall(upstream)), DOCUMENT)
            if self.by_client:
                expect(BY_CLIENT in upstream, "There is no commented line", expected=BY_CLIENT, found=upstream, where=DOCUMENT)
                upstream = upstream.replace(BY_CLIENT, BY_CLIENT[1:])
            text = text[:found.start()] + SERVER.sub(self.server, upstream) + text[found.end():]
        return super().replace(text)

    def server(self, found):
        """The address of a replica, which may be out."""
        replica = self.replicas[int(found[1]) - 1]
        return replica.listen + (" down" if replica is self.out else "")

    def take_out(self, replica):
        """Sends nothing to this replica from now on, or to all again if it is None; no earlier request is in flight."""
        self.out = replica
        self.reload()

    def balance_by_client(self):
        """Enables the document's commented line."""
        self.by_client = True
        self.reload()

    def reload(self):
        """Has nginx read its file again, and waits until no earlier worker runs."""
        file = self.folder / "reports-host.conf"
        file.write_text(self.replace((FOLDER / self.name / file.name).read_text()))
        master = self.process.popen
        earlier = set(descendants(master.pid, "nginx"))
        master.send_signal(signal.SIGHUP)

        def reloaded():
            now = set(descendants(master.pid, "nginx"))
            expect(now and not now & earlier, "nginx has its earlier workers", expected="others", found=now,
                   where=self.process.tail())
        eventually(reloaded)


class Haproxy:
    """The document's HAProxy."""

    def __init__(self, harness, replicas):
        self.port, self.socket = free_port(), harness.directory / "haproxy.sock"
        text = SERVER.sub(lambda found: replicas[int(found[1]) - 1].listen, documented("haproxy.cfg"))
        for old, new in {"/run/haproxy/admin.sock": str(self.socket), "bind :443": f"bind 127.0.0.1:{self.port}"}.items():
            equal(f"Places with {old}", 1, text.count(old), DOCUMENT)
            text = text.replace(old, new)
        config = harness.directory / "haproxy.cfg"
        config.write_text(text)
        self.names = dict(zip((replica.name for replica in replicas), re.findall(r"^    server (\w+)", text, re.M),
                              strict=True))
        self.process = harness.process("haproxy", ["haproxy", "-db", "-f", config], {"PATH": os.environ["PATH"]})
        for replica in replicas:
            eventually(lambda replica=replica: self.expect_up(replica))

    def command(self, text):
        """The answer of the socket."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.socket))
            except OSError as error:
                raise Failure(f"HAProxy has no socket: {error}\n{self.process.tail()}") from None
            client.sendall(text.encode() + b"\n")
            return b"".join(iter(lambda: client.recv(1 << 16), b"")).decode()

    def status(self, replica):
        """The row about a replica."""
        head, *rows = self.command("show stat").removeprefix("# ").strip().splitlines()
        rows = [dict(zip(head.split(","), row.split(","), strict=True)) for row in rows]
        (row,) = [row for row in rows if (row["pxname"], row["svname"]) == ("lookoutd", self.names[replica.name])]
        return row

    def expect_up(self, replica):
        """Its health check succeeds."""
        equal(f"The status of {replica.name}", "UP", self.status(replica)["status"], self.process.tail())

    def take_out(self, replica):
        """Opens no connection to this replica from now on, and waits until none is open."""
        equal("The answer of HAProxy", "", self.command(f"set server lookoutd/{self.names[replica.name]} state drain").strip(),
              DOCUMENT)
        eventually(lambda: equal(f"Connections to {replica.name}", "0", self.status(replica)["scur"], "show stat"))

    def restore(self, replica):
        """The opposite."""
        self.command(f"set server lookoutd/{self.names[replica.name]} state ready")
        eventually(lambda: self.expect_up(replica))
