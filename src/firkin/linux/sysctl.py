"""Kernel parameters by their dotted names.

A name under ``net`` means the network namespace of the calling thread. An interface whose name
has dots in it cannot be written with dots: pass the parts as a sequence.
"""

from __future__ import annotations

from collections.abc import Sequence


def path(name: str | Sequence[str]) -> str:
    """The file of a parameter: ``net.ipv4.ip_forward`` or ``("net", "ipv4", "ip_forward")``."""
    parts = name.split(".") if isinstance(name, str) else name
    return "/proc/sys/" + "/".join(parts)


def read(name: str | Sequence[str]) -> str:
    """The parameter's text without its newline. Raises ``OSError``."""
    with open(path(name), encoding="ascii") as file:
        return file.read().strip()


def write(name: str | Sequence[str], value: str) -> bool:
    """Set a parameter unless it has that value already; tells whether it changed.

    A parameter that is right is not written: writing some of them has effects of its own
    (``ip_forward`` resets others), and /proc/sys may be read-only. Raises ``OSError``.
    """
    if read(name) == value:
        return False
    with open(path(name), "w", encoding="ascii") as file:
        file.write(value)
    return True
