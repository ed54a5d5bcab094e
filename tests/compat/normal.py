"""What two clients say about the same engine, made comparable.

Firkin's own name stands where Docker's stands, and what depends on the moment of the question
("2 seconds ago") becomes a mark. Everything else must be the same to the last byte, spacing too
unless such a mark is in the text. Three things are words of each client's own:

* how it leads to its help ("See 'docker run --help'" here, "Run ..." there);
* how it introduces an error in a template, and the internal type that it names;
* what follows a known text in brackets as advice.

Both speak the official client's version of the API, so that they are told the same.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rig import Engine

AGE = re.compile(
    r"(?:Less than a second|About an? (?:minute|hour)|\d+ (?:seconds?|minutes?|hours?)\b)(?: ago)?"
)
HINT = re.compile(r"^(?:See|S?Run) '(.*) --help'", re.MULTILINE)
TEMPLATE = re.compile(
    r"^(?:[\w ]+: )?template: ?(?:[\w ]*:[\d:]+:? ?)?(?:executing (?:\"\w*\" )?at )?", re.MULTILINE
)
TYPE = re.compile(r"(can't evaluate field \w+) in type \S+")
ADVICE = re.compile(
    r" \((?:start firkind, or say with -H where it listens|a duration such as .*|want [^)]*"
    r"|in '[^']*'|{{\w+}} has no {{end}})\)"
)
IDENTITY = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{12})\b")


@dataclasses.dataclass(frozen=True)
class Said:
    """One run of a client: what it printed, complained and returned."""

    stdout: str
    stderr: str
    status: int


def text(raw: bytes, names: dict[str, str]) -> str:
    """The text of one stream, normalised; ``names`` are to be replaced by others."""
    found = raw.decode()
    found = re.sub(r"\bfirkin\b(?!\.sock)", "docker", found)
    found = re.sub(r"\bFirkin\b", "Docker", found)
    found = HINT.sub(r"Run '\1 --help'", found)
    found = TEMPLATE.sub("<BAD TEMPLATE> ", found)
    found = TYPE.sub(r"\1", found)
    found = ADVICE.sub("", found)
    for name, mark in names.items():
        found = found.replace(name, mark)
    marked, count = AGE.subn("<AGE>", found)
    return re.sub(r"  +", "  ", marked) if count else found


@functools.cache
def api_version(engine: Engine) -> str:
    """The version of the API that the official client speaks."""
    return engine.out("version", "--format", "{{.Client.APIVersion}}", client="docker")


def say(
    engine: Engine,
    client: str,
    words: Sequence[str],
    *,
    names: dict[str, str] | None = None,
    stdin: bytes = b"",
    identities: bool = True,
) -> Said:
    """Run a client's command line and return what it said, normalised.

    Without ``identities`` IDs are made the same: for objects that each client makes anew.
    """
    if client == "firkin":
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_API_VERSION", api_version(engine))
            done = engine.run(*words, client=client, check=False, stdin=stdin)
    else:
        done = engine.run(*words, client=client, check=False, stdin=stdin)
    streams = [text(stream, names or {}) for stream in (done.stdout, done.stderr)]
    if not identities:
        streams = [IDENTITY.sub("<ID>", stream) for stream in streams]
    return Said(streams[0], streams[1], done.returncode)


def both(engine: Engine, words: Sequence[str], *, stdin: bytes = b"") -> tuple[Said, Said]:
    """The same command line by Firkin's client and by the official one."""
    ours, theirs = (say(engine, client, words, stdin=stdin) for client in ("firkin", "docker"))
    return ours, theirs
