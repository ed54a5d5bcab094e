"""Proving who one is to a registry; TLS and proxies on the way to it."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import fakeregistry
import pytest
from aiohttp import resolver, web

from firkin import errdefs
from firkin.images import service
from firkin.remotes import auth, config
from imagearchives import Home, entry, tar

pytestmark = pytest.mark.root

LAYER = tar(entry("x", b"y" * 1000))
JANE = auth.Credentials(username="jane", password="secret")


async def test_bearer(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("lib/a:1", LAYER)
    fake.users = {"jane": "secret"}
    await images.pull(f"{fake.host}/lib/a:1", credentials=JANE)
    assert list(fake.tokens.values()) == [["repository:lib/a:pull"]]


async def test_identity_token(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("lib/a:1", LAYER)
    fake.users = {"jane": "secret"}
    identity = await images.registries.login(fake.host, JANE)
    assert identity == "secret"
    who = auth.Credentials(identity=identity)
    await images.pull(f"{fake.host}/lib/a:1", credentials=who)
    assert "POST /token" in fake.asked


async def test_wrong_password(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", LAYER)
    fake.users = {"jane": "secret"}
    wrong = auth.Credentials(username="jane", password="guess")
    with pytest.raises(errdefs.Unauthorized, match="incorrect username or password"):
        await images.registries.login(fake.host, wrong)
    with pytest.raises(errdefs.Unauthorized, match=r"incorrect username or password.*login"):
        await images.pull(f"{fake.host}/a:1", credentials=wrong)
    assert "guess" not in "".join(fake.asked)


async def test_token_that_ends_in_the_middle(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    fake.image("a:1", LAYER)
    fake.users = {"jane": "secret"}
    forgotten = False

    async def forget(request: web.Request) -> None:
        nonlocal forgotten
        if "/blobs/" in request.path and not forgotten:
            forgotten = True
            fake.tokens = {"other": ["a:b"]}

    fake.before = forget
    await images.pull(f"{fake.host}/a:1", credentials=JANE)
    assert forgotten


async def test_basic(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", LAYER)

    async def basic(request: web.Request) -> web.StreamResponse | None:
        if request.headers.get("Authorization") == JANE.basic:
            return None
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    fake.before = basic
    with pytest.raises(errdefs.NotFound, match=r"pull access denied.*log in with: login"):
        await images.pull(f"{fake.host}/a:1")
    other = auth.Credentials(username="joe", password="x")
    with pytest.raises(errdefs.FirkinError, match="access denied"):
        await images.pull(f"{fake.host}/a:1", credentials=other)
    assert await images.registries.login(fake.host, JANE) == ""
    await images.pull(f"{fake.host}/a:1", credentials=JANE)


async def test_unknown_scheme(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    async def negotiate(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=401, headers={"WWW-Authenticate": "Negotiate"})

    fake.before = negotiate
    with pytest.raises(errdefs.NotImplemented, match="negotiate"):
        await images.pull(f"{fake.host}/a:1")


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that knows one more name."""
    original = resolver.ThreadedResolver.resolve

    async def resolve(self: Any, host: str, port: int = 0, family: Any = 0) -> Any:
        known = "127.0.0.1" if host == "reg.example" else host
        return await original(self, known, port, socket.AF_INET)

    monkeypatch.setattr(resolver.ThreadedResolver, "resolve", resolve)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """A certificate authority, a server's certificate for names of loopback, and a client's."""
    directory = tmp_path / "ca"
    directory.mkdir()

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    fresh = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")
    own = ("-out", "ca.crt", "-days", "2", "-subj", "/CN=test ca")
    openssl("req", "-x509", *fresh, "ca.key", *own)
    (directory / "ext").write_text("subjectAltName=DNS:reg.example,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", *fresh, f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
        files = ("-in", f"{name}.csr", "-out", f"{name}.cert", "-extfile", "ext")
        openssl("x509", "-req", *files, *signed)
    return directory


def server_context(authority: Path, *, client: bool = False) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(authority / "server.cert", authority / "server.key")
    if client:
        made.load_verify_locations(authority / "ca.crt")
        made.verify_mode = ssl.CERT_REQUIRED
    return made


async def test_certificates(home: Home, authority: Path, tmp_path: Path) -> None:
    certs = tmp_path / "certs.d"
    settings = config.Settings(attempts=1, certificates=(str(certs),))
    async with fakeregistry.serving(fakeregistry.Fake(), server_context(authority)) as fake:
        fake.image("a:1", LAYER)
        host = f"reg.example:{fake.port}"
        images = await home.open(settings)
        with pytest.raises(errdefs.Unavailable, match=f"certs.d/{host}/ca.crt"):
            await images.pull(f"{host}/a:1")
        (certs / host).mkdir(parents=True)
        (certs / host / "ca.crt").write_bytes((authority / "ca.crt").read_bytes())
        await images.pull(f"{host}/a:1")
        (certs / host / "ca.crt").write_text("no certificate")
        with pytest.raises(errdefs.InvalidParameter, match=r"cannot use .*ca\.crt"):
            await images.registries.manifest(f"{host}/a:1", auth.NOBODY)
        await images.close()
        # Loopback needs no certificate that anybody vouches for.
        images = await home.open(settings)
        await images.pull(f"127.0.0.1:{fake.port}/a:1")
        await images.close()


async def test_client_certificate(home: Home, authority: Path, tmp_path: Path) -> None:
    certs = tmp_path / "certs.d"
    settings = config.Settings(attempts=1, certificates=(str(certs),))
    context = server_context(authority, client=True)
    async with fakeregistry.serving(fakeregistry.Fake(), context) as fake:
        fake.image("a:1", LAYER)
        host = f"reg.example:{fake.port}"
        (certs / host).mkdir(parents=True)
        (certs / host / "ca.crt").write_bytes((authority / "ca.crt").read_bytes())
        images = await home.open(settings)
        with pytest.raises(errdefs.Unavailable, match="certificate of this client"):
            await images.pull(f"{host}/a:1")
        (certs / host / "client.cert").write_bytes((authority / "client.cert").read_bytes())
        with pytest.raises(errdefs.InvalidParameter, match=r"missing key .*client\.key"):
            await images.pull(f"{host}/a:1")
        (certs / host / "client.key").write_bytes((authority / "client.key").read_bytes())
        await images.pull(f"{host}/a:1")
        await images.close()


async def test_no_tls_where_it_is_expected(home: Home, fake: fakeregistry.Fake) -> None:
    host = f"reg.example:{fake.port}"
    images = await home.open(config.Settings(attempts=1))
    with pytest.raises(errdefs.Unavailable, match="server gave HTTP response to HTTPS client"):
        await images.pull(f"{host}/a:1")
    await images.close()
    fake.image("a:1", LAYER)
    images = await home.open(config.Settings(attempts=1, insecure=(host,)))
    await images.pull(f"{host}/a:1")
    await images.close()


async def test_proxy(home: Home, fake: fakeregistry.Fake) -> None:
    """The fake plays the proxy: it gets requests for a host that nobody else knows."""
    fake.image("a:1", LAYER)
    hosts = set()

    async def watch(request: web.Request) -> web.StreamResponse | None:
        if request.method == "CONNECT":
            return web.Response(status=502)
        hosts.add(request.headers["Host"])
        return None

    fake.before = watch
    settings = config.Settings(
        attempts=1, insecure=("reg.test:5000",), http_proxy=f"http://{fake.host}"
    )
    images = await home.open(settings)
    images.registries.transport.schemes["reg.test:5000"] = "http"
    await images.pull("reg.test:5000/a:1")
    assert hosts == {"reg.test:5000"}
    await images.close()
    images = await home.open(config.Settings(attempts=1, https_proxy="http://127.0.0.1:1"))
    with pytest.raises(errdefs.Unavailable, match="cannot connect to the proxy"):
        await images.pull("reg.test/a:2")
    await images.close()
    images = await home.open(config.Settings(attempts=1, https_proxy=f"http://{fake.host}"))
    with pytest.raises(errdefs.Unavailable, match="the proxy answered"):
        await images.pull("reg.test/a:2")
    await images.close()
