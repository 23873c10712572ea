"""Anybody on the internet can talk to intake. Whatever they say, slowly, endlessly or by the thousands, a
normal upload is answered afterwards within 100 ms, memory comes back to within 16 MiB of where it was, and
little is said about it. One line for each attack: what was tried, 99 of 100 normal uploads meanwhile took
at most, memory before, at its highest, and afterwards.
"""

import os
from pathlib import Path

from certificates import Authority
from checks import Failure, equal, eventually, expect
from exposition import total
from siege import Siege, attacker, result

ALONE = True  # it measures how long others wait
# Shorter than the defaults, so that an attack lasts seconds.
SETTINGS = "intake: { head_timeout: 2s, body_timeout: 3s }\n"
# The allocator keeps about 20 kB of each connection that there was, for the next ones.
MANY = 600
CLIENTS = 1_000_000


def scripted(bench, name, *, config=SETTINGS, tls=None, refuses=False, **given):
    """One attack by the scripted attacker."""
    siege = Siege(bench, name + (f" ({tls})" if tls else ""), config)
    return siege.attack(lambda daemon: result(attacker(bench, daemon, name, tls, **given)), refuses)


def test_clients_that_take_their_time(bench):
    """Each is cut off, whatever it does to seem alive."""
    for name in ("silent", "slow_head", "stalled_body", "dripping_body", "idle", "half_a_preface",
                 "h2_slow_head", "h2_slow_second_head", "h2_idle"):
        tried = scripted(bench, name, connections=MANY, seconds=20)
        equal("Connections that lookoutd closed", MANY, tried["closed"], name)


def test_streams_that_take_their_time(bench):
    """The same on the streams of a few connections."""
    for name in ("h2_stalled_streams", "h2_zero_window"):
        tried = scripted(bench, name, connections=9, seconds=20)
        equal("Connections that lookoutd closed", 9, tried["closed"], name)


def test_clients_that_read_nothing(bench):
    """They are cut off, so that they come back with new connections."""
    for name in ("unread_answers", "unread_problems", "h2_unread_pings"):
        tried = scripted(bench, name, connections=9, seconds=8)
        expect(tried["tried"] > 9, "lookoutd keeps connections on which nobody reads",
               expected="new connections in place of closed ones", found=tried, where=name)


def test_large_bodies(bench):
    """A thousand that lack their last byte: the room for bodies fills up, not the memory."""
    scripted(bench, "large_bodies", connections=200, seconds=20)


def test_heads_and_bodies_without_end(bench):
    """Over HTTP/1.1 and HTTP/2: cut off at their limits, or answered as fast as they come."""
    for name in ("long_head", "many_headers", "long_target", "chunk_extensions", "trailers", "tiny_chunks",
                 "garbage", "pipelined", "h2_long_head", "h2_many_headers"):
        scripted(bench, name, connections=20)


def test_floods_of_frames(bench):
    """What HTTP/2 makes cheap for the client: rapid reset (CVE-2023-44487), endless CONTINUATION
    (CVE-2024-27316), resets that the server is made to send (CVE-2025-8671), and their kin."""
    for name in ("h2_rapid_reset", "h2_resets_by_the_server", "h2_continuations", "h2_settings", "h2_pings",
                 "h2_pongs", "h2_window_updates", "h2_empty_data", "h2_padding", "h2_many_streams",
                 "h2_small_streams", "unfinished_resets"):
        scripted(bench, name, connections=4, count=5000)


def test_bombs(bench):
    """Both what is sent and what it inflates to are bounded."""
    for name, answer in (("bombs", "413"), ("large_gzip", "413"), ("gzip_members", "400")):
        tried = scripted(bench, name, count=200)
        equal("Answers", {answer: 200}, tried["answers"], name)


def test_over_tls(bench):
    """The same through TLS, by ALPN, and those who do not finish the handshake."""
    authority = Authority(bench.directory, ["localhost"])
    config = SETTINGS.replace("{ ", "{ tls: { certificate: %s, key: %s }, "
                              % (authority.certificate, authority.key))
    for name, tls in (("slow_head", "http/1.1"), ("stalled_body", "http/1.1"), ("h2_idle", "h2")):
        tried = scripted(bench, name, config=config, tls=tls, connections=200, seconds=20)
        equal("Connections that lookoutd closed", 200, tried["closed"], name)
    for name in ("h2_rapid_reset", "h2_continuations", "h2_settings", "h2_pings", "h2_small_streams"):
        scripted(bench, name, config=config, tls="h2", connections=4)
    tried = scripted(bench, "silent", config=config, connections=MANY, seconds=20)
    equal("Connections that never begin a handshake and were closed", MANY, tried["closed"], "silent")
    for name in ("no_tls", "no_http", "no_json"):
        scripted(bench, name, config=config, count=2000)


def test_tls_to_the_plain_port(bench):
    """It is no HTTP, and answered as such."""
    tried = scripted(bench, "no_tls", count=2000)
    equal("Answers", {"400": 2000}, tried["answers"], "no_tls")


def test_slowhttptest(bench):
    """Somebody else's attacker. It reads on when lookoutd has closed, so it is not asked how it ended."""
    for name, options in (("slow headers", ["-H"]), ("slow bodies", ["-B", "-s", "8192"]),
                          ("slow reading", ["-X", "-w", "1", "-y", "16", "-n", "1", "-z", "4", "-k", "3"])):
        siege = Siege(bench, f"slowhttptest, {name}", SETTINGS)
        siege.attack(lambda daemon, options=options: slowhttptest(bench, daemon, options))


def slowhttptest(bench, daemon, options):
    """Runs it until lookoutd has had all its connections and closed them."""
    process = bench.process("slowhttptest", [
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


def test_more_connections_than_allowed(bench):
    """They wait at accept, and so do visitors, until there is room: not longer than a head may take."""
    siege = Siege(bench, "silent, over the cap", "intake: { max_connections: 100, head_timeout: 2s }\n")
    tried = siege.attack(lambda daemon: result(attacker(
        bench, daemon, "silent", connections=MANY, seconds=30)), refuses=True)
    equal("Connections that lookoutd closed", MANY, tried["closed"], "silent")


def test_more_connections_than_open_files(bench):
    """Files are left for admin: the scrape works while all that clients may have is taken."""
    siege = Siege(bench, "silent, few open files", SETTINGS, open_files=256)

    def act(daemon):
        process = attacker(bench, daemon, "silent", connections=MANY, seconds=30)
        # Of 256 files, 128 are for everything else.
        eventually(lambda: connections(daemon, lambda now: now == 128))
        return result(process)

    siege.attack(act, refuses=True)


def test_more_uploads_than_allowed(bench):
    """A thousand streams that miss their end: everybody else is told to come back later."""
    siege = Siege(bench, "h2_stalled_streams, all", SETTINGS)
    siege.attack(lambda daemon: result(attacker(
        bench, daemon, "h2_stalled_streams", connections=12, seconds=20)), refuses=True)


def test_end_under_attack(bench):
    """SIGTERM while all places are taken and more wait, and while HTTP/2 floods: it ends in time and well."""
    for name, count in (("silent", MANY), ("h2_pings", 4), ("dripping_body", 100)):
        siege = Siege(bench, name, "intake: { max_connections: 100 }\n")
        process = attacker(bench, siege.daemon, name, connections=count, seconds=20)
        eventually(lambda: connections(siege.daemon, lambda now, most=min(count, 100): now == most))
        siege.daemon.terminate()
        process.stop()


def test_a_million_clients(bench):
    """Behind a trusted proxy, with a rate limit: each is let in, and none costs memory."""
    siege = Siege(bench, "a million addresses", "intake: { trusted_proxies: [127.0.0.0/8], "
                  "rate_limit: { per_second: 1, burst: 40 } }\n")

    def act(daemon):
        script = Path(__file__).parent / "clients.lua"
        wrk = bench.process("wrk", ["wrk", "-t1", "-c16", "-d150s", "-s", script, daemon.intake],
                            {"PATH": os.environ["PATH"], "CLIENTS": str(CLIENTS)})
        answered, refused = wrk.wait_for(r"^(\d+) clients answered, refused (\d+)", "stdout", 150).groups()
        equal("Uploads that were not answered 204", "0", refused, "wrk")
        accepted = total(daemon.scrape(), "lookout_uploads_total", outcome="accepted")
        expect(accepted >= int(answered), "Clients that were taken for others", expected=answered,
               found=accepted, where="lookout_uploads_total")
        return {"tried": int(answered)}
    siege.attack(act)


def test_bad_requests_by_the_thousands(bench):
    """Each of a kind, with control characters where that is possible: they fill no log."""
    siege = Siege(bench, "100,000 of each kind")
    siege.attack(lambda daemon: {name: say_little(bench, daemon, name) for name in (
        "no_json", "too_large", "too_long_a_head", "no_http", "aborted")})


def test_bad_handshakes_by_the_thousands(bench):
    """They are said, once a minute and with a count."""
    authority = Authority(bench.directory, ["localhost"])
    siege = Siege(bench, "100,000 bad handshakes", "intake: { tls: { certificate: %s, key: %s } }\n"
                  % (authority.certificate, authority.key))
    siege.attack(lambda daemon: {"no_tls": say_little(bench, daemon, "no_tls")})


def say_little(bench, daemon, name):
    """The attack, which may cost a few lines of diagnostics without any control character."""
    before = daemon.text("stderr")
    tried = result(attacker(bench, daemon, name, connections=50, count=100_000))
    said = daemon.text("stderr")[len(before):]
    expect(len(said) < 2000 and said.replace("\n", "").isprintable(), "Too much is said about bad requests",
           expected="a few lines", found=said[:2000], where=name)
    return tried.get("answers", tried["tried"])
