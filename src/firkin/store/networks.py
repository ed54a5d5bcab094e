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

    ``pools`` are the subnets it uses, with their gateways, chosen by the user or by the engine; a
    network without addresses of its own has none. ``options`` are what the user gave. ``adopted``:
    its bridge was there before, and stays when the network goes.
    """

    id: str
    name: str
    driver: str
    created: float
    pools: list[types.IPAMPool] = []
    enable_ipv4: bool = True
    enable_ipv6: bool = False
    internal: bool = False
    attachable: bool = False
    ipam_driver: str = "default"
    ipam_options: dict[str, str] | None = None
    config_only: bool = False
    config_from: str = ""
    adopted: bool = False
    options: dict[str, str] = {}
    labels: dict[str, str] = {}
    subnet: str = ""
    gateway: str = ""


def _current(network: StoredNetwork) -> StoredNetwork:
    """A network as it is remembered today: older engines kept one subnet, in fields of its own."""
    if not network.subnet:
        return network
    pools = [types.IPAMPool(subnet=network.subnet, gateway=network.gateway)]
    return msgspec.structs.replace(network, pools=pools, subnet="", gateway="")


def all_networks(connection: sqlite3.Connection) -> list[StoredNetwork]:
    rows = connection.execute("SELECT config FROM networks ORDER BY created, name")
    return [_current(msgspec.json.decode(row[0], type=StoredNetwork)) for row in rows]


def put_network(connection: sqlite3.Connection, network: StoredNetwork) -> None:
    """Insert a network or replace the one with its id.

    Raises ``sqlite3.IntegrityError`` when another one has its name.
    """
    connection.execute(
        "INSERT INTO networks (id, name, driver, created, config) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET name = excluded.name, config = excluded.config",
        (network.id, network.name, network.driver, network.created, msgspec.json.encode(network)),
    )


def delete_network(connection: sqlite3.Connection, network_id: str) -> None:
    """Forget a network and the endpoints on it."""
    connection.execute("DELETE FROM networks WHERE id = ?", (network_id,))


def all_endpoints(connection: sqlite3.Connection) -> list[types.Endpoint]:
    rows = connection.execute("SELECT config FROM endpoints ORDER BY network, container")
    return [msgspec.json.decode(row[0], type=types.Endpoint) for row in rows]


def put_endpoint(connection: sqlite3.Connection, endpoint: types.Endpoint) -> None:
    """Remember an endpoint, in place of the container's earlier one on that network."""
    connection.execute(
        "INSERT OR REPLACE INTO endpoints (network, container, config) VALUES (?, ?, ?)",
        (endpoint.network_id, endpoint.container_id, msgspec.json.encode(endpoint)),
    )


def delete_endpoint(connection: sqlite3.Connection, network_id: str, container_id: str) -> None:
    """Forget a container's endpoint on one network."""
    connection.execute(
        "DELETE FROM endpoints WHERE network = ? AND container = ?", (network_id, container_id)
    )


def delete_endpoints(connection: sqlite3.Connection, container_id: str) -> None:
    """Forget all endpoints of a container."""
    connection.execute("DELETE FROM endpoints WHERE container = ?", (container_id,))
