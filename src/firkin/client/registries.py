"""Registries, as the engine reaches them. Plain functions that take the client first.

The paths under ``/firkin`` are this engine's own: another one answers 404 there.
"""

from __future__ import annotations

from firkin.client import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Headers = dict[str, str] | None


def login(client: api.Client, credentials: dict[str, str]) -> dict[str, str]:
    """Check credentials: the status, and an identity token if the registry gives one."""
    return dict(client.call("POST", "/auth", None, credentials) or {})


def search(
    client: api.Client,
    term: str,
    limit: int | None,
    filters: dict[str, list[str]],
    headers: Headers = None,
) -> list[dict[str, Any]]:
    query = {"term": term, "limit": limit, "filters": filters or None}
    response = client.request("GET", "/images/search", query, headers=headers)
    try:
        return list(response.json() or [])
    finally:
        client.release(response)


def describe(client: api.Client, name: str, headers: Headers = None) -> dict[str, Any]:
    """Descriptor and platforms of what a name means."""
    path = f"/distribution/{api.quote(name, '/:@')}/json"
    response = client.request("GET", path, headers=headers)
    try:
        return dict(response.json())
    finally:
        client.release(response)


def manifest(client: api.Client, name: str, headers: Headers = None) -> tuple[str, str, bytes]:
    """Media type, digest and text of the manifest or index that a name means."""
    response = _own(client, "GET", "/firkin/manifests", {"name": name}, None, headers)
    try:
        found = response.headers
        return (
            found.get("content-type", ""),
            found.get("docker-content-digest", ""),
            response.read(),
        )
    finally:
        client.release(response)


def put_manifest(
    client: api.Client, name: str, media_type: str, text: bytes, headers: Headers = None
) -> str:
    """Write a manifest or index; returns its digest."""
    sent = {**(headers or {}), "Content-Type": media_type}
    response = _own(client, "PUT", "/firkin/manifests", {"name": name}, text, sent)
    try:
        return str(response.json()["Digest"])
    finally:
        client.release(response)


def mount(
    client: api.Client, name: str, source: str, digests: list[str], headers: Headers = None
) -> list[str]:
    """Have blobs of one repository in another of the same registry; returns those that are not."""
    body = {"Name": name, "From": source, "Digests": digests}
    response = _own(client, "POST", "/firkin/blobs/mount", None, body, headers)
    try:
        return list(response.json()["Missing"] or [])
    finally:
        client.release(response)


def _own(
    client: api.Client, method: str, path: str, query: Any, body: object, headers: Headers
) -> Any:
    try:
        return client.request(method, path, query, body, headers=headers)
    except api.APIError as error:
        if error.status == 404 and "page not found" in error.message:
            raise api.APIError(
                501, "this engine does not give access to manifests: use a Firkin engine"
            ) from None
        raise
