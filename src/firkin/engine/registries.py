"""The engine's registry settings, from its configuration and its environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from firkin import reference
from firkin.engine import config as configuration
from firkin.remotes import config as remotes

_LOOPBACK = ["::1/128", "127.0.0.0/8"]
_CREDENTIALS = re.compile(r"(?<=://)[^/@]*@")


def settings(
    config: configuration.Config, environment: Mapping[str, str] = os.environ
) -> remotes.Settings:
    """What ``config`` says. Proxies that it does not name are those of the environment.

    Raises ``InvalidParameter`` naming the value that can't be used.
    """
    mirrors = {domain: tuple(urls) for domain, urls in config.mirrors.items()}
    if config.registry_mirrors:
        hub = reference.DEFAULT_DOMAIN
        mirrors[hub] = (*mirrors.get(hub, ()), *config.registry_mirrors)

    def variable(name: str) -> str:
        return environment.get(name.upper()) or environment.get(name) or ""

    made = remotes.Settings(
        insecure=tuple(config.insecure_registries),
        mirrors=mirrors,
        http_proxy=config.proxies.http_proxy or variable("http_proxy"),
        https_proxy=config.proxies.https_proxy or variable("https_proxy"),
        no_proxy=config.proxies.no_proxy or variable("no_proxy"),
        downloads=config.max_concurrent_downloads,
        uploads=config.max_concurrent_uploads,
        attempts=config.max_download_attempts,
    )
    made.validate()
    return made


def describe(config: configuration.Config) -> dict[str, Any]:
    """The members of SystemInfo that tell of registries; proxies without their credentials."""
    used = settings(config)
    mirrors = [f"{url.rstrip('/')}/" for url in config.registry_mirrors]
    indexes = {reference.DEFAULT_DOMAIN: (mirrors, True, True)}
    networks = [text for text in config.insecure_registries if "/" in text]
    for name in config.insecure_registries:
        if name not in networks:
            indexes[name] = ([], False, False)
    return {
        "RegistryConfig": {
            "IndexConfigs": {
                name: {"Name": name, "Mirrors": urls, "Secure": secure, "Official": official}
                for name, (urls, secure, official) in indexes.items()
            },
            "InsecureRegistryCIDRs": [*_LOOPBACK, *networks],
            "Mirrors": mirrors,
        },
        "HttpProxy": _CREDENTIALS.sub("xxxxx:xxxxx@", used.http_proxy),
        "HttpsProxy": _CREDENTIALS.sub("xxxxx:xxxxx@", used.https_proxy),
        "NoProxy": used.no_proxy,
    }
