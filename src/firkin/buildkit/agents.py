"""A client's ssh agents as sockets that a step can have mounted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets

from firkin import errdefs
from firkin.buildkit import session as sessions
from firkin.buildkit.pb import common_pb2
from firkin.linux import tasks

_CHUNK = 32 << 10


class Agents:
    """A :class:`firkin.builder.request.Agents` over a session; ``directory`` is for its sockets."""

    def __init__(self, session: sessions.Session, directory: str) -> None:
        self._session = session
        self._directory = directory
        self._servers: dict[str, tuple[asyncio.Server, str]] = {}
        self._tasks = tasks.Tasks("ssh agents")

    async def socket(self, identity: str) -> str | None:
        """See ``Agents.socket``."""
        if identity in self._servers:
            return self._servers[identity][1]
        if not await self._session.has_agent(identity):
            return None
        path = os.path.join(self._directory, f"agent-{secrets.token_hex(8)}")

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(identity, reader, writer)

        self._servers[identity] = await asyncio.start_unix_server(serve, path), path
        os.chmod(path, 0o666)  # a step may run as anybody; nobody else sees the directory
        return path

    async def _serve(
        self, identity: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(errdefs.FirkinError, ConnectionError):
            async with self._session.agent(identity) as stream:
                await stream.send_request()

                async def answer() -> None:
                    while (message := await stream.recv_message()) is not None:
                        writer.write(message.data)
                        await writer.drain()

                answering = self._tasks.spawn_quiet(answer(), "answer")
                try:
                    while data := await reader.read(_CHUNK):
                        await stream.send_message(common_pb2.Bytes(data=data))
                    await stream.end()
                    await answering
                finally:
                    answering.cancel()
        writer.close()

    async def close(self) -> None:
        """End all conversations and remove the sockets."""
        for server, path in self._servers.values():
            server.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._servers.clear()
        await self._tasks.close()
