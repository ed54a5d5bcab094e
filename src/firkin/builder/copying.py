"""Copying files into a step's tree.

The tree's own files lie in ``upper``, its parent can be seen, read-only, at ``view``. Files are put
straight into the upper directory: no copy-up, and files of an immutable context can be hard links.
So directories that the parent has are made again in the upper one, with the parent's attributes,
when something below them changes. With a snapshotter whose directories are whole trees ``view``
and ``upper`` are the same.

Nothing else writes to either meanwhile. The destination's links are followed inside of the view;
below the destination nothing is followed. The functions block.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import shutil
import stat
from collections.abc import Callable

import msgspec

from firkin import errdefs
from firkin.builder import modes, select, trees
from firkin.linux import regular
from firkin.wire import ignorefile

_KEPT = ("security.capability",)
_UNREADABLE = 4 << 20


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How: ``owner`` is uid and gid, None to leave them; ``mode`` changes modes; ``epoch`` is the
    newest modification time, in seconds."""

    owner: tuple[int, int] | None = None
    mode: Callable[[int], int] | None = None
    exclude: ignorefile.Ignore | None = None
    parents: bool = False


class Target:
    """A tree that files are copied into."""

    def __init__(self, view: str, upper: str) -> None:
        self.view = view
        self.upper = upper
        self._whole = view == upper
        self._known: set[str] = {""}
        self._times: dict[str, tuple[int, int]] = {}

    def read(self, path: str) -> str:
        """The text of a small file of the tree; "" when there is none."""
        try:
            return regular.read(self.view, path, _UNREADABLE).decode("utf-8", "replace")
        except OSError:
            return ""

    def lookup(self, path: str) -> os.stat_result | None:
        """What is at a resolved path, in the upper directory or else in the view."""
        for root in (self.upper,) if self._whole else (self.upper, self.view):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                return os.lstat(os.path.join(root, path))
        return None

    def directory(self, path: str, owner: tuple[int, int] = (0, 0), mode: int = 0o755) -> bool:
        """Make sure that the resolved ``path`` is a directory; tells whether it is a new one."""
        if path in self._known:
            return False
        parent = path.rpartition("/")[0]
        self.directory(parent, owner)
        place = os.path.join(self.upper, path)
        there = self.lookup(path)
        if there is not None and not stat.S_ISDIR(there.st_mode):
            raise errdefs.InvalidParameter(
                f"cannot copy to non-directory: /{path} of the target is a file"
            )
        new = there is None
        if not os.path.lexists(place):
            os.mkdir(place, 0o700)
            if there is not None:
                os.chown(place, there.st_uid, there.st_gid)
                os.chmod(place, stat.S_IMODE(there.st_mode))
                self._times[path] = (there.st_atime_ns, there.st_mtime_ns)
                _attributes(os.path.join(self.view, path), place)
            else:
                os.chown(place, *owner)
                os.chmod(place, mode)
        self._known.add(path)
        return new

    def make_way(self, path: str) -> None:
        """Remove a file where another one is to be put."""
        there = self.lookup(path)
        if there is None:
            return
        if stat.S_ISDIR(there.st_mode):
            raise errdefs.InvalidParameter(
                f"cannot copy a file to /{path}: the target has a directory there"
            )
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self.upper, path))

    def settle(self) -> None:
        """Give directories their times, now that they are filled."""
        for path, times in sorted(self._times.items(), reverse=True):
            os.utime(os.path.join(self.upper, path), ns=times)

    def keep_time(self, path: str, status: os.stat_result) -> None:
        self._times[path] = (status.st_atime_ns, status.st_mtime_ns)


def _attributes(source: str, target: str) -> None:
    try:
        names = os.listxattr(source, follow_symlinks=False)
    except OSError:
        return
    for name in names:
        if name in _KEPT or name.startswith("user."):
            with contextlib.suppress(OSError):
                value = os.getxattr(source, name, follow_symlinks=False)
                os.setxattr(target, name, value, follow_symlinks=False)


def _bytes(source: str, target: str) -> None:
    with open(source, "rb", buffering=0) as reading:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb", buffering=0) as writing:
            try:
                while os.copy_file_range(reading.fileno(), fd, 1 << 30):
                    pass
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise
                shutil.copyfileobj(reading, writing, 1 << 20)


class Copier:
    """Copies one selection after the other out of ``tree`` into ``target``."""

    def __init__(self, target: Target, options: Options) -> None:
        self._target = target
        self._options = options

    def copy(self, tree: trees.Tree, match: select.Match, destination: str, *, into: bool) -> None:
        """Copy a match. ``destination`` is resolved; ``into``: it means a directory to fill."""
        directory = stat.S_ISDIR(match.status.st_mode)
        base = destination
        owner = self._options.owner or (0, 0)
        if self._options.parents:
            inner = match.pivot if directory else posixpath.dirname(match.pivot)
            self._parents(tree, match, destination, inner)
            base = posixpath.join(destination, match.pivot).strip("/")
        elif not directory:
            there = self._target.lookup(destination)
            if into or (there is not None and stat.S_ISDIR(there.st_mode)):
                base = posixpath.join(destination, posixpath.basename(match.shown or match.path))
        if not directory:
            self._target.directory(posixpath.dirname(base), owner)
        for item in select.below(tree, match, self._options.exclude):
            place = posixpath.join(base, item.relative) if item.relative else base
            self._one(tree, item, place.strip("/"))

    def _parents(self, tree: trees.Tree, match: select.Match, destination: str, inner: str) -> None:
        """Directories that --parents makes have the attributes of the source's."""
        place = destination
        prefix = match.shown[: len(match.shown) - len(match.pivot)].rstrip("/")
        source = prefix
        self._target.directory(place, self._options.owner or (0, 0))
        for part in [p for p in inner.split("/") if p]:
            place, source = posixpath.join(place, part), posixpath.join(source, part)
            full = os.path.join(tree.root, select.resolve(tree.root, source))
            self._folder(tree, full, os.lstat(full), place)

    def _owner(self, tree: trees.Tree, status: os.stat_result) -> tuple[int, int]:
        if self._options.owner is not None:
            return self._options.owner
        return (status.st_uid, status.st_gid) if tree.owners else (0, 0)

    def _mode(self, status: os.stat_result) -> int:
        if self._options.mode is not None:
            return self._options.mode(status.st_mode)
        return stat.S_IMODE(status.st_mode)

    def _folder(self, tree: trees.Tree, source: str, status: os.stat_result, place: str) -> None:
        if self._target.directory(place, self._owner(tree, status), self._mode(status)):
            _attributes(source, os.path.join(self._target.upper, place))
            self._target.keep_time(place, status)

    def _one(self, tree: trees.Tree, item: select.Found, place: str) -> None:
        source = os.path.join(tree.root, item.path)
        status, mode = item.status, item.status.st_mode
        if stat.S_ISDIR(mode):
            self._folder(tree, source, status, place)
            return
        if stat.S_ISSOCK(mode):
            return
        full = os.path.join(self._target.upper, place)
        self._target.make_way(place)
        uid, gid = self._owner(tree, status)
        if stat.S_ISREG(mode):
            wanted = self._mode(status)
            plain = wanted == stat.S_IMODE(mode) and (uid, gid) == (status.st_uid, status.st_gid)
            if tree.linkable and plain and _linked(source, full):
                return
            _bytes(source, full)
            os.chown(full, uid, gid)
            os.chmod(full, wanted)
            if tree.owners:
                _attributes(source, full)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(source), full)
            os.lchown(full, uid, gid)
        else:
            os.mknod(full, stat.S_IFMT(mode) | 0o600, status.st_rdev)
            os.chown(full, uid, gid)
            os.chmod(full, self._mode(status))
        os.utime(full, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def _linked(source: str, target: str) -> bool:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            return False
        raise
    return True


def owner_of(text: str, target: Target) -> tuple[int, int] | None:
    """The owner that --chown means in ``target``. Raises ``InvalidParameter``."""
    if not text:
        return None
    try:
        return modes.owner(text, target.read)
    except ValueError as error:
        raise errdefs.InvalidParameter(str(error)) from error
