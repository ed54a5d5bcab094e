"""Files of containers over the API: tar streams and what is at a path."""

from __future__ import annotations

from firkin.client import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from firkin.client import http

_STAT = "x-docker-container-path-stat"


def _path(container: str, verb: str) -> str:
    return f"/containers/{api.quote(container)}/{verb}"


def _stat(response: http.Response) -> dict[str, Any]:
    import base64
    import json

    found: dict[str, Any] = json.loads(base64.b64decode(response.headers.get(_STAT, "")))
    return found


def stat(client: api.Client, container: str, path: str) -> dict[str, Any] | None:
    """What is at ``path``: name, size, mode (as Go has it), mtime, linkTarget. None: nothing."""
    try:
        response = client.request("HEAD", _path(container, "archive"), {"path": path})
    except api.APIError:
        return None
    client.release(response)
    return _stat(response)


def get(client: api.Client, container: str, path: str) -> tuple[dict[str, Any], http.Response]:
    """What is at ``path``, and the response whose body is its archive."""
    response = client.request("GET", _path(container, "archive"), {"path": path})
    return _stat(response), response


def put(
    client: api.Client,
    container: str,
    path: str,
    archive: Iterable[bytes],
    *,
    copy_owner: bool = False,
) -> None:
    """Extract ``archive`` into the directory ``path``; kinds of files are not replaced by others.

    ``copy_owner`` gives the files to the container's user.
    """
    query = {
        "path": path,
        "noOverwriteDirNonDir": "true",
        "copyUIDGID": "true" if copy_owner else None,
    }
    headers = {"Content-Type": "application/x-tar"}
    response = client.request(
        "PUT", _path(container, "archive"), query, iter(archive), headers=headers
    )
    response.read()
    client.release(response)


def export(client: api.Client, container: str) -> http.Response:
    """The response's body is an archive of the container's root file system."""
    return client.request("GET", _path(container, "export"))


def changes(client: api.Client, container: str) -> list[dict[str, Any]]:
    """What differs from the image: ``Path`` and ``Kind`` (0 changed, 1 added, 2 deleted)."""
    found: list[dict[str, Any]] = client.call("GET", _path(container, "changes")) or []
    return found
