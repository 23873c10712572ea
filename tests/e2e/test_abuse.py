"""Attacks on intake by any client of the internet: slow, endless, or many requests. After each, a normal upload is
answered within 100 ms, memory is back within 16 MiB of its former size, and the log has only a few lines. Prints a
line per attack: attempts, p99 of normal uploads meanwhile, and memory before, at its peak, and afterwards.
"""

import os
from pathlib import Path

from attack_load import AttackLoad, attacker, result
from certificates import Authority
from checks import Failure, equal, eventually, expect
from exposition import total
from marks import needs

# Shorter than the defaults, so that an attack lasts seconds; and from one address as if from many.
SETTINGS = "intake: { head_timeout: 2s, body_timeout: 3s, idle_timeout: 3s, max_connections_per_client: 10000 }\n"
# The allocator keeps about 20 kB of each connection that there was, for the next ones.
MANY = 600
CLIENTS = 1_000_000
WRK_SECONDS = 300  # at most; the script ends it when every client is answered


def scripted(harness, name, *, config=SETTINGS, tls=None, refuses=False, **given):
    """One attack by the scripted attacker."""
    load = AttackLoad(harness, name + (f" ({tls})" if tls else ""), config)
    return load.run(lambda daemon: result(attacker(harness, daemon, name, tls, **given)), refuses)


def test_clients_that_take_their_time(harness):
    """Every slow client is disconnected."""
    for name in ("silent", "slow_head", "stalled_body", "dripping_body", "idle", "half_a_preface",
                 "h2_slow_head", "h2_slow_second_head", "h2_idle"):
        tried = scripted(harness, name, connections=MANY, seconds=60)
        equal("Connections that lookoutd closed", MANY, tried["closed"], name)


def test_streams_that_take_their_time(harness):
    """The same on the streams of a few connections."""
    for name in ("h2_stalled_streams", "h2_zero_window"):
        tried = scripted(harness, name, connections=9, seconds=60)
        equal("Connections that lookoutd closed", 9, tried["closed"], name)


def test_clients_that_read_nothing(harness):
    """They are cut off, so that they come back with new connections."""
    for name in ("unread_answers", "unread_problems", "h2_unread_pings"):
        tried = scripted(harness, name, connections=9, seconds=60)
        expect(tried["tried"] == 18, "lookoutd keeps connections whose client does not read",
               expected="a new connection in place of each", found=tried, where=name)


def test_large_bodies(harness):
    """A thousand that lack their last byte: the limit for bodies is reached, and memory stays bounded."""
    scripted(harness, "large_bodies", connections=200, seconds=60)


def test_heads_and_bodies_without_end(harness):
    """Over HTTP/1.1 and HTTP/2: cut off at their limits, or answered as fast as they come."""
    for name in ("long_head", "many_headers", "long_target", "chunk_extensions", "trailers", "tiny_chunks",
                 "garbage", "pipelined", "h2_long_head", "h2_many_headers"):
        scripted(harness, name, connections=20)


def test_floods_of_frames(harness):
    """What HTTP/2 makes cheap for the client: rapid reset (CVE-2023-44487), endless CONTINUATION
    (CVE-2024-27316), resets that the server is made to send (CVE-2025-8671), and their kin."""
    for name in ("h2_rapid_reset", "h2_resets_by_the_server", "h2_continuations", "h2_settings", "h2_pings",
                 "h2_pongs", "h2_window_updates", "h2_empty_data", "h2_padding", "h2_many_streams",
                 "h2_small_streams", "unfinished_resets"):
        scripted(harness, name, connections=4, count=5000)


def test_bombs(harness):
    """Both what is sent and what it inflates to are bounded."""
    for name, answer in (("bombs", "413"), ("large_gzip", "413"), ("gzip_members", "400")):
        answers = scripted(harness, name, count=200)["answers"]
        # A quarter of intake.max_in_flight_bytes is for bodies that arrive in parts: four of these, of 1 MiB each.
        answers[answer] += answers.pop("503", 0) if name == "gzip_members" else 0
        equal("Answers", {answer: 200}, answers, name)


@needs("openssl")
def test_over_tls(harness):
    """The same through TLS, by ALPN, and clients that do not finish the handshake."""
    authority = Authority(harness.directory, ["localhost"])
    config = SETTINGS.replace("{ ", "{ tls: { certificate: %s, key: %s }, "
                              % (authority.certificate, authority.key))
    for name, tls in (("slow_head", "http/1.1"), ("stalled_body", "http/1.1"), ("h2_idle", "h2")):
        tried = scripted(harness, name, config=config, tls=tls, connections=200, seconds=60)
        equal("Connections that lookoutd closed", 200, tried["closed"], name)
    for name in ("h2_rapid_reset", "h2_continuations", "h2_settings", "h2_pings", "h2_small_streams"):
        scripted(harness, name, config=config, tls="h2", connections=4)
    tried = scripted(harness, "silent", config=config, connections=MANY, seconds=60)
    equal("Connections that never begin a handshake and were closed", MANY, tried["closed"], "silent")
    for name in ("no_tls", "no_http", "no_json"):
        scripted(harness, name, config=config, count=2000)


def test_tls_to_the_plain_port(harness):
    """It is no HTTP, and answered as such."""
    tried = scripted(harness, "no_tls", count=2000)
    equal("Answers", {"400": 2000}, tried["answers"], "no_tls")


@needs("slowhttptest")
def test_slowhttptest(harness):
    """The attacks of slowhttptest. Its exit is ignored because it keeps reading after lookoutd has closed."""
    for name, options in (("slow headers", ["-H"]), ("slow bodies", ["-B", "-s", "8192"]),
                          ("slow reading", ["-X", "-w", "1", "-y", "16", "-n", "1", "-z", "4", "-k", "3"])):
        load = AttackLoad(harness, f"slowhttptest, {name}", SETTINGS)
        load.run(lambda daemon, options=options: slowhttptest(harness, daemon, options))


def slowhttptest(harness, daemon, options):
    """Runs it until lookoutd has accepted and closed all its connections."""
    process = harness.process("slowhttptest", [
        "slowhttptest", *options, "-c", MANY, "-r", MANY, "-i", "1", "-l", "60", "-p", "5", "-x", "24",
        "-u", daemon.intake + "/report"], {"PATH": os.environ["PATH"], "TERM": "dumb"})
    eventually(lambda: connections(daemon, lambda now: now > MANY / 2))
    eventually(lambda: connections(daemon, lambda now: now < 10))
    process.stop()
    return {"tried": MANY}


def connections(daemon, enough):
    """Fails unless there are as many as wanted."""
    now = total(daemon.scrape(), "lookout_connections")
    if not enough(now):
        raise Failure(f"lookoutd has {now} connections\n{daemon.tail()}")


def test_more_connections_than_allowed(harness):
    """Connections over the limit evict those that are silent for longest."""
    load = AttackLoad(harness, "silent, over the cap", "intake: { max_connections: 100, head_timeout: 2s, "
                      "max_connections_per_client: 10000 }\n")
    tried = load.run(lambda daemon: result(attacker(
        harness, daemon, "silent", connections=MANY, seconds=60)), refuses=True)
    equal("Connections that lookoutd closed", MANY, tried["closed"], "silent")


def test_more_connections_than_open_files(harness):
    """Files are left for admin: the scrape works while all that clients may have is taken."""
    load = AttackLoad(harness, "silent, few open files", SETTINGS, open_files=256)

    def act(daemon):
        process = attacker(harness, daemon, "silent", connections=MANY, seconds=60)
        # Of 256 files, 128 are for everything else.
        eventually(lambda: connections(daemon, lambda now: now == 128))
        return result(process)

    load.run(act, refuses=True)


def test_more_uploads_than_allowed(harness):
    """A thousand unfinished streams: other clients get 503 with Retry-After."""
    load = AttackLoad(harness, "h2_stalled_streams, all", SETTINGS)
    load.run(lambda daemon: result(attacker(
        harness, daemon, "h2_stalled_streams", connections=12, seconds=60)), refuses=True)


def test_end_under_attack(harness):
    """SIGTERM with all connection permits taken, and during an HTTP/2 flood: exits in time with code 0."""
    for name, count in (("silent", MANY), ("h2_pings", 4), ("dripping_body", 100)):
        load = AttackLoad(harness, name, "intake: { max_connections: 100, max_connections_per_client: 10000 }\n")
        process = attacker(harness, load.daemon, name, connections=count, seconds=20)
        eventually(lambda: connections(load.daemon, lambda now, most=min(count, 100): now == most))
        load.daemon.terminate()
        process.stop()


@needs("wrk")
def test_a_million_clients(harness):
    """A million clients behind a trusted proxy with a rate limit: each is admitted, and memory stays bounded."""
    load = AttackLoad(harness, "a million addresses", "intake: { idle_timeout: 5s, trusted_proxies: [127.0.0.0/8], "
                      "rate_limit: { per_second: 1, burst: 40 } }\n")

    def act(daemon):
        script = Path(__file__).parent / "lib/clients.lua"
        wrk = harness.process("wrk", ["wrk", "-t1", "-c16", f"-d{WRK_SECONDS}s", "-s", script, daemon.intake],
                              {"PATH": os.environ["PATH"], "CLIENTS": str(CLIENTS)})
        answered, refused = wrk.wait_for(r"^(\d+) clients answered, refused (\d+)", "stdout", WRK_SECONDS).groups()
        equal("Uploads that were not answered 204", "0", refused, "wrk")
        accepted = total(daemon.scrape(), "lookout_uploads_total", outcome="accepted")
        expect(accepted >= int(answered), "Clients that were taken for others", expected=answered,
               found=accepted, where="lookout_uploads_total")
        return {"tried": int(answered)}
    load.run(act)


def test_bad_requests_by_the_thousands(harness):
    """Bad requests, with control characters where possible, do not fill the log."""
    load = AttackLoad(harness, "100,000 of each kind")
    load.run(lambda daemon: {name: check_log_volume(harness, daemon, name) for name in (
        "no_json", "too_large", "too_long_a_head", "no_http", "client_disconnected")})


@needs("openssl")
def test_bad_handshakes_by_the_thousands(harness):
    """Bad handshakes are logged once a minute, with a count."""
    authority = Authority(harness.directory, ["localhost"])
    load = AttackLoad(harness, "100,000 bad handshakes", "intake: { tls: { certificate: %s, key: %s } }\n"
                      % (authority.certificate, authority.key))
    load.run(lambda daemon: {"no_tls": check_log_volume(harness, daemon, "no_tls")})


def check_log_volume(harness, daemon, name):
    """Runs the attack; the log may grow by a few lines without control characters."""
    before = daemon.text("stderr")
    tried = result(attacker(harness, daemon, name, connections=50, count=100_000))
    said = daemon.text("stderr")[len(before):]
    expect(len(said) < 2000 and said.replace("\n", "").isprintable(), "Too many log lines about bad requests",
           expected="a few lines", found=said[:2000], where=name)
    return tried.get("answers", tried["tried"])
