"""Extracting an archive that a client sends, in the worker.

Names are judged again here although the view has no other files than the container's: an entry
stays below the target, too.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from typing import Any

from firkin.files import view
from firkin.linux import libarchive

_CHUNK = 1 << 20


class Unpacker:
    """Extracts standard input into the working directory."""

    def __init__(self, lib: libarchive.Libarchive, spec: dict[str, Any]) -> None:
        self._lib = lib
        self._keep_kinds: bool = spec.get("no_overwrite", False)
        self._owner: tuple[int, int] | None = spec.get("owner")
        self.entries = 0
        self.size = 0

    def run(self) -> None:
        lib = self._lib
        reader, disk = lib.read_new(), lib.disk_new()
        entry = lib.entry_new(reader)
        lib.read_tar(reader)
        lib.read_empty(reader)
        for code in (libarchive.GZIP, libarchive.BZIP2, libarchive.XZ, libarchive.ZSTD):
            lib.read_filter(reader, code)
        wanted = libarchive.OWNER | libarchive.PERM | libarchive.TIME | libarchive.XATTR
        lib.disk_options(disk, wanted | libarchive.ACL)
        if lib.read_open_fd(reader, 0, _CHUNK) != libarchive.OK:
            raise self._bad("not a tar archive", reader)
        while (result := lib.read_next(reader, entry)) != libarchive.EOF:
            if result < libarchive.WARN:
                where = (
                    f"damaged after {self.entries} entries" if self.entries else "no tar archive"
                )
                raise self._bad(where, reader)
            self.entries += 1
            self._entry(reader, disk, entry)
        if lib.close(disk) != libarchive.OK:
            raise self._failure("the archive", disk)
        while os.read(0, _CHUNK):
            pass

    def _bad(self, what: str, reader: Any) -> view.Refused:
        reason = (self._lib.error(reader) or b"unknown error").decode("utf-8", "backslashreplace")
        return view.Refused("invalid", f"the archive can't be read: {what}: {reason[:500]}")

    def _failure(self, what: str, disk: Any) -> view.Refused:
        number = self._lib.errno(disk)
        text = (self._lib.error(disk) or b"unknown error").decode("utf-8", "backslashreplace")
        if number == errno.EROFS:
            return view.Refused("readonly", "")
        if number in (errno.ENOSPC, errno.EDQUOT):
            return view.Refused("full", f"{what}: no space left on the device")
        return view.Refused("invalid", f"cannot extract {what}: {text[:500]}")

    def _entry(self, reader: Any, disk: Any, entry: Any) -> None:
        lib = self._lib
        raw: bytes = lib.pathname(entry) or b""
        shown = repr(raw[:300].decode("utf-8", "backslashreplace"))
        name = self._inside(raw, shown)
        lib.set_pathname(entry, name)
        link = lib.hardlink(entry)
        if link is not None:
            lib.set_hardlink(entry, self._inside(link, shown))
        is_directory = lib.filetype(entry) == stat.S_IFDIR and link is None
        self._make_way(name, shown, is_directory)
        if self._owner is not None:
            lib.set_uid(entry, self._owner[0])
            lib.set_gid(entry, self._owner[1])
        if lib.xattr_count(entry):
            lib.keep_plain_attributes(entry)
        if link is None and lib.filetype(entry) == stat.S_IFREG:
            self.size += lib.size(entry)
        if lib.read_extract(reader, entry, disk) != libarchive.OK:
            if lib.errno(disk) == 0 and lib.error(disk) is None:
                raise self._bad(f"at {shown}", reader)
            raise self._failure(shown, disk)

    def _inside(self, raw: bytes, shown: str) -> bytes:
        """A name below the target. Raises for one that means something above it."""
        parts: list[bytes] = []
        for part in raw.split(b"/"):
            if part == b"..":
                if not parts:
                    raise view.Refused(
                        "invalid", f"the archive's entry {shown} is outside of the target"
                    )
                parts.pop()
            elif part not in (b"", b"."):
                parts.append(part)
        return b"/".join(parts) or b"."

    def _make_way(self, name: bytes, shown: str, is_directory: bool) -> None:
        """Remove what an entry replaces, by the rules of the Engine API."""
        try:
            there = os.lstat(name)
        except (FileNotFoundError, NotADirectoryError):
            return
        was_directory = stat.S_ISDIR(there.st_mode)
        if was_directory and is_directory:
            return
        if self._keep_kinds and was_directory != is_directory:
            what = (
                ("directory", "non-directory") if was_directory else ("non-directory", "directory")
            )
            raise view.Refused("invalid", f"cannot overwrite {what[0]} {shown} with {what[1]}")
        try:
            if was_directory:
                shutil.rmtree(name)
            else:
                os.unlink(name)
        except OSError as error:
            if error.errno == errno.EROFS:
                raise view.Refused("readonly", "") from None
            raise view.Refused("invalid", f"cannot replace {shown}: {error.strerror}") from None
