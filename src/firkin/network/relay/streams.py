"""TCP: connections to a port of the host, each with one to the container.

Bytes go through a pipe by splice(2) and are never copied into this process. A pipe is borrowed only
while something is in it, so an idle connection has two descriptors. Each side's end is passed on
by itself, since a client may end its input and still wait for the answer; what breaks on one side
is broken off on the other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import socket
import struct

from firkin.network.relay import poller as pollers
from firkin.network.relay import protocol

_CHUNK = 1 << 17
_TURN = 8 << 20
_ACCEPTED = 64
_SPARE_PIPES = 16
_PAUSE = 0.1
_BACKLOG = 4096
_F_SETPIPE_SZ = 1031
_BREAK = struct.pack("ii", 1, 0)
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Pipes:
    """Empty pipes, to be used again."""

    def __init__(self) -> None:
        self._spare: list[tuple[int, int]] = []

    def take(self) -> tuple[int, int]:
        """(read end, write end). Raises ``OSError``."""
        if self._spare:
            return self._spare.pop()
        pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # beyond a limit of the user: smaller ones do
            fcntl.fcntl(pipe[1], _F_SETPIPE_SZ, _CHUNK)
        return pipe

    def give_back(self, pipe: tuple[int, int], *, empty: bool) -> None:
        if empty and len(self._spare) < _SPARE_PIPES:
            self._spare.append(pipe)
        else:
            os.close(pipe[0])
            os.close(pipe[1])


class Direction:
    """What goes from one socket to the other."""

    def __init__(self, pipes: Pipes, source: socket.socket, sink: socket.socket) -> None:
        self._pipes = pipes
        self._source = source
        self._sink = sink
        self._pipe: tuple[int, int] | None = None
        self._held = 0
        self._ended = False
        self.done = False

    def pump(self) -> bool:
        """Move what can be moved; whether there may be more at once. Raises ``OSError``."""
        moved = 0
        try:
            while not self.done and moved < _TURN:
                if not self._held and not self._ended:
                    if self._pipe is None:
                        self._pipe = self._pipes.take()
                    self._held = os.splice(
                        self._source.fileno(), self._pipe[1], _CHUNK, flags=os.SPLICE_F_NONBLOCK
                    )
                    self._ended = not self._held
                if self._held and self._pipe is not None:
                    sent = os.splice(
                        self._pipe[0], self._sink.fileno(), self._held, flags=os.SPLICE_F_NONBLOCK
                    )
                    self._held -= sent
                    moved += sent
                elif self._ended:
                    self.done = True
                    self._sink.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            return False
        finally:
            if self._pipe is not None and not self._held:
                self.release()
        return not self.done

    def release(self) -> None:
        if self._pipe is not None:
            self._pipes.give_back(self._pipe, empty=not self._held)
            self._pipe = None


class Connection:
    """A client's connection and the one to the container."""

    def __init__(self, owner: Streams, client: socket.socket) -> None:
        self._owner = owner
        target = owner.port
        family = socket.AF_INET6 if ":" in target.target else socket.AF_INET
        self._client = client
        self._server = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._connected = False
        self._again = False
        try:
            client.setblocking(False)
            for one in (client, self._server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            with contextlib.suppress(BlockingIOError):
                self._server.connect((target.target, target.target_port))
            self._directions = (
                Direction(owner.pipes, client, self._server),
                Direction(owner.pipes, self._server, client),
            )
            for one in (self._server, client):
                owner.poller.add(one.fileno(), self._ready, pollers.BOTH)
        except BaseException:
            self.end(broken=True)
            raise

    def _ready(self, events: int) -> None:
        if not self._connected:
            if error := self._server.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._owner.forget(self, broken=bool(error))
                return
            try:
                self._server.getpeername()
            except OSError:  # the client was ready, the container is not yet
                return
            self._connected = True
        self._pump()

    def _pump(self) -> None:
        self._again = False
        try:
            more = [direction.pump() for direction in self._directions]
        except OSError:
            self._owner.forget(self, broken=True)
            return
        if all(direction.done for direction in self._directions):
            self._owner.forget(self, broken=False)
        elif any(more) and not self._again:
            self._again = True
            self._owner.poller.soon(self._continue)

    def _continue(self) -> None:
        if self._again:
            self._pump()

    def end(self, *, broken: bool) -> None:
        """Close both sides; ``broken`` tells both that it was not the end."""
        self._again = False
        for direction in getattr(self, "_directions", ()):
            direction.release()
        for one in (self._client, self._server):
            if one.fileno() >= 0:
                self._owner.poller.drop(one.fileno())
                if broken:
                    with contextlib.suppress(OSError):
                        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _BREAK)
                one.close()


class Streams:
    """A port of TCP."""

    def __init__(
        self, poller: pollers.Poller, pipes: Pipes, port: protocol.Port, listener: socket.socket
    ) -> None:
        self.poller = poller
        self.pipes = pipes
        self.port = port
        self.listener = listener
        self._connections: set[Connection] = set()
        self._closed = False
        listener.setblocking(False)
        # Connections inherit it: those that are closing do not keep the next one from the port.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.listen(_BACKLOG)
        poller.add(listener.fileno(), self._accept)

    def _accept(self, events: int) -> None:
        for _ in range(_ACCEPTED):
            try:
                client, _ = self.listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _FULL:
                    self._pause()
                return
            try:
                self._connections.add(Connection(self, client))
            except OSError as error:
                client.close()
                if error.errno in _FULL:
                    self._pause()
                    return

    def _pause(self) -> None:
        """No descriptor is free: let clients wait in the kernel's queue."""
        self.poller.drop(self.listener.fileno())
        self.poller.later(_PAUSE, self._resume)

    def _resume(self) -> None:
        if not self._closed:
            self.poller.add(self.listener.fileno(), self._accept, select.EPOLLIN)

    def forget(self, connection: Connection, *, broken: bool) -> None:
        """End a connection."""
        self._connections.discard(connection)
        connection.end(broken=broken)

    def close(self) -> None:
        """End the port and its connections."""
        self._closed = True
        self.poller.drop(self.listener.fileno())
        with contextlib.suppress(OSError):  # the engine holds the socket too: it must not listen
            self.listener.shutdown(socket.SHUT_RD)
        self.listener.close()
        for connection in list(self._connections):
            self.forget(connection, broken=True)
