"""Which user and groups a process gets: ``USER``, ``--user`` and ``--group-add``.

The forms are ``""``, ``name``, ``uid``, and either with ``:group`` (a name or gid). The image's own
/etc/passwd and /etc/group decide, as text that the caller has read (and whose size it has capped);
they are hostile: a line that is not well formed is passed over.

* The first passwd entry whose name or uid matches gives uid, gid and home. ``""`` means uid 0.
* A number without an entry is taken as it is, with gid 0 and home ``/``.
* An explicit group replaces the entry's gid, and then the groups that list the user are not added.
* Otherwise all groups of /etc/group that list the user's name become supplementary groups.
* The primary group is always among the supplementary ones, so that a process can not lose a group
  whose permissions are more restrictive than those of others (CVE-2022-36109).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from firkin import errdefs

MAX_ID = 2**31 - 1
_MAX_GROUPS = 65536  # NGROUPS_MAX


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class User:
    """Who a process runs as. ``home`` is its home directory inside the container."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = ()
    home: str = "/"


@dataclasses.dataclass(frozen=True, slots=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


@dataclasses.dataclass(frozen=True, slots=True)
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def _number(text: str) -> int | None:
    """A decimal id, or None when ``text`` is something else (ASCII digits only)."""
    if text.isascii() and text.isdecimal() and len(text) <= 20:
        return int(text)
    return None


def _accounts(passwd: str) -> Iterator[_Account]:
    for line in passwd.split("\n"):
        fields = line.strip().split(":")
        if len(fields) < 4 or line.lstrip().startswith("#"):
            continue
        uid, gid = _number(fields[2]), _number(fields[3])
        if uid is None or gid is None or uid > MAX_ID or gid > MAX_ID:
            continue
        home = fields[5] if len(fields) > 5 and fields[5] else "/"
        yield _Account(fields[0], uid, gid, home if "\0" not in home else "/")


def _groups(group: str) -> Iterator[_Group]:
    for line in group.split("\n"):
        fields = line.strip().split(":")
        if len(fields) < 3 or line.lstrip().startswith("#"):
            continue
        gid = _number(fields[2])
        if gid is None or gid > MAX_ID:
            continue
        members = tuple(fields[3].split(",")) if len(fields) > 3 and fields[3] else ()
        yield _Group(fields[0], gid, members)


def _in_range(number: int, given: str) -> int:
    if number > MAX_ID:
        raise errdefs.InvalidParameter(
            f"{given[:80]}: uids and gids must be in range 0-{MAX_ID}; give a smaller number"
        )
    return number


def _primary_group(wanted: str, groups: Iterable[_Group]) -> int:
    number = _number(wanted)
    for entry in groups:
        if entry.name == wanted or (number is not None and entry.gid == number):
            return entry.gid
    if number is None:
        raise errdefs.InvalidParameter(
            f"unable to find group {wanted[:80]}: no matching entries in group file"
        )
    return _in_range(number, wanted)


def resolve(spec: str, passwd: str, group: str, group_add: list[str] | None = None) -> User:
    """The user that ``spec`` means in an image with these files.

    Raises ``InvalidParameter`` for names that are in neither file and for numbers out of range.
    """
    name, _, wanted_group = spec.partition(":")
    number = 0 if name == "" else _number(name)
    account = next(
        (
            entry
            for entry in _accounts(passwd)
            if (name != "" and entry.name == name) or (number is not None and entry.uid == number)
        ),
        None,
    )
    if account is None:
        if number is None:
            raise errdefs.InvalidParameter(
                f"unable to find user {name[:80]}: no matching entries in passwd file"
            )
        account = _Account("", _in_range(number, name), 0, "/")

    known = list(_groups(group))
    gid = account.gid
    supplementary: list[int] = []
    if wanted_group:
        gid = _primary_group(wanted_group, known)
    elif account.name:
        supplementary = [entry.gid for entry in known if account.name in entry.members]
    for wanted in group_add or ():
        supplementary.append(_primary_group(wanted, known))

    gids = tuple(dict.fromkeys([gid, *supplementary]))
    if len(gids) > _MAX_GROUPS:
        raise errdefs.InvalidParameter(
            f"user {spec[:80]!r} is in {len(gids)} groups; the kernel allows {_MAX_GROUPS}"
        )
    return User(uid=account.uid, gid=gid, additional_gids=gids, home=account.home)


def with_home(env: list[str], user: User) -> list[str]:
    """``env`` with HOME from the passwd entry, unless it has a HOME that is not empty."""
    if any(entry.startswith("HOME=") and entry != "HOME=" for entry in env):
        return list(env)
    return [*(entry for entry in env if entry != "HOME="), f"HOME={user.home}"]
