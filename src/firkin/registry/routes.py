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
from firkin.registry.handlers import blobs, discovery, manifests, service, token, uploads
from firkin.registry.web import pages

Handler = Callable[[call.Call], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """A handler and what it needs.

    ``action`` is one on the repository ("pull", "push", "delete"); "" needs a name where names are
    asked for at all, "public" nothing, "metrics" what the configuration says; "page" decides
    by itself, "login" needs a name always.
    """

    handler: Handler
    action: str


class Match(NamedTuple):
    """A route found, with what the path named. ``label`` is its name in figures."""

    route: Route
    name: str
    last: str
    label: str


_OF_REPOSITORY: tuple[tuple[str, re.Pattern[str], dict[str, Route]], ...] = (
    (
        "uploads",
        re.compile(r"(.+)/blobs/uploads/?()"),
        {"POST": Route(uploads.begin, "push")},
    ),
    (
        "upload",
        re.compile(r"(.+)/blobs/uploads/([^/]+)"),
        {
            "GET": Route(uploads.status, "push"),
            "PATCH": Route(uploads.patch, "push"),
            "PUT": Route(uploads.finish, "push"),
            "DELETE": Route(uploads.cancel, "push"),
        },
    ),
    (
        "blob",
        re.compile(r"(.+)/blobs/([^/]+)"),
        {
            "GET": Route(blobs.get, "pull"),
            "HEAD": Route(blobs.get, "pull"),
            "DELETE": Route(blobs.delete, "delete"),
        },
    ),
    (
        "manifest",
        re.compile(r"(.+)/manifests/([^/]+)"),
        {
            "GET": Route(manifests.get, "pull"),
            "HEAD": Route(manifests.get, "pull"),
            "PUT": Route(manifests.put, "push"),
            "DELETE": Route(manifests.delete, "delete"),
        },
    ),
    ("tags", re.compile(r"(.+)/tags/list()"), {"GET": Route(discovery.tag_list, "pull")}),
    (
        "referrers",
        re.compile(r"(.+)/referrers/([^/]+)"),
        {"GET": Route(discovery.referrers, "pull")},
    ),
)

_STATIC = "/ui/static/"

_FIXED: dict[str, dict[str, Route]] = {
    "/v2/": {"GET": Route(discovery.version, ""), "HEAD": Route(discovery.version, "")},
    "/v2/_catalog": {"GET": Route(discovery.catalog, "")},
    "/v1/search": {"GET": Route(service.search, "")},
    "/token": {"GET": Route(token.get, "public"), "POST": Route(token.post, "public")},
    "/health": {"GET": Route(service.health, "public"), "HEAD": Route(service.health, "public")},
    "/": {"GET": Route(pages.root, "public")},
    "/ui/": {"GET": Route(pages.home, "page")},
    "/ui/login": {"GET": Route(pages.login, "login")},
    "/ui/repository": {"GET": Route(pages.repository, "page")},
    "/ui/manifest": {"GET": Route(pages.image, "page")},
    "/ui/delete": {"GET": Route(pages.confirm, "page"), "POST": Route(pages.delete, "page")},
    "/metrics": {"GET": Route(service.figures, "metrics")},
}


def find(method: str, path: str) -> Match:
    """The route of a path, decoded; raises the error that fits."""
    if path == "/v2":
        path = "/v2/"
    known = _FIXED.get(path)
    name, last, label = "", "", path
    if path.startswith(_STATIC):
        known, last, label = {"GET": Route(pages.file, "public")}, path[len(_STATIC) :], _STATIC
    if known is None:
        known, name, last, label = _of_repository(path)
    route = known.get(method)
    if route is None:
        raise errors.Failure(
            "UNSUPPORTED", f"{method} is not possible on {path[:300]}",
            headers={"Allow": ", ".join(sorted(known))},
        )  # fmt: skip
    return Match(route, name, last, label)


def _of_repository(path: str) -> tuple[dict[str, Route], str, str, str]:
    if path.startswith("/v2/"):
        for label, pattern, methods in _OF_REPOSITORY:
            if match := pattern.fullmatch(path, len("/v2/")):
                return methods, names.name(match[1]), match[2], label
    raise errors.Failure("UNSUPPORTED", f"there is nothing at {path[:300]}", status=404)
