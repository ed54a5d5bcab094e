"""ContainerLogs: reading a container's log file, from its end, by time, and as it grows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import model, streams
from firkin.linux import inotify
from firkin.wire import logline, stdcopy

_CHUNK = 1 << 18
_POLL = 1.0


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
    if container.record.host.log_config.type == "none":
        raise errdefs.NotImplemented(
            "configured logging driver does not support reading: the container was created with "
            "--log-driver none"
        )


def _tail_offset(path: str, count: int) -> int:
    """Where the last ``count`` lines begin. A line logged in parts ends with its last part."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
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
                    if last or data[start + 43 : start + 44] == b"F":
                        ends += 1
                        if ends > count:
                            return following
                    following = begin + start
                if index < 0:
                    break
                index = data.rfind(b"\n", 0, index)
            position = begin
        return 0
    finally:
        os.close(fd)


class _Formatter:
    """From log records to what the client gets."""

    def __init__(self, options: Options, *, raw: bool, details: bytes) -> None:
        self._options = options
        self._raw = raw
        self._details = details
        self._since = logline.nano_key(options.since) if options.since else b""
        self._until = logline.nano_key(options.until) if options.until else b""
        self._fresh = {1: True, 2: True}
        self.past_until = False

    def format(self, lines: list[bytes]) -> bytes:
        """The bytes for ``lines``, in multiplexed form unless raw."""
        options = self._options
        wanted = (False, options.stdout, options.stderr)
        since, until, raw = self._since, self._until, self._raw
        decorate = options.timestamps or bool(self._details)
        out: list[bytes] = []
        for text in lines:
            line = logline.parse(text)
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


async def read(
    core: engine.Core, container: model.Container, options: Options, *, raw: bool = False
) -> AsyncIterator[bytes]:
    """The log in the client's form, piece by piece; with ``follow`` until the container ends.

    The form is multiplexed, except with ``raw`` and for containers with a terminal.
    """
    path = core.log_path(container.id)
    details = b""
    if options.details:
        labels = container.record.config.labels or {}
        details = ",".join(f"{k}={v}" for k, v in sorted(labels.items())).encode() + b" "
    formatter = _Formatter(options, raw=raw or container.record.config.tty, details=details)
    offset = 0
    if options.tail >= 0:
        offset = await asyncio.to_thread(_tail_offset, path, options.tail)
    changed = asyncio.Event()
    handle: tuple[int, int] | None = None
    if options.follow and container.running:
        try:
            handle = core.watcher.watch(path, inotify.MODIFY, changed.set)
        except OSError:
            handle = None
    fd = -1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        rest = b""
        while True:
            changed.clear()
            live = options.follow and container.running
            while data := await asyncio.to_thread(os.pread, fd, _CHUNK, offset):
                offset += len(data)
                lines, rest = logline.split(rest + data)
                if out := formatter.format(lines):
                    yield out
                if formatter.past_until:
                    return
            if not live:
                return
            await _change_or_end(container, changed)
    except FileNotFoundError:
        return
    finally:
        if handle is not None:
            core.watcher.unwatch(handle)
        if fd >= 0:
            os.close(fd)


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


async def replay(
    core: engine.Core,
    container: model.Container,
    client: streams.Client,
    *,
    raw: bool,
    stdout: bool,
    stderr: bool,
) -> None:
    """Send the whole log so far to a client that attaches with ``logs``."""
    if container.record.host.log_config.type == "none":
        return
    async for data in read(core, container, Options(stdout=stdout, stderr=stderr), raw=raw):
        if not client.write(data):
            await client.drained()
