"""The table of routes, and finding the one for a path.

Patterns are literal segments and variables: ``{id}`` is one segment, ``{name...}`` any number of
them (image names contain slashes). A route is *held* to its end when its client goes away in the
middle, unless it is a ``stream``, which ends with its client.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from firkin import errdefs
from firkin.api import call

Handler = Callable[[call.Call], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """One operation of the API."""

    method: str
    path: str
    pattern: re.Pattern[str]
    handler: Handler
    stream: bool

    @property
    def head(self) -> str:
        """The first segment of the path."""
        return self.path.split("/", 2)[1]


class Routes:
    """Collects routes; used as a decorator by the modules in ``firkin.api.router``."""

    def __init__(self) -> None:
        self._by_head: dict[str, list[Route]] = {}

    def add(self, method: str, path: str, *, stream: bool = False) -> Callable[[Handler], Handler]:
        """Register the decorated function for ``method`` and ``path``."""
        pattern = re.sub(r"\\{(\w+)\\.\\.\\.\\}", r"(?P<\1>.+)", re.escape(path))
        pattern = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", pattern)

        def register(handler: Handler) -> Handler:
            head = path.split("/", 2)[1]
            self._by_head.setdefault(head, []).append(
                Route(method, path, re.compile(pattern), handler, stream)
            )
            return handler

        return register

    def merge(self, other: Routes) -> None:
        """Take over another module's routes."""
        for head, found in other._by_head.items():
            self._by_head.setdefault(head, []).extend(found)

    def operations(self) -> list[tuple[str, str]]:
        """Method and path of every route."""
        return [(one.method, one.path) for found in self._by_head.values() for one in found]

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route for a request and its path variables, percent-decoded.

        Raises ``NotFound``.
        """
        path = path.rstrip("/") or "/"
        head = path.split("/", 2)[1] if "/" in path else ""
        for route in self._by_head.get(head, ()):
            if route.method == method and (match := route.pattern.fullmatch(path)):
                variables = {
                    name: urllib.parse.unquote(value) for name, value in match.groupdict().items()
                }
                return route, variables
        raise errdefs.NotFound("page not found")
