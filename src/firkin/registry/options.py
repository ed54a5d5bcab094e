"""The commands of ``firkin registry`` and their options: plain data.

Two programs read it: ``firkin``, which must not import a server to show its help, and
``python -m firkin.registry``, which does what they say.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Option:
    """``--name VALUE``, or a switch when ``value`` is ""."""

    def __init__(self, name: str, value: str, help: str, short: str = "") -> None:
        self.name = name
        self.value = value
        self.help = help
        self.short = short


class Command:
    """A command: its arguments as help shows them, what it does, its options."""

    def __init__(
        self, arguments: str, help: str, options: Sequence[Option], arity: tuple[int, int] = (0, 0)
    ) -> None:
        self.arguments = arguments
        self.help = help
        self.options = options
        self.arity = arity


COMMON = (
    Option("config", "FILE", "Read the configuration from this TOML file"),
    Option("data", "DIR", "Directory of everything that is stored"),
)

COMMANDS: dict[str, Command] = {
    "serve": Command(
        "[OPTIONS]",
        "Serve images to pull and take those that are pushed",
        (
            *COMMON,
            Option("listen", "HOST:PORT", "Where to listen; several apart by commas"),
            Option("workers", "N", "Worker processes; 0 for as many as there are processors"),
            Option("tls-certificate", "FILE", "Serve HTTPS with this certificate (PEM)"),
            Option("tls-key", "FILE", "The key of that certificate (PEM)"),
            Option("htpasswd", "FILE", "Let in only the users of this file (bcrypt)"),
            Option("access-log", "FILE", "Write a line of JSON per request; - for stdout"),
        ),
    ),
    "gc": Command(
        "[OPTIONS]",
        "Delete what is no longer needed, while the registry serves",
        (
            *COMMON,
            Option("dry-run", "", "Only tell what would be deleted"),
            Option("grace", "SECONDS", "How long a blob that no manifest names stays"),
            Option("untagged-days", "DAYS", "Delete manifests that had no tag for so long"),
        ),
    ),
    "scrub": Command(
        "[OPTIONS]",
        "Read everything that is stored and compare it with its digest",
        (*COMMON, Option("repair", "", "Take out what is damaged; a push brings it back")),
    ),
    "user": Command(
        "[OPTIONS] add NAME | rm NAME | ls",
        "Manage the users of the built-in token service",
        (
            *COMMON,
            Option("admin", "", "The user may do everything"),
            Option("password-stdin", "", "Read the password from standard input"),
            Option("right", "PATTERN:ACTIONS", "As in 'team/*:pull,push'; may be repeated"),
        ),
        (1, 2),
    ),
}
