"""Id-mapped binds: the files of a bind shown with other owners than they have on the disk.

``-v SOURCE:DESTINATION:idmap`` shows what belongs to the owner of SOURCE as the container's user's,
and gives to that owner what the container's user makes: a developer's directory is then neither
unwritable in the container nor full of root's files afterwards. ``idmap=uids=1000-0-1;gids=...``
gives the ranges: id on the disk, id shown, how many; ``#`` separates several. Ids in no range are
shown as nobody's.
"""

from __future__ import annotations

import os
import re

from firkin import errdefs
from firkin.linux import userns

CALLER = "caller"

_RANGE = re.compile(r"(\d{1,10})-(\d{1,10})-(\d{1,10})")
_MAX = (1 << 32) - 2


def check(text: str) -> str:
    """A map as it is kept in a container's record. Raises ``InvalidParameter``."""
    if not text:
        return CALLER
    parse(text)
    return text


def parse(text: str) -> tuple[list[userns.Range], list[userns.Range]]:
    """The ranges of user and of group ids. Raises ``InvalidParameter``."""
    found: dict[str, list[userns.Range]] = {}
    for part in text.split(";"):
        key, equals, value = part.partition("=")
        if key not in ("uids", "gids") or not equals or key in found:
            raise _bad(text)
        found[key] = [_range(text, word) for word in value.split("#")]
    if len(found) != 2:
        raise _bad(text)
    return found["uids"], found["gids"]


def _range(text: str, word: str) -> userns.Range:
    match = _RANGE.fullmatch(word)
    if match is None:
        raise _bad(text)
    disk, shown, count = (int(number) for number in match.groups())
    if not count or disk + count > _MAX or shown + count > _MAX:
        raise _bad(text)
    return disk, shown, count


def _bad(text: str) -> errdefs.InvalidParameter:
    return errdefs.InvalidParameter(
        f"invalid idmap {text[:200]!r}: use idmap, or idmap=uids=1000-0-1;gids=1000-0-1 (id on the "
        "disk, id shown, how many; # between several)"
    )


def ranges(
    text: str, source: str, uid: int, gid: int
) -> tuple[list[userns.Range], list[userns.Range]]:
    """The ranges for a bind of ``source`` in a container whose user is ``uid`` and ``gid``."""
    if text != CALLER:
        return parse(text)
    owner = os.stat(source)
    return [(owner.st_uid, uid, 1)], [(owner.st_gid, gid, 1)]
