"""A connection to a monitor's attach socket.

Bytes go both ways with back-pressure: while the consumer is slow nothing is read from the monitor,
and while the container does not read its input :meth:`Connection.write` waits.

A *held* connection delivers nothing until it is released. It can tell when the monitor sent its
first packet, by the clock that the monitor stamps log records with. A monitor brings what it has
read from the container to the log, then to its clients, before it reads on; so the packet is in the
log, and it is the youngest record that is not younger than the packet.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable

from firkin.wire import conmon as protocol

_PACKETS_A_TURN = 32
_SO_TIMESTAMPNS = 64
"""SO_TIMESTAMPNS_NEW of <asm-generic/socket.h>: packets have the time when they were sent."""
_TIMESPEC = struct.Struct("=qq")


class Connection:
    """One client of a monitor.

    ``deliver(packets)`` is called from the event loop with a list of ``(stream, data)``, stream
    being 1 or 2, and ``deliver(None)`` once at the end. It may call :meth:`pause`.
    """

    def __init__(
        self,
        path: str,
        deliver: Callable[[list[tuple[int, bytes]] | None], None],
        *,
        held: bool = False,
    ) -> None:
        """Connect. Raises ``OSError`` when nobody listens at ``path``."""
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._paused = held
        self._ended = False
        self._first: list[tuple[int, bytes]] = []
        self._skip = 0
        directory = os.open(os.path.dirname(path), os.O_PATH | os.O_CLOEXEC)
        try:
            # A socket's address is limited to 108 bytes; the directory's descriptor is short.
            self._socket.connect(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
        except BaseException:
            self._socket.close()
            raise
        finally:
            os.close(directory)
        if not held:
            self._loop.add_reader(self._socket, self._read)

    async def first(self) -> tuple[int, int, bytes] | None:
        """The first packet of a held connection: when it was sent, in nanoseconds since the
        epoch, its stream and its data.

        Waits for it; ``None`` when there is none because the monitor has ended.
        """
        readable = self._loop.create_future()

        def wake() -> None:
            self._loop.remove_reader(self._socket)
            if not readable.done():
                readable.set_result(None)

        self._loop.add_reader(self._socket, wake)
        try:
            await readable
        finally:
            if self._socket.fileno() >= 0:
                self._loop.remove_reader(self._socket)
        try:
            packet, notes, _, _ = self._socket.recvmsg(protocol.PACKET_SIZE, 64)
        except OSError:
            return None
        if not packet:
            return None
        stream, data = _parsed(packet)
        self._first = [(stream, data)]
        sent = 0
        for level, kind, note in notes:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, nanoseconds = _TIMESPEC.unpack_from(note)
                sent = seconds * 1_000_000_000 + nanoseconds
        return sent, stream, data

    def release(self, skip: int) -> None:
        """Deliver what a held connection has got, but for the first ``skip`` bytes, and go on."""
        self._skip = skip
        first, self._first = self._cut(self._first), []
        self._paused = False
        if self._ended:
            return
        self._loop.add_reader(self._socket, self._read)
        if first:
            self._deliver(first)

    def _cut(self, packets: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        """The packets without the bytes that are to be left out."""
        left: list[tuple[int, bytes]] = []
        for stream, data in packets:
            taken = min(self._skip, len(data))
            self._skip -= taken
            if taken < len(data):
                left.append((stream, data[taken:] if taken else data))
        return left

    def _read(self) -> None:
        packets: list[tuple[int, bytes]] = []
        ended = False
        for _ in range(_PACKETS_A_TURN):
            try:
                packet = self._socket.recv(protocol.PACKET_SIZE)
            except BlockingIOError:
                break
            except OSError:
                packet = b""
            if not packet:
                ended = True
                break
            packets.append(_parsed(packet))
        if self._skip:
            packets = self._cut(packets)
        if packets:
            self._deliver(packets)
        if ended:
            self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._loop.remove_reader(self._socket)
        self._deliver(None)

    def pause(self) -> None:
        """Stop delivering until :meth:`resume`."""
        if not self._paused and not self._ended:
            self._paused = True
            self._loop.remove_reader(self._socket)

    def resume(self) -> None:
        """Deliver again."""
        if self._paused and not self._ended:
            self._paused = False
            self._loop.add_reader(self._socket, self._read)

    async def write(self, data: bytes) -> None:
        """Send standard input; waits while the container is not reading. Silent after the end."""
        for start in range(0, len(data), protocol.STDIN_CHUNK):
            chunk = data[start : start + protocol.STDIN_CHUNK]
            while not self._ended and self._socket.fileno() >= 0:
                try:
                    self._socket.send(chunk)
                    break
                except BlockingIOError:
                    await self._writable()
                except OSError:
                    return

    async def _writable(self) -> None:
        ready = self._loop.create_future()

        def wake() -> None:
            self._loop.remove_writer(self._socket)
            if not ready.done():
                ready.set_result(None)

        self._loop.add_writer(self._socket, wake)
        try:
            await ready
        finally:
            if self._socket.fileno() >= 0:
                self._loop.remove_writer(self._socket)

    def write_eof(self) -> None:
        """Tell the monitor that no more input will come."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        """Leave. No more is delivered."""
        if self._socket.fileno() >= 0:
            self._ended = True
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._socket.close()

    def drain(self) -> None:
        """Stay connected until the monitor ends, throwing its output away.

        For a container whose input ends with its client: were we to leave, the monitor would take
        our going for the end of input.
        """
        self._deliver = self._drained
        self._first, self._skip = [], 0
        self.resume()

    def adopt(
        self, deliver: Callable[[list[tuple[int, bytes]] | None], None], *, held: bool = False
    ) -> bool:
        """Deliver to another consumer what :meth:`drain` would throw away from now on.

        Tells whether there is still a monitor to deliver from.
        """
        if self._ended:
            return False
        self._deliver = deliver
        if held:
            self.pause()
        return True

    def _drained(self, packets: list[tuple[int, bytes]] | None) -> None:
        if packets is None:
            self._socket.close()


def _parsed(packet: bytes) -> tuple[int, bytes]:
    return 2 if packet[0] == protocol.STDERR else 1, packet[1:]
