"""The engine's table of routes against the list of the API's operations."""

from __future__ import annotations

import re

import operations
from firkin.api import routes, server
from firkin.api.router import buildkit, unsupported


def _same(method: str, path: str) -> str:
    """An operation without the names of its variables."""
    return f"{method} {re.sub(r'{.*?}', '{}', path)}"


def _table() -> routes.Routes:
    def never() -> object:
        raise AssertionError

    found = server.table()
    found.merge(buildkit.doors(never))  # type: ignore[arg-type]
    return found


def test_every_operation_is_answered() -> None:
    known = {_same(*one) for one in _table().operations()}
    missing = [one for one in operations.EVERY if _same(*one.split()) not in known]
    assert not missing


def test_what_is_refused_is_swarm_and_managed_plugins() -> None:
    refused = {_same(*one) for one in unsupported.ROUTES.operations()}
    assert refused == {_same(*one.split()) for one in operations.REFUSED}


def test_a_request_is_found_again() -> None:
    assert operations.find("GET", "/v1.41/images/a/b:c/json?x=/y") == "GET /images/{name}/json"
    assert operations.find("GET", "/containers/json") == "GET /containers/json"
    assert operations.find("POST", "/containers/a/b") == ""
