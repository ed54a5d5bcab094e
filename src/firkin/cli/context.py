"""What every command gets: the way to the engine, the streams, the user's configuration."""

from __future__ import annotations

import os
import sys

from firkin.cli import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import contextstore, flags
    from firkin.client import api, tls

HOST_VARIABLES = ("FIRKIN_HOST", "DOCKER_HOST")
DEFAULT_CONTEXT = "default"


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
        from firkin.client import addresses, api, transport

        try:
            endpoint = self.endpoint()
        except errors.CliError as error:
            message = f"Failed to initialize: unable to resolve docker endpoint: {error}"
            raise errors.NoEndpoint(message) from None
        try:
            way = addresses.parse(*endpoint)
        except transport.BadAddress as error:
            raise errors.CliError(str(error)) from None
        version = os.environ.get("DOCKER_API_VERSION", "").removeprefix("v")
        client = api.Client(way, version or None, self.debug, self._headers())
        if self._client is not None:
            client.version = self._client.version
            client.negotiated = self._client.negotiated
        return client

    def connect_to(self, place: str) -> api.Client:
        """A client for the engine at an address (``ssh://...``) or of a context's name."""
        from firkin.client import addresses, api, transport

        try:
            endpoint = (place, None) if "://" in place else self._endpoint_of(place)
            way = addresses.parse(*endpoint)
        except transport.BadAddress as error:
            raise errors.CliError(str(error)) from None
        version = os.environ.get("DOCKER_API_VERSION", "").removeprefix("v")
        return api.Client(way, version or None, self.debug, self._headers())

    def context_name(self) -> str:
        """The context in use: flags, then the environment, then the configuration."""
        hosts = self.values.items("host")
        context = self.values.text("context")
        if hosts and context:
            raise errors.CliError("conflicting options: cannot specify both --host and --context")
        if len(hosts) > 1:
            raise errors.CliError("specify only one -H")
        if context:
            return context
        if hosts or any(os.environ.get(name) for name in HOST_VARIABLES):
            return DEFAULT_CONTEXT
        return (
            os.environ.get("DOCKER_CONTEXT")
            or str(self.config.get("currentContext") or "")
            or DEFAULT_CONTEXT
        )

    def endpoint(self) -> tuple[str, tls.Identity | None]:
        """The engine's address, and what TLS needs if the connection is to have it."""
        name = self.context_name()
        if name != DEFAULT_CONTEXT:
            return self._endpoint_of(name)
        return self.default_address(), self.default_identity()

    def default_address(self) -> str:
        """Where the engine of the context "default" is."""
        from firkin.client import addresses

        hosts = self.values.items("host")
        return hosts[0] if hosts and hosts[0] else addresses.default_address(os.environ)

    def default_identity(self) -> tls.Identity | None:
        """TLS as the flags and Docker's variables ask for it.

        Files that were not named are used if they are in the usual place; but to verify without
        the authority's certificate in that place is refused, never done with another one.
        """
        values = self.values
        environ = os.environ
        verify = values.flag("tlsverify")
        if not values.changed("tlsverify"):
            verify = bool(environ.get("DOCKER_TLS_VERIFY"))
        wanted = values.flag("tls") if values.changed("tls") else bool(environ.get("DOCKER_TLS"))
        if not (wanted or verify or values.changed("tlsverify")):
            return None
        from firkin.client import tls

        directory = environ.get("DOCKER_CERT_PATH") or self.config_dir
        files: dict[str, str] = {}
        for flag, file in (("tlscacert", "ca"), ("tlscert", "cert"), ("tlskey", "key")):
            path = values.text(flag) or os.path.join(directory, f"{file}.pem")
            needed = bool(values.text(flag)) or (file == "ca" and verify)
            if needed and not os.path.isfile(path):
                raise errors.CliError(
                    f"TLS: there is no file {path}; name the right one with --{flag}, "
                    "or its directory in DOCKER_CERT_PATH"
                )
            files[file] = path if os.path.isfile(path) else ""
        return tls.Identity(
            ca=files["ca"], certificate=files["cert"], key=files["key"], verify=verify
        )

    def _endpoint_of(self, name: str) -> tuple[str, tls.Identity | None]:
        from firkin.cli import contextstore

        store = self.contexts
        found = contextstore.endpoint(store.load(name))
        host = str(found.get("Host") or "")
        if not host:
            raise errors.CliError(f'context "{name}" does not say where its engine is')
        ca, certificate, key = (store.tls_path(name, file) for file in contextstore.TLS_FILES)
        skip = bool(found.get("SkipTLSVerify"))
        if not (ca or certificate or key or skip):
            return host, None
        from firkin.client import tls

        return host, tls.Identity(ca=ca, certificate=certificate, key=key, verify=not skip)

    @property
    def contexts(self) -> contextstore.Store:
        from firkin.cli import contextstore

        return contextstore.Store(self.config_dir)

    def _headers(self) -> dict[str, str]:
        """Headers that the user wants on every request: HttpHeaders, DOCKER_CUSTOM_HEADERS."""
        found: dict[str, str] = {}
        configured = self.config.get("HttpHeaders")
        if isinstance(configured, dict):
            found = {str(name): str(value) for name, value in configured.items()}
        if listed := os.environ.get("DOCKER_CUSTOM_HEADERS"):
            import csv

            for item in next(csv.reader([listed])):
                name, equals, value = item.partition("=")
                if not equals or not name.strip():
                    raise errors.CliError(
                        f"DOCKER_CUSTOM_HEADERS: {item!r} is not of the form name=value"
                    )
                found[name.strip()] = value
        return found

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
            from firkin.cli import configfile

            self._config = configfile.read(self.config_dir)
        return self._config

    def print(self, text: str) -> None:
        sys.stdout.write(text + "\n")

    def warn(self, text: str) -> None:
        """A line for the user beside the command's output."""
        sys.stdout.flush()
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
