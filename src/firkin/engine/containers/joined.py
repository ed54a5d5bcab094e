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
from collections.abc import Callable

from firkin.engine import core as engine
from firkin.engine.containers import logfiles, logkeeper, logs, model, streams
from firkin.linux import tasks
from firkin.logger import spool
from firkin.wire import logline, stdcopy

_PIECE = 1 << 18
_PACKETS = 1 << 16
"""How many of the last packets are known: more than a socket between monitor and engine holds."""


class Past:
    """A container's log as it is at one moment, opened; of the spool, also what comes after."""

    def __init__(
        self, json: Callable[[], list[str]] | None, home: str, position: spool.Position | None
    ) -> None:
        """``json`` lists the files that hold what is before ``position`` in the spool."""
        store = spool.Spool(home)
        first = 0 if position is None else position.segment

        def listing() -> list[str]:
            return [segment.path for segment in store.segments() if segment.number >= first]

        self._json = logfiles.Files("", json or list, follows=False)
        self._sizes = [os.fstat(file.text()).st_size for file in self._json.files]
        self.log = logfiles.Files(store.live_path, listing, follows=True)
        if position is not None and any(one.number == first for one in store.segments()):
            self.log.seek(0, position.offset)
        self._rest = b""

    async def delivered(self) -> list[logline.Line]:
        """The next lines of the JSON files; empty at their end."""
        while self._sizes:
            fd = self._json.files[0].text()
            size = min(_PIECE, self._sizes[0])
            data = await asyncio.to_thread(os.read, fd, size) if size else b""
            self._sizes[0] -= len(data)
            lines, self._rest = logline.split(self._rest + data)
            if found := [line for line in map(logline.parse_json, lines) if line is not None]:
                return found
            if not data:
                self._json.seek(1, 0)
                del self._sizes[0]
                self._rest = b""
        return []

    async def more(self) -> list[logline.Line]:
        """The next records of the spool; empty at its present end."""
        while True:
            data, begins = await asyncio.to_thread(self.log.piece, _PIECE)
            lines, self._rest = logline.split(data if begins else self._rest + data)
            if found := [line for line in map(logline.parse, lines) if line is not None]:
                return found
            if not data:
                return []

    def close(self) -> None:
        """Close the files."""
        self._json.close()
        self.log.close()


async def past(core: engine.Core, container: model.Container) -> Past | None:
    """The log now; ``None`` where the driver keeps nothing that can be read."""
    if not logkeeper.readable(container):
        return None
    home = core.home(container.id)
    _, listing, json = logkeeper.files(core, container)
    if not json:
        return await asyncio.to_thread(Past, None, home, None)

    def consistent(position: spool.Position) -> Past:
        return Past(listing, home, position)

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
    watch = logs.Watch(core, core.log_path(container.id))
    helpers = tasks.Tasks(f"attach to {container.short}")
    first = helpers.spawn_quiet(session.first(), "first packet")
    try:
        while lines := await said.delivered():
            await teller.tell(lines)
        while True:
            watch.changed.clear()
            watch.on(said.log.files)
            last = first.done()
            while lines := await said.more():
                await teller.tell(lines)
            if last:
                break
            change = helpers.spawn_quiet(watch.changed.wait(), "log")
            await asyncio.wait({first, change}, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()
        sent = first.result()
    finally:
        await helpers.close()
        watch.leave()
    session.release(0 if sent is None else teller.since(*sent))
