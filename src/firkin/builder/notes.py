"""Annotations of a build's result, by where they go.

A client names an annotation ``[KINDS[PLATFORM]:]KEY``: the kinds are manifest (the default), index,
manifest-descriptor and index-descriptor, several with commas between; a platform in brackets means
the result for that one alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from firkin import errdefs
from firkin.images import platforms
from firkin.types import image as types

MANIFEST, INDEX = "manifest", "index"
MANIFEST_DESCRIPTOR, INDEX_DESCRIPTOR = "manifest-descriptor", "index-descriptor"
_KINDS = (MANIFEST, INDEX, MANIFEST_DESCRIPTOR, INDEX_DESCRIPTOR)
_NAMED = re.compile(r"(?P<kinds>[a-z,-]+)(?:\[(?P<platform>[^\]]*)\])?:(?P<key>.+)", re.DOTALL)


class Annotations:
    """All of one build. Raises ``InvalidParameter`` for a name that is none."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._found: list[tuple[str, types.Platform | None, str, str]] = []
        for name, value in given.items():
            kinds, platform, key = _parsed(name)
            self._found += [(kind, platform, key, value) for kind in kinds]

    @property
    def indexed(self) -> bool:
        """Whether they need an index even for a single image."""
        return any(kind in (INDEX, MANIFEST_DESCRIPTOR) for kind, *_ in self._found)

    def of(self, kind: str, platform: types.Platform | None = None) -> dict[str, str]:
        """Those of one kind, for the result of a platform."""
        return {
            key: value
            for one, where, key, value in self._found
            if one == kind
            and (where is None or (platform is not None and platforms.suits(platform, where)))
        }


def _parsed(name: str) -> tuple[list[str], types.Platform | None, str]:
    match = _NAMED.fullmatch(name)
    if match is None:
        return [MANIFEST], None, name
    kinds = match["kinds"].split(",")
    if not set(kinds) <= set(_KINDS):
        if match["platform"] is None:
            return [MANIFEST], None, name  # a key may have a colon of its own
        raise errdefs.InvalidParameter(
            f"annotation {name[:200]!r}: the kinds are {', '.join(_KINDS)}"
        )
    where = platforms.parse(match["platform"]) if match["platform"] else None
    return kinds, where, match["key"]
