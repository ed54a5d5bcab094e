"""Record every command of Docker's own client with its flags, as its help pages tell them.

Run by hand where a ``docker`` client is installed::

    python tests/unit/cli/record_flags.py [--docker /usr/bin/docker]

The result goes to ``data/flags_recorded.json``, which a test compares our own commands with.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import subprocess

DATA = pathlib.Path(__file__).parent / "data"
FLAG = re.compile(r"^ {2,6}(?:(-\w), )?--([\w-]+)(?: (\S+))?", re.MULTILINE)
COMMANDS = re.compile(r"^(?:\w+ )*Commands:\n((?:  .*\n)+)", re.MULTILINE)


def page(docker: str, words: tuple[str, ...]) -> str:
    environment = {"DOCKER_CONFIG": "/nonexistent", "DOCKER_HOST": "unix:///nonexistent",
                   "HOME": "/nonexistent", "PATH": "/usr/bin:/bin"}  # fmt: skip
    done = subprocess.run(
        [docker, *words, "--help"], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def walk(docker: str, words: tuple[str, ...], found: dict[str, dict[str, list[str]]]) -> None:
    """Note the command ``words``, or each one below it."""
    text = page(docker, words)
    names = [
        line.split()[0]
        for section in COMMANDS.findall(text)
        for line in section.splitlines()
        if not line.split()[0].endswith("*")  # a plug-in
    ]
    if not names:
        found[" ".join(words)] = {
            match[2]: [match[1] or "", match[3] or ""]
            for match in FLAG.finditer(text.partition("Options:\n")[2])
            if match[2] != "help"
        }
    for name in names:
        walk(docker, (*words, name), found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docker", default="/usr/local/bin/docker")
    docker = parser.parse_args().docker
    found: dict[str, dict[str, list[str]]] = {}
    walk(docker, (), found)
    lines = ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in sorted(found.items()))
    (DATA / "flags_recorded.json").write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    main()
