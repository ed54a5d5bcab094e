"""The confined worker that reads and writes files of a container (or of a volume).

Forked by :func:`serve`, which ``firkin.linux.nursery`` runs, for ``firkin.files.process``; one
process per operation. A container may change its own tree
while the worker is in it: a link may be put where a directory was a moment before. Checking paths
can't win that race, so paths are not what protects the host:

1. *The worker has no host to reach.* It first gives itself a mount namespace that holds nothing
   but the container's mounts. Of a running container that is a copy of its own mount namespace
   (setns, then unshare: later mounts of the container are not seen, its tmpfs and nested mounts
   are). Of one that does not run it is the root file system and the mounts of its record,
   assembled at places that are resolved inside the root (openat2); then
   pivot_root makes it the root and the old one is detached. "/" is the top of that namespace, so
   ``..``, absolute links and links swapped at any moment lead to files of the container: no other
   file has a name. Hard links need no thought: one can only be made within a file system that is
   mounted there.
2. *No way around names.* The magic links of a procfs (/proc/PID/root) could name what is mounted
   elsewhere, so pseudo file systems are unmounted from the copy, which only the worker has. All
   inherited descriptors but standard ones are closed.
3. *None of the container's code is run.* Everything is imported before the namespace is entered,
   then the import system is emptied; no name service, locale or other plug-in is looked up after
   that. (A worker that loads a library by name in there hands its privileges to the container.)
4. *Little to win.* The process keeps the capabilities that owners, modes, devices and file
   capabilities take, all of which a container's root has by default, and loses mounts, sockets and
   new programs by a system call filter (``firkin.linux.confine``) before it looks at any name or
   any byte of an archive.

Standard input is the archive to be written. Standard output begins with one line of JSON, the
answer; the archive that was asked for follows it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import locale
import os
import posixpath
import signal
import stat
import sys
from collections.abc import Iterator
from typing import Any, NoReturn

from firkin.files import unpacker, view
from firkin.linux import confine, libarchive, nursery, regular
from firkin.wire import acl, tarpack

MEMORY = 1 << 30
FILES = 2048
_CHUNK = 1 << 20
_TRIES = 16
_DEPTH = FILES - 64
_CAPABILITIES = (
    confine.CAP_CHOWN,
    confine.CAP_DAC_OVERRIDE,
    confine.CAP_FOWNER,
    confine.CAP_FSETID,
    confine.CAP_MKNOD,
    confine.CAP_SETFCAP,
)


# Reading


def real(path: str) -> str:
    """``path`` with its symbolic links followed, as far as there is something."""
    pending = view.parts(path)
    done = ""
    hops = 0
    while pending:
        part = pending.pop(0)
        if part == "..":
            done = posixpath.dirname(done).rstrip("/")
            continue
        here = f"{done}/{part}"
        try:
            target = os.readlink(here)
        except OSError:
            done = here
            continue
        hops += 1
        if hops > view.LINKS:
            raise view.Refused("invalid", f"too many symbolic links in {path}")
        if target.startswith("/"):
            done = ""
        pending[:0] = view.parts(target)
    return done or "/"


def describe(path: str) -> dict[str, Any]:
    """What is at ``path``, a symbolic link at its end not followed unless a slash is after it."""
    status = _lstat(path)
    link = stat.S_ISLNK(status.st_mode)
    return {
        "name": posixpath.basename(path.rstrip("/")) or "/",
        "size": status.st_size,
        "mode": status.st_mode,
        "mtime": status.st_mtime_ns,
        "target": real(path) if link else "",
    }


def _lstat(path: str) -> os.stat_result:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        raise view.Refused("missing", "") from None
    except NotADirectoryError:
        raise view.Refused("invalid", f"{path}: not a directory") from None
    except OSError as error:
        raise view.Refused("invalid", f"{path}: {error.strerror}") from None


class Output:
    """Standard output, written through a small buffer so that headers need no call each."""

    def __init__(self) -> None:
        self._pending: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        self._pending.append(data)
        self._size += len(data)
        if self._size > 1 << 16:
            self.flush()

    def flush(self) -> None:
        data = memoryview(b"".join(self._pending))
        self._pending, self._size = [], 0
        while data:
            data = data[os.write(1, data) :]

    def file(self, fd: int, start: int, size: int) -> None:
        """Exactly ``size`` bytes of a file; zeros where it has become shorter."""
        if size <= 1 << 14:
            data = os.pread(fd, size, start)
            self.write(data + bytes(size - len(data)))
            return
        self.flush()
        end = start + size
        while start < end:
            sent = os.sendfile(1, fd, start, min(_CHUNK, end - start))
            if not sent:
                break
            start += sent
        while start < end:
            self.write(bytes(min(_CHUNK, end - start)))
            start += min(_CHUNK, end - start)


def open_top(path: str) -> tuple[int, str, dict[str, Any]]:
    """What an archive is made of, open, so that it stays the same whatever becomes of the path.

    A directory and "", or the directory and the name of something else in it; and its description.
    """
    for _ in range(_TRIES):
        found = describe(path)
        try:
            if stat.S_ISDIR(found["mode"]):
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                return fd, "", found
            parent, _, entry = path.rstrip("/").rpartition("/")
            fd = os.open(parent or "/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if stat.S_IFMT(os.stat(entry, dir_fd=fd, follow_symlinks=False).st_mode) == stat.S_IFMT(
                found["mode"]
            ):
                return fd, entry, found
            os.close(fd)
        except OSError as error:
            if error.errno not in regular.REPLACED:
                raise
    raise view.Refused("missing", "")


class Packer:
    """Writes a tree as a tar. No link is followed below its top."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._links: dict[tuple[int, int], bytes] = {}

    def pack(self, top: int, entry: str, name: bytes, *, shown: bool = True) -> None:
        """What :func:`open_top` has opened; ``shown`` false leaves out its own entry."""
        if not entry:
            self._directory(top, name, shown, 0)
        else:
            status = os.stat(entry, dir_fd=top, follow_symlinks=False)
            self._entry(top, entry, name, status, 0)
        self._out.write(tarpack.END)
        self._out.flush()

    def _directory(self, fd: int, name: bytes, shown: bool, depth: int) -> None:
        if depth > _DEPTH:
            raise view.Refused("invalid", f"directories are nested deeper than {_DEPTH}")
        if shown:
            status = os.fstat(fd)
            more = _attributes(fd)
            text = name if name.endswith(b"/") else name + b"/"
            self._out.write(tarpack.header(text, status, tarpack.DIRECTORY, more=more))
        prefix = name if not name or name.endswith(b"/") else name + b"/"
        for entry in sorted(os.listdir(fd)):
            try:
                status = os.stat(entry, dir_fd=fd, follow_symlinks=False)
                self._entry(fd, entry, prefix + os.fsencode(entry), status, depth + 1)
            except OSError as error:
                if error.errno not in regular.REPLACED:
                    raise

    def _entry(
        self, parent: int, entry: str, name: bytes, status: os.stat_result, depth: int
    ) -> None:
        flag = tarpack.kind(status.st_mode)
        if flag == tarpack.DIRECTORY:
            fd = os.open(entry, _DIRECTORY, dir_fd=parent)
            try:
                self._directory(fd, name, True, depth)
            finally:
                os.close(fd)
            return
        if not flag:
            return
        first = self._links.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
        if first is not None:
            self._out.write(tarpack.header(name, status, tarpack.HARDLINK, link=first))
            return
        if flag == tarpack.FILE:
            status = self._file(parent, entry, name)
        elif flag == tarpack.SYMLINK:
            link = os.fsencode(regular.link_target(entry, parent))
            self._out.write(tarpack.header(name, status, flag, link=link))
        else:
            self._out.write(tarpack.header(name, status, flag))
        if status.st_nlink > 1:
            self._links[status.st_dev, status.st_ino] = name

    def _file(self, parent: int, entry: str, name: bytes) -> os.stat_result:
        """Write a file, as it is now; what that is."""
        fd = regular.entry(entry, parent)
        try:
            status = os.fstat(fd)
            size, more = status.st_size, _attributes(fd)
            out = self._out
            if size >= tarpack.SPARSE_FROM and status.st_blocks * 512 < size:
                parts = tarpack.extents(fd, size)
                records, stored, table = tarpack.sparse(name, size, parts)
                total = len(table) + sum(length for _, length in parts)
                more.update(records)
                out.write(tarpack.header(stored, status, tarpack.FILE, size=total, more=more))
                out.write(table)
                for start, length in parts:
                    out.file(fd, start, length)
                out.write(tarpack.padding(total))
                return status
            out.write(tarpack.header(name, status, tarpack.FILE, size=size, more=more))
            out.file(fd, 0, size)
            out.write(tarpack.padding(size))
            return status
        finally:
            os.close(fd)


_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _attributes(fd: int) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    with contextlib.suppress(OSError):
        for name in os.listxattr(fd):
            if name == "security.capability" or name.startswith("user."):
                found[b"SCHILY.xattr." + os.fsencode(name)] = os.getxattr(fd, name)
            elif name in acl.NAMES:
                found[acl.NAMES[name]] = acl.to_text(os.getxattr(fd, name))
    return found


# The operations


def _answer(value: dict[str, Any]) -> None:
    data = memoryview(json.dumps(value).encode() + b"\n")
    while data:
        data = data[os.write(1, data) :]


def _read(spec: dict[str, Any]) -> None:
    path: str = spec["path"]
    top, entry, found = open_top(path)
    _answer({"stat": found})
    Packer(Output()).pack(top, entry, os.fsencode(posixpath.basename(path.rstrip("/")) or "/"))


def _export(spec: dict[str, Any]) -> None:
    top = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    _answer({})
    shown = spec["top"]
    Packer(Output()).pack(top, "", b"." if shown else b"", shown=shown)


def _write(spec: dict[str, Any], lib: libarchive.Libarchive) -> None:
    path: str = spec["path"]
    try:
        target = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise view.Refused("missing", "") from None
    except NotADirectoryError:
        raise view.Refused("invalid", "extraction point is not a directory") from None
    if os.fstatvfs(target).f_flag & os.ST_RDONLY:
        raise view.Refused("readonly", "")
    os.fchdir(target)
    os.close(target)
    extraction = unpacker.Unpacker(lib, spec)
    extraction.run()
    _answer({"entries": extraction.entries, "size": extraction.size})


def _run(spec: dict[str, Any], lib: libarchive.Libarchive) -> None:
    operation = spec["operation"]
    if operation == "stat":
        _answer({"stat": describe(spec["path"])})
    elif operation == "read":
        _read(spec)
    elif operation == "export":
        _export(spec)
    else:
        _write(spec, lib)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except view.Refused as refusal:
        _answer({"kind": refusal.kind, "error": str(refusal)})
        os._exit(1)
    except BrokenPipeError:
        os._exit(1)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        kind = "full" if full else "readonly" if error.errno == errno.EROFS else "failed"
        _fail(kind, f"{error.filename or 'files'}: {error.strerror or error}")
    except MemoryError:
        _fail("failed", f"it takes more than {MEMORY >> 20} MiB of memory")
    except Exception as error:
        _fail("failed", f"{type(error).__name__}: {error}")


def _fail(kind: str, text: str) -> NoReturn:
    os.write(2, json.dumps({"kind": kind, "error": text[:2000]}).encode())
    os._exit(1)


def serve() -> None:
    """Be the parent of workers: ``firkin.linux.nursery``."""
    libarchive.Libarchive()
    confine.last_capability()
    confine.cut_off()
    nursery.serve(main)


def main(arguments: list[str]) -> None:
    """Run one operation, then end; what was wrong is told on standard output or error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    os.umask(0o022)
    with _told():
        spec = json.loads(arguments[0])
        lib = libarchive.Libarchive()
        sys.meta_path.clear()
        sys.path.clear()
        if "namespace" in spec:
            view.enter(spec["namespace"])
        else:
            view.assemble(spec)
        confine.confine(None, _CAPABILITIES, memory=MEMORY, file_size=-1, files=FILES)
        _run(spec, lib)
    os.write(2, nursery.DONE)
    os._exit(0)
