"""Small readers shared by the option parsers: CSV fields, key=value, addresses, files of lines."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def fields(text: str) -> list[str]:
    """One line of comma-separated fields; a field with commas is put in double quotes."""
    import csv

    if not text.strip():
        raise ValueError("the value is empty")
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(f"cannot read {text!r} as comma-separated fields: {error}") from None
    return rows[0]


def pairs(items: Iterable[str]) -> dict[str, str]:
    """``k=v`` strings as a dict. A key alone has the empty value; the last of equal keys wins."""
    return {key: value for key, _, value in (item.partition("=") for item in items)}


def is_ip(text: str) -> bool:
    """True for an IPv4 or IPv6 address without a zone."""
    import socket

    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, text)
        except (OSError, ValueError, UnicodeError):
            continue
        return True
    return False


def truth(key: str, text: str) -> bool:
    """A boolean within a larger value, such as ``readonly=true``."""
    from firkin.cli import flags

    try:
        return flags.parse_bool(text)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {text} (want true or false)") from None


def lines_of(path: str) -> list[tuple[int, str]]:
    """The meaningful lines of an env or label file, numbered: no comments, no blank ones.

    Raises IsADirectoryError, and ValueError for everything else.
    """
    found: list[tuple[int, str]] = []
    try:
        with open(path, encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                line = line.removesuffix("\n").removesuffix("\r").lstrip()
                if line and not line.startswith("#"):
                    found.append((number, line))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error.reason}") from None
    except IsADirectoryError:
        raise
    except OSError as error:
        raise ValueError(f"open {path}: {(error.strerror or str(error)).lower()}") from None
    return found
