"""ContainerLogs: reading a container's log files, from their end, by time, and as they grow."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from isal import igzip

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import logkeeper, model
from firkin.linux import inotify
from firkin.logger import options as attributes
from firkin.wire import logline, stdcopy

_CHUNK = 1 << 18
_POLL = 1.0
_MOST_FILES = 64
"""How many of the newest files are read."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The query of ContainerLogs; times are nanoseconds since the epoch, 0 for none.

    ``tail`` is a number of lines, -1 for all.
    """

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    timestamps: bool = False
    since: int = 0
    until: int = 0
    tail: int = -1
    details: bool = False


def check(container: model.Container, options: Options) -> None:
    """Raise ``InvalidParameter`` or ``NotImplemented`` for what can't be read."""
    if not (options.stdout or options.stderr):
        raise errdefs.InvalidParameter("Bad parameters: you must choose at least one stream")
    if not logkeeper.readable(container):
        asked = "--log-driver none"
        if container.record.host.log_config.type != logkeeper.NONE:
            asked = "--log-opt cache-disabled=true"
        raise errdefs.NotImplemented(
            "configured logging driver does not support reading: the container was created with "
            + asked
        )


def _tail(fds: list[int], count: int, *, parts: bool) -> tuple[int, int]:
    """Where the last ``count`` lines of the files ``fds`` begin: which of them, and the offset.

    With ``parts`` a line may be logged in parts, and ends with its last one.
    """
    for index in range(len(fds) - 1, -1, -1):
        found, offset = _tail_of(fds[index], count, parts=parts)
        if found > count:
            return index, offset
        count -= found
    return 0, 0


def _tail_of(fd: int, count: int, *, parts: bool) -> tuple[int, int]:
    """The lines of a file, at most ``count`` + 1, and where the last ``count`` of them begin."""
    size = position = following = os.fstat(fd).st_size
    ends = 0
    while position > 0:
        begin = max(0, position - _CHUNK)
        data = os.pread(fd, position - begin + 64, begin)
        # Records that begin in (begin, position], the last one first, and the very first.
        index = data.rfind(b"\n", 0, position - begin)
        while index >= 0 or begin == 0:
            start = index + 1
            if begin + start < size:
                last = following == size
                if last or not parts or data[start + 43 : start + 44] == b"F":
                    ends += 1
                    if ends > count:
                        return ends, following
                following = begin + start
            if index < 0:
                break
            index = data.rfind(b"\n", 0, index)
        position = begin
    return ends, 0


class Formatter:
    """From log records to what the client gets."""

    def __init__(
        self,
        options: Options,
        parse: Callable[[bytes], logline.Line | None],
        *,
        raw: bool,
        details: bytes,
    ) -> None:
        self._options = options
        self._parse = parse
        self._raw = raw
        self._details = details
        self._since = logline.nano_key(options.since) if options.since else b""
        self._until = logline.nano_key(options.until) if options.until else b""
        self._fresh = {1: True, 2: True}
        everything = options.stdout and options.stderr and not (self._since or self._until)
        decorated = options.timestamps or bool(details)
        self._plain = everything and not decorated and not raw and parse is logline.parse
        self._heads: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})
        self.past_until = False

    def format(self, lines: list[bytes]) -> bytes:
        """The bytes for ``lines``, in multiplexed form unless raw."""
        if self._plain:
            return self._frames(lines)
        options = self._options
        wanted = (False, options.stdout, options.stderr)
        since, until, raw = self._since, self._until, self._raw
        parse = self._parse
        decorate = options.timestamps or bool(self._details)
        out: list[bytes] = []
        for text in lines:
            line = parse(text)
            if line is None:
                continue
            time, stream, data = line
            if since and time < since:
                continue
            if until and time > until:
                self.past_until = True
                break
            if not wanted[stream]:
                continue
            if decorate:
                if self._fresh[stream]:
                    stamp = time + b" " if options.timestamps else b""
                    data = stamp + self._details + data
                self._fresh[stream] = data.endswith(b"\n")
            if raw:
                out.append(data)
            else:
                out.append(stdcopy.header(stream, len(data)))
                out.append(data)
        return b"".join(out)

    def _frames(self, lines: list[bytes]) -> bytes:
        """The same where nothing is left out or added: half the time of a long log."""
        out: list[bytes] = []
        stdout, stderr = self._heads
        for text in lines:
            if len(text) < logline.DATA or text[35] != 32 or text[10] != 84:
                continue
            data = text[logline.DATA :] if text[43] == 70 else text[logline.DATA : -1]
            size = len(data)
            heads, stream = (stderr, 2) if text[39] == 101 else (stdout, 1)
            head = heads.get(size)
            if head is None:
                head = stdcopy.header(stream, size)
                if len(heads) < 4096:
                    heads[size] = head
            out += (head, data)
        return b"".join(out)


class Files:
    """The files of one log, opened, the oldest first; the last may still grow."""

    def __init__(self, paths: list[str]) -> None:
        """Open them. Those that rotation takes meanwhile are left out."""
        self.fds: list[int] = []
        try:
            for path in paths[-_MOST_FILES:]:
                with contextlib.suppress(FileNotFoundError):  # rotation has taken it meanwhile
                    self.fds.append(_open(path))
        except BaseException:
            self.close()
            raise

    def drop_first(self) -> None:
        """Close the oldest."""
        os.close(self.fds.pop(0))

    def close(self) -> None:
        """Close all."""
        for fd in self.fds:
            os.close(fd)
        self.fds.clear()

    __del__ = close  # a cancelled caller never gets what a thread opens for it


def _open(path: str) -> int:
    """A descriptor of the file's text; of an unnamed copy when it is compressed."""
    if not path.endswith(".gz"):
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    fd = os.open(os.path.dirname(path), os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    try:
        with igzip.open(path, "rb") as source, open(fd, "wb", closefd=False) as target:
            shutil.copyfileobj(source, target, 1 << 20)
    except BaseException:
        os.close(fd)
        raise
    return fd


def newer(fd: int, paths: list[str]) -> list[str]:
    """The files that came after the one behind ``fd``, when it is not the last any more."""
    inode = os.fstat(fd).st_ino
    for index, path in enumerate(paths):
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == inode:
                return paths[index + 1 :]
    return paths[-1:]  # it has been compressed or removed: what there is now is newer


async def read(
    core: engine.Core, container: model.Container, options: Options, *, raw: bool = False
) -> AsyncIterator[bytes]:
    """The log in the client's form, piece by piece; with ``follow`` until the container ends.

    The form is multiplexed, except with ``raw`` and for containers with a terminal.
    """
    details = b""
    if options.details:
        chosen = attributes.attributes(logkeeper.info(core, container))
        details = ",".join(f"{k}={v}" for k, v in sorted(chosen.items())).encode() + b" "
    await core.logs.settle(container)
    paths, json = logkeeper.files(core, container)
    parse = logline.parse_json if json else logline.parse
    formatter = Formatter(options, parse, raw=raw or container.record.config.tty, details=details)
    files = await asyncio.to_thread(Files, paths)
    changed = asyncio.Event()
    handle: tuple[int, int] | None = None
    try:
        offset = 0
        if options.tail >= 0:
            index, offset = await asyncio.to_thread(_tail, files.fds, options.tail, parts=not json)
            for _ in range(index):
                files.drop_first()
        rest = b""
        while True:
            changed.clear()
            live = options.follow and container.running
            if live and handle is None:
                handle = watch(core, paths, changed)
            while files.fds:
                while data := await asyncio.to_thread(os.pread, files.fds[0], _CHUNK, offset):
                    offset += len(data)
                    lines, rest = logline.split(rest + data)
                    if out := formatter.format(lines):
                        yield out
                    if formatter.past_until:
                        return
                if len(files.fds) == 1:
                    break
                files.drop_first()
                offset, rest = 0, b""
            if not live:
                return
            await _change_or_end(container, changed)
            if not container.running:
                await core.logs.settle(container)
            paths, _ = logkeeper.files(core, container)
            further = newer(files.fds[-1], paths) if files.fds else paths
            if further:
                more = await asyncio.to_thread(Files, further)
                files.fds += more.fds
                more.fds = []
                if handle is not None:
                    core.watcher.unwatch(handle)
                    handle = None
    finally:
        if handle is not None:
            core.watcher.unwatch(handle)
        files.close()


def watch(core: engine.Core, paths: list[str], changed: asyncio.Event) -> tuple[int, int] | None:
    """Have ``changed`` set when the last of the files changes; ``None`` when it is not there."""
    try:
        return core.watcher.watch(paths[-1], inotify.MODIFY, changed.set) if paths else None
    except OSError:
        return None


async def _change_or_end(container: model.Container, changed: asyncio.Event) -> None:
    ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
    container.exit_waiters.append(ended)
    waiting = asyncio.get_running_loop().create_task(changed.wait())
    either: set[asyncio.Future[Any]] = {ended, waiting}
    try:
        await asyncio.wait(either, timeout=_POLL, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        if ended in container.exit_waiters:
            container.exit_waiters.remove(ended)
