"""The resolver's process: ``python -m firkin.network.resolver.server FD``.

``FD`` is a listening Unix socket by which engines give their orders. Answers are kept as bytes,
by the bytes of their questions, until the names change: most questions cost one look-up.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import dnslib
import msgspec

from firkin import errdefs
from firkin.linux import netns, tasks
from firkin.network.resolver import answers, forward, inside, protocol, zone

log = logging.getLogger("firkin.resolver")

_BATCH = 64
_CACHE = 4096
_FORWARDED = 1024
_CONNECTIONS = 64
_IDLE = 10.0
_LINGER = 2.0
_LOOK = 5.0
_MAX_LINE = 64 << 20


class Place:
    """The name server's sockets of one container, and its answers."""

    def __init__(
        self, names: zone.Zone, client: protocol.Client, udp: socket.socket, tcp: socket.socket
    ) -> None:
        self.client = client
        self._names = names
        self._udp = udp
        self._tcp = tcp
        self._known: dict[bytes, collections.deque[bytes]] = {}
        self._tasks = tasks.Tasks(f"resolver of {client.id[:12]}")
        self._forwarding = 0
        self._connections = 0
        loop = asyncio.get_running_loop()
        loop.add_reader(udp, self._datagrams)
        loop.add_reader(tcp, self._connection)

    def forget(self) -> None:
        """The names have changed."""
        self._known.clear()

    async def close(self) -> None:
        loop = asyncio.get_running_loop()
        for one in (self._udp, self._tcp):
            loop.remove_reader(one)
            one.close()
        await self._tasks.close()

    def _local(self, message: bytes) -> bytes | answers.Question:
        """The answer to a message, or the question when others must be asked.

        Raises ``answers.Malformed`` for what deserves no answer.
        """
        known = self._known.get(message[2:])
        if known is None:
            question = answers.Question(message)
            found = question.local(self._names, self.client)
            if found is None:
                return question
            if len(self._known) >= _CACHE:
                self._known.clear()
            known = self._known[message[2:]] = collections.deque(found)
        known.rotate(-1)
        return message[:2] + known[0][2:]

    def _datagrams(self) -> None:
        for _ in range(_BATCH):
            try:
                message, sender = self._udp.recvfrom(4096)
            except OSError:
                return
            try:
                found = self._local(message)
            except answers.Malformed:
                continue
            if isinstance(found, bytes):
                self._send(self._fitting(found, message), sender)
            else:
                then = functools.partial(self._deliver, message, sender)
                self._ask(message, found, then, tcp=False)

    def _deliver(self, message: bytes, sender: Any, answer: bytes) -> None:
        self._send(self._fitting(answer, message), sender)

    @staticmethod
    def _fitting(answer: bytes, message: bytes) -> bytes:
        if len(answer) > answers.PLAIN_SIZE and len(answer) > answers.Question(message).size:
            return answers.truncated(answer)
        return answer

    def _send(self, answer: bytes, receiver: Any) -> None:
        with contextlib.suppress(OSError):  # it has gone, or does not read: it will ask again
            self._udp.sendto(answer, receiver)

    def _ask(
        self,
        message: bytes,
        question: answers.Question,
        then: Callable[[bytes], None],
        *,
        tcp: bool,
    ) -> None:
        servers = [
            one for one in self.client.nameservers if self.client.external or not one.from_host
        ]
        if not servers:
            # Without a way out there is no such name; with one, somebody has set up no server.
            alone = dnslib.RCODE.SERVFAIL if self.client.external else dnslib.RCODE.NXDOMAIN
            then(question.error(alone))
            return
        if self._forwarding >= _FORWARDED:
            then(question.error(dnslib.RCODE.SERVFAIL))
            return

        async def work() -> None:
            self._forwarding += 1
            try:
                answer = await forward.ask(message, servers, self.client.netns, tcp=tcp)
            finally:
                self._forwarding -= 1
            then(answer if answer is not None else question.error(dnslib.RCODE.SERVFAIL))

        self._tasks.spawn(work(), "a question")

    def _connection(self) -> None:
        try:
            one, _ = self._tcp.accept()
        except OSError:
            return
        if self._connections >= _CONNECTIONS:
            one.close()
            return
        self._connections += 1
        self._tasks.spawn(self._serve(one), "a connection")

    async def _serve(self, one: socket.socket) -> None:
        try:
            one.setblocking(False)
            reader, writer = await asyncio.open_connection(sock=one)
            try:
                while True:
                    async with asyncio.timeout(_IDLE):
                        length = int.from_bytes(await reader.readexactly(2), "big")
                        message = await reader.readexactly(length)
                    answer = await self._answer(message)
                    writer.write(len(answer).to_bytes(2, "big") + answer)
                    await writer.drain()
            finally:
                writer.close()
        except (OSError, TimeoutError, EOFError, answers.Malformed):
            pass
        finally:
            self._connections -= 1

    async def _answer(self, message: bytes) -> bytes:
        found = self._local(message)
        if isinstance(found, bytes):
            return found
        result: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def then(answer: bytes) -> None:
            if not result.done():
                result.set_result(answer)

        self._ask(message, found, then, tcp=True)
        return await result


class Server:
    """All places, and the engine's orders."""

    def __init__(self, listener: socket.socket) -> None:
        self._names = zone.Zone()
        self._places: dict[str, Place] = {}
        self._engines = 0
        self._listener = listener
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Serve until there is nothing more to serve."""
        server = await asyncio.start_unix_server(self._engine, sock=self._listener, limit=_MAX_LINE)
        async with server:
            while not self._ended.is_set():
                pause = _LOOK if self._places else _LINGER
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._ended.wait()
                if self._engines:
                    continue
                await self._drop_dead()
                if not self._places:
                    return

    async def _drop_dead(self) -> None:
        """No engine tells of ends now: look which namespaces nobody keeps any more."""
        gone = [key for key, place in self._places.items() if not netns.exists(place.client.netns)]
        for key in gone:
            await self._drop(key)
        if gone:
            self._forget()

    async def _engine(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._engines += 1
        try:
            writer.write(_line(protocol.Hello(version=protocol.VERSION, pid=os.getpid())))
            while line := await reader.readline():
                order = msgspec.json.decode(line, type=protocol.Order)
                writer.write(_line(await self._obey(order)))
                await writer.drain()
        except (OSError, msgspec.DecodeError) as error:
            log.warning("an engine's order: %s", error)
        finally:
            self._engines -= 1
            writer.close()

    async def _obey(self, order: protocol.Order) -> protocol.Answer:
        failed: dict[str, str] = {}
        if order.op == "quit":
            self._ended.set()
        elif order.op == "drop":
            await self._drop(order.id)
        else:
            if order.op == "sync":
                for key in set(self._places) - {client.id for client in order.clients}:
                    await self._drop(key)
            for client in order.clients:
                try:
                    await self._put(client)
                except (OSError, errdefs.FirkinError) as error:
                    failed[client.id] = str(error)
        self._forget()
        return protocol.Answer(failed=failed)

    async def _put(self, client: protocol.Client) -> None:
        self._names.put(client)
        place = self._places.get(client.id)
        if place is not None and place.client.netns == client.netns:
            place.client = client
            return
        if place is not None:
            await self._places.pop(client.id).close()
        udp, tcp = await asyncio.to_thread(inside.listen, client.netns)
        self._places[client.id] = Place(self._names, client, udp, tcp)

    async def _drop(self, client_id: str) -> None:
        self._names.drop(client_id)
        place = self._places.pop(client_id, None)
        if place is not None:
            await place.close()

    def _forget(self) -> None:
        for place in self._places.values():
            place.forget()


def _line(value: msgspec.Struct) -> bytes:
    return msgspec.json.encode(value) + b"\n"


def main() -> None:
    """Serve on the listening socket whose descriptor is the first argument."""
    logging.basicConfig(level="WARNING", format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    listener = socket.socket(fileno=int(sys.argv[1]))

    async def run() -> None:
        await Server(listener).run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
