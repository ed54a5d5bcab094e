"""``system events``: what happens on the engine, line by line."""

from __future__ import annotations

import sys

from firkin.cli import common, errors, flags
from firkin.client import jsontext, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Show events as they happen",
    (
        common.filter_flag("f"),
        flags.string("format", "", common.INSPECT_USAGE),
        flags.string("since", "", "Begin with the events of this time"),
        flags.string("until", "", "End with the events of this time"),
    ),
    flags.none(),
)

BAD_TEMPLATE_STATUS = 64


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Show events until the time of --until, or forever."""
    show = _formatter(values.text("format"))
    stream = system.events(
        cli.client,
        since=common.moment(values.text("since")),
        until=common.moment(values.text("until")),
        filters=common.filters(values.items("filter")),
    )
    for raw in stream:
        sys.stdout.write(show(raw) + "\n")
        sys.stdout.flush()
    return 0


def _formatter(fmt: str) -> Callable[[bytes], str]:
    if not fmt:
        return lambda raw: line(_decode(raw))
    if fmt == "json":
        return lambda raw: _json_line(_decode(raw))
    from firkin.cli import shapes, template

    try:
        compiled = template.compile(fmt)
    except template.TemplateError as error:
        raise errors.CliError(f"parsing format: {error}", BAD_TEMPLATE_STATUS) from None

    def show(raw: bytes) -> str:
        try:
            return compiled.execute(shapes.shape(_decode(raw), "event"))
        except template.TemplateError as error:
            raise errors.CliError(f"parsing format: {error}", BAD_TEMPLATE_STATUS) from None

    return show


_ORDER = ("status", "id", "from", "Type", "Action", "Actor", "scope", "time", "timeNano")


def _json_line(event: dict[str, Any]) -> str:
    """An event as one line of JSON, its fields in the order of the API's type."""
    from firkin.cli.template import functions

    actor = event.get("Actor")
    if isinstance(actor, dict) and isinstance(actor.get("Attributes"), dict):
        attributes = actor["Attributes"]
        event["Actor"] = {
            **actor,
            "Attributes": {key: attributes[key] for key in sorted(attributes)},
        }
    known = {key: event[key] for key in _ORDER if key in event}
    return functions.to_json({**known, **event}, html_safe=True)


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        value = jsontext.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise errors.CliError(f"the engine sent an event that is no JSON object: {raw[:200]!r}")
    return value


def line(event: dict[str, Any]) -> str:
    """``TIME TYPE ACTION ID (name=value, ...)``."""
    actor = event.get("Actor") or {}
    attributes = actor.get("Attributes") or {}
    parts = [_time(event)]
    parts.append(f" {event.get('Type', '')} {event.get('Action', '')} {actor.get('ID', '')}")
    if attributes:
        pairs = ", ".join(f"{name}={attributes[name]}" for name in sorted(attributes))
        parts.append(f" ({pairs})")
    return "".join(parts)


def _time(event: dict[str, Any]) -> str:
    nanoseconds = event.get("timeNano") or 0
    seconds, fraction = event.get("time") or 0, 0
    if nanoseconds:
        seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    text = common.when(seconds, "rfc3339")
    return f"{text[:19]}.{fraction:09d}{text[19:]}"
