"""Limits: memory sizes, CPUs, ulimits, block I/O rates, sysctls."""

from __future__ import annotations

from firkin import errdefs
from firkin.cli import flags, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

ULIMITS = frozenset(
    ("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile",
     "nproc", "rss", "rtprio", "rttime", "sigpending", "stack")
)  # fmt: skip
SYSCTLS = frozenset(
    ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall",
     "kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced")
)  # fmt: skip
SYSCTL_PREFIXES = ("net.", "fs.mqueue.")


def size(value: str) -> int:
    """Bytes: ``64m``, ``1.5g``, ``100``."""
    try:
        return units.parse_size(value)
    except (errdefs.FirkinError, ValueError):
        raise ValueError(f"invalid size: '{value}'") from None


def swap_size(value: str) -> int:
    """As ``size``, and ``-1`` for no limit."""
    return -1 if value == "-1" else size(value)


def duration(value: str) -> int:
    """Nanoseconds: ``5s``, ``1m30s``."""
    try:
        return units.parse_duration(value)
    except (errdefs.FirkinError, ValueError) as error:
        raise ValueError(str(error)) from None


def nano_cpus(value: str) -> int:
    """CPUs, as a decimal or a fraction, in billionths."""
    from fractions import Fraction

    try:
        nano = Fraction(value) * 1_000_000_000 if len(value) < 40 else None
    except (ValueError, ZeroDivisionError):
        nano = None
    if nano is None:
        raise ValueError(f"failed to parse {value} as a rational number")
    if nano.denominator != 1:
        raise ValueError("value is too precise: at most nine decimals count")
    return int(nano)


def ulimit(value: str) -> dict[str, Any]:
    """``name=soft[:hard]``."""
    name, equals, numbers = value.partition("=")
    if not equals:
        raise ValueError(f"invalid ulimit argument: {value} (want name=soft[:hard])")
    if name not in ULIMITS:
        raise ValueError(f"invalid ulimit type: {name}")
    limits = numbers.split(":")
    if len(limits) > 2:
        raise ValueError(f"too many limits in {numbers}: want soft[:hard]")
    soft = flags.parse_integer(limits[0])
    hard = flags.parse_integer(limits[1]) if len(limits) == 2 else soft
    if hard != -1 and (soft == -1 or soft > hard):
        shown = "unlimited" if soft == -1 else soft
        raise ValueError(
            f"ulimit soft limit must be less than or equal to hard limit: {shown} > {hard}"
        )
    return {"Name": name, "Hard": hard, "Soft": soft}


def ulimits(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last one of each name, by name."""
    last = {limit["Name"]: limit for limit in given}
    return [last[name] for name in sorted(last)]


def sysctl(value: str) -> str:
    """``name=value``, where the name is one that a container has of its own."""
    name, equals, _ = value.partition("=")
    if equals and (name in SYSCTLS or name.startswith(SYSCTL_PREFIXES)):
        return value
    raise ValueError(f"sysctl '{value}' is not allowed")


def weight_device(value: str) -> dict[str, Any]:
    """``/dev/path:weight``."""
    path, number = _device(value)
    weight = int(number) if number.isascii() and number.isdigit() and len(number) < 6 else -1
    if weight != 0 and not 10 <= weight <= 1000:
        raise ValueError(f"invalid weight for device: {value} (want 10 to 1000, or 0)")
    return {"Path": path, "Weight": weight}


def rate_device(value: str) -> dict[str, Any]:
    """``/dev/path:bytes-per-second``, with a unit or without."""
    path, number = _device(value)
    try:
        rate = size(number)
    except ValueError:
        raise ValueError(
            f"invalid rate for device: {value}. The correct format is "
            "<device-path>:<number>[<unit>]. Number must be a positive integer. "
            "Unit is optional and can be kb, mb, or gb"
        ) from None
    return {"Path": path, "Rate": rate}


def operations_device(value: str) -> dict[str, Any]:
    """``/dev/path:operations-per-second``."""
    path, number = _device(value)
    if not (number.isascii() and number.isdigit() and len(number) < 20):
        raise ValueError(
            f"invalid rate for device: {value}. The correct format is <device-path>:<number>. "
            "Number must be a positive integer"
        )
    return {"Path": path, "Rate": int(number)}


def _device(value: str) -> tuple[str, str]:
    path, colon, number = value.partition(":")
    if not colon or not path or ":" in number:
        raise ValueError(f"bad format: {value} (want <device-path>:<number>)")
    if not path.startswith("/dev/"):
        raise ValueError(f"bad format for device path: {value} (want a path below /dev)")
    return path, number
