"""Which handler a method and a path mean.

Repository names have slashes, so the parts around them are looked for from the path's end. A name
that looks like a route of its own ("a/blobs/uploads/blobs/sha256:...") is read like that too.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from firkin.registry import call, errors, names
from firkin.registry.handlers import blobs, discovery, manifests, uploads

Handler = Callable[[call.Call], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """A handler, and the action on the repository that it needs: "pull", "push" or "delete"."""

    handler: Handler
    action: str


class Match(NamedTuple):
    """A route found, with what the path named."""

    route: Route
    name: str
    last: str


_OF_REPOSITORY: tuple[tuple[re.Pattern[str], dict[str, Route]], ...] = (
    (
        re.compile(r"(.+)/blobs/uploads/?()"),
        {"POST": Route(uploads.begin, "push")},
    ),
    (
        re.compile(r"(.+)/blobs/uploads/([^/]+)"),
        {
            "GET": Route(uploads.status, "push"),
            "PATCH": Route(uploads.patch, "push"),
            "PUT": Route(uploads.finish, "push"),
            "DELETE": Route(uploads.cancel, "push"),
        },
    ),
    (
        re.compile(r"(.+)/blobs/([^/]+)"),
        {
            "GET": Route(blobs.get, "pull"),
            "HEAD": Route(blobs.get, "pull"),
            "DELETE": Route(blobs.delete, "delete"),
        },
    ),
    (
        re.compile(r"(.+)/manifests/([^/]+)"),
        {
            "GET": Route(manifests.get, "pull"),
            "HEAD": Route(manifests.get, "pull"),
            "PUT": Route(manifests.put, "push"),
            "DELETE": Route(manifests.delete, "delete"),
        },
    ),
    (re.compile(r"(.+)/tags/list()"), {"GET": Route(discovery.tag_list, "pull")}),
    (re.compile(r"(.+)/referrers/([^/]+)"), {"GET": Route(discovery.referrers, "pull")}),
)

_FIXED: dict[str, dict[str, Route]] = {
    "": {"GET": Route(discovery.version, ""), "HEAD": Route(discovery.version, "")},
    "_catalog": {"GET": Route(discovery.catalog, "catalog")},
}


def find(method: str, path: str) -> Match:
    """The route of a path below ``/v2/``, decoded; raises the error that fits."""
    known = _FIXED.get(path)
    name = last = ""
    if known is None:
        for pattern, methods in _OF_REPOSITORY:
            if match := pattern.fullmatch(path):
                known, name, last = methods, names.name(match[1]), match[2]
                break
        else:
            raise errors.Failure(
                "UNSUPPORTED", f"/v2/{path[:300]} is not a path of a registry", status=404
            )
    route = known.get(method)
    if route is None:
        raise errors.Failure(
            "UNSUPPORTED", f"{method} is not possible on /v2/{path[:300]}",
            headers={"Allow": ", ".join(sorted(known))},
        )  # fmt: skip
    return Match(route, name, last)
