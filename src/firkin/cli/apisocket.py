"""``--use-api-socket``: the engine's socket and the user's credentials inside of a container.

The socket is where every client looks for it, /var/run/docker.sock. Credentials come as a
``config.json`` of their own below /run/secrets, which DOCKER_CONFIG names; nothing else of the
user's configuration is in it. They are a file of the container: who may read its files has them.
"""

from __future__ import annotations

from firkin.cli import credentials
from firkin.client import addresses, archives, transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

_CONFIG_DIR = "/run/secrets/docker"
_VARIABLE = "DOCKER_CONFIG="


def prepare(cli: context.Cli, request: dict[str, Any]) -> bytes:
    """Add the mount and the variable to a request to create a container.

    Returns the configuration that belongs into it, empty for none: a container that brings a
    DOCKER_CONFIG has its own.
    """
    way = cli.client.transport
    path = way.path if isinstance(way, transport.UnixTransport) else addresses.DOCKER_SOCKET
    host = request["HostConfig"]
    mount = {
        "Type": "bind", "Source": path, "Target": addresses.DOCKER_SOCKET, "BindOptions": {},
    }  # fmt: skip
    host["Mounts"] = [*(host.get("Mounts") or ()), mount]
    variables = request.get("Env") or []
    found = credentials.every(cli)
    if not found or any(item.startswith(_VARIABLE) for item in variables):
        return b""
    request["Env"] = [*variables, _VARIABLE + _CONFIG_DIR]
    return _config(found)


def _config(found: dict[str, dict[str, str]]) -> bytes:
    import base64
    import json

    auths: dict[str, dict[str, str]] = {}
    for key, known in found.items():
        pair = f"{known.get('username', '')}:{known.get('password', '')}"
        auths[key] = {"auth": base64.b64encode(pair.encode()).decode()}
        if token := known.get("identitytoken"):
            auths[key]["identitytoken"] = token
    return json.dumps({"auths": auths}).encode()


def deliver(cli: context.Cli, identity: str, config: bytes) -> None:
    """Write the configuration into a container that was created."""
    import io
    import tarfile

    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        entry = tarfile.TarInfo(f"{_CONFIG_DIR.strip('/')}/config.json")
        entry.size, entry.mode = len(config), 0o600
        archive.addfile(entry, io.BytesIO(config))
    archives.put(cli.client, identity, "/", [made.getvalue()])
