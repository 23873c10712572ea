"""Writes the seeds of fuzzing: the bodies of the tests as inputs, and a dictionary of names.

    seeds.py SEEDS DICTIONARY

An input is a body after the two bytes that fuzz_targets/choices.rs reads. SEEDS has each body twice: for a
daemon with default settings, and with choices that differ from body to body.
"""

import gzip
import json
import re
import sys
import zlib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GZIP = 1  # of the second byte
# Of fuzz_targets/state.rs.
STATE = (
    b'\x01{"version":1,"sites":[[1,2]],"findings":[[1,2,3,4,5,6,7,false],[9,1,3,4,5,6,7,true]],'
    b'"evicted":[{"fingerprint":1,"last_seen":2,"first_seen":3}]}'
)
# Files with the names, in quotes, that the path compares with.
NAMED_IN = ["src/decode", "src/kinds", "src/classify", "src/normalize"]
NAME = re.compile(r'"([^"\\\n]{2,48})"')


def main(seeds, dictionary):
    seeds.mkdir(parents=True, exist_ok=True)
    for body in sorted(bodies()):
        for choices in (b"\0\0", varied(body)):
            seed = choices + (gzip.compress(body, mtime=0) if choices[1] & GZIP else body)
            (seeds / f"{zlib.crc32(seed):08x}").write_bytes(seed)
    (seeds / "state").write_bytes(STATE)
    entries = sorted(map(dictionary_entry, names()))
    dictionary.write_text("".join(f'"{entry}"\n' for entry in entries))


def bodies():
    """Every distinct body of the captures, and of the samples."""
    files = [*ROOT.glob("tests/corpus/*/*.json"), *ROOT.glob("tests/samples/*.json")]
    uploads = (json.loads(path.read_bytes()) for path in files)
    return {upload.get("request", upload)["body"].encode() for upload in uploads} - {b""}


def varied(body):
    """Choices that differ between bodies, and are the same in each run."""
    return zlib.crc32(body).to_bytes(4, "big")[:2]


def names():
    sources = (path for folder in NAMED_IN for path in (ROOT / folder).rglob("*.rs"))
    return {name for path in sources for name in NAME.findall(path.read_text())}


def dictionary_entry(name):
    """In the notation of libFuzzer, where a byte is \\xXX."""
    plain = lambda byte: 0x20 <= byte < 0x7F and byte not in b'"\\'
    return "".join(chr(byte) if plain(byte) else f"\\x{byte:02x}" for byte in name.encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
