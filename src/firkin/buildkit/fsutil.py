"""Sending a tree of files as packets, and receiving one. Does files, no network.

The sender describes every entry with a STAT packet, parents first, in the order of their paths;
an entry's id is its place in that order. An empty STAT ends the list. The receiver asks by id (REQ)
for the regular files that it does not have already, the sender answers with DATA packets of that
id, the last of them empty. When all is there the receiver sends FIN, and the sender answers it.

The sender is a client: nothing that it says can reach outside the receiver's directory. Every step
of a path is opened relative to its parent without following links, and parents must have been
announced as directories.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat as modes
from collections.abc import Callable, Iterator

from firkin import errdefs
from firkin.buildkit.pb import fsutil_pb2

Packet = fsutil_pb2.Packet
Stat = fsutil_pb2.Stat

_DIR = 1 << 31
_SYMLINK = 1 << 27
_DEVICE = 1 << 26
_PIPE = 1 << 25
_SOCKET = 1 << 24
_CHAR = 1 << 21
_SPECIAL = ((1 << 23, modes.S_ISUID), (1 << 22, modes.S_ISGID), (1 << 20, modes.S_ISVTX))
_KINDS = _DIR | _SYMLINK | _DEVICE | _PIPE | _SOCKET | _CHAR

MAX_ENTRIES = 5_000_000
_CHUNK = 32 << 10


def permissions(mode: int) -> int:
    """The low twelve bits of a file's mode from Go's ``fs.FileMode``."""
    return mode & 0o777 | sum(bit for flag, bit in _SPECIAL if mode & flag)


def go_mode(mode: int) -> int:
    """Go's ``fs.FileMode`` of an ``st_mode``."""
    found = mode & 0o777 | sum(flag for flag, bit in _SPECIAL if mode & bit)
    kind = modes.S_IFMT(mode)
    return found | {
        modes.S_IFDIR: _DIR,
        modes.S_IFLNK: _SYMLINK,
        modes.S_IFIFO: _PIPE,
        modes.S_IFSOCK: _SOCKET,
        modes.S_IFBLK: _DEVICE,
        modes.S_IFCHR: _DEVICE | _CHAR,
    }.get(kind, 0)


def described(path: str, status: os.stat_result, target: str = "") -> Stat:
    """A file as it is told of; ``target`` is a symbolic link's."""
    stat = Stat(
        path=path,
        mode=go_mode(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if modes.S_ISREG(status.st_mode) else 0,
        mod_time=status.st_mtime_ns,
        linkname=target,
    )
    if modes.S_ISBLK(status.st_mode) or modes.S_ISCHR(status.st_mode):
        stat.devmajor = os.major(status.st_rdev)
        stat.devminor = os.minor(status.st_rdev)
    return stat


class Receiver:
    """Makes a directory the same as the sender's tree. What is there already is not sent again.

    :meth:`take` handles packets and returns what to answer; it blocks on the disk. ``done`` tells
    that the tree is complete. ``owner`` has all files in the end, by default who has them there.
    Raises ``InvalidParameter`` for a sender that breaks the rules, and for a failure that the
    sender reports.
    """

    def __init__(self, root: str, owner: tuple[int, int] | None = None) -> None:
        self._owner = owner
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._path = root
        self._count = 0
        self._last: list[str] = []
        self._directories: dict[str, tuple[int, int]] = {}
        self._seen: set[str] = set()
        self._wanted: dict[int, tuple[str, Stat]] = {}
        self._open: dict[int, int] = {}
        self._links: list[tuple[str, str]] = []
        self._listed = False
        self._fin = False
        self.done = False

    def close(self) -> None:
        """Let go of all files."""
        for fd in (*self._open.values(), self._root):
            os.close(fd)
        self._open.clear()
        self._root = -1

    def take(self, packet: Packet) -> list[Packet]:
        """Handle one packet; returns the packets to send."""
        if packet.type == Packet.STAT:
            if not packet.HasField("stat"):
                self._listed = True
                return self._finish()
            return self._announced(packet.stat)
        if packet.type == Packet.DATA:
            return self._data(packet.id, packet.data)
        if packet.type == Packet.FIN:
            if not self._fin:
                raise errdefs.InvalidParameter("the client ended before all files were sent")
            self.done = True
            return []
        if packet.type == Packet.ERR:
            raise errdefs.InvalidParameter(
                f"the client can't send its files: {packet.data.decode(errors='replace')}"
            )
        raise errdefs.InvalidParameter(f"unexpected packet {packet.type} among files")

    def _announced(self, stat: Stat) -> list[Packet]:
        identity = self._count
        self._count += 1
        if self._count > MAX_ENTRIES:
            raise errdefs.InvalidParameter(f"more than {MAX_ENTRIES} files")
        if self._owner is not None:
            stat.uid, stat.gid = self._owner
        parts = stat.path.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in stat.path:
            raise errdefs.InvalidParameter(f"the client sent the bad path {stat.path!r}")
        if parts <= self._last or self._listed:
            raise errdefs.InvalidParameter(f"the client sent {stat.path!r} out of order")
        self._last = parts
        parent = "/".join(parts[:-1])
        if parent and parent not in self._directories:
            raise errdefs.InvalidParameter(f"the client sent no directory {parent!r}")
        self._seen.add(stat.path)
        with self._parent(stat.path) as (fd, name):
            return self._place(fd, name, identity, stat)

    def _place(self, fd: int, name: str, identity: int, stat: Stat) -> list[Packet]:
        old = _lstat(fd, name)
        if stat.mode & _DIR:
            if old is not None and not modes.S_ISDIR(old.st_mode):
                os.unlink(name, dir_fd=fd)
                old = None
            if old is None:
                os.mkdir(name, 0o700, dir_fd=fd)
            self._directories[stat.path] = (stat.mode, stat.mod_time)
            os.chown(name, stat.uid, stat.gid, dir_fd=fd, follow_symlinks=False)
            return []
        if old is not None and self._same(fd, name, old, stat):
            return []
        if old is not None:
            _remove(fd, name, old)
        if stat.mode & _SYMLINK:
            os.symlink(stat.linkname, name, dir_fd=fd)
            os.chown(name, stat.uid, stat.gid, dir_fd=fd, follow_symlinks=False)
            _set_time(fd, name, stat)
            return []
        if stat.linkname:
            self._links.append((stat.path, stat.linkname))
            return []
        if stat.mode & _KINDS & ~_PIPE:
            return []  # sockets and devices are no part of a build
        if stat.mode & _PIPE:
            os.mkfifo(name, permissions(stat.mode), dir_fd=fd)
            return []
        self._wanted[identity] = (stat.path, Stat.FromString(stat.SerializeToString()))
        return [Packet(type=Packet.REQ, id=identity)]

    def _same(self, fd: int, name: str, old: os.stat_result, stat: Stat) -> bool:
        if stat.mode & _SYMLINK:
            return modes.S_ISLNK(old.st_mode) and os.readlink(name, dir_fd=fd) == stat.linkname
        return (
            not stat.mode & _KINDS
            and not stat.linkname
            and modes.S_ISREG(old.st_mode)
            and old.st_size == stat.size
            and old.st_mtime_ns == stat.mod_time
            and modes.S_IMODE(old.st_mode) == permissions(stat.mode)
            and (old.st_uid, old.st_gid) == (stat.uid, stat.gid)
        )

    def _data(self, identity: int, data: bytes) -> list[Packet]:
        if identity not in self._wanted:
            raise errdefs.InvalidParameter("the client sent a file that nobody asked for")
        path, stat = self._wanted[identity]
        fd = self._open.get(identity)
        if fd is None:
            with self._parent(path) as (parent, name):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                fd = self._open[identity] = os.open(name, flags, 0o600, dir_fd=parent)
        if data:
            # A file that grows while it is sent is what it was when it was announced.
            data = data[: max(0, stat.size - os.lseek(fd, 0, os.SEEK_CUR))]
            while data:
                data = data[os.write(fd, data) :]
            return []
        if os.lseek(fd, 0, os.SEEK_CUR) != stat.size:
            raise errdefs.InvalidParameter(
                f"{path} became shorter while the client sent it: build again"
            )
        os.fchown(fd, stat.uid, stat.gid)
        os.fchmod(fd, permissions(stat.mode))
        for key, value in stat.xattrs.items():
            if key.startswith("user."):
                with contextlib.suppress(OSError):
                    os.setxattr(fd, key, value)
        os.utime(fd, ns=(stat.mod_time, stat.mod_time))
        os.close(self._open.pop(identity))
        del self._wanted[identity]
        return self._finish()

    def _finish(self) -> list[Packet]:
        if not self._listed or self._wanted or self._fin:
            return []
        self._fin = True
        for path, target in self._links:
            if target not in self._seen or target in self._directories:
                raise errdefs.InvalidParameter(f"the client sent a link to {target!r}, not there")
            with self._parent(path) as (fd, name), self._parent(target) as (other, old):
                os.link(old, name, src_dir_fd=other, dst_dir_fd=fd, follow_symlinks=False)
        self._prune(self._root, "")
        for path, (mode, moment) in sorted(self._directories.items(), reverse=True):
            with self._parent(path) as (fd, name):
                os.chmod(name, permissions(mode), dir_fd=fd)
                os.utime(name, ns=(moment, moment), dir_fd=fd, follow_symlinks=False)
        return [Packet(type=Packet.FIN)]

    def _prune(self, fd: int, prefix: str) -> None:
        """Remove what is below the directory and is no part of the tree."""
        with os.scandir(fd) as entries:
            found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in found:
            path = prefix + name
            if path not in self._seen:
                status = _lstat(fd, name)
                if status is not None:
                    _remove(fd, name, status)
            elif is_directory:
                below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                try:
                    self._prune(below, path + "/")
                finally:
                    os.close(below)

    @contextlib.contextmanager
    def _parent(self, path: str) -> Iterator[tuple[int, str]]:
        """The directory that holds ``path``, and the name in it; no link is followed."""
        *parts, name = path.split("/")
        fd = self._root
        try:
            for part in parts:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                below = os.open(part, flags, dir_fd=fd)
                if fd != self._root:
                    os.close(fd)
                fd = below
            yield fd, name
        finally:
            if fd != self._root:
                os.close(fd)


def _lstat(fd: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _remove(fd: int, name: str, status: os.stat_result) -> None:
    if modes.S_ISDIR(status.st_mode):
        shutil.rmtree(name, dir_fd=fd)
    else:
        os.unlink(name, dir_fd=fd)


def _set_time(fd: int, name: str, stat: Stat) -> None:
    os.utime(name, ns=(stat.mod_time, stat.mod_time), dir_fd=fd, follow_symlinks=False)


class Sender:
    """Sends the tree below a directory.

    :meth:`stats` gives the packets that describe it, :meth:`answer` those for a packet of the
    receiver; both block on the disk. ``done`` tells that the receiver has all.
    """

    def __init__(self, root: str, change: Callable[[Stat], None] | None = None) -> None:
        self._root = root
        self._change = change
        self._paths: list[str] = []
        self.done = False

    def stats(self) -> Iterator[Packet]:
        """A STAT packet for each entry, and the empty one."""
        yield from self._below("")
        yield Packet(type=Packet.STAT)

    def _below(self, prefix: str) -> Iterator[Packet]:
        with os.scandir(os.path.join(self._root, prefix)) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            path = prefix + entry.name
            status = entry.stat(follow_symlinks=False)
            target = os.readlink(entry.path) if entry.is_symlink() else ""
            stat = described(path, status, target)
            if self._change is not None:
                self._change(stat)
            self._paths.append(path)
            yield Packet(type=Packet.STAT, stat=stat)
            if entry.is_dir(follow_symlinks=False):
                yield from self._below(path + "/")

    def answer(self, packet: Packet) -> Iterator[Packet]:
        """The packets that answer one of the receiver's. Raises ``InvalidParameter``."""
        if packet.type == Packet.REQ:
            if packet.id >= len(self._paths):
                raise errdefs.InvalidParameter(f"the client asked for a file {packet.id}")
            path = os.path.join(self._root, self._paths[packet.id])
            with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
                while data := file.read(_CHUNK):
                    yield Packet(type=Packet.DATA, id=packet.id, data=data)
            yield Packet(type=Packet.DATA, id=packet.id)
        elif packet.type == Packet.FIN:
            self.done = True
            yield Packet(type=Packet.FIN)
        elif packet.type == Packet.ERR:
            raise errdefs.InvalidParameter(
                f"the client can't take the files: {packet.data.decode(errors='replace')}"
            )
