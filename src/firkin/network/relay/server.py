"""The relay's process: ``python -m firkin.network.relay.server FD``.

``FD`` is a listening Unix socket (of packets) by which engines give their orders. Without ports
there is nothing to do, and the process ends: soon when no engine is there, else after a minute.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from typing import Any

from firkin.linux import confine, descriptors, netns
from firkin.network.relay import datagrams, protocol, streams
from firkin.network.relay import poller as pollers

_LINGER = 3.0
_LOOK = 5.0
_IDLE = 60.0
_TIMEOUT = 5.0


class Server:
    """All ports, and the engines' orders."""

    def __init__(self, listener: socket.socket) -> None:
        self._poller = pollers.Poller()
        self._pipes = streams.Pipes()
        self._listener = listener
        self._ports: dict[protocol.Port, streams.Streams | datagrams.Datagrams] = {}
        self._engines: set[socket.socket] = set()
        self._ended = False
        self._used = time.monotonic()

    def run(self) -> None:
        """Serve until there is nothing more to serve."""
        self._listener.setblocking(False)
        self._poller.add(self._listener.fileno(), self._welcome)
        self._poller.later(_LINGER, self._look)
        while not self._ended:
            self._poller.turn()

    def _look(self) -> None:
        if not self._engines:  # nobody tells of ends now: whose namespace is there still?
            for port in [port for port in self._ports if not netns.exists(port.netns)]:
                self._ports.pop(port).close()
        if self._ports:
            self._used = time.monotonic()
        elif not self._engines or time.monotonic() - self._used > _IDLE:
            self._ended = True
        self._poller.later(_LOOK, self._look)

    def _welcome(self, events: int) -> None:
        with contextlib.suppress(OSError):
            engine, _ = self._listener.accept()
            engine.settimeout(_TIMEOUT)
            try:
                hello = {"version": protocol.VERSION, "pid": os.getpid(), "ports": len(self._ports)}
                protocol.send(engine, hello)
                for port, one in self._ports.items():
                    protocol.send(engine, {"port": port}, [one.listener.fileno()])
                self._poller.add(engine.fileno(), lambda _: self._order(engine))
            except OSError:
                engine.close()
                return
            self._engines.add(engine)

    def _order(self, engine: socket.socket) -> None:
        try:
            message, fd = protocol.receive(engine)
            protocol.send(engine, {"error": self._obey(message, fd)})
        except (OSError, EOFError, ValueError):
            self._poller.drop(engine.fileno())
            self._engines.discard(engine)
            engine.close()

    def _obey(self, message: dict[str, Any], fd: int) -> str:
        """Carry out an order; what went wrong."""
        if message.get("op") == "quit":
            self._ended = True
            return ""
        given = socket.socket(fileno=fd) if fd >= 0 else None
        try:
            port = protocol.Port(*message["port"])
            known = self._ports.pop(port, None)
            if known is not None:
                known.close()
            if message["op"] == "put" and given is not None:
                self._ports[port] = self._serve(port, given)
                given = None
        except (OSError, KeyError, TypeError) as error:
            return str(error) or repr(error)
        finally:
            if given is not None:
                given.close()
        return ""

    def _serve(
        self, port: protocol.Port, listener: socket.socket
    ) -> streams.Streams | datagrams.Datagrams:
        if port.proto == "udp":
            return datagrams.Datagrams(self._poller, port, listener)
        return streams.Streams(self._poller, self._pipes, port, listener)


def main() -> None:
    """Serve on the listening socket whose descriptor is the first argument."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    descriptors.take_all()
    if os.geteuid() == 0:
        # It is handed bound sockets, and looks whether namespaces are there: no more is needed.
        confine.keep_capabilities((confine.CAP_DAC_READ_SEARCH,))
    Server(listener).run()


if __name__ == "__main__":
    main()
