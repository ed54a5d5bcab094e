"""Marks in forms that only this registry can have made.

A browser sends a user's password along with whatever page made it send a form. So a form that
changes something carries a mark, bound to the user, to what is changed and to the hour, and the
browser must not say that another site sent it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time

from aiohttp import web

_HOUR = 3600


class Forms:
    """Makes and checks marks with a key that all workers share."""

    def __init__(self, path: str) -> None:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(fd, "wb") as file:
                file.write(secrets.token_bytes(32))
        self._path = path

    def _mark(self, hour: int, *bound: str) -> str:
        with open(self._path, "rb") as file:
            key = file.read()
        text = "\0".join((str(hour), *bound))
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()

    def mark(self, *bound: str) -> str:
        """A mark for a form about ``bound``."""
        return self._mark(int(time.time()) // _HOUR, *bound)

    def good(self, request: web.BaseRequest, mark: str, *bound: str) -> bool:
        """Whether a form came from a page of ours that is at most two hours old."""
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return False
        hour = int(time.time()) // _HOUR
        return any(
            hmac.compare_digest(mark.encode(), self._mark(hour - ago, *bound).encode())
            for ago in (0, 1)
        )
