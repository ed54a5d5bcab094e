"""Networks and endpoints in the database.

A network's document is what its driver must remember (``StoredNetwork``); an endpoint's is the
``types.network.Endpoint`` itself. The functions run inside a transaction: ``await db.run(...)``.
"""

from __future__ import annotations

import sqlite3

import msgspec

from firkin.types import network as types


class StoredNetwork(msgspec.Struct, frozen=True, kw_only=True):
    """A network as it is remembered. ``created`` is seconds since the epoch.

    ``subnet`` and ``gateway`` are what the network uses, chosen by the user or by the engine; a
    network without addresses of its own has neither.
    """

    id: str
    name: str
    driver: str
    created: float
    subnet: str = ""
    gateway: str = ""
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


def all_networks(connection: sqlite3.Connection) -> list[StoredNetwork]:
    rows = connection.execute("SELECT config FROM networks ORDER BY created, name")
    return [msgspec.json.decode(row[0], type=StoredNetwork) for row in rows]


def put_network(connection: sqlite3.Connection, network: StoredNetwork) -> None:
    """Insert a network or replace the one with its id.

    Raises ``sqlite3.IntegrityError`` when another one has its name.
    """
    connection.execute(
        "INSERT INTO networks (id, name, driver, created, config) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name, config = excluded.config",
        (network.id, network.name, network.driver, network.created, msgspec.json.encode(network)),
    )


def all_endpoints(connection: sqlite3.Connection) -> list[types.Endpoint]:
    rows = connection.execute("SELECT config FROM endpoints ORDER BY network, container")
    return [msgspec.json.decode(row[0], type=types.Endpoint) for row in rows]


def put_endpoint(connection: sqlite3.Connection, endpoint: types.Endpoint) -> None:
    """Remember an endpoint, in place of the container's earlier one on that network."""
    connection.execute(
        "INSERT OR REPLACE INTO endpoints (network, container, config) VALUES (?, ?, ?)",
        (endpoint.network_id, endpoint.container_id, msgspec.json.encode(endpoint)),
    )


def delete_endpoints(connection: sqlite3.Connection, container_id: str) -> None:
    """Forget all endpoints of a container."""
    connection.execute("DELETE FROM endpoints WHERE container = ?", (container_id,))
