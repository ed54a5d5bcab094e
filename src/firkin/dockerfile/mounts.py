"""``RUN --mount``: comma-separated fields, in quotes where a field has a comma.

Which keys a type may have, and their defaults, are the Dockerfile reference's, "RUN --mount".
"""

from __future__ import annotations

import csv
import re

import msgspec

from firkin.dockerfile import errors

TYPES = ("bind", "cache", "tmpfs", "secret", "ssh")
_KEYS = ("type", "from", "source", "target", "readonly", "rw", "id", "sharing", "required", "size",
         "mode", "uid", "gid", "env")  # fmt: skip
_OTHER = {"src": "source", "dst": "target", "destination": "target", "ro": "readonly",
          "readwrite": "rw"}  # fmt: skip
_BARE = ("readonly", "rw", "required")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?", re.IGNORECASE)


class Mount(msgspec.Struct, kw_only=True, frozen=True):
    """One mount as written; texts may still have variables, but for ``source_of`` (``from=``)."""

    type: str = "bind"
    source_of: str = ""
    source: str = ""
    target: str = ""
    writable: bool | None = None
    id: str = ""
    sharing: str = ""
    required: bool = False
    size: str = ""
    mode: str = ""
    uid: str = ""
    gid: str = ""
    env: str = ""


def size_of(text: str) -> int:
    """Bytes of ``64m``. Raises ``ValueError``."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"invalid value for size: {text!r}: write bytes, or for example 64m")
    return int(float(match[1]) * 1024 ** " kmgt".index(match[2].lower() or " "))


def _truth(key: str, value: str | None) -> bool:
    if value is None or value.lower() in ("true", "1", "t"):
        return True
    if value.lower() in ("false", "0", "f"):
        return False
    raise ValueError(f"invalid value for {key}: {value!r}: use true or false")


def parse(text: str) -> Mount:
    """Read one mount. Raises ``ValueError`` naming what is wrong."""
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(f"cannot read the mount {text!r}: {error}") from None
    values: dict[str, str | None] = {}
    for field in rows[0] if rows else []:
        key, equals, value = field.strip().partition("=")
        key = _OTHER.get(key.lower(), key.lower())
        if key not in _KEYS:
            near = errors.nearest(key, (*_KEYS, *_OTHER))
            raise ValueError(f"unexpected key {key!r} in {field!r}{near}")
        if not equals and key not in _BARE:
            raise ValueError(f"invalid field {field!r} must be a key=value pair")
        values[key] = value if equals else None
    kind = (values.get("type") or "bind").lower()
    if kind not in TYPES:
        raise ValueError(f"unsupported mount type {kind!r}{errors.nearest(kind, TYPES)}")
    writable: bool | None = None
    if "rw" in values:
        writable = _truth("rw", values["rw"])
    if "readonly" in values:
        writable = not _truth("readonly", values["readonly"])
    mount = Mount(
        type=kind, source_of=values.get("from") or "", source=values.get("source") or "",
        target=values.get("target") or "", writable=writable, id=values.get("id") or "",
        sharing=values.get("sharing") or "",
        required="required" in values and _truth("required", values["required"]),
        size=values.get("size") or "", mode=values.get("mode") or "", uid=values.get("uid") or "",
        gid=values.get("gid") or "", env=values.get("env") or "",
    )  # fmt: skip
    _check(mount, set(values))
    return mount


def _check(mount: Mount, given: set[str]) -> None:
    kind = mount.type
    if mount.target == "" and kind in ("bind", "cache", "tmpfs"):
        raise ValueError(f"the {kind} mount needs a target")
    if "$" in mount.source_of:
        raise ValueError(
            f"variables are not expanded in from={mount.source_of}: define a stage with an alias "
            "instead"
        )
    if "sharing" in given and (kind != "cache" or mount.sharing not in
                               ("shared", "private", "locked")):  # fmt: skip
        raise ValueError(
            f"unsupported sharing value {mount.sharing!r} of a {kind} mount: cache mounts have "
            "shared, private or locked"
        )
    for key, kinds in (
        ("size", ("tmpfs",)), ("required", ("secret", "ssh")), ("env", ("secret",)),
        ("mode", ("cache", "secret", "ssh")), ("uid", ("cache", "secret", "ssh")),
        ("gid", ("cache", "secret", "ssh")), ("from", ("bind", "cache")),
        ("source", ("bind", "cache", "secret")), ("id", ("cache", "secret", "ssh")),
        ("rw", ("bind", "cache")), ("readonly", ("bind", "cache", "tmpfs")),
    ):  # fmt: skip
        if key in given and kind not in kinds:
            raise ValueError(f"{key} is not allowed for a mount of the type {kind}")
    if kind == "secret" and mount.source and mount.id:
        raise ValueError("both source and id can't be set for a secret mount")
    if kind == "secret" and not (mount.id or mount.source or mount.target):
        raise ValueError("a secret mount needs an id, a source or a target")
    if "$" not in mount.size and mount.size:
        size_of(mount.size)
