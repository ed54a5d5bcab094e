"""The confined worker: everything that parses the bytes of a layer happens in this process.

Forked by :func:`serve`, which ``firkin.linux.nursery`` runs, for ``firkin.images.unpack``; one
process per layer, in one of two modes:

``inflate KIND``
    standard input, compressed, to standard output, plain. Confined to an empty directory.
``unpack DIRECTORY WHITEOUTS LIMITS BELOW``
    a plain tar on standard input is extracted into DIRECTORY, at the path BELOW as seen from inside
    of it; a report, one JSON object, goes to standard output.

The process loads its libraries, locks itself in (``firkin.linux.confine``) and only then reads. It
keeps the capabilities that setting owners, modes, devices and file capabilities takes, and nothing
else; a fault in a parser gives an attacker one unfinished layer, which is thrown away.

How a layer is applied (image-spec, "Image Layer Filesystem Changeset"):

* entries are extracted in order; a later entry of the same name replaces the earlier one;
* ``.wh.NAME`` hides NAME of the layers below, ``.wh..wh..opq`` hides all that its directory has
  there. With WHITEOUTS "overlay" the first becomes a character device 0:0 and the second is
  reported, because its attribute (trusted.overlay.opaque) needs more privilege than this process
  has; with "remove" the tree holds the lower layers and the files are removed;
* a directory that the layer needs but does not have gets mode 0755 and root as its owner;
* names are relative and without "..". A parent that is a symbolic link of this layer is followed
  when the link stays inside the layer and is an error otherwise. Links that leave the tree are
  legal as such, as in any file system;
* extended attributes other than user.* and security.capability are left out: those could change
  what overlayfs or a security module of the host does.

The module is imported by an interpreter without site packages and so imports only the standard
library and ``firkin.linux``. libarchive is used directly, through ctypes: its Python package takes
longer to import than most layers take to unpack, and lacks some of the calls.
"""

from __future__ import annotations

import contextlib
import errno
import json
import locale
import os
import shutil
import signal
import stat
from collections.abc import Callable
from typing import Any, NoReturn

from firkin.linux import confine, libarchive, nursery, treesize

BLOCK = 1 << 20
MEMORY = 1 << 30
MAX_OPAQUE = 100_000

_EOF, _OK, _WARN = libarchive.EOF, libarchive.OK, libarchive.WARN
_EXTRACT = (
    libarchive.OWNER
    | libarchive.PERM
    | libarchive.TIME
    | libarchive.XATTR
    | libarchive.SECURE_NODOTDOT
    | libarchive.SECURE_NOABSOLUTE
)
# For trees with lower layers' symbolic links; others are known (Layer._follow), which is cheaper.
_EXTRACT_ONTO = _EXTRACT | libarchive.UNLINK | libarchive.SECURE_SYMLINKS
_EXTRACT_PLAIN = (
    libarchive.PERM
    | libarchive.TIME
    | libarchive.UNLINK
    | libarchive.XATTR
    | libarchive.SECURE_NODOTDOT
    | libarchive.SECURE_NOABSOLUTE
)
_CAPABILITIES = (
    confine.CAP_CHOWN,
    confine.CAP_DAC_OVERRIDE,
    confine.CAP_FOWNER,
    confine.CAP_FSETID,
    confine.CAP_MKNOD,
    confine.CAP_SETFCAP,
)
_MARK = b".wh."
_OPAQUE = b".wh..wh..opq"


class Refused(Exception):
    """The input is not acceptable; the text is for the user."""


def _shown(name: bytes) -> str:
    text = name.decode("utf-8", "backslashreplace")
    return repr(text if len(text) <= 300 else text[:300] + "...")


def _reason(number: int, text: bytes | None) -> str:
    if number == errno.ENOSPC:
        return "the disk is full"
    if number == errno.EFBIG:
        return "the file is larger than the limit"
    return (text or b"unknown error").decode("utf-8", "backslashreplace")[:500]


class Layer:
    """One layer being extracted into the current root directory."""

    def __init__(self, kind: str, max_bytes: int, max_entries: int) -> None:
        self._lib = libarchive.Libarchive()
        self._plain = kind in ("plain", "owners")
        self._remove = kind == "remove" or self._plain
        self._options = _EXTRACT_ONTO if self._remove else _EXTRACT
        if self._plain:
            self._options = _EXTRACT_PLAIN | (libarchive.OWNER if kind == "owners" else 0)
        self._max_bytes = max_bytes
        self._max_entries = max_entries
        self.size = 0
        self.entries = 0
        self._opaque: dict[bytes, None] = {}
        self._hidden: set[bytes] = set()
        self._links: dict[bytes, bytes] = {}
        self._seen: set[bytes] = set()

    def run(self) -> dict[str, Any]:
        """Extract all of standard input; returns the report."""
        lib = self._lib
        reader, disk = lib.read_new(), lib.disk_new()
        entry = lib.entry_new(reader)
        lib.read_tar(reader)
        lib.read_empty(reader)
        lib.disk_options(disk, self._options)
        if lib.read_open_fd(reader, 0, BLOCK) != _OK:
            raise Refused(f"not a tar archive: {_reason(lib.errno(reader), lib.error(reader))}")
        while True:
            result = lib.read_next(reader, entry)
            if result == _EOF:
                break
            if result < _WARN:
                where = "" if self.entries else "not a tar archive, or "
                reason = _reason(lib.errno(reader), lib.error(reader))
                raise Refused(f"{where}damaged after {self.entries} entries: {reason}")
            self.entries += 1
            if self.entries > self._max_entries:
                raise Refused(f"more than {self._max_entries} entries, which is the limit")
            self._entry(reader, disk, entry)
        if lib.close(disk) != _OK:
            raise Refused(f"cannot finish: {_reason(lib.errno(disk), lib.error(disk))}")
        while os.read(0, BLOCK):
            pass
        opaque = [os.fsdecode(name) for name in self._opaque]
        disk = -1 if self._plain else treesize.measure("/").size
        return {"size": self.size, "disk": disk, "entries": self.entries, "opaque": opaque}

    def _clean(self, raw: bytes | None, what: str) -> bytes:
        """A name in its shortest form. Raises when it leads out of the layer."""
        if not raw:
            raise Refused(f"entry {self.entries} has no usable {what}")
        if self._plain:
            raw = raw.lstrip(b"/")
        if raw.startswith(b"/"):
            raise Refused(f"the {what} {_shown(raw)} is absolute")
        parts: list[bytes] = []
        for part in raw.split(b"/"):
            if part == b"..":
                if not parts:
                    raise Refused(f"the {what} {_shown(raw)} leads out of the layer ('..')")
                parts.pop()
            elif part not in (b"", b"."):
                parts.append(part)
        follow = self._links and not self._plain
        return self._follow(b"/".join(parts), raw) if follow else b"/".join(parts)

    def _follow(self, name: bytes, raw: bytes) -> bytes:
        """Resolve parents of ``name`` that are symbolic links of this layer."""
        pending = name.split(b"/")
        done: list[bytes] = []
        hops = 0
        while len(pending) > 1:
            part = pending.pop(0)
            if part == b"..":
                if not done:
                    raise Refused(f"the entry {_shown(raw)} leaves the layer by a symbolic link")
                done.pop()
                continue
            if part in (b"", b"."):
                continue
            done.append(part)
            target = self._links.get(b"/".join(done))
            if target is not None:
                hops += 1
                if target.startswith(b"/") or hops > 40:
                    raise Refused(
                        f"the entry {_shown(raw)} goes through the symbolic link "
                        f"{_shown(b'/'.join(done))} -> {_shown(target)}, which leaves the layer"
                    )
                done.pop()
                pending = target.split(b"/") + pending
        return b"/".join((*done, pending[0]))

    def _entry(self, reader: Any, disk: Any, entry: Any) -> None:
        lib = self._lib
        raw: bytes = lib.pathname(entry)
        name = self._clean(raw, "name")
        base = name.rpartition(b"/")[2]
        if base.startswith(_MARK) and not self._plain:
            self._whiteout(name, base)
            return
        if name != raw:
            lib.set_pathname(entry, name or b".")
        kind = lib.filetype(entry)
        link = lib.hardlink(entry)
        if link is not None:
            target = self._clean(link, f"target of the hard link {_shown(raw)},")
            if target.rpartition(b"/")[2].startswith(_MARK) and not self._plain:
                raise Refused(f"the hard link {_shown(raw)} points to a whiteout")
            if not os.path.lexists(target):
                raise Refused(
                    f"the hard link {_shown(raw)} points to {_shown(link)}, "
                    "which is not in this layer"
                )
            lib.set_hardlink(entry, target)
        elif kind == stat.S_IFREG:
            size = lib.size(entry)
            self.size += size
            if size < 0 or self.size > self._max_bytes:
                raise Refused(
                    f"with {_shown(raw)} the layer has more than {self._max_bytes} bytes unpacked, "
                    "which is the limit"
                )
        elif kind not in (stat.S_IFDIR, stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO):
            return
        if kind == stat.S_IFDIR:
            if name in self._hidden:
                self._mark_opaque(name)
            if name in self._links and not self._plain:
                os.unlink(name)
        elif name in self._seen or self._remove:
            self._make_way(name)
        if kind != stat.S_IFDIR:
            self._seen.add(name)
        if kind == stat.S_IFLNK and link is None:
            self._links[name] = lib.symlink(entry) or b""
        elif link is not None and target in self._links:
            self._links[name] = self._links[target]
        elif self._links:
            self._links.pop(name, None)
        if lib.xattr_count(entry):
            lib.keep_plain_attributes(entry)
        result = lib.read_extract(reader, entry, disk)
        if result != _OK:
            reason = _reason(lib.errno(disk) or lib.errno(reader), lib.error(disk))
            if not lib.error(disk):
                reason = _reason(lib.errno(reader), lib.error(reader))
            raise Refused(f"cannot extract {_shown(raw)}: {reason}")

    def _make_way(self, name: bytes) -> None:
        """Remove a directory where the layer now has something else."""
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(os.lstat(name).st_mode):
                shutil.rmtree(name)

    def _mark_opaque(self, directory: bytes) -> None:
        self._opaque[directory] = None
        if len(self._opaque) > MAX_OPAQUE:
            raise Refused(f"more than {MAX_OPAQUE} opaque directories")

    def _whiteout(self, name: bytes, base: bytes) -> None:
        directory = name[: -len(base)].rstrip(b"/")
        if base == _OPAQUE:
            if self._remove:
                self._empty(directory)
            else:
                os.makedirs(directory or b".", 0o755, exist_ok=True)
                self._mark_opaque(directory or b".")
            return
        if base.startswith(_MARK + _MARK):
            return  # an old driver's own files, never part of an image
        hidden = base[len(_MARK) :]
        if hidden in (b"", b".", b".."):
            raise Refused(f"{_shown(name)} is not a valid whiteout")
        target = os.path.join(directory, hidden)
        try:
            there: os.stat_result | None = os.lstat(target)
        except (FileNotFoundError, NotADirectoryError):
            there = None
        if self._remove:
            if there is not None and target not in self._seen:
                self._delete(target, there)
            return
        if there is not None:
            if stat.S_ISDIR(there.st_mode):
                self._mark_opaque(target)
            return
        if directory:
            os.makedirs(directory, 0o755, exist_ok=True)
        os.mknod(target, stat.S_IFCHR, 0)
        self._hidden.add(target)
        self._seen.add(target)

    def _delete(self, target: bytes, there: os.stat_result) -> None:
        if stat.S_ISDIR(there.st_mode):
            shutil.rmtree(target)
        else:
            os.unlink(target)

    def _empty(self, directory: bytes) -> None:
        """Remove what lower layers put into ``directory``, for trees that hold them."""
        prefix = directory + b"/" if directory else b""
        with contextlib.suppress(FileNotFoundError):
            for child in os.listdir(directory or b"."):
                path = prefix + child
                below = path + b"/"
                if path in self._seen or any(name.startswith(below) for name in self._seen):
                    continue
                self._delete(path, os.lstat(path))


def _decompressor(kind: str) -> Callable[[bytes], bytes]:
    """``feed(data) -> plain data``; ``feed(b"")`` at the end raises when something is missing."""
    make: Callable[[], Any]
    if kind == "gzip":
        from isal import isal_zlib

        def make() -> Any:
            return isal_zlib.decompressobj(wbits=31)
    elif kind == "zstd":
        import zstandard

        def make() -> Any:
            return zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
    elif kind == "bzip2":
        import bz2

        make = bz2.BZ2Decompressor
    else:
        import lzma

        def make() -> Any:
            return lzma.LZMADecompressor(memlimit=MEMORY // 2)

    state: list[Any] = [make(), False]

    def feed(data: bytes) -> bytes:
        current, fed = state
        if not data:
            if fed and not current.eof:
                raise Refused("it ends too early: the file is truncated")
            return b""
        parts: list[bytes] = []
        while data:
            if current.eof:
                if not data.strip(b"\0"):
                    break  # padding
                current = make()
            parts.append(current.decompress(data))
            data = current.unused_data if current.eof else b""
            fed = True
        state[:] = [current, fed]
        return b"".join(parts)

    return feed


def _inflate(feed: Callable[[bytes], bytes]) -> None:
    # Small steps: a bomb grows a thousandfold at most in each.
    while True:
        data = os.read(0, 1 << 16)
        plain = memoryview(feed(data))
        while plain:
            plain = plain[os.write(1, plain) :]
        if not data:
            return


def _report(report: dict[str, Any]) -> None:
    data = memoryview(json.dumps(report).encode())
    while data:
        data = data[os.write(1, data) :]


def _fail(text: str) -> NoReturn:
    os.write(2, text.encode("utf-8", "backslashreplace")[:4000])
    os._exit(1)


def serve() -> None:
    """Be the parent of workers: ``firkin.linux.nursery``."""
    for kind in ("gzip", "zstd"):
        _decompressor(kind)
    libarchive.Libarchive()
    confine.last_capability()
    confine.cut_off()
    nursery.serve(main)


def main(arguments: list[str]) -> None:
    """Run one mode, then end. Errors of the input go to standard error, with status 1."""
    mode = arguments[0]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        if mode == "inflate":
            feed = _decompressor(arguments[1])
            root = os.open(arguments[2], os.O_RDONLY | os.O_DIRECTORY)
            confine.confine(root, (), memory=MEMORY, file_size=0, apart=True)
            _inflate(feed)
        else:
            locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
            max_bytes = int(arguments[3])
            layer = Layer(arguments[2], max_bytes, int(arguments[4]))
            os.umask(0o022)
            root = os.open(arguments[1], os.O_RDONLY | os.O_DIRECTORY)
            confine.confine(root, _CAPABILITIES, memory=MEMORY, file_size=max_bytes, apart=True)
            if len(arguments) > 5:
                os.chdir(arguments[5])
            _report(layer.run())
    except Refused as refusal:
        _fail(str(refusal))
    except MemoryError:
        _fail(f"it takes more than {MEMORY >> 20} MiB of memory to read")
    except OSError as error:
        if mode == "unpack" or error.errno != errno.EPIPE:
            _fail(_reason(error.errno or 0, str(error).encode()))
    except Exception as error:
        _fail(f"{type(error).__name__}: {error}")
    os.write(2, nursery.DONE)
    os._exit(0)
