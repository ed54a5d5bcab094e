"""What the engine's configuration says about registries.

Docker's keys: ``insecure-registries`` (hosts or CIDRs), ``registry-mirrors`` (of docker.io),
``max-concurrent-downloads``, ``max-concurrent-uploads``, ``max-download-attempts`` and ``proxies``.
One of our own: ``mirrors``, a map from any registry to the URLs to try before it::

    "mirrors": {"docker.io": ["https://mirror.example"], "ghcr.io": ["https://cache.example/ghcr"]}

A path in a mirror's URL is put before the repository; ``"*"`` stands for every registry that is not
named itself.
"""

from __future__ import annotations

import ipaddress
import urllib.parse

import msgspec

from firkin import errdefs, reference

CERTIFICATES = ("/etc/firkin/certs.d", "/etc/docker/certs.d")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """See the module's description. ``certificates`` are directories, the first wins."""

    insecure: tuple[str, ...] = ()
    mirrors: dict[str, tuple[str, ...]] = {}
    http_proxy: str = ""
    https_proxy: str = ""
    no_proxy: str = ""
    downloads: int = 3
    uploads: int = 5
    attempts: int = 5
    certificates: tuple[str, ...] = CERTIFICATES

    def validate(self) -> None:
        """Raises ``InvalidParameter`` that names the value and its key in daemon.json."""
        for domain, urls in self.mirrors.items():
            for url in urls:
                _check_mirror(domain, url)
        for value in self.insecure:
            if "://" in value:
                raise errdefs.InvalidParameter(
                    f"insecure-registries: {value!r} must be host[:port] or CIDR, without a scheme"
                )
        for key, number in (
            ("max-concurrent-downloads", self.downloads),
            ("max-concurrent-uploads", self.uploads),
            ("max-download-attempts", self.attempts),
        ):
            if number < 1:
                raise errdefs.InvalidParameter(f"{key} is {number}: it must be 1 or more")
        for key, url in (("http-proxy", self.http_proxy), ("https-proxy", self.https_proxy)):
            if url and urllib.parse.urlsplit(url).scheme not in ("http", "https"):
                raise errdefs.InvalidParameter(
                    f"proxies: {key} {url!r} must begin with http:// or https://"
                )

    def is_insecure(self, host: str) -> bool:
        """Whether ``host[:port]`` may be used without TLS or with a certificate nobody vouches for.

        Loopback addresses always may, as with Docker.
        """
        return bare(host) == "localhost" or _loopback(bare(host)) or self.names(host)

    def names(self, host: str) -> bool:
        """Whether ``insecure`` has the host, or a network that its address is in."""
        name = bare(host)
        if host in self.insecure or name in self.insecure:
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return any(_within(address, text) for text in self.insecure)

    def proxy(self, url: str) -> str:
        """The proxy for a URL, "" for none. Loopback is never behind one."""
        parts = urllib.parse.urlsplit(url)
        found = self.https_proxy if parts.scheme == "https" else self.http_proxy
        host = parts.hostname or ""
        if not found or host == "localhost" or _loopback(host):
            return ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return "" if self._exempt(host, port) else found

    def _exempt(self, host: str, port: int) -> bool:
        for item in (item.strip().lower() for item in self.no_proxy.split(",")):
            if item == "*":
                return True
            name, colon, wanted = item.rpartition(":")
            if colon and wanted.isdigit() and (":" not in name or name.startswith("[")):
                if int(wanted) != port:
                    continue
                item = name.strip("[]")
            suffix = item.removeprefix("*").lstrip(".")
            if suffix and (host == suffix or host.endswith(f".{suffix}")):
                return True
            try:
                if _within(ipaddress.ip_address(host), item):
                    return True
            except ValueError:
                pass
        return False


def bare(host: str) -> str:
    """``host[:port]`` without the port and brackets."""
    name = host.rsplit(":", 1)[0] if host.rpartition(":")[2].isdigit() else host
    return name.strip("[]")


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, text: str) -> bool:
    try:
        return address in ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_mirror(domain: str, url: str) -> None:
    if domain != "*":
        try:
            known = reference.parse(f"{domain}/name").domain == domain
        except errdefs.InvalidParameter:
            known = False
        if not known:
            raise errdefs.InvalidParameter(
                f'mirrors: {domain!r} is not a registry: write host[:port], or "*" for all'
            )
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise errdefs.InvalidParameter(
            f"the mirror {url!r} of {domain} must be http(s)://host[:port][/path]"
        )
