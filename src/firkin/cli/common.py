"""Small things that several commands say or ask in the same way."""

from __future__ import annotations

import sys

from firkin import errdefs
from firkin.cli import errors, flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from firkin.cli import context

CHUNK = 1 << 20

FORMAT_USAGE = "Print with 'table', 'table TEMPLATE', 'json' or a template"
INSPECT_USAGE = "Print with 'json' or a template"


def filter_flag(short: str = "", usage: str = "Only what fits, as in name=value") -> flags.Flag:
    """``--filter``, which may be given many times."""
    return flags.strings("filter", short, usage, _check_filter, type_name="filter")


def _check_filter(text: str) -> str:
    name, equals, value = text.partition("=")
    if not text:
        return ""
    if not equals:
        raise ValueError("bad format of filter (expected name=value)")
    return f"{name.strip().lower()}={value.strip()}"


def filters(given: Iterable[str]) -> dict[str, list[str]]:
    """Filters as the API takes them: the values of each name."""
    found: dict[str, list[str]] = {}
    for item in filter(None, given):  # an empty one is none
        name, _, value = item.partition("=")
        values = found.setdefault(name, [])
        if value not in values:
            values.append(value)
    return found


def prune_filters(cli: context.Cli, given: Iterable[str]) -> dict[str, list[str]]:
    """Filters of a prune: those given, and the configuration's ``pruneFilters`` beside them.

    A label that was given wins over the opposite in the configuration.
    """
    found = filters(given)
    configured = cli.config.get("pruneFilters")
    opposite = {"label": "label!", "label!": "label"}
    for item in configured if isinstance(configured, list) else ():
        name, equals, value = str(item).partition("=")
        if not equals or value in found.get(opposite.get(name, ""), ()):
            continue
        values = found.setdefault(name, [])
        if value not in values:
            values.append(value)
    return found


def moment(text: str) -> str:
    """A ``--since`` or ``--until`` for the API; "" stays empty."""
    from firkin.cli import units

    try:
        return units.parse_moment(text) if text else ""
    except errdefs.InvalidParameter as error:
        raise errors.CliError(str(error)) from None


def platform(text: str) -> str | None:
    """``os[/arch[/variant]]`` as the JSON that the API takes; None for no platform."""
    if not text:
        return None
    import json

    from firkin.cli import platforms

    platforms.check(text, "invalid platform: ")
    parts = text.lower().split("/")
    names = ("os", "architecture", "variant")
    return json.dumps(dict(zip(names, parts, strict=False)), separators=(",", ":"))


def confirm(question: str) -> bool:
    """Ask on the terminal; anything but a yes, the end of input too, is a no."""
    sys.stdout.write(f"{question} [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() == "y"


def list_format(cli: context.Cli, values: flags.Values, key: str, *, quiet: bool = False) -> str:
    """The format of a list: the flag's, else the user's configuration, else the table."""
    chosen = values.text("format")
    if not chosen and not quiet:
        chosen = str(cli.config.get(key) or "")
    return chosen or "table"


def file_size(file: BinaryIO) -> int | None:
    """How many bytes a file has; None for a pipe. The engine makes room for them."""
    import os
    import stat

    try:
        found = os.fstat(file.fileno())
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def read_chunks(stream: BinaryIO) -> Iterator[bytes]:
    """The pieces of a file, for a request body."""
    while chunk := stream.read(CHUNK):
        yield chunk


def size_of(stream: BinaryIO) -> int:
    """How many bytes a file has; 0 for a pipe and its like."""
    import os
    import stat

    status = os.fstat(stream.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


def shorten(text: str, length: int) -> str:
    """``text`` cut to ``length`` characters, the last of which then is an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"


def short_id(identity: str) -> str:
    """The twelve digits of an ID that are shown."""
    _, colon, digits = identity.partition(":")
    return (digits if colon else identity)[:12]


def when(seconds: float, form: str) -> str:
    """A moment in local time. ``form`` is "go" (as Go prints a time) or "rfc3339"."""
    import time

    local = time.localtime(seconds)
    offset = time.strftime("%z", local)
    if form == "go":
        zone = time.strftime("%Z", local)
        return time.strftime(f"%Y-%m-%d %H:%M:%S {offset} {zone}", local)
    zone = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:]}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", local) + zone


def ago(seconds: float) -> str:
    """How long since ``seconds``: "2 hours ago"."""
    import time

    from firkin.cli import units

    return f"{units.human_duration(time.time() - seconds)} ago"


def pairs(items: Iterable[str]) -> dict[str, str]:
    """``key=value`` flags as a dict; a key alone has the empty value."""
    return {key: value for key, _, value in (item.partition("=") for item in items)}


def for_each(cli: context.Cli, names: Iterable[str], act: Callable[[str], None]) -> int:
    """Do the same to every name and print it; failures are reported after the rest."""
    from firkin.client import api

    failures: list[str] = []
    for name in names:
        try:
            act(name)
        except api.APIError as error:
            failures.append(f"Error response from daemon: {error}")
        else:
            cli.print(name)
    if failures:
        raise errors.CliError("\n".join(failures))
    return 0


def go_time(moment: object) -> str:
    """A moment of the API's JSON as Go prints it."""
    from firkin.cli import shapes

    return str(shapes.shape(moment, "time"))


def comma_separated(items: Iterable[str]) -> list[str]:
    """The values of a flag that takes several, apart by commas, and may be given several times."""
    return [part for item in items for part in item.split(",") if part]
