"""From a repository's domain to the endpoints that may serve it."""

from __future__ import annotations

import urllib.parse

import msgspec

from firkin import reference
from firkin.remotes import config

HUB = "registry-1.docker.io"
INDEX = "https://index.docker.io/v1/"
"""The key under which clients keep the credentials of docker.io."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One place to ask. ``schemes`` are tried in order; ``prefix`` goes before the repository.

    ``mirror`` endpoints only serve pulls; they get no credentials but those in their own URL.
    """

    host: str
    schemes: tuple[str, ...] = ("https",)
    insecure: bool = False
    prefix: str = ""
    mirror: bool = False
    username: str = ""
    password: str = ""

    def repository(self, path: str) -> str:
        """The name of a repository at this endpoint."""
        return f"{self.prefix}/{path}" if self.prefix else path


def endpoints(settings: config.Settings, domain: str, *, mirrors: bool) -> list[Endpoint]:
    """Where to ask for repositories of ``domain``: with ``mirrors`` those come first."""
    found: list[Endpoint] = []
    if mirrors:
        urls = settings.mirrors.get(domain, settings.mirrors.get("*", ()))
        found = [_mirror(settings, url) for url in urls]
    return [*found, origin(settings, domain)]


def origin(settings: config.Settings, domain: str) -> Endpoint:
    """The registry itself."""
    host = HUB if domain == reference.DEFAULT_DOMAIN else domain
    insecure = settings.is_insecure(host)
    return Endpoint(
        host=host, insecure=insecure, schemes=("https", "http") if insecure else ("https",)
    )


def _mirror(settings: config.Settings, url: str) -> Endpoint:
    parts = urllib.parse.urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return Endpoint(
        host=host,
        schemes=(parts.scheme,),
        insecure=parts.scheme == "http" or settings.is_insecure(host),
        prefix=parts.path.strip("/").removesuffix("v2").rstrip("/"),
        mirror=True,
        username=urllib.parse.unquote(parts.username or ""),
        password=urllib.parse.unquote(parts.password or ""),
    )
