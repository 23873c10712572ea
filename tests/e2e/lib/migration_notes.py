"""The notes of docs/migration as something to check: their tables, their samples, the names in them."""

import re
import subprocess
from pathlib import Path

import yaml
from checks import equal, expect

FOLDER = Path(__file__).resolve().parents[3] / "docs/migration"
NAME = re.compile(r"`([^`]+)`")
EVENT_PATH = re.compile(r"(body|lookout)\.[\w.-]+|url|age|type")
NONE = ("none", "–")


def note(name):
    """The text of a note."""
    return (FOLDER / f"{name}.md").read_text()


def table(text, name):
    """The rows of the table between two marks, each a list of cells."""
    lines = text.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0].split("\n")
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
    return rows[2:]  # without its head


def named(cell, pattern=re.compile(".*")):
    """The names in a cell that are of this form."""
    return [found for found in NAME.findall(cell) if pattern.fullmatch(found)]


def samples(text, language):
    """The samples of a language, without their indentation."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```$", text, re.M | re.S)
    return ["\n".join(line[len(indent):] for line in sample.split("\n")) for indent, sample in found]


def at(event, path):
    """What an event has at a path such as `body.documentURL`; None if nothing."""
    for step in path.split("."):
        event = event.get(step) if isinstance(event, dict) else None
    return event


def check_fields(rows, old, event, attributes, where):
    """Each field of the old log is in the table, and in the event and its attributes where the table says."""
    equal("The fields that the table has", sorted(old), sorted(named(row[0])[0] for row in rows), where)
    for row in rows:
        field, value = named(row[0])[0], old[named(row[0])[0]]
        paths = named(row[1], EVENT_PATH)
        for place, names, find in (("the event", paths, lambda path: at(event, path)),
                                   ("the attributes", named(row[2]) if len(row) > 2 else (), attributes.get)):
            for name in names:
                expect(find(name) is not None, f"{place} does not have {name}", expected=f"the field {field}",
                       found=event, where=where)
        if row[1].startswith(NONE):
            continue
        expect(paths, f"The table does not say where {field} is", expected="a path", found=row, where=where)
        if value is not ANY:
            equal(f"{field} in the event", value, at(event, paths[0]), f"{where}: {paths[0]}")
        if len(row) > 2 and row[2] not in NONE and value is not ANY:
            equal(f"{field} in the attributes", value, attributes[named(row[2])[0]], f"{where}: {row[2]}")


ANY = object()  # a value that the old log does not share


def settings(binary):
    """Every setting by its key."""
    said = subprocess.run([binary, "config"], capture_output=True, check=True, timeout=20, env={}).stdout
    return set(flat(yaml.safe_load(said)))


def flat(tree, prefix=""):
    """The keys of nested maps, joined."""
    for key, value in tree.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")


def check_settings(binary, text, where):
    """Every setting that a text names exists, and takes the value that it shows."""
    known = settings(binary)
    sections = "|".join({key.split(".")[0] for key in known if "." in key} - {"service"})
    for found in named(" ".join(line for line in text.splitlines() if not line.startswith("```")),
                       re.compile(rf"(?:(?:{sections})\.[\w.]+|listen|admin_listen|sites)(?:: .*)?")):
        key, _, value = found.partition(": ")
        expect(key in known, f"There is no setting {key}", expected="one of `lookoutd config`", found=found,
               where=where)
        if value:
            # Some values need sites.
            accepts(binary, ["--set", "sites=[{ name: shop, hosts: [www.shop.example] }]",
                             "--set", f"{key}={value.strip('[]').replace(', ', ',')}"], found)


def accepts(binary, arguments, where):
    """`lookoutd check` says that it can run so."""
    done = subprocess.run([binary, "check", *arguments], capture_output=True, text=True, timeout=20,
                          check=False, env={})
    equal("The exit code of `lookoutd check`", 0, done.returncode, f"{where}: {done.stderr}")


def check_links(path):
    """Every link leads to a file, and to a headline of it."""
    for target in re.findall(r"\]\(([^)#:]*(?:#[^)]*)?)\)", path.read_text()):
        file, _, anchor = target.partition("#")
        linked = path.parent / file if file else path
        expect(linked.is_file(), "A link leads nowhere", expected="a file", found=target, where=path)
        heads = [re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-")
                 for head in re.findall(r"^#+ (.*)$", linked.read_text(), re.M)]
        expect(not anchor or anchor in heads, "A link leads to no headline", expected=heads, found=target,
               where=path)
