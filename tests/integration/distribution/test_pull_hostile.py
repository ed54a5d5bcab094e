"""Registries that lie."""

from __future__ import annotations

import gzip
import json
from typing import Any

import fakeregistry
import pytest
from aiohttp import web

from firkin import errdefs
from firkin.images import service
from firkin.remotes import config
from imagearchives import Home, entry, leftovers, tar

pytestmark = pytest.mark.root

LAYER = tar(entry("x", b"y" * 100_000))
DIGEST = fakeregistry.digest(LAYER)


def nothing(images: service.ImageService) -> None:
    """No image, no blob that was not verified, and nothing of the layer."""
    assert images.list() == []
    assert not images.content.exists(DIGEST)
    assert images.content.begun(DIGEST) == 0


async def refused(
    images: service.ImageService, fake: fakeregistry.Fake, words: str, tag: str = "1"
) -> None:
    with pytest.raises(errdefs.FirkinError, match=words):
        await images.pull(f"{fake.host}/a:{tag}")
    nothing(images)


async def test_other_content(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", LAYER)
    fake.blobs[DIGEST] = LAYER[:-1] + b"\1"
    await refused(images, fake, "announced as sha256:.*damaged or was changed")
    fake.blobs[DIGEST] = LAYER
    await images.pull(f"{fake.host}/a:1")


async def test_longer(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", LAYER)
    fake.blobs[DIGEST] = LAYER + b"\0"
    await refused(images, fake, f"more than the {len(LAYER)} bytes that it announced")


async def test_shorter(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", LAYER)
    fake.blobs[DIGEST] = LAYER[:-1]
    await refused(images, fake, f"sent {len(LAYER) - 1} of {len(LAYER)} bytes|status 416")


@pytest.mark.parametrize("part", ["/blobs/", "/manifests/"])
async def test_endless(images: service.ImageService, fake: fakeregistry.Fake, part: str) -> None:
    fake.image("a:1", LAYER)
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse | None:
        nonlocal sent
        if part not in request.path:
            return None
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(2000):
            await response.write(b" " * 65536)
            sent += 65536
        return response

    fake.before = endless
    await refused(images, fake, "more than")
    assert sent < 100 << 20


async def test_huge_config(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", LAYER, author="x" * (9 << 20))
    await refused(images, fake, "the limit is")


async def test_other_manifest(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    made = fake.image("a:1", LAYER)
    other = fake.image("b:1", tar(entry("z")))
    fake.manifests[f"a@{made['digest']}"] = fake.manifests[f"b@{other['digest']}"]
    with pytest.raises(errdefs.InvalidParameter, match="instead of sha256:"):
        await images.pull(f"{fake.host}/a@{made['digest']}")
    nothing(images)


async def test_other_config(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    made = fake.image("a:1", LAYER)
    manifest = json.loads(fake.manifests[f"a@{made['digest']}"][1])
    config = manifest["config"]["digest"]
    data = fake.blobs[config]
    fake.blobs[config] = data.replace(b"/bin/sh", b"/bin/ed")
    with pytest.raises(errdefs.InvalidParameter, match=r"the config of .* has the digest"):
        await images.pull(f"{fake.host}/a:1")
    assert images.list() == []  # the layer, which is what it says it is, may have arrived first


async def test_diff_ids_of_another_image(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    fake.image("a:1", LAYER, plain=(tar(entry("other")),))
    with pytest.raises(errdefs.InvalidParameter, match="the image's config says"):
        await images.pull(f"{fake.host}/a:1")
    assert images.list() == []


async def test_fewer_diff_ids(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", LAYER, rootfs={"type": "layers", "diff_ids": []})
    with pytest.raises(errdefs.InvalidParameter, match="1 layers but its config names 0"):
        await images.pull(f"{fake.host}/a:1")
    assert images.list() == []


async def test_bomb(home: Home, fake: fakeregistry.Fake) -> None:
    images = await home.open(fakeregistry.SETTINGS, size=50 << 20, entries=1000)
    bomb = gzip.compress(tar(entry("zeros", bytes(200 << 20))), 1)
    fake.image("a:1", bomb)
    with pytest.raises(errdefs.InvalidParameter, match="which is the limit"):
        await images.pull(f"{fake.host}/a:1")
    assert images.list() == []
    await images.prune(None, lambda _: [])
    assert leftovers(images) == []
    await images.close()


async def test_layer_that_leads_out(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", tar(entry("../../etc/owned", b"x")))
    with pytest.raises(errdefs.InvalidParameter, match=r"leads out of the layer"):
        await images.pull(f"{fake.host}/a:1")
    assert images.list() == []


REDIRECTS = [
    ("http://169.254.169.254/latest/meta-data", "an address of a nearer network"),
    ("http://[fe80::1]/x", "an address of a nearer network"),
    ("file:///etc/passwd", "no web address"),
    ("ftp://127.0.0.1/x", "no web address"),
    ("", "redirects too often|no web address"),
]


@pytest.mark.parametrize(("target", "words"), REDIRECTS)
async def test_redirects_to_bad_places(
    images: service.ImageService, fake: fakeregistry.Fake, target: str, words: str
) -> None:
    fake.image("a:1", LAYER)

    async def away(request: web.Request) -> web.StreamResponse | None:
        if DIGEST in request.path:
            return web.Response(status=307, headers={"Location": target})
        return None

    fake.before = away
    await refused(images, fake, words)


async def test_redirect_loop(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", LAYER)

    async def around(request: web.Request) -> web.StreamResponse | None:
        if DIGEST in request.path:
            return web.Response(status=302, headers={"Location": request.path})
        return None

    fake.before = around
    await refused(images, fake, "redirects too often")


async def test_redirect_gets_no_credentials(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    fake.image("a:1", LAYER)
    fake.users = {"jane": "secret"}
    seen: list[Any] = []
    async with fakeregistry.serving(fakeregistry.Fake()) as store:
        store.blobs[DIGEST] = LAYER

        async def watch(request: web.Request) -> None:
            seen.append(request.headers.get("Authorization"))

        async def away(request: web.Request) -> web.StreamResponse | None:
            if DIGEST in request.path and request.headers.get("Authorization"):
                url = f"http://{store.host}/v2/a/blobs/{DIGEST}"
                return web.Response(status=307, headers={"Location": url})
            return None

        store.before, fake.before = watch, away
        from firkin.remotes import auth

        who = auth.Credentials(username="jane", password="secret")
        await images.pull(f"{fake.host}/a:1", credentials=who)
    assert seen == [None]


async def test_token_service_at_a_bad_place(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    async def ask(request: web.Request) -> web.StreamResponse | None:
        value = 'Bearer realm="http://169.254.169.254/token",service="x"'
        return web.Response(status=401, headers={"WWW-Authenticate": value})

    fake.before = ask
    await refused(images, fake, "an address of a nearer network")


async def test_schema_1(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    media = "application/vnd.docker.distribution.manifest.v1+prettyjws"
    fake.manifest("a:1", b'{"schemaVersion":1,"fsLayers":[]}', media)
    await refused(images, fake, "schema 1.*pushed again")


async def test_artifact(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    value = {
        "schemaVersion": 2,
        "mediaType": fakeregistry.OCI_MANIFEST,
        "artifactType": "application/x.sbom",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", **fake.blob(b"{}")},
        "layers": [],
    }
    fake.manifest("a:1", value)
    await refused(images, fake, "not a container image: .* application/x.sbom")


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b'{"schemaVersion":2,"manifests":[],"layers":[]}',
     b'{"schemaVersion":2,"config":{"digest":"sha256:../../x","size":1},"layers":[]}',
     b'{"schemaVersion":2,"config":{"digest":"sha256:' + b"a" * 64 + b'","size":-1},"layers":[]}',
     b'{"a":' * 5000 + b"1" + b"}" * 5000],
)  # fmt: skip
async def test_manifests_that_are_none(
    images: service.ImageService, fake: fakeregistry.Fake, text: bytes
) -> None:
    fake.manifest("a:1", text, fakeregistry.OCI_MANIFEST)
    await refused(images, fake, "")


async def test_index_in_itself(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    item = fake.image("a", LAYER)
    for _ in range(6):
        item["platform"] = {"os": "linux", "architecture": "amd64"}
        index = {"schemaVersion": 2, "mediaType": fakeregistry.OCI_INDEX, "manifests": [item]}
        item = fake.manifest("a:1", index)
    await refused(images, fake, "nested too deep")


async def test_unknown_names(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    await refused(images, fake, "manifest for .*a:1 not found: manifest unknown")

    async def unknown(request: web.Request) -> web.StreamResponse | None:
        body = {"errors": [{"code": "NAME_UNKNOWN", "message": "repository name not known"}]}
        return web.json_response(body, status=404)

    fake.before = unknown
    await refused(images, fake, "pull access denied for .*/a, repository does not exist")


async def test_no_registry(home: Home) -> None:
    images = await home.open(config.Settings(attempts=1))
    with pytest.raises(errdefs.Unavailable, match="connection refused"):
        await images.pull("127.0.0.1:1/a:1")
    with pytest.raises(errdefs.Unavailable, match="no such host"):
        await images.pull("nowhere.invalid/a:1")
    await images.close()
