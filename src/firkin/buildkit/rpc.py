"""Handlers of gRPC methods as plain functions: one request, one answer or several."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpclib
from google.protobuf import message
from grpclib import const, exceptions, server

from firkin import errdefs

log = logging.getLogger(__name__)

Q = TypeVar("Q", bound=message.Message)
A = TypeVar("A", bound=message.Message)
Headers = dict[str, str]

_CODES: list[tuple[type[errdefs.FirkinError], grpclib.Status]] = [
    # A Dockerfile that is wrong, a step that fails: BuildKit gives these no code of their own, and
    # clients would show one in front of the message.
    (errdefs.InvalidParameter, grpclib.Status.UNKNOWN),
    (errdefs.Unauthorized, grpclib.Status.UNAUTHENTICATED),
    (errdefs.Forbidden, grpclib.Status.PERMISSION_DENIED),
    (errdefs.NotFound, grpclib.Status.NOT_FOUND),
    (errdefs.Conflict, grpclib.Status.FAILED_PRECONDITION),
    (errdefs.NotImplemented, grpclib.Status.UNIMPLEMENTED),
    (errdefs.Unavailable, grpclib.Status.UNAVAILABLE),
    (errdefs.Cancelled, grpclib.Status.CANCELLED),
    (errdefs.System, grpclib.Status.UNKNOWN),
]


def code(error: BaseException) -> grpclib.Status:
    """The status of an error; the only place where status codes are chosen."""
    if isinstance(error, exceptions.GRPCError):
        return error.status
    for kind, status in _CODES:
        if isinstance(error, kind):
            return status
    return grpclib.Status.INTERNAL


def failure(error: Exception) -> exceptions.GRPCError:
    """Our error as gRPC has it."""
    if isinstance(error, exceptions.GRPCError):
        return error
    if isinstance(error, errdefs.FirkinError):
        return exceptions.GRPCError(code(error), str(error))
    log.exception("a call of a build's client failed", exc_info=error)
    return exceptions.GRPCError(grpclib.Status.INTERNAL, "the engine failed; its log says more")


def unary(
    handler: Callable[[Q, Headers], Awaitable[A]], request: type[Q], answer: type[A]
) -> const.Handler:
    """A method with one request and one answer."""

    async def run(stream: server.Stream[Q, A]) -> None:
        asked = await stream.recv_message()
        if asked is None:
            raise exceptions.GRPCError(grpclib.Status.INVALID_ARGUMENT, "no request")
        try:
            answered = await handler(asked, _headers(stream))
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            raise failure(error) from error
        await stream.send_message(answered)

    return const.Handler(run, const.Cardinality.UNARY_UNARY, request, answer)


def streaming(
    handler: Callable[[Q, Headers], AsyncIterator[A]],
    request: type[Q],
    answer: type[A],
    first: Callable[[], Headers] = dict,
) -> const.Handler:
    """A method with one request and any number of answers, and the metadata sent before them."""

    async def run(stream: server.Stream[Q, A]) -> None:
        asked = await stream.recv_message()
        if asked is None:
            raise exceptions.GRPCError(grpclib.Status.INVALID_ARGUMENT, "no request")
        try:
            if metadata := first():
                await stream.send_initial_metadata(metadata=metadata)
            async for answered in handler(asked, _headers(stream)):
                await stream.send_message(answered)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            raise failure(error) from error

    return const.Handler(run, const.Cardinality.UNARY_STREAM, request, answer)


def _headers(stream: server.Stream[Any, Any]) -> Headers:
    return {key.lower(): str(value) for key, value in (stream.metadata or {}).items()}
