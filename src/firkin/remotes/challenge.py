"""WWW-Authenticate: which ways to prove who one is a registry offers (RFC 7235 and RFC 6750).

::

    challenge   scheme [ token68 / parameter *("," parameter) ]
    parameter   name "=" (token / quoted string)

Several challenges may stand in one header, separated by commas just as their parameters are: a
word that is followed by a space or the end, and not by "=", begins the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*,?\s*({_TOKEN})(?=\s|,|$)(?!\s*=)")
_PARAMETER = re.compile(rf'\s*,?\s*({_TOKEN})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))')
_TOKEN68 = re.compile(r"\s*[A-Za-z0-9._~+/-]+=*\s*(?=,|$)")
_LIMIT = 8192


class Challenge(msgspec.Struct, frozen=True):
    """One offer. ``scheme`` and the names of ``parameters`` are lower case."""

    scheme: str
    parameters: dict[str, str] = {}


def parse(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of all WWW-Authenticate headers; what can't be read is left out."""
    found: list[Challenge] = []
    for header in headers:
        text, at = header[:_LIMIT], 0
        while match := _SCHEME.match(text, at):
            at = match.end()
            parameters: dict[str, str] = {}
            while inner := _PARAMETER.match(text, at):
                at = inner.end()
                value = inner[3] if inner[2] is None else re.sub(r"\\(.)", r"\1", inner[2])
                parameters.setdefault(inner[1].lower(), value)
            if not parameters and (blob := _TOKEN68.match(text, at)) and text[at : at + 1] == " ":
                at = blob.end()
            found.append(Challenge(match[1].lower(), parameters))
    return found
