"""One request of the Engine API, as handlers see it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from aiohttp import web

from firkin import errdefs
from firkin.engine import core as engine
from firkin.types import base

T = TypeVar("T")

MAX_BODY = 4 << 20
"""The longest JSON body that is read, in bytes."""

PATIENCE = 60.0
"""How long a client may pause in the middle of a JSON body, in seconds."""

_FALSE = ("", "0", "no", "false", "none")


class Call:
    """A request with its API version, path variables and query."""

    def __init__(
        self,
        core: engine.Core,
        request: web.BaseRequest,
        version: tuple[int, int],
        variables: Mapping[str, str],
    ) -> None:
        self.core = core
        self.request = request
        self.version = version
        self._variables = variables
        self._query = request.query
        self._body: bytes | None = None

    def var(self, name: str) -> str:
        """A variable of the path."""
        return self._variables[name]

    def text(self, name: str, default: str = "") -> str:
        """A query parameter."""
        return self._query.get(name, default)

    def texts(self, name: str) -> list[str]:
        """All values of a query parameter that may be repeated."""
        return self._query.getall(name, [])

    def given(self, name: str) -> bool:
        """Whether a query parameter is there and not empty."""
        return bool(self._query.get(name))

    def flag(self, name: str, *, default: bool = False) -> bool:
        """A boolean query parameter: "", 0, no, false and none mean false."""
        value = self._query.get(name)
        return default if value is None else value.strip().lower() not in _FALSE

    def number(self, name: str, default: int | None = None) -> int | None:
        """An integer query parameter. Raises ``InvalidParameter`` when it is something else."""
        value = self._query.get(name, "")
        if value == "":
            return default
        try:
            if len(value) > 20:
                raise ValueError
            return int(value)
        except ValueError:
            raise errdefs.InvalidParameter(
                f"invalid value for {name}: {value[:80]!r} is not a number"
            ) from None

    async def body(self) -> bytes:
        """The whole body. Raises ``InvalidParameter`` beyond :data:`MAX_BODY`."""
        if self._body is not None:
            return self._body
        declared = self.request.content_length
        if declared is not None and declared > MAX_BODY:
            raise errdefs.InvalidParameter(f"the request body exceeds {MAX_BODY} bytes")
        data = bytearray()
        now = asyncio.get_running_loop().time
        try:
            async with asyncio.timeout_at(now() + PATIENCE) as limit:
                async for chunk in self.request.content.iter_any():
                    data += chunk
                    if len(data) > MAX_BODY:
                        raise errdefs.InvalidParameter(f"the request body exceeds {MAX_BODY} bytes")
                    limit.reschedule(now() + PATIENCE)
        except TimeoutError:
            raise errdefs.InvalidParameter(
                f"the request body is incomplete, and nothing more came for {PATIENCE:g} seconds"
            ) from None
        self._body = bytes(data)
        return self._body

    async def json(self, kind: type[T]) -> T:
        """The body as a wire type. Raises ``InvalidParameter``, also when there is none."""
        data = await self._json()
        if not data:
            raise errdefs.InvalidParameter("invalid JSON: EOF: got EOF while reading request body")
        return base.decode(kind, data)

    async def json_if_any(self, kind: type[T]) -> T | None:
        """The same where the body may be left out or be null."""
        data = await self._json()
        return base.decode(kind, data) if data not in (b"", b"null") else None

    async def _json(self) -> bytes:
        data = await self.body()
        declared = self.request.headers.get("Content-Type", "")
        if (data or declared) and self.request.content_type.lower() != "application/json":
            raise errdefs.InvalidParameter(
                f"unsupported Content-Type header ({declared[:80]}): must be 'application/json'"
            )
        return data.strip()

    def stream(self) -> AsyncIterator[bytes]:
        """The body piece by piece."""
        if self._body is not None:
            return _pieces(self._body)
        return self.request.content.iter_chunked(1 << 20)


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


def reply(value: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(
        status=status, body=base.encode(value) + b"\n", content_type="application/json"
    )


def empty(status: int = 204) -> web.Response:
    """An answer without a body."""
    return web.Response(status=status)


async def begin(
    call: Call,
    content_type: str = "application/json",
    status: int = 200,
    headers: Mapping[str, str] | None = None,
) -> web.StreamResponse:
    """Begin an answer that is sent piece by piece; its header goes out at once."""
    response = web.StreamResponse(status=status, headers=headers)
    response.content_type = content_type
    response.enable_chunked_encoding()
    await response.prepare(call.request)
    return response
