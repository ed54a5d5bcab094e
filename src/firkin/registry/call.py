"""One request on its way through the registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from aiohttp import web

from firkin.registry import core, errors, proxy, rights
from firkin.registry.access import access


class Call:
    """A request whose route is known. ``name`` is the repository, ``last`` the path's last part."""

    def __init__(
        self, registry: core.Registry, door: access.Access, cache: proxy.Proxy | None,
        request: web.BaseRequest, name: str = "", last: str = "",
    ) -> None:  # fmt: skip
        self.registry = registry
        self.access = door
        self.proxy = cache
        self.identity = door.anonymous
        self.request = request
        self.name = name
        self.last = last

    def allowed(self, name: str) -> frozenset[str]:
        """What the caller may do with a repository."""
        return rights.ALL if self.access.open else self.identity.allowed(name)

    @property
    def head(self) -> bool:
        """Whether only the headers are asked for."""
        return self.request.method == "HEAD"

    def query(self, key: str) -> str:
        """A parameter of the URL, or ""."""
        return self.request.query.get(key, "")

    def header(self, key: str) -> str:
        """A header, or ""."""
        return self.request.headers.get(key, "")

    def count(self, largest: int, default: int) -> int:
        """The parameter ``n``; more than ``largest`` is that."""
        text = self.query("n")
        if not text:
            return default
        if not (text.isascii() and text.isdigit()) or len(text) > 18:
            raise errors.Failure(
                "PAGINATION_NUMBER_INVALID", f"n={text[:50]!r} is not a number of entries"
            )
        return min(int(text), largest)

    def location(self, *parts: str) -> str:
        """A path of this repository: ``location("blobs", digest)``."""
        return "/".join(("/v2", self.name, *(quote(part, safe=":") for part in parts)))


def json(
    value: Any, headers: Mapping[str, str] | None = None, content_type: str = "application/json"
) -> web.Response:
    """A JSON body, with its length and without parameters of the type."""
    return web.Response(
        body=msgspec.json.encode(value), headers={"Content-Type": content_type, **(headers or {})}
    )


def next_link(path: str, **parameters: object) -> dict[str, str]:
    """The ``Link`` header that leads to the next page."""
    query = "&".join(f"{key}={quote(str(value), safe='')}" for key, value in parameters.items())
    return {"Link": f'<{path}?{query}>; rel="next"'}
