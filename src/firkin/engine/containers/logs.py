"""ContainerLogs: reading a container's log files, from their end, by time, and as they grow."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import logfiles, logkeeper, model
from firkin.linux import inotify
from firkin.logger import options as attributes
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
        raise errdefs.InvalidParameter(
            "Bad parameters: you must choose at least one stream: must specify at least one of "
            "'stdout' or 'stderr'"
        )
    if not logkeeper.readable(container):
        asked = "--log-driver none"
        if container.record.host.log_config.type != logkeeper.NONE:
            asked = "--log-opt cache-disabled=true"
        raise errdefs.NotImplemented(
            "configured logging driver does not support reading: the container was created with "
            + asked
        )


def _tail(log: logfiles.Files, count: int, *, parts: bool) -> tuple[int, int]:
    """Where the last ``count`` lines of a log begin: in which of its files, and the offset.

    With ``parts`` a line may be logged in parts, and ends with its last one.
    """
    with log.lock:
        for index in range(len(log.files) - 1, -1, -1):
            found, offset = _tail_of(log.files[index].text(), count, parts=parts)
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
    live, listing, json = logkeeper.files(core, container)
    if json:
        await core.logs.settle(container)
    parse = logline.parse_json if json else logline.parse
    formatter = Formatter(options, parse, raw=raw or container.record.config.tty, details=details)
    log = await asyncio.to_thread(logfiles.Files, live, listing, follows=options.follow)
    with contextlib.ExitStack() as held:
        held.callback(log.close)
        if options.follow:
            held.enter_context(core.logs.following(container, log))
        if options.tail >= 0:
            log.seek(*await asyncio.to_thread(_tail, log, options.tail, parts=not json))
        watch = held.enter_context(Watch(core, live))
        rest, complete = b"", False
        while True:
            watch.changed.clear()
            last_round = complete or not options.follow
            if not last_round:
                watch.on(log.files)
            while True:
                data, begins = await asyncio.to_thread(log.piece, _CHUNK)
                if not data:
                    break
                lines, rest = logline.split(data if begins else rest + data)
                if out := formatter.format(lines):
                    yield out
                if formatter.past_until:
                    return
            if last_round:
                return
            running = container.running
            if running:
                await _change_or_end(container, watch.changed)
            complete = not (running or container.running) and (
                not json or await core.logs.settle(container)
            )
            await asyncio.to_thread(log.extend)


class Watch:
    """Tells, by ``changed``, when the newest file of a log, at the path ``live``, grows."""

    def __init__(self, core: engine.Core, live: str) -> None:
        self._watcher = core.watcher
        self._live = live
        self._handle: tuple[int, int] | None = None
        self._file: logfiles.File | None = None
        self.changed = asyncio.Event()

    def on(self, files: list[logfiles.File]) -> None:
        """Watch the newest of these files, the last."""
        newest = files[-1] if files else None
        if newest is not None and newest is not self._file:
            self.leave()
            with contextlib.suppress(OSError):  # it is looked at now and then
                self._handle = self._watcher.watch(self._live, inotify.MODIFY, self.changed.set)
                self._file = newest

    def leave(self) -> None:
        """Watch no more."""
        handle, self._handle, self._file = self._handle, None, None
        if handle is not None:
            self._watcher.unwatch(handle)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()


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
