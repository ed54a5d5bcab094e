"""The progress of one build: told by the builder once, read by any number of Status streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from firkin.buildkit.pb import control_pb2

_LIMIT = 20_000
"""Messages that are kept for streams that come late; log lines beyond it are dropped."""


class Trace:
    """Everything said so far, in order. Closed when the build is over."""

    def __init__(self) -> None:
        self._said: list[control_pb2.StatusResponse] = []
        self._news = asyncio.Event()
        self._closed = False

    def say(self, message: control_pb2.StatusResponse) -> None:
        """Tell every stream."""
        if self._closed:
            return
        if len(self._said) >= _LIMIT and not (message.vertexes or message.warnings):
            return
        self._said.append(message)
        self._wake()

    @property
    def said(self) -> Sequence[control_pb2.StatusResponse]:
        """What has been said so far."""
        return self._said

    def close(self) -> None:
        """Nothing more will be said."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def read(self) -> AsyncIterator[control_pb2.StatusResponse]:
        """All messages from the first one on, until the trace is closed."""
        position = 0
        while True:
            news = self._news
            while position < len(self._said):
                yield self._said[position]
                position += 1
            if self._closed:
                return
            await news.wait()
