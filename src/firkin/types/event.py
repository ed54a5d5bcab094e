"""Events on the wire (API schema EventMessage)."""

from __future__ import annotations

import msgspec
from msgspec import field


class Actor(msgspec.Struct, kw_only=True):
    """The object an event is about, with its name, labels and particulars."""

    id: str = field(name="ID")
    attributes: dict[str, str] = field(default_factory=dict, name="Attributes")


class Message(msgspec.Struct, kw_only=True, eq=False):
    """One event. ``time`` is in seconds, ``time_nano`` in nanoseconds since the epoch."""

    type: str = field(name="Type")
    action: str = field(name="Action")
    actor: Actor = field(name="Actor")
    scope: str = "local"
    time: int
    time_nano: int = field(name="timeNano")
