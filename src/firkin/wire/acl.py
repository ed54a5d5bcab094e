"""Access control lists of files: as the kernel keeps them, and as tar archives have them.

The kernel's are extended attributes (:data:`NAMES`): a version, and for each entry what it is for
(16 bits), its permissions (16) and an id (32), all little-endian; see acl(5). Archives have the
text of the star format, ``user:1000:rw-:1000``, in pax records of their own, which GNU tar and
libarchive know too. Without I/O.
"""

from __future__ import annotations

import re
import struct

NAMES = {
    "system.posix_acl_access": b"SCHILY.acl.access",
    "system.posix_acl_default": b"SCHILY.acl.default",
}
"""The pax record of each attribute."""

_VERSION = 2
_KINDS = {1: "user", 2: "user", 4: "group", 8: "group", 16: "mask", 32: "other"}
_NAMED = (2, 8)
_NOBODY = 0xFFFFFFFF
_MOST = 1 << 10
_ENTRY = re.compile(r"(user|group|mask|other):([^:]*):([r-][w-][x-])(?::(\d{1,10}))?")


def to_text(data: bytes) -> bytes:
    """The text of an attribute; empty for what is none."""
    if len(data) < 4 or len(data) % 8 != 4 or struct.unpack_from("<I", data)[0] != _VERSION:
        return b""
    entries = []
    for tag, permissions, number in struct.iter_unpack("<HHI", data[4:]):
        if tag not in _KINDS:
            return b""
        letters = "".join(
            letter if permissions & bit else "-" for bit, letter in ((4, "r"), (2, "w"), (1, "x"))
        )
        own = f"{number}:{letters}:{number}" if tag in _NAMED else f":{letters}"
        entries.append(f"{_KINDS[tag]}:{own}")
    return ",".join(entries).encode()


def from_text(text: str) -> bytes:
    """The attribute for a text with numeric ids. Raises ``ValueError``."""
    entries = []
    for part in re.split(r"[,\n]", text.strip())[:_MOST]:
        match = _ENTRY.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"no entry of an access control list: {part[:80]!r}")
        kind, name, letters, number = match.groups()
        permissions = sum(bit for bit, letter in zip((4, 2, 1), letters, strict=True)
                          if letter != "-")  # fmt: skip
        named = bool(name or number)
        tags = [tag for tag, word in _KINDS.items() if word == kind and (tag in _NAMED) == named]
        own = int(number or name) if named else _NOBODY
        if not tags or own > _NOBODY:
            raise ValueError(f"no entry of an access control list: {part[:80]!r}")
        entries.append((tags[0], own, permissions))
    packed = [struct.pack("<HHI", tag, bits, own) for tag, own, bits in sorted(entries)]
    return struct.pack("<I", _VERSION) + b"".join(packed)
