"""Containers in the Engine API, each named by its name, its ID or a prefix of that."""

from __future__ import annotations

from firkin.client import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.client import http

    Json = dict[str, Any]


def _path(container: str, verb: str) -> str:
    return f"/containers/{api.quote(container)}/{verb}"


def listing(
    client: api.Client,
    *,
    all: bool = False,
    limit: int | None = None,
    size: bool = False,
    filters: dict[str, Any] | None = None,
) -> list[Json]:
    """The containers' summaries, the newest first."""
    query = {
        "all": all or None,
        "limit": limit,
        "size": size or None,
        "filters": filters or None,
    }
    found: list[Json] = client.call("GET", "/containers/json", query) or []
    return found


def create(client: api.Client, body: Json, *, name: str = "", platform: str = "") -> Json:
    """Make a container; the answer has its ``Id`` and ``Warnings``."""
    query = {"name": name or None, "platform": platform or None}
    created: Json = client.call("POST", "/containers/create", query, body)
    return created


def inspect(client: api.Client, container: str, *, size: bool = False) -> Json:
    found: Json = client.call("GET", _path(container, "json"), {"size": size or None})
    return found


def inspect_raw(client: api.Client, container: str, *, size: bool = False) -> bytes:
    """As ``inspect``, but the engine's own text of the JSON."""
    response = client.request("GET", _path(container, "json"), {"size": size or None})
    try:
        return response.read()
    finally:
        client.release(response)


def start(
    client: api.Client,
    container: str,
    *,
    detach_keys: str = "",
    checkpoint: str = "",
    checkpoint_dir: str = "",
) -> None:
    query = {
        "detachKeys": detach_keys or None,
        "checkpoint": checkpoint or None,
        "checkpoint-dir": checkpoint_dir or None,
    }
    client.call("POST", _path(container, "start"), query)


def stop(
    client: api.Client, container: str, *, signal: str = "", timeout: int | None = None
) -> str:
    """Returns the engine's warning, if any."""
    query = {"signal": signal or None, "t": timeout}
    return _warning(client, client.request("POST", _path(container, "stop"), query))


def _warning(client: api.Client, response: http.Response) -> str:
    try:
        return response.headers.get("warning", "").partition('"')[2].rstrip('"')
    finally:
        response.read()
        client.release(response)


def restart(
    client: api.Client, container: str, *, signal: str = "", timeout: int | None = None
) -> str:
    """Returns the engine's warning, if any."""
    query = {"signal": signal or None, "t": timeout}
    return _warning(client, client.request("POST", _path(container, "restart"), query))


def kill(client: api.Client, container: str, signal: str = "") -> None:
    client.call("POST", _path(container, "kill"), {"signal": signal or None})


def pause(client: api.Client, container: str) -> None:
    client.call("POST", _path(container, "pause"))


def unpause(client: api.Client, container: str) -> None:
    client.call("POST", _path(container, "unpause"))


def rename(client: api.Client, container: str, name: str) -> None:
    client.call("POST", _path(container, "rename"), {"name": name})


def update(client: api.Client, container: str, body: Json) -> list[str]:
    """Change limits, restart policy and labels; returns the engine's warnings."""
    answer: Json = client.call("POST", _path(container, "update"), None, body) or {}
    return [str(warning) for warning in answer.get("Warnings") or ()]


def stats(
    client: api.Client, container: str, *, stream: bool, one_shot: bool = False
) -> http.Response:
    """Statistics: one JSON object, or one a second for as long as there is the container."""
    query = {"stream": int(stream), "one-shot": one_shot or None}
    return client.request("GET", _path(container, "stats"), query)


def remove(
    client: api.Client,
    container: str,
    *,
    force: bool = False,
    volumes: bool = False,
    link: bool = False,
) -> None:
    query = {"force": force or None, "v": volumes or None, "link": link or None}
    client.call("DELETE", f"/containers/{api.quote(container)}", query)


def resize(client: api.Client, container: str, height: int, width: int) -> None:
    client.call("POST", _path(container, "resize"), {"h": height, "w": width})


def top(client: api.Client, container: str, arguments: list[str]) -> Json:
    found: Json = client.call(
        "GET", _path(container, "top"), {"ps_args": " ".join(arguments) or None}
    )
    return found


def prune(client: api.Client, filters: dict[str, Any] | None = None) -> Json:
    """Remove stopped containers; the answer has ContainersDeleted and SpaceReclaimed."""
    found: Json = client.call("POST", "/containers/prune", {"filters": filters or None})
    return found


def logs(client: api.Client, container: str, **query: object) -> http.Response:
    """The logs as a stream of frames, or of raw bytes when the container has a terminal."""
    return client.request("GET", _path(container, "logs"), query)


def attach(
    client: api.Client,
    container: str,
    *,
    stdin: bool,
    stdout: bool,
    stderr: bool,
    logs: bool = False,
    detach_keys: str = "",
) -> http.Stream:
    """Connect to the container's standard streams; it need not run yet."""
    query = {
        "stream": True,
        "stdin": stdin or None,
        "stdout": stdout or None,
        "stderr": stderr or None,
        "logs": logs or None,
        "detachKeys": detach_keys or None,
    }
    return client.hijack(_path(container, "attach"), query)


def wait_begin(client: api.Client, container: str, condition: str = "") -> http.Response:
    """Begin to wait: returns as soon as the engine watches, so nothing after it is missed."""
    return client.request("POST", _path(container, "wait"), {"condition": condition or None})


def wait_end(client: api.Client, response: http.Response) -> tuple[int, str]:
    """The exit code that ``wait_begin`` waits for, and the engine's error, if any."""
    try:
        answer = response.json() or {}
    finally:
        client.release(response)
    error = (answer.get("Error") or {}).get("Message") or ""
    return int(answer.get("StatusCode", 0)), str(error)
