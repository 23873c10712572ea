"""An encoder of arbitrary HTTP/2 frames, because libraries reject the invalid ones that attackers send."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
ACK = END_STREAM = 1
END_HEADERS = 4
PADDED = 8
INITIAL_WINDOW_SIZE = 4
CANCEL = 8


def frame(kind, flags=0, stream=0, payload=b""):
    """Any frame, sensible or not."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def settings(**values):
    """SETTINGS; by name, only what attacks need."""
    pairs = b"".join(struct.pack(">HI", INITIAL_WINDOW_SIZE, value) for value in values.values())
    return frame(SETTINGS, payload=pairs)


OPENING = PREFACE + settings()


def text(value):
    """A string of HPACK, without Huffman coding."""
    if len(value) < 127:
        return bytes([len(value)]) + value
    return b"\x7f" + integer(len(value) - 127) + value


def integer(value):
    """The rest of an integer of HPACK."""
    parts = bytearray()
    while value >= 128:
        parts.append(value % 128 + 128)
        value //= 128
    return bytes(parts) + bytes([value])


def field(name, value):
    """A header that enters no table."""
    return b"\0" + text(name) + text(value)


# :method POST, :scheme http, :path /report, :authority
REQUEST = b"\x83\x86\x04" + text(b"/report") + b"\x01" + text(b"reports.test")


def head(stream, flags=END_HEADERS, more=b""):
    """The head of an upload."""
    return frame(HEADERS, flags, stream, REQUEST + more)


def upload(stream, body):
    """A whole upload."""
    return head(stream) + frame(DATA, END_STREAM, stream, body)


class Reader:
    """A decoder of the frames that a server sends."""

    def __init__(self):
        self.rest = b""

    def frames(self, data):
        """The frames that are complete with this data: (kind, flags, stream, payload)."""
        self.rest += data
        while len(self.rest) >= 9:
            end = 9 + int.from_bytes(self.rest[:3], "big")
            if len(self.rest) < end:
                return
            whole, self.rest = self.rest[:end], self.rest[end:]
            yield whole[3], whole[4], int.from_bytes(whole[5:9], "big") & 0x7FFFFFFF, whole[9:]
