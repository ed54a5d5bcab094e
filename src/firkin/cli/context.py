"""What every command gets: the way to the engine, the streams, the user's configuration."""

from __future__ import annotations

import os
import sys

from firkin.cli import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import flags
    from firkin.client import api

TLS_FLAGS = ("tls", "tlsverify", "tlscacert", "tlscert", "tlskey")


class Cli:
    """One run of the client. The engine is not contacted before ``client`` is first used."""

    def __init__(self, values: flags.Values) -> None:
        self.values = values
        self._client: api.Client | None = None
        self._config: dict[str, Any] | None = None
        self.debug = values.flag("debug")

    @property
    def client(self) -> api.Client:
        if self._client is None:
            self._client = self.connect()
        return self._client

    def connect(self) -> api.Client:
        """A new client for the same engine, for a second conversation beside the first."""
        from firkin.client import api, transport

        try:
            way = transport.parse(self.address())
        except transport.BadAddress as error:
            raise errors.CliError(str(error)) from None
        wants_tls = any(self.values.flag(name) for name in ("tls", "tlsverify"))
        if (wants_tls or os.environ.get("DOCKER_TLS_VERIFY")) and way.address.startswith("tcp:"):
            raise errors.CliError(
                f"TLS was asked for, but this client cannot speak TLS yet; it will not talk to "
                f"{way.address} in the clear instead"
            )
        version = os.environ.get("DOCKER_API_VERSION", "").removeprefix("v")
        client = api.Client(way, version or None, self.debug)
        if self._client is not None:
            client.version = self._client.version
            client.negotiated = self._client.negotiated
        return client

    def address(self) -> str:
        """Where the engine is: ``--host``, ``--context``, the environment, the default."""
        from firkin.client import transport

        hosts = self.values.items("host")
        context = self.values.text("context")
        if len(hosts) > 1:
            raise errors.CliError("specify only one -H")
        if hosts and context:
            raise errors.CliError("conflicting options: cannot specify both --host and --context")
        if hosts:
            return hosts[0]
        if not context:
            if os.environ.get("FIRKIN_HOST") or os.environ.get("DOCKER_HOST"):
                return transport.default_address(os.environ)
            context = os.environ.get("DOCKER_CONTEXT") or str(
                self.config.get("currentContext") or ""
            )
        if context and context != "default":
            return self._context_address(context)
        return transport.default_address(os.environ)

    @property
    def config_dir(self) -> str:
        return (
            self.values.text("config")
            or os.environ.get("DOCKER_CONFIG")
            or os.path.join(os.path.expanduser("~"), ".docker")
        )

    @property
    def config(self) -> dict[str, Any]:
        """``config.json``, the file that Docker's client has; empty when there is none."""
        if self._config is None:
            self._config = _read_object(os.path.join(self.config_dir, "config.json"))
        return self._config

    def _context_address(self, name: str) -> str:
        import hashlib

        digest = hashlib.sha256(name.encode()).hexdigest()
        meta = _read_object(os.path.join(self.config_dir, "contexts", "meta", digest, "meta.json"))
        try:
            return str(meta["Endpoints"]["docker"]["Host"])
        except (KeyError, TypeError):
            raise errors.CliError(
                f'context "{name}" does not exist in {self.config_dir}; '
                "give the engine's address with --host"
            ) from None

    def print(self, text: str) -> None:
        sys.stdout.write(text + "\n")

    def warn(self, text: str) -> None:
        """A line for the user beside the command's output."""
        sys.stdout.flush()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def _read_object(path: str) -> dict[str, Any]:
    """The JSON object in a file of the user's; a file that is not there is an empty one."""
    import json

    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        sys.stderr.write(f"WARNING: Error loading config file: {path}: {error}\n")
        return {}
    return value if isinstance(value, dict) else {}
