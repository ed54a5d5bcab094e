"""Attach with ``logs``: what the container has said so far, then what it says, as one stream.

The monitor cuts what it reads from the container into packets; it writes each to the log and then
sends it to whoever is attached (``firkin.runtime.attach``). So a client that attaches gets from
some packet on what the log gets too, and the one question is which part of the log that packet is.
The log is read to its end before and after the first packet has come: the packet is within, and
the time when it was sent tells where. What the client has got of it from the log is left out of
the live output; a packet that the log has lost meanwhile (it keeps little) is not taken for
another. While the client gets the past nothing is read from the monitor, so no more than what a
socket holds is in both.

``json-file`` takes entries out of the spool as it writes them into its own files: both are opened
between two passes of its forwarder, so that the spool goes on where those files end.
"""

from __future__ import annotations

import asyncio
import collections
import os
import zlib

from firkin.engine import core as engine
from firkin.engine.containers import logkeeper, logs, model, streams
from firkin.linux import tasks
from firkin.logger import spool
from firkin.wire import logline, stdcopy

_PIECE = 1 << 18
_PACKETS = 1 << 16
"""How many of the last packets are known: more than a socket between monitor and engine holds."""


class Past:
    """A container's log as it is at one moment, opened; of the spool, also what comes after."""

    def __init__(self, json: list[str], home: str, position: spool.Position | None) -> None:
        """``json`` are the files that hold what is before ``position`` in the spool."""
        self._spool = spool.Spool(home)
        self._json = logs.Files(json)
        self._sizes = [os.fstat(fd).st_size for fd in self._json.fds]
        segments = self._spool.segments()
        self._offset = 0
        if position is not None:
            segments = [one for one in segments if one.number >= position.segment]
            if segments and segments[0].number == position.segment:
                self._offset = position.offset
        self._files = logs.Files([segment.path for segment in segments])
        self._rest = b""

    async def delivered(self) -> list[logline.Line]:
        """The next lines of the JSON files; empty at their end."""
        while self._json.fds:
            size = min(_PIECE, self._sizes[0])
            data = await asyncio.to_thread(os.read, self._json.fds[0], size) if size else b""
            self._sizes[0] -= len(data)
            lines, self._rest = logline.split(self._rest + data)
            if found := [line for line in map(logline.parse_json, lines) if line is not None]:
                return found
            if not data:
                self._json.drop_first()
                del self._sizes[0]
                self._rest = b""
        return []

    async def more(self) -> list[logline.Line]:
        """The next records of the spool; empty at its present end."""
        while True:
            while self._files.fds:
                data = await asyncio.to_thread(os.pread, self._files.fds[0], _PIECE, self._offset)
                self._offset += len(data)
                lines, self._rest = logline.split(self._rest + data)
                if found := [line for line in map(logline.parse, lines) if line is not None]:
                    return found
                if data:
                    continue
                if len(self._files.fds) == 1:
                    break
                self._files.drop_first()
                self._offset, self._rest = 0, b""
            paths = [segment.path for segment in self._spool.segments()]
            further = logs.newer(self._files.fds[-1], paths) if self._files.fds else paths
            if not further:
                return []
            opened = await asyncio.to_thread(logs.Files, further)
            self._files.fds += opened.fds
            opened.fds = []

    def close(self) -> None:
        """Close the files."""
        self._json.close()
        self._files.close()


async def past(core: engine.Core, container: model.Container) -> Past | None:
    """The log now; ``None`` where the driver keeps nothing that can be read."""
    if not logkeeper.readable(container):
        return None
    home = core.home(container.id)
    if not logkeeper.files(core, container)[1]:
        return await asyncio.to_thread(Past, [], home, None)

    def consistent(position: spool.Position) -> Past:
        return Past(logkeeper.files(core, container)[0], home, position)

    while True:
        if (forwarder := core.logs.forwarder_of(container)) is not None:
            found = await forwarder.look(consistent)
            if found is not None:
                return found
            await asyncio.sleep(0)  # its end is near
            continue
        found = await asyncio.to_thread(lambda: consistent(spool.Spool(home).position()))
        if core.logs.forwarder_of(container) is None:
            return found
        found.close()


class _Packet:
    """What came in one packet; ``before`` is how many bytes had been told until then."""

    __slots__ = ("before", "checksum", "size", "stream", "time")

    def __init__(self, time: bytes, stream: int, before: int) -> None:
        self.time = time
        self.stream = stream
        self.before = before
        self.size = self.checksum = 0


class _Teller:
    """Gives lines to the client, and remembers which bytes came in which packet."""

    def __init__(self, client: streams.Client, *, raw: bool, stdout: bool, stderr: bool) -> None:
        self._client = client
        self._raw = raw
        self._wanted = (False, stdout, stderr)
        self._told = 0
        self._packets: collections.deque[_Packet] = collections.deque(maxlen=_PACKETS)
        self._last = _Packet(b"", 0, 0)

    async def tell(self, lines: list[logline.Line]) -> None:
        """Give ``lines``; waits while the client is behind."""
        out: list[bytes] = []
        last = self._last
        for time, stream, data in lines:
            if time != last.time or stream != last.stream:
                last = _Packet(time, stream, self._told)
                self._packets.append(last)
            size = len(data)
            last.checksum = zlib.crc32(data, last.checksum)
            last.size += size
            self._told += size
            if self._wanted[stream]:
                if not self._raw:
                    out.append(stdcopy.header(stream, size))
                out.append(data)
        self._last = last
        if out and not self._client.write(b"".join(out)):
            await self._client.drained()

    def since(self, sent: int, stream: int, data: bytes) -> int:
        """How many bytes were told from the packet on that was sent at this time, in nanoseconds
        since the epoch; 0 when it was not among them."""
        key = logline.nano_key(sent)
        for packet in reversed(self._packets):
            if packet.time <= key:
                same = (packet.stream, packet.size) == (stream, len(data))
                if same and packet.checksum == zlib.crc32(data):
                    return self._told - packet.before
                break
        return 0


async def tell(
    core: engine.Core,
    container: model.Container,
    client: streams.Client,
    session: streams.Session,
    said: Past | None,
    *,
    stdout: bool,
    stderr: bool,
) -> None:
    """Give the client the log, and release the held ``session`` at the place where it ends."""
    if said is None:
        session.release(0)
        return
    teller = _Teller(client, raw=session.raw, stdout=stdout, stderr=stderr)
    changed = asyncio.Event()
    handle = logs.watch(core, [core.log_path(container.id)], changed)
    helpers = tasks.Tasks(f"attach to {container.short}")
    first = helpers.spawn_quiet(session.first(), "first packet")
    try:
        while lines := await said.delivered():
            await teller.tell(lines)
        while True:
            changed.clear()
            last = first.done()
            while lines := await said.more():
                await teller.tell(lines)
            if last:
                break
            change = helpers.spawn_quiet(changed.wait(), "log")
            await asyncio.wait({first, change}, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
        sent = first.result()
    finally:
        await helpers.close()
        if handle is not None:
            core.watcher.unwatch(handle)
    session.release(0 if sent is None else teller.since(*sent))
