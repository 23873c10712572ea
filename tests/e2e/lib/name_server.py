"""A DNS server on port 53 of a loopback address of its own, for a program that reads only /etc/resolv.conf."""

import random
import socket
import struct
import threading

A, IN = 1, 1
NAME_ERROR = 3


class NameServer:
    """Answers with 127.0.0.1 for the given names, and with "no such name" for all others."""

    def __init__(self, *names):
        self.names, self.asked = set(names), []
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Any address of 127.0.0.0/8 is on loopback; a random one so that tests beside this one have theirs.
        self.address = f"127.{random.randint(64, 250)}.{random.randint(1, 250)}.{random.randint(1, 250)}"
        self.socket.bind((self.address, 53))
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        """Answers until the socket is closed."""
        while True:
            try:
                query, client = self.socket.recvfrom(512)
            except OSError:
                return
            if query:
                self.socket.sendto(self.answer(query), client)

    def answer(self, query):
        """Returns the response to one query."""
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1:at + 1 + length].decode())
            at += 1 + length
        end = at + 5
        name, (kind, _) = ".".join(labels).lower(), struct.unpack("!HH", query[at + 1:end])
        self.asked.append(name)
        known = name in self.names
        # A pointer to the name in the question, a time to live of 1 s, 4 bytes of address.
        record = struct.pack("!HHHIH4B", 0xC00C, A, IN, 1, 4, 127, 0, 0, 1) if known and kind == A else b""
        flags = 0x8580 | (0 if known else NAME_ERROR)
        return query[:2] + struct.pack("!5H", flags, 1, bool(record), 0, 0) + query[12:end] + record

    def close(self):
        """Ends the server."""
        self.socket.close()
