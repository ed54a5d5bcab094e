"""``--chmod`` and ``--chown``: what they make of a file's mode and owner.

A mode is octal, or symbolic as chmod(1) has it (``u=rwX,go=rX``); an owner is ``user[:group]`` in
names of the target's own files or numbers. Source: the Dockerfile reference, "COPY --chown
--chmod".
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)")
_ACTION = re.compile(r"([-+=])([rwxXst]*|[ugo])")
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}
_LIMIT = 4 << 20


def changer(text: str) -> Callable[[int], int]:
    """``mode -> mode`` for a --chmod; takes and gives st_mode's lower 12 bits plus its type.

    Raises ``ValueError``.
    """
    if re.fullmatch(r"[0-7]{1,5}", text):
        value = int(text, 8)
        if value > 0o7777:
            raise ValueError(f"invalid chmod parameter: {text!r} is more than 07777")
        return lambda mode: value
    clauses: list[tuple[str, list[tuple[str, str]]]] = []
    for part in text.split(","):
        match = _CLAUSE.fullmatch(part)
        if match is None:
            raise ValueError(
                f"invalid chmod parameter: {text!r}: it should be octal between 0 and 07777, or "
                "symbolic such as u=rwX,go=rX"
            )
        clauses.append((match[1] or "ugo", [(m[1], m[2]) for m in _ACTION.finditer(match[2])]))

    def change(mode: int) -> int:
        result = stat.S_IMODE(mode)
        directory = stat.S_ISDIR(mode)
        for who, actions in clauses:
            for operator, letters in actions:
                result = _apply(result, who.replace("a", "ugo"), operator, letters, directory)
        return result

    return change


def _apply(mode: int, who: str, operator: str, letters: str, directory: bool) -> int:
    bits = mask = 0
    for one in who:
        shift = _SHIFT[one]
        mask |= 7 << shift
        if letters in _SHIFT and letters:
            bits |= (mode >> _SHIFT[letters] & 7) << shift
            continue
        for letter in letters:
            if letter == "X":
                bits |= (1 << shift) if directory or mode & 0o111 else 0
            elif letter == "s":
                bits |= {"u": stat.S_ISUID, "g": stat.S_ISGID}.get(one, 0)
            elif letter == "t":
                bits |= stat.S_ISVTX
            else:
                bits |= _BITS[letter] << shift
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    return mode & ~mask | bits


def owner(text: str, read: Callable[[str], str]) -> tuple[int, int]:
    """uid and gid of ``user[:group]``; ``read(path)`` gives the target's files as text.

    A number without a group is the group too. Raises ``ValueError`` for unknown names.
    """
    user, colon, group = text.partition(":")
    uid = gid = 0
    if user.isdigit():
        uid = gid = int(user)
    elif user:
        for line in read("etc/passwd").splitlines():
            fields = line.split(":")
            if len(fields) >= 4 and fields[0] == user and fields[2].isdigit():
                uid, gid = int(fields[2]), int(fields[3]) if fields[3].isdigit() else 0
                break
        else:
            raise ValueError(
                f"unable to convert uid/gid chown string {text!r}: there is no user {user} in "
                "/etc/passwd of the target"
            )
    if colon and group.isdigit():
        gid = int(group)
    elif group:
        for line in read("etc/group").splitlines():
            fields = line.split(":")
            if len(fields) >= 3 and fields[0] == group and fields[2].isdigit():
                gid = int(fields[2])
                break
        else:
            raise ValueError(
                f"unable to convert uid/gid chown string {text!r}: there is no group {group} in "
                "/etc/group of the target"
            )
    if max(uid, gid) >= 1 << 32:
        raise ValueError(f"invalid owner {text!r}: ids are below 2**32")
    return uid, gid
