"""Secrets over the API."""

from __future__ import annotations

from firkin.client import api

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def create(
    client: api.Client,
    name: str,
    value: bytes,
    *,
    labels: dict[str, str],
    driver: str = "",
    templating: str = "",
) -> str:
    """Keep a value; the secret's ID."""
    import base64

    data = base64.b64encode(value).decode()
    body: dict[str, Any] = {"Name": name, "Labels": labels, "Data": data}
    for key, plugin in (("Driver", driver), ("Templating", templating)):
        if plugin:
            body[key] = {"Name": plugin}
    return str(client.call("POST", "/secrets/create", None, body)["ID"])


def listing(
    client: api.Client, filters: dict[str, list[str]] | None = None
) -> list[dict[str, Any]]:
    """All secrets that fit."""
    found: list[dict[str, Any]] = client.call("GET", "/secrets", {"filters": filters or None})
    return found or []


def inspect_raw(client: api.Client, name: str) -> bytes:
    """The engine's description of a secret, as it came."""
    response = client.request("GET", f"/secrets/{api.quote(name)}")
    try:
        return response.read()
    finally:
        client.release(response)


def remove(client: api.Client, name: str) -> None:
    client.call("DELETE", f"/secrets/{api.quote(name)}")
