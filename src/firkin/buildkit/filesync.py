"""Trees of files over a session: a client's directories to us, and a build's result to it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

from google.protobuf import message

from firkin import errdefs
from firkin.buildkit import fsutil
from firkin.buildkit import session as sessions
from firkin.buildkit.pb import common_pb2, fsutil_pb2
from firkin.linux import failures

_BATCH = 64
"""Packets that go to the disk, or come from it, in one visit of a thread."""


async def receive(
    session: sessions.Session,
    name: str,
    destination: str,
    options: Mapping[str, Sequence[str]],
    moved: Callable[[int], None],
    owner: tuple[int, int] | None = None,
) -> None:
    """Make the directory ``destination`` the same as the client's directory ``name``.

    ``moved`` hears how many bytes of files have come so far; ``owner`` has all files in the end, by
    default who has them at the client. Raises ``InvalidParameter``,
    ``Unavailable`` when the client goes away, ``System`` when the disk fails.
    """
    receiver = fsutil.Receiver(destination, owner)
    total = 0
    try:
        async with session.files(name, options) as stream:
            await stream.send_request()
            queue: asyncio.Queue[fsutil_pb2.Packet | None] = asyncio.Queue(_BATCH * 4)

            async def read() -> None:
                packet: fsutil_pb2.Packet | None = fsutil_pb2.Packet()
                while packet is not None:
                    packet = await stream.recv_message()
                    await queue.put(packet)

            async with asyncio.TaskGroup() as group:
                reader = group.create_task(read())
                while not receiver.done:
                    batch = [await queue.get()]
                    while not queue.empty() and len(batch) < _BATCH:
                        batch.append(queue.get_nowait())
                    packets = [packet for packet in batch if packet is not None]
                    with failures.told(f"receive the client's {name}"):
                        answers = await asyncio.to_thread(_take_all, receiver, packets)
                    for answer in answers:
                        last = answer.type == fsutil_pb2.Packet.FIN
                        await stream.send_message(answer, end=last)
                    total += sum(len(packet.data) for packet in packets)
                    moved(total)
                    if len(packets) < len(batch) and not receiver.done:
                        raise errdefs.Unavailable(f"the client stopped sending its {name}")
                await reader
    except* errdefs.FirkinError as group_error:
        raise _first(group_error) from None
    finally:
        receiver.close()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _take_all(
    receiver: fsutil.Receiver, packets: Iterable[fsutil_pb2.Packet]
) -> list[fsutil_pb2.Packet]:
    return [answer for packet in packets for answer in receiver.take(packet)]


async def send_tree(
    session: sessions.Session,
    directory: str,
    metadata: Mapping[str, Sequence[str]],
    change: Callable[[fsutil_pb2.Stat], None] | None = None,
) -> None:
    """Send the tree below ``directory`` to where the client wants the result.

    ``change`` may change what is said of each entry (its owner, its time).
    """
    sender = fsutil.Sender(directory, change)
    async with session.output(fsutil_pb2.Packet, metadata) as stream:
        await stream.send_request()
        await _send_all(stream.send_message, sender.stats())
        while not sender.done:
            packet = await stream.recv_message()
            if packet is None:
                raise errdefs.Unavailable("the client stopped taking the result")
            await _send_all(stream.send_message, sender.answer(packet))
        await stream.end()


async def send_file(
    session: sessions.Session,
    pieces: AsyncIterator[bytes],
    metadata: Mapping[str, Sequence[str]],
) -> None:
    """Send a file to where the client wants the result."""
    async with session.output(common_pb2.Bytes, metadata) as stream:
        await stream.send_request()
        async for piece in pieces:
            await stream.send_message(common_pb2.Bytes(data=piece))
        await stream.end()
        while await stream.recv_message() is not None:
            pass


async def _send_all(send: Callable[..., object], packets: Iterable[message.Message]) -> None:
    waiting = iter(packets)

    def some() -> list[message.Message]:
        return list(itertools.islice(waiting, _BATCH))

    while batch := await asyncio.to_thread(some):
        for packet in batch:
            await send(packet)  # type: ignore[misc]
