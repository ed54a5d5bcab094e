"""From errors to HTTP: the one place where a status is chosen."""

from __future__ import annotations

import logging

from aiohttp import web

from firkin import errdefs
from firkin.engine import logbook
from firkin.types import base

log = logging.getLogger(__name__)

_STATUS: list[tuple[type[errdefs.FirkinError], int]] = [
    (errdefs.InvalidParameter, 400),
    (errdefs.Unauthorized, 401),
    (errdefs.Forbidden, 403),
    (errdefs.NotFound, 404),
    (errdefs.Conflict, 409),
    (errdefs.NotModified, 304),
    (errdefs.NotImplemented, 501),
    (errdefs.Unavailable, 503),
    (errdefs.InsufficientStorage, 507),
    (errdefs.System, 500),
]


def of(error: BaseException) -> tuple[int, str]:
    """The HTTP status and the message for an error; what is not ours tells no details."""
    if isinstance(error, errdefs.FirkinError):
        for kind, status in _STATUS:
            if isinstance(error, kind):
                return status, str(error)
    request = logbook.REQUEST.get()
    which = f" (request {request})" if request else ""
    return 500, f"internal error: the engine's log has the details{which}"


def response(error: BaseException) -> web.Response:
    """The answer for an error."""
    status, message = of(error)
    if status == 500:
        known = isinstance(error, errdefs.FirkinError)
        log.error("request failed: %s", error, exc_info=None if known else error)
    if status == 304:
        return web.Response(status=304)
    return web.Response(
        status=status, body=base.encode({"message": message}), content_type="application/json"
    )
