"""Builds, and the build cache."""

from __future__ import annotations

from firkin.client import http, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from firkin.client import api

RICH = "application/vnd.firkin.build.v1+json"


def build(
    client: api.Client,
    query: dict[str, object],
    body: dict[str, Any],
    headers: dict[str, str] | None = None,
) -> http.Response:
    """Begin a build; the answer is a stream of the messages that tell all about its steps."""
    wanted = {"Accept": RICH, **(headers or {})}
    return client.request("POST", "/build", query, body, headers=wanted)


def sync(client: api.Client, key: str, manifest: Iterator[bytes]) -> tuple[str, list[str]]:
    """Tell the engine what a directory has; its token, and the paths that the engine wants."""
    response = client.request("POST", "/build/context", {"key": key}, manifest)
    values = response.json_values()
    try:
        head = next(values)
        missing = [str(path) for path in values]
    except StopIteration:
        raise http.ProtocolError("the engine did not take the context") from None
    finally:
        client.release(response)
    return str(head["token"]), missing


def send(client: api.Client, token: str, files: Iterator[bytes]) -> None:
    """Send the files that the engine wanted, as a tar."""
    client.release(client.request("PUT", f"/build/context/{token}", None, files))


def upload(client: api.Client, archive: Iterator[bytes]) -> str:
    """Send a context that is an archive; its token."""
    response = client.request("POST", "/build/archive", None, archive)
    try:
        return str(next(response.json_values())["token"])
    finally:
        client.release(response)


def output(client: api.Client, token: str) -> http.Response:
    """The result of a build that is to be written here; the body is a tar."""
    return client.request("GET", f"/build/output/{token}")


def check(client: api.Client, query: dict[str, object], body: dict[str, Any]) -> dict[str, Any]:
    """The build checks alone."""
    return dict(client.call("POST", "/build/check", query, body))


def prune(client: api.Client, query: dict[str, object]) -> dict[str, Any]:
    """Remove build cache."""
    return dict(client.call("POST", "/build/prune", query) or {})


def usage(client: api.Client) -> list[dict[str, Any]]:
    """The records of the build cache."""
    return list(system.disk_usage(client, "build-cache").get("BuildCache") or [])
