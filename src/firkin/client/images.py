"""Images over the API. Plain functions that take the client first."""

from __future__ import annotations

from firkin.client import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from firkin.client import http

    Filters = dict[str, list[str]]


def split_tag(reference: str) -> tuple[str, str]:
    """The repository and the tag ("" if it has none) of ``repository[:tag]``.

    Only cuts: whether the parts are good names is for the engine to say.
    """
    start = reference.rfind("/") + 1
    colon = reference.find(":", start)
    if colon < 0 or "@" in reference:
        return reference, ""
    return reference[:colon], reference[colon + 1 :]


def path(reference: str, tail: str = "") -> str:
    """The path of an image; slashes and colons of its name stay as they are."""
    return f"/images/{api.quote(reference, '/:@')}{tail}"


def list_images(
    client: api.Client,
    *,
    show_all: bool = False,
    filters: Filters | None = None,
    manifests: bool = False,
) -> list[dict[str, Any]]:
    query = {"all": show_all or None, "filters": filters or None, "manifests": manifests or None}
    return list(client.call("GET", "/images/json", query) or [])


def inspect_raw(client: api.Client, reference: str, platform: str | None = None) -> bytes:
    """The engine's description of an image, as it came."""
    response = client.request("GET", path(reference, "/json"), {"platform": platform})
    try:
        return response.read()
    finally:
        client.release(response)


def history(
    client: api.Client, reference: str, platform: str | None = None
) -> list[dict[str, Any]]:
    return list(client.call("GET", path(reference, "/history"), {"platform": platform}) or [])


def tag(client: api.Client, source: str, repository: str, name: str) -> None:
    client.call("POST", path(source, "/tag"), {"repo": repository, "tag": name or None})


def remove(
    client: api.Client,
    reference: str,
    *,
    force: bool = False,
    no_prune: bool = False,
    platforms: list[str] | None = None,
) -> list[dict[str, str]]:
    query = {"force": force or None, "noprune": no_prune or None, "platforms": platforms or None}
    return list(client.call("DELETE", path(reference), query) or [])


def prune(client: api.Client, filters: Filters) -> dict[str, Any]:
    return dict(client.call("POST", "/images/prune", {"filters": filters or None}) or {})


def load(
    client: api.Client,
    archive: Iterator[bytes],
    *,
    quiet: bool,
    platform: str | None = None,
    size: int | None = None,
) -> http.Response:
    """Send an archive, of ``size`` bytes if that is known; the response is a stream of progress
    messages."""
    query = {"quiet": quiet, "platform": platform, "size": size}
    headers = {"Content-Type": "application/x-tar"}
    return client.request("POST", "/images/load", query, archive, headers=headers)


def save(client: api.Client, references: list[str], platform: str | None = None) -> http.Response:
    """The response's body is the archive."""
    return client.request("GET", "/images/get", {"names": references, "platform": platform})


def import_archive(
    client: api.Client,
    source: str,
    archive: Iterator[bytes] | None,
    *,
    repository: str = "",
    tag: str = "",
    message: str = "",
    changes: list[str] | None = None,
    platform: str = "",
    size: int | None = None,
) -> http.Response:
    """Make an image of a file tree; ``source`` is "-" for ``archive``, of ``size`` bytes if
    that is known, or a URL."""
    query = {
        "fromSrc": source,
        "repo": repository or None,
        "tag": tag or None,
        "message": message or None,
        "changes": changes or None,
        "platform": platform or None,
        "size": size,
    }
    return client.request("POST", "/images/create", query, archive)


def commit(
    client: api.Client,
    container: str,
    *,
    repository: str = "",
    tag: str = "",
    message: str = "",
    author: str = "",
    changes: list[str] | None = None,
    pause: bool = True,
) -> str:
    """The ID of the image made of a container."""
    query = {
        "container": container,
        "repo": repository,
        "tag": tag,
        "comment": message,
        "author": author,
        "changes": changes or None,
        "pause": None if pause else False,
    }
    return str(client.call("POST", "/commit", query)["Id"])


def pull(
    client: api.Client,
    name: str,
    tag: str,
    *,
    platform: str | None = None,
    dry_run: bool = False,
    headers: dict[str, str] | None = None,
) -> http.Response:
    """Have the engine pull; the response is a stream of progress messages. No tag means all."""
    query = {
        "fromImage": name,
        "tag": tag or None,
        "platform": platform,
        "dryrun": dry_run or None,
    }
    return client.request("POST", "/images/create", query, headers=headers)


def push(
    client: api.Client,
    name: str,
    tag: str,
    *,
    platform: str | None = None,
    headers: dict[str, str] | None = None,
) -> http.Response:
    """Have the engine push; the response is a stream of progress messages. No tag means all."""
    query = {"tag": tag or None, "platform": platform}
    return client.request("POST", path(name, "/push"), query, headers=headers)


def layers(client: api.Client, reference: str) -> list[str]:
    """The digests of an image's layers as the engine stores them (Firkin only)."""
    return list(client.call("GET", "/firkin/images/layers", {"name": reference}) or [])


def missing(client: api.Client, digests: list[str]) -> list[str]:
    """Which blobs the engine does not have (Firkin only)."""
    return list(client.call("POST", "/firkin/blobs/missing", None, digests) or [])


def save_without(client: api.Client, references: list[str], without: list[str]) -> http.Response:
    """As ``save``, without layers that the reader has (Firkin only)."""
    body = {"Names": references, "Without": without}
    return client.request("POST", "/firkin/images/get", None, body)
