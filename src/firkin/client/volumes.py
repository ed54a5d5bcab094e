"""Volumes over the API. Plain functions that take the client first."""

from __future__ import annotations

from firkin.client import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from firkin.client import http

    Filters = dict[str, list[str]]


def list_volumes(client: api.Client, filters: Filters | None = None) -> list[dict[str, Any]]:
    """All volumes that fit; the engine's warnings are dropped."""
    found = client.call("GET", "/volumes", {"filters": filters or None}) or {}
    return list(found.get("Volumes") or ())


def create(
    client: api.Client,
    name: str = "",
    *,
    driver: str = "",
    options: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
) -> dict[str, Any]:
    body: dict[str, Any] = {"DriverOpts": options or {}, "Labels": labels or {}}
    if name:
        body["Name"] = name
    if driver:
        body["Driver"] = driver
    return dict(client.call("POST", "/volumes/create", None, body))


def inspect_raw(client: api.Client, name: str) -> bytes:
    """The engine's description of a volume, as it came."""
    response = client.request("GET", f"/volumes/{api.quote(name)}")
    try:
        return response.read()
    finally:
        client.release(response)


def remove(client: api.Client, name: str, *, force: bool = False) -> None:
    client.call("DELETE", f"/volumes/{api.quote(name)}", {"force": force or None})


def prune(client: api.Client, filters: Filters) -> dict[str, Any]:
    return dict(client.call("POST", "/volumes/prune", {"filters": filters or None}) or {})


def export(client: api.Client, name: str) -> http.Response:
    """The response's body is a tar of the volume's files."""
    return client.request("GET", f"/volumes/{api.quote(name)}/export")


def import_archive(client: api.Client, name: str, archive: Iterable[bytes]) -> None:
    """Extract a tar into the volume, which is made if there is none."""
    headers = {"Content-Type": "application/x-tar"}
    path = f"/volumes/{api.quote(name)}/import"
    response = client.request("PUT", path, None, iter(archive), headers=headers)
    response.read()
    client.release(response)


def clone(client: api.Client, name: str, target: str) -> None:
    """Copy a volume."""
    client.call("POST", f"/volumes/{api.quote(name)}/clone", {"name": target})


def rename(client: api.Client, name: str, target: str) -> None:
    """Give a volume that nobody uses another name."""
    client.call("POST", f"/volumes/{api.quote(name)}/rename", {"name": target})
