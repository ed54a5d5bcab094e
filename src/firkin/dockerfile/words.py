"""Values of single instructions: ports and signals."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(\w+))?")
_PROTOCOLS = ("tcp", "udp", "sctp")


def exposed(words: Iterable[str]) -> list[str]:
    """``8080``, ``8000-8002/udp`` as ``port/protocol`` each. Raises ``ValueError``."""
    found: list[str] = []
    for word in words:
        match = _PORT.fullmatch(word.rpartition(":")[2])
        if match is None:
            raise ValueError(f"invalid containerPort: {word}: write PORT[-PORT][/tcp|udp|sctp]")
        first, last = int(match[1]), int(match[2] or match[1])
        kind = (match[3] or "tcp").lower()
        if kind not in _PROTOCOLS:
            raise ValueError(f"invalid proto: {match[3]}: use tcp, udp or sctp")
        if not 0 < first <= last <= 65535:
            raise ValueError(f"invalid containerPort: {word}: ports are 1 to 65535, in order")
        found += [f"{port}/{kind}" for port in range(first, last + 1)]
    return found


def stop_signal(text: str) -> str:
    """The signal's name or number as given. Raises ``ValueError`` for one that does not exist."""
    if text.isdigit():
        if not 0 < int(text) <= 64:
            raise ValueError(f"Invalid signal: {text}")
        return text
    name = text.upper().removeprefix("SIG")
    base = re.fullmatch(r"RT(MIN|MAX)([+-]\d{1,2})?", name)
    if base is None and f"SIG{name}" not in signal.Signals.__members__:
        raise ValueError(f"Invalid signal: {text}")
    return text
