"""Exec instances: further processes in a running container."""

from __future__ import annotations

from firkin.client import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.client import http

    Json = dict[str, Any]


def create(client: api.Client, container: str, body: Json) -> str:
    """Make an exec instance and return its ID; nothing runs yet."""
    created = client.call("POST", f"/containers/{api.quote(container)}/exec", None, body)
    return str(created["Id"])


def start_detached(client: api.Client, instance: str, *, tty: bool) -> None:
    client.call("POST", f"/exec/{api.quote(instance)}/start", None, {"Detach": True, "Tty": tty})


def start(
    client: api.Client, instance: str, *, tty: bool, size: tuple[int, int] | None = None
) -> http.Stream:
    """Run it, connected to its standard streams. ``size`` is the terminal's height and width."""
    body: Json = {"Detach": False, "Tty": tty}
    if size:
        body["ConsoleSize"] = list(size)
    return client.hijack(f"/exec/{api.quote(instance)}/start", None, body)


def inspect(client: api.Client, instance: str) -> Json:
    found: Json = client.call("GET", f"/exec/{api.quote(instance)}/json")
    return found


def resize(client: api.Client, instance: str, height: int, width: int) -> None:
    client.call("POST", f"/exec/{api.quote(instance)}/resize", {"h": height, "w": width})
