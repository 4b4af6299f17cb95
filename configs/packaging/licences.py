#!/usr/bin/env python3
"""Licences of what a program is made of.

    configs/packaging/licences.py list PROGRAM TRIPLE       crate, version, licence: one line each
    configs/packaging/licences.py copyright PROGRAM TRIPLE  the same with every licence's text, for the package
    configs/packaging/licences.py check                     every licence is one that deny.toml allows

Takes what `cargo metadata` says, without a network: of dependencies that are linked in, not of those that
only tests or builds need. Nothing but Python and cargo is needed.
"""

import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tomllib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAMS = ["sandan-gateway", "sandan-ingest"]
TEXTS = re.compile(r"^(licen[cs]e|copying|copyright|notice|unlicense)", re.IGNORECASE)


def metadata(triple):
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline"]
    said = subprocess.run(
        [*command, "--filter-platform", triple], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    return json.loads(said.stdout)


def linked(program, triple):
    """The packages that a program links, itself first, then by name."""
    known = metadata(triple)
    packages = {package["id"]: package for package in known["packages"]}
    nodes = {node["id"]: node for node in known["resolve"]["nodes"]}
    (start,) = [it for it, package in packages.items() if package["name"] == program]
    seen, waiting = {start}, [start]
    while waiting:
        for dependency in nodes[waiting.pop()]["deps"]:
            is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
            target = packages[dependency["pkg"]]
            # A macro runs in the compiler, and so do the crates that it is made of.
            is_macro = any("proc-macro" in it["kind"] for it in target["targets"])
            if is_normal and not is_macro and dependency["pkg"] not in seen:
                seen.add(dependency["pkg"])
                waiting.append(dependency["pkg"])
    rest = sorted(seen - {start}, key=lambda it: (packages[it]["name"], packages[it]["version"]))
    return [packages[it] for it in [start, *rest]]


def meets(expression, allowed):
    """Whether a licence expression of SPDX can be met with the allowed ones. `/` is an old word for OR.

    >>> [meets(it, {"MIT", "ISC"}) for it in ["MIT", "GPL-3.0", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "MIT AND GPL-3.0"]]
    [True, False, True, True, False]
    >>> [meets(it, {"MIT", "ISC"}) for it in ["(GPL-3.0 OR ISC) AND MIT", "(MIT OR ISC) AND GPL-3.0", "MIT WITH x"]]
    [True, False, False]
    """
    words = re.findall(r"\(|\)|[^\s()]+", expression.replace("/", " OR "))

    def either():
        met = both()
        while words and words[0] == "OR":
            words.pop(0)
            met = both() or met
        return met

    def both():
        met = one()
        while words and words[0] == "AND":
            words.pop(0)
            met = one() and met
        return met

    def one():
        word = words.pop(0)
        if word == "(":
            met = either()
            words.pop(0)
            return met
        if words and words[0] == "WITH":
            words.pop(0)
            word = f"{word} WITH {words.pop(0)}"
        return word in allowed

    return either()


def texts(package):
    folder = pathlib.Path(package["manifest_path"]).parent
    found = [path for path in folder.iterdir() if path.is_file() and TEXTS.match(path.name)]
    return [path.read_text(errors="replace").strip() for path in sorted(found)]


def check():
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    allowed = set(deny["licenses"]["allow"])
    faults, count = set(), 0
    for triple in deny["graph"]["targets"]:
        for program in PROGRAMS:
            for package in linked(program, triple):
                count += 1
                licence = package["license"] or "none that it names"
                if not meets(licence, allowed):
                    faults.add(f"{package['name']} {package['version']} is under {licence}, which deny.toml does not allow")
    for fault in sorted(faults):
        print(f"error: {fault}", file=sys.stderr)
    print(f"{count} licences looked at, {len(faults)} not allowed")
    return 1 if faults else 0


def listed(packages):
    for package in packages:
        authors = ", ".join(re.sub(r"\s*<.*?>", "", author) for author in package["authors"])
        print(f"{package['name']} {package['version']}: {package['license']}{'; ' + authors if authors else ''}")


def copyright_page(program, triple):
    packages = linked(program, triple)
    print(f"{program} is under the Apache License 2.0. It links these, each under its own licence:\n")
    listed(packages)
    once = {}
    for package in packages:
        for text in texts(package):
            key = hashlib.sha256(" ".join(text.split()).encode()).digest()
            once.setdefault(key, (text, []))[1].append(package["name"])
    ours = (ROOT / "LICENSE").read_text().strip()
    print(f"\n{'─' * 80}\n{program}\n{'─' * 80}\n\n{ours}")
    for text, names in once.values():
        print(f"\n{'─' * 80}\n{', '.join(sorted(set(names)))}\n{'─' * 80}\n\n{text}")


def main(args):
    match args:
        case ["check"]:
            return check()
        case ["list", program, triple]:
            listed(linked(program, triple))
        case ["copyright", program, triple]:
            copyright_page(program, triple)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
