"""Which commands there are, and where each one lives.

A command's module is ``firkin.cli.commands.<group>.<verb>``; a top-level name is another way to
write one of them (``ps`` is ``container ls``). Only the module asked for is imported.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from firkin.cli import context, flags

    class Module(Protocol):
        COMMAND: flags.Command

        @staticmethod
        def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int: ...


GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "builder": ("Manage builds", ("build", "du", "prune")),
    "container": (
        "Manage containers",
        (
            "attach", "commit", "cp", "create", "diff", "exec", "exists", "export", "inspect",
            "kill", "logs", "ls", "pause", "port", "prune", "rename", "restart", "rm", "run",
            "start", "stats", "stop", "top", "unpause", "update", "wait",
        ),
    ),
    "context": (
        "Manage contexts",
        ("create", "export", "import", "inspect", "ls", "rm", "show", "update", "use"),
    ),
    "image": (
        "Manage images",
        (
            "build", "exists", "history", "import", "inspect", "load", "ls", "prune", "pull",
            "push", "rm", "save", "scp", "tag",
        ),
    ),
    "manifest": (
        "Manage manifests and manifest lists",
        ("annotate", "create", "inspect", "push", "rm"),
    ),
    "network": (
        "Manage networks",
        ("connect", "create", "disconnect", "exists", "inspect", "ls", "prune", "reload", "rm"),
    ),
    "registry": ("Serve images to others", ("gc", "scrub", "serve", "user")),
    "secret": ("Manage secrets", ("create", "inspect", "ls", "rm")),
    "system": ("Manage the engine", ("check", "df", "dial-stdio", "events", "info", "prune")),
    "volume": (
        "Manage volumes",
        ("clone", "create", "exists", "export", "import", "inspect", "ls", "prune", "rename", "rm"),
    ),
}  # fmt: skip

ALIASES: dict[str, dict[str, str]] = {
    "builder": {},
    "container": {"list": "ls", "ps": "ls", "remove": "rm"},
    "context": {"list": "ls", "remove": "rm"},
    "image": {"list": "ls", "remove": "rm"},
    "manifest": {},
    "network": {"list": "ls", "remove": "rm"},
    "registry": {},
    "secret": {"list": "ls", "remove": "rm"},
    "system": {},
    "volume": {"list": "ls", "remove": "rm"},
}
"""Other names of a verb within its group."""

TOP: dict[str, tuple[str, str]] = {
    "attach": ("container", "attach"),
    "build": ("image", "build"),
    "commit": ("container", "commit"),
    "completion": ("", "completion"),
    "cp": ("container", "cp"),
    "create": ("container", "create"),
    "diff": ("container", "diff"),
    "doctor": ("", "doctor"),
    "events": ("system", "events"),
    "exec": ("container", "exec"),
    "export": ("container", "export"),
    "history": ("image", "history"),
    "images": ("image", "ls"),
    "import": ("image", "import"),
    "info": ("system", "info"),
    "inspect": ("", "inspect"),
    "kill": ("container", "kill"),
    "load": ("image", "load"),
    "login": ("registry", "login"),
    "logout": ("registry", "logout"),
    "logs": ("container", "logs"),
    "pause": ("container", "pause"),
    "port": ("container", "port"),
    "ps": ("container", "ls"),
    "pull": ("image", "pull"),
    "push": ("image", "push"),
    "rename": ("container", "rename"),
    "restart": ("container", "restart"),
    "rm": ("container", "rm"),
    "rmi": ("image", "rm"),
    "run": ("container", "run"),
    "save": ("image", "save"),
    "search": ("registry", "search"),
    "start": ("container", "start"),
    "stats": ("container", "stats"),
    "stop": ("container", "stop"),
    "tag": ("image", "tag"),
    "top": ("container", "top"),
    "unpause": ("container", "unpause"),
    "update": ("container", "update"),
    "version": ("system", "version"),
    "wait": ("container", "wait"),
}

COMMON = (
    "run", "exec", "ps", "build", "pull", "push", "images", "login", "logout", "search", "version",
    "info",
)  # fmt: skip
"""What help shows first."""

MODULES = {
    ("builder", "build"): "image.build",
    ("container", "commit"): "image.commit",
    ("context", "import"): "context.import_",
    ("image", "import"): "image.import_",
    ("volume", "import"): "volume.import_",
    ("system", "dial-stdio"): "system.dial_stdio",
}
"""Modules that are not named after their verb: keywords, and verbs of two nouns."""

OWN = frozenset({"registry"})
"""Groups that Docker's client does not have."""

HIDDEN = {("system", "dial-stdio")}
"""Commands for programs; help does not show them."""


class Unknown(Exception):
    """No such command: ``path`` made sense, ``word`` after it did not."""

    def __init__(self, path: str, word: str) -> None:
        super().__init__(word)
        self.path = path
        self.word = word


class Found:
    """A command on the command line: the words that named it, and where it is."""

    def __init__(self, path: str, group: str, verb: str) -> None:
        self.path = path
        self.group = group
        self.verb = verb

    def load(self) -> Module:
        """Import the command's module."""
        return load(self.group, self.verb)


def load(group: str, verb: str) -> Module:
    name = MODULES.get((group, verb)) or (f"{group}.{verb}" if group else verb)
    full = "firkin.cli.commands." + name
    __import__(full)
    return sys.modules[full]  # type: ignore[return-value]


def find(words: list[str]) -> tuple[Found | str, list[str]]:
    """The command that ``words`` begins with and the words after it.

    A group's name alone, or followed by a flag, gives the group's name itself.
    """
    first, rest = words[0], words[1:]
    if first in GROUPS:
        if not rest or rest[0].startswith("-"):
            return first, rest
        verb = ALIASES[first].get(rest[0], rest[0])
        if verb not in GROUPS[first][1]:
            raise Unknown(first, rest[0])
        return Found(f"{first} {rest[0]}", first, verb), rest[1:]
    if first not in TOP:
        raise Unknown("", first)
    return Found(first, *TOP[first]), rest


def names(group: str, verb: str) -> list[str]:
    """Every way to write a command, the longest first."""
    found: list[str] = []
    if group in GROUPS and verb in GROUPS[group][1]:
        found.append(f"{group} {verb}")
        found += [f"{group} {alias}" for alias, real in ALIASES[group].items() if real == verb]
    found += [name for name, place in TOP.items() if place == (group, verb)]
    return found


def similar(path: str, word: str) -> list[str]:
    """Commands that may have been meant by ``word``."""
    import difflib

    known = [*GROUPS[path][1], *ALIASES[path]] if path else [*TOP, *GROUPS]
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    close += [name for name in known if name.startswith(word) and name not in close]
    return [f"{path} {name}".strip() for name in close[:3]]
