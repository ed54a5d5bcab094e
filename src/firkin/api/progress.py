"""Progress messages of a long operation on their way to its client.

A client that reads slowly must neither hold the operation up nor make its messages pile up: of a
bar that was not sent yet only the newest state is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from aiohttp import web

from firkin import errdefs
from firkin.api import call, status
from firkin.linux import tasks
from firkin.types import base

T = TypeVar("T")
Message = dict[str, Any]
Say = Callable[[Message], None]


class Feed:
    """Messages in by ``say``, at any time; batches of them out by ``take``."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._bars: dict[str, int] = {}
        self._ready = asyncio.Event()
        self._ended = False

    def say(self, message: Message) -> None:
        """Queue a message, in the place of an older state of the same bar if there is one."""
        identity = message.get("id", "")
        if message.get("progressDetail"):
            at = self._bars.get(identity)
            if at is not None:
                self._messages[at] = message
                return
            self._bars[identity] = len(self._messages)
        else:
            self._bars.pop(identity, None)
        self._messages.append(message)
        self._ready.set()

    def end(self) -> None:
        """Nothing more comes."""
        self._ended = True
        self._ready.set()

    async def take(self) -> list[Message]:
        """What was said since the last time, waiting for some; empty at the end."""
        while not self._messages and not self._ended:
            self._ready.clear()
            await self._ready.wait()
        messages, self._messages = self._messages, []
        self._bars.clear()
        return messages


def bar(message: Message) -> Message:
    """Docker's old text form of a bar beside its numbers, which some clients still show."""
    detail = message.get("progressDetail")
    if not detail or "progress" in message or not detail.get("total"):
        return message
    done = min(50, detail["current"] * 50 // detail["total"])
    box = "=" * done + ">" + " " * (50 - done)
    return {**message, "progress": f"[{box}]  {size(detail['current'])}/{size(detail['total'])}"}


def size(number: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000 or unit == "GB":
            return f"{number:.4g}{unit}"
        number /= 1000
    return ""


def failure(error: BaseException) -> Message:
    """An error after the answer has begun."""
    code, message = status.of(error)
    return {"errorDetail": {"code": code, "message": message}, "error": message}


async def stream(one: call.Call, work: Callable[[Say], Awaitable[None]]) -> web.StreamResponse:
    """Answer with the messages of ``work(say)``; an error before the first is the answer itself.

    When the client goes away, the work is cancelled.
    """
    feed = Feed()
    owner = tasks.Tasks("progress")

    async def run() -> None:
        try:
            await work(feed.say)
        finally:
            feed.end()

    task = owner.spawn_quiet(run(), "work")
    try:
        messages = await feed.take()
        if not messages:
            await task  # raises what went wrong
        response = await call.begin(one)
        while messages:
            text = b"".join(base.encode(bar(message)) + b"\r\n" for message in messages)
            await response.write(text)
            messages = await feed.take()
        try:
            await task
        except errdefs.FirkinError as error:
            await response.write(base.encode(failure(error)) + b"\r\n")
        except Exception as error:
            status.response(error)
            await response.write(base.encode(failure(error)) + b"\r\n")
        await response.write_eof()
        return response
    finally:
        await owner.close()
