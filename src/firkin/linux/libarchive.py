"""libarchive through ctypes, for confined workers.

Its Python package takes longer to import than most archives take to unpack, and lacks some of the
calls. Only the standard library is needed here: workers run without site packages.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

EOF, OK, WARN = 1, 0, -20

# What write_disk does with an entry (archive_write_disk(3)).
OWNER, PERM, TIME, UNLINK, ACL = 0x1, 0x2, 0x4, 0x10, 0x20
XATTR, SECURE_SYMLINKS, SECURE_NODOTDOT = 0x80, 0x100, 0x200
SECURE_NOABSOLUTE = 0x10000

# Compressions by libarchive's own numbers: those that it unpacks itself, without a program.
GZIP, BZIP2, XZ, ZSTD = 1, 2, 6, 14


class Libarchive:
    """The calls of the library that are used, typed. Named as there, without ``archive_``."""

    def __init__(self) -> None:
        library = ctypes.CDLL("libarchive.so.13")
        pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
        size = ctypes.c_longlong

        def call(name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
            function: Callable[..., Any] = getattr(library, f"archive_{name}")
            function.restype = result  # type: ignore[attr-defined]
            function.argtypes = list(arguments)  # type: ignore[attr-defined]
            return function

        self.read_new = call("read_new", pointer)
        self.read_tar = call("read_support_format_tar", number, pointer)
        self.read_filter = call("read_support_filter_by_code", number, pointer, number)
        self.read_empty = call("read_support_format_empty", number, pointer)
        self.read_open_fd = call("read_open_fd", number, pointer, number, ctypes.c_size_t)
        self.read_next = call("read_next_header2", number, pointer, pointer)
        self.read_extract = call("read_extract2", number, pointer, pointer, pointer)
        self.disk_new = call("write_disk_new", pointer)
        self.disk_options = call("write_disk_set_options", number, pointer, number)
        self.close = call("write_close", number, pointer)
        self.error = call("error_string", text, pointer)
        self.errno = call("errno", number, pointer)
        self.entry_new = call("entry_new2", pointer, pointer)
        self.pathname = call("entry_pathname", text, pointer)
        self.set_pathname = call("entry_copy_pathname", None, pointer, text)
        self.hardlink = call("entry_hardlink", text, pointer)
        self.set_hardlink = call("entry_copy_hardlink", None, pointer, text)
        self.symlink = call("entry_symlink", text, pointer)
        self.set_symlink = call("entry_copy_symlink", None, pointer, text)
        self.set_uid = call("entry_set_uid", None, pointer, size)
        self.set_gid = call("entry_set_gid", None, pointer, size)
        self.filetype = call("entry_filetype", number, pointer)
        self.size = call("entry_size", size, pointer)
        self.xattr_count = call("entry_xattr_count", number, pointer)
        self.xattr_reset = call("entry_xattr_reset", number, pointer)
        self.xattr_clear = call("entry_xattr_clear", None, pointer)
        self.xattr_next = call(
            "entry_xattr_next", number, pointer,
            ctypes.POINTER(text), ctypes.POINTER(pointer), ctypes.POINTER(ctypes.c_size_t),
        )  # fmt: skip
        self.xattr_add = call(
            "entry_xattr_add_entry", None, pointer, text, pointer, ctypes.c_size_t
        )

    def keep_plain_attributes(self, entry: Any) -> None:
        """Drop an entry's extended attributes but user.* and security.capability.

        Others could change what overlayfs or a security module of the host does.
        """
        self.xattr_reset(entry)
        key, value, size = ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_size_t()
        kept: list[tuple[bytes, bytes]] = []
        while self.xattr_next(entry, key, value, size) == OK:
            name = key.value or b""
            if name == b"security.capability" or name.startswith(b"user."):
                kept.append((name, ctypes.string_at(value.value or 0, size.value) if size else b""))
        self.xattr_clear(entry)
        for name, data in kept:
            self.xattr_add(entry, name, data, len(data))
