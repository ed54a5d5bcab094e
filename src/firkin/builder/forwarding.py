"""An SSH agent for one step: a socket of its own, with the owner and the mode that it asks for."""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
from collections.abc import AsyncIterator

from firkin import errdefs

_CHUNK = 1 << 15


@contextlib.asynccontextmanager
async def socket(agent: str, directory: str, mode: int, uid: int, gid: int) -> AsyncIterator[str]:
    """The path of a socket in ``directory`` that leads to the agent's, while inside of this.

    Raises ``InvalidParameter`` when there is no agent.
    """
    try:
        there = stat.S_ISSOCK(os.stat(agent).st_mode)
    except OSError:
        there = False
    if not there:
        raise errdefs.InvalidParameter(
            f"no SSH agent answers at {agent}: start one (ssh-agent) and name its socket with --ssh"
        )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ExceptionGroup):
            inner, outer = await asyncio.open_unix_connection(agent)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pump(reader, outer))
                    group.create_task(_pump(inner, writer))
            finally:
                outer.close()
        writer.close()

    path = os.path.join(directory, "agent")
    server = await asyncio.start_unix_server(serve, path)
    try:
        os.chown(path, uid, gid)
        os.chmod(path, mode)
        yield path
    finally:
        server.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()
