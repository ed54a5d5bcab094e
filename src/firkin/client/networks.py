"""Networks over the API. Plain functions that take the client first."""

from __future__ import annotations

from firkin.client import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Filters = dict[str, list[str]]


def _path(name: str, tail: str = "") -> str:
    return f"/networks/{api.quote(name)}{tail}"


def list_networks(client: api.Client, filters: Filters | None = None) -> list[dict[str, Any]]:
    return list(client.call("GET", "/networks", {"filters": filters or None}) or ())


def create(client: api.Client, body: dict[str, Any]) -> dict[str, Any]:
    """``body`` is the API's NetworkCreateRequest; the answer has Id and Warning."""
    return dict(client.call("POST", "/networks/create", None, body))


def inspect_raw(client: api.Client, name: str, *, verbose: bool = False) -> bytes:
    """The engine's description of a network, as it came."""
    response = client.request("GET", _path(name), {"verbose": verbose or None})
    try:
        return response.read()
    finally:
        client.release(response)


def remove(client: api.Client, name: str) -> None:
    client.call("DELETE", _path(name))


def connect(client: api.Client, name: str, container: str, endpoint: dict[str, Any]) -> None:
    """``endpoint`` is the API's EndpointSettings."""
    body = {"Container": container, "EndpointConfig": endpoint}
    client.call("POST", _path(name, "/connect"), None, body)


def disconnect(client: api.Client, name: str, container: str, *, force: bool = False) -> None:
    client.call("POST", _path(name, "/disconnect"), None, {"Container": container, "Force": force})


def prune(client: api.Client, filters: Filters) -> dict[str, Any]:
    return dict(client.call("POST", "/networks/prune", {"filters": filters or None}) or {})


def reload(client: api.Client) -> None:
    """Firkin's own: let the engine put its firewall rules back."""
    client.call("POST", "/networks/reload")


def exposure(client: api.Client, container_id: str = "") -> list[dict[str, Any]]:
    """Firkin's own: the ways to published ports, of one container or of all."""
    found: list[dict[str, Any]] = list(client.call("GET", "/firkin/exposure") or ())
    return [one for one in found if not container_id or one["ContainerID"] == container_id]


def reach(way: dict[str, Any]) -> str:
    """One way in words: address, port and interface."""
    address = way["Address"]
    shown = f"[{address}]" if ":" in address else address
    return f"{shown}:{way['Port']} ({way['Interface']})"
