"""Which registries are trusted how far, and what is asked first."""

from __future__ import annotations

import pytest

from firkin import errdefs
from firkin.remotes import config, guard, resolver


@pytest.mark.parametrize(
    ("host", "insecure"),
    [
        ("localhost", True), ("localhost:5000", True), ("127.0.0.1:5000", True),
        ("[::1]:5000", True),
        ("10.1.2.3:80", True), ("11.1.2.3", False), ("reg.example", False), ("old.example", True),
        ("old.example:5000", True), ("ports.example:5000", True), ("ports.example", False),
    ],
)  # fmt: skip
def test_insecure(host: str, insecure: bool) -> None:
    settings = config.Settings(insecure=("10.0.0.0/8", "old.example", "ports.example:5000"))
    assert settings.is_insecure(host) is insecure


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("https://reg.example/v2/", "http://p:1"), ("http://reg.example/v2/", "http://q:2"),
        ("https://a.corp/v2/", ""), ("https://corp/v2/", ""), ("https://notcorp/v2/", "http://p:1"),
        ("https://10.9.9.9/v2/", ""), ("https://x.port:443/", ""), ("https://x.port:444/", "http://p:1"),
        ("http://127.0.0.1:5000/v2/", ""), ("http://localhost/v2/", ""), ("http://[::1]/", ""),
    ],
)  # fmt: skip
def test_proxies(url: str, proxy: str) -> None:
    settings = config.Settings(
        https_proxy="http://p:1", http_proxy="http://q:2", no_proxy=".corp, 10.0.0.0/8,x.port:443"
    )
    assert settings.proxy(url) == proxy


def test_star_needs_no_proxy() -> None:
    assert config.Settings(https_proxy="http://p:1", no_proxy="*").proxy("https://a.example/") == ""


def test_mirrors_come_first() -> None:
    settings = config.Settings(
        mirrors={
            "docker.io": ("https://m.example", "http://user:pa%40ss@n.example:5000/hub"),
            "*": ("https://all.example/v2",),
        }
    )
    hub = resolver.endpoints(settings, "docker.io", mirrors=True)
    assert [one.host for one in hub] == ["m.example", "n.example:5000", "registry-1.docker.io"]
    assert hub[1].repository("library/busybox") == "hub/library/busybox"
    assert (hub[1].schemes, hub[1].username, hub[1].password) == (("http",), "user", "pa@ss")
    assert [one.mirror for one in hub] == [True, True, False]
    other = resolver.endpoints(settings, "ghcr.io", mirrors=True)
    assert [one.host for one in other] == ["all.example", "ghcr.io"]
    assert other[0].repository("a/b") == "a/b"
    assert len(resolver.endpoints(settings, "ghcr.io", mirrors=False)) == 1


@pytest.mark.parametrize(
    "settings",
    [
        config.Settings(mirrors={"docker.io": ("ftp://m.example",)}),
        config.Settings(mirrors={"docker.io": ("m.example",)}),
        config.Settings(mirrors={"not a host": ("https://m.example",)}),
        config.Settings(insecure=("http://reg.example",)),
        config.Settings(downloads=0),
        config.Settings(https_proxy="socks5://p:1"),
    ],
)
def test_unusable_settings(settings: config.Settings) -> None:
    with pytest.raises(errdefs.InvalidParameter):
        settings.validate()


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("93.184.216.34", guard.Reach.PUBLIC), ("10.0.0.1", guard.Reach.PRIVATE),
        ("100.64.1.1", guard.Reach.PRIVATE), ("fd00::1", guard.Reach.PRIVATE),
        ("127.0.0.2", guard.Reach.LOOPBACK), ("::1", guard.Reach.LOOPBACK),
        ("0.0.0.0", guard.Reach.LOOPBACK), ("::ffff:127.0.0.1", guard.Reach.LOOPBACK),
        ("169.254.169.254", guard.Reach.LINK), ("fe80::1%eth0", guard.Reach.LINK),
        ("::ffff:169.254.169.254", guard.Reach.LINK), ("reg.example", guard.Reach.PUBLIC),
    ],
)  # fmt: skip
def test_reach(address: str, reach: guard.Reach) -> None:
    assert guard.reach(address) is reach


def test_redirects_only_to_as_far() -> None:
    public, private, loopback, link = guard.Reach
    allowed = {(a, b) for a in guard.Reach for b in guard.Reach if guard.allowed(a, b)}
    assert allowed == {
        (public, public), (private, public), (private, private),
        (loopback, public), (loopback, private), (loopback, loopback),
        (link, public), (link, private), (link, loopback), (link, link),
    }  # fmt: skip
