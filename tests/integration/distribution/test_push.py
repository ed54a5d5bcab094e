"""Pushing to a registry that does not take everything at once."""

from __future__ import annotations

import gzip
import json
import os
from typing import Any

import fakeregistry
import pytest
from aiohttp import web

from firkin import errdefs
from firkin.images import service
from firkin.remotes import auth
from imagearchives import docker, entry, load, tar

pytestmark = pytest.mark.root

LAYER = tar(entry("big", os.urandom(3 << 20)))


async def prepared(images: service.ImageService, name: str, *layers: bytes) -> str:
    await load(images, docker(name, *(layers or (LAYER,))))
    return name


async def test_plain_layers_are_compressed_once(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    name = await prepared(images, f"{fake.host}/a:1")
    said: list[dict[str, Any]] = []
    (pushed,) = await images.push(name, progress=said.append)
    media, text = fake.manifests["a@1"]
    manifest = json.loads(text)
    assert media == fakeregistry.OCI_MANIFEST
    assert fakeregistry.digest(text) == pushed.digest
    assert pushed.size == len(text)
    (layer,) = manifest["layers"]
    assert layer["mediaType"].endswith("+gzip")
    assert gzip.decompress(fake.blobs[layer["digest"]]) == LAYER
    assert manifest["config"]["digest"] == images.resolve(name).id
    assert said[0] == {"status": f"The push refers to repository [{fake.host}/a]"}
    assert said[-1]["aux"] == {"Tag": "1", "Digest": pushed.digest, "Size": len(text)}
    assert (await images.inspect(name))["RepoDigests"] == [f"{fake.host}/a@{pushed.digest}"]
    fake.asked.clear()
    await images.push(name, progress=said.append)
    assert not any(line.startswith(("POST", "PATCH")) for line in fake.asked)
    assert said[-3]["status"] == "Layer already exists"


async def test_what_was_pulled_goes_back_as_it_was(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    made = fake.image("a:1", gzip.compress(LAYER, 1), plain=(LAYER,), suffix="+gzip")
    await images.pull(f"{fake.host}/a:1")
    await images.tag(f"{fake.host}/a:1", f"{fake.host}/b", "2")

    async def elsewhere(request: web.Request) -> web.StreamResponse | None:
        head = request.method == "HEAD" and request.path.startswith("/v2/b/")
        return web.Response(status=404) if head else None

    fake.before = elsewhere
    (pushed,) = await images.push(f"{fake.host}/b:2")
    assert pushed.digest == made["digest"]
    assert not any(line.startswith("PATCH") for line in fake.asked)
    assert any("mount=" in line and "from=a" in line for line in fake.asked)


async def test_mount_refused(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", gzip.compress(LAYER, 1), plain=(LAYER,), suffix="+gzip")
    fake.mounts = False
    await images.pull(f"{fake.host}/a:1")
    blobs = dict(fake.blobs)
    await images.tag(f"{fake.host}/a:1", f"{fake.host}/b", "2")

    async def forget(request: web.Request) -> None:
        if request.method == "HEAD":
            fake.blobs = {}

    fake.before = forget
    await images.push(f"{fake.host}/b:2")
    assert set(fake.blobs) & set(blobs)


async def test_broken_upload_goes_on(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    name = await prepared(images, f"{fake.host}/a:1")
    broken = 0

    async def breaks(request: web.Request) -> web.StreamResponse | None:
        nonlocal broken
        if request.method == "PATCH" and broken < 2:
            upload = fake.uploads[request.path.rpartition("/")[2]]
            goal = len(upload) + (1 << 20)
            async for chunk in request.content.iter_any():
                upload += chunk
                if len(upload) > goal:
                    break
            else:
                return None
            broken += 1
            assert request.transport is not None
            request.transport.abort()
        return None

    fake.before = breaks
    await images.push(name)
    (layer,) = json.loads(fake.manifests["a@1"][1])["layers"]
    assert broken == 2
    assert gzip.decompress(fake.blobs[layer["digest"]]) == LAYER


async def test_registry_that_takes_pieces_only(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    name = await prepared(images, f"{fake.host}/a:1", tar(entry("b", os.urandom(20 << 20))))

    async def limited(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PATCH" and "Content-Range" not in request.headers:
            return web.Response(status=413)
        return None

    fake.before = limited
    await images.push(name)
    (layer,) = json.loads(fake.manifests["a@1"][1])["layers"]
    assert layer["digest"] in fake.blobs
    assert sum(line.startswith("PATCH") for line in fake.asked) >= 3


async def test_token_with_the_right_scope(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    name = await prepared(images, f"{fake.host}/lib/a:1")
    fake.users = {"jane": "secret"}
    with pytest.raises(errdefs.Unauthorized):
        await images.push(name)
    assert not fake.manifests
    await images.push(name, credentials=auth.Credentials(username="jane", password="secret"))
    assert ["repository:lib/a:pull,push"] in fake.tokens.values()


async def test_all_tags_and_none(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    name = await prepared(images, f"{fake.host}/a:1")
    await images.tag(name, f"{fake.host}/a", "2")
    pushed = await images.push(f"{fake.host}/a")
    assert [one.tag for one in pushed] == ["1", "2"]
    with pytest.raises(errdefs.NotFound, match="An image does not exist locally with the tag"):
        await images.push(f"{fake.host}/b")
    with pytest.raises(errdefs.NotFound, match="An image does not exist locally with the tag"):
        await images.push(f"{fake.host}/a:3")
    with pytest.raises(errdefs.InvalidParameter, match="digest"):
        await images.push(f"{fake.host}/a@{pushed[0].digest}")


async def test_refused_manifest(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    name = await prepared(images, f"{fake.host}/a:1")

    async def immutable(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PUT" and "/manifests/" in request.path:
            body = {"errors": [{"code": "DENIED", "message": "tag is immutable"}]}
            return web.json_response(body, status=400)
        return None

    fake.before = immutable
    with pytest.raises(errdefs.System, match="tag is immutable"):
        await images.push(name)
    assert (await images.inspect(name))["RepoDigests"] == []


async def test_search(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    async def answers(request: web.Request) -> web.StreamResponse | None:
        if request.path == "/v1/search":
            assert request.query["q"] == "busy box"
            found = [{"name": "busybox", "star_count": 3, "is_official": True, "extra": 1}]
            return web.json_response({"results": found * 3})
        return None

    fake.before = answers
    found = await images.registries.search(f"{fake.host}/busy box", 2)
    assert [(one.name, one.star_count, one.is_official) for one in found] == [
        ("busybox", 3, True)
    ] * 2
