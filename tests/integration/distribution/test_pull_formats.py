"""Pulling what registries have, in all its forms."""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path
from typing import Any

import fakeregistry
import pytest
import zstandard

from firkin import errdefs
from firkin.images import service
from firkin.remotes import config
from imagearchives import Home, entry, leftovers, tar

pytestmark = pytest.mark.root

BASE = tar(entry("etc/passwd", b"root:x:0:0::/:/bin/sh\n"), entry("bin/sh", b"#!"))
TOP = tar(entry("etc/motd", os.urandom(300_000).hex().encode()))


def pack(kind: str, data: bytes) -> bytes:
    if kind == "gzip":
        return gzip.compress(data, 1, mtime=0)
    return zstandard.compress(data) if kind == "zstd" else data


async def tree(images: service.ImageService, name: str) -> list[Path]:
    image = images.resolve(name)
    return [Path(path) for path in await images.snapshots.layers(image.top)]


@pytest.mark.parametrize("home", ["overlay2", "vfs"], indirect=True)
@pytest.mark.parametrize("kind", ["plain", "gzip", "zstd"])
async def test_compressions(
    images: service.ImageService, fake: fakeregistry.Fake, kind: str
) -> None:
    layers = pack(kind, BASE), pack(kind, TOP)
    suffix = "" if kind == "plain" else f"+{kind}"
    made = fake.image("lib/a:1", *layers, plain=(BASE, TOP), suffix=suffix)
    said: list[dict[str, Any]] = []
    name = f"{fake.host}/lib/a:1"
    image = await images.pull(name, progress=said.append)
    assert image.refs == (name,)
    assert image.digests == (f"{fake.host}/lib/a@{made['digest']}",)
    top, *_ = await tree(images, name)
    assert (top / "etc/motd").read_bytes() == TOP[512 : 512 + 600_000]
    assert said[0] == {"status": "Pulling from lib/a", "id": "1"}
    assert said[-2]["status"] == f"Digest: {made['digest']}"
    assert said[-1]["status"] == f"Status: Downloaded newer image for {name}"
    short = fakeregistry.digest(layers[1])[7:19]
    mine = [one["status"] for one in said if one.get("id") == short]
    assert mine[0] == "Pulling fs layer"
    assert mine[-1] == "Pull complete"


async def test_docker_schema_2(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", pack("gzip", BASE), plain=(BASE,), docker=True)
    await images.pull(f"{fake.host}/a:1")
    assert (await images.inspect(f"{fake.host}/a:1"))["Config"]["Cmd"] == ["/bin/sh"]


async def test_index_and_platforms(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    listed = []
    for architecture, layer in (("arm64", BASE), ("amd64", TOP)):
        item = fake.image("a", layer, architecture=architecture)
        platform = {"os": "linux", "architecture": architecture}
        listed.append({**item, "platform": platform})
    unknown = {"os": "unknown", "architecture": "unknown"}
    listed.insert(0, {**fake.manifest("a", b'{"layers":[]}'), "platform": unknown})
    index = {"schemaVersion": 2, "mediaType": fakeregistry.OCI_INDEX, "manifests": listed}
    top = fake.manifest("a:multi", index)
    image = await images.pull(f"{fake.host}/a:multi")
    assert image.config.architecture == "amd64"
    shown = (await images.inspect(image.id))["RepoDigests"]
    assert shown == [f"{fake.host}/a@{top['digest']}"]
    other = await images.pull(f"{fake.host}/a:multi", platform="linux/arm64")
    assert other.config.architecture == "arm64"
    assert images.resolve(f"{fake.host}/a:multi").id == other.id
    with pytest.raises(errdefs.NotFound, match=r"no matching .*s390x.*linux/amd64"):
        await images.pull(f"{fake.host}/a:multi", platform="linux/s390x")
    with pytest.raises(errdefs.InvalidParameter):
        await images.pull(f"{fake.host}/a:multi", platform="a/b/c/d")


async def test_platform_of_a_single_manifest(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    fake.image("a:1", BASE)
    with pytest.raises(errdefs.NotFound, match="does not match the specified platform"):
        await images.pull(f"{fake.host}/a:1", platform="linux/arm64")
    assert not images.list()


async def test_by_digest(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    made = fake.image("a:1", BASE)
    name = f"{fake.host}/a@{made['digest']}"
    image = await images.pull(name)
    assert (image.refs, image.digests) == ((), (name,))
    assert images.resolve(name).id == image.id


async def test_again_costs_one_head(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", BASE)
    name = f"{fake.host}/a:1"
    first = await images.pull(name)
    fake.asked.clear()
    said: list[dict[str, Any]] = []
    assert (await images.pull(name, progress=said.append)).id == first.id
    assert fake.asked == ["HEAD /v2/a/manifests/1"]
    assert said[-1]["status"] == f"Status: Image is up to date for {name}"
    fake.image("a:1", BASE, TOP)
    newer = await images.pull(name, progress=said.append)
    assert newer.id != first.id
    assert said[-1]["status"] == f"Status: Downloaded newer image for {name}"
    assert images.resolve(first.id).refs == ()


async def test_shared_layers_are_fetched_once(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    fake.image("a:1", BASE)
    fake.image("b:1", BASE, TOP)
    await images.pull(f"{fake.host}/a:1")
    said: list[dict[str, Any]] = []
    await images.pull(f"{fake.host}/b:1", progress=said.append)
    assert fake.asked.count(f"GET /v2/a/blobs/{fakeregistry.digest(BASE)}") == 1
    assert f"GET /v2/b/blobs/{fakeregistry.digest(BASE)}" not in fake.asked
    short = fakeregistry.digest(BASE)[7:19]
    assert [one["status"] for one in said if one.get("id") == short] == ["Already exists"]


async def test_a_layer_twice_in_one_image(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    fake.image("a:1", BASE, TOP, BASE, BASE)
    image = await images.pull(f"{fake.host}/a:1")
    assert len(image.config.rootfs.diff_ids) == 4
    assert len(await tree(images, image.id)) == 4


async def test_many_at_once_share_one_download(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    layer = tar(entry("big", os.urandom(4 << 20)))
    for number in range(4):
        fake.image(f"a:{number}", BASE, layer, author=str(number))
    fake.delay = 0.002
    made = await asyncio.gather(*(images.pull(f"{fake.host}/a:{n % 4}") for n in range(8)))
    assert len({image.id for image in made}) == 4
    assert fake.asked.count(f"GET /v2/a/blobs/{fakeregistry.digest(layer)}") == 1
    assert fake.served < 2 * len(layer)


async def test_one_that_leaves_does_not_end_it_for_others(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    layer = tar(entry("big", os.urandom(4 << 20)))
    fake.image("a:1", layer)
    fake.delay = 0.01
    first = asyncio.ensure_future(images.pull(f"{fake.host}/a:1"))  # noqa: TID251
    second = asyncio.ensure_future(images.pull(f"{fake.host}/a:1"))  # noqa: TID251
    while fake.served < 1 << 20:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    first.cancel()
    await second
    assert fake.asked.count(f"GET /v2/a/blobs/{fakeregistry.digest(layer)}") == 1


async def test_all_tags(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    for tag in ("1", "2", "3"):
        fake.image(f"lib/a:{tag}", BASE)
    assert await images.tags(f"{fake.host}/lib/a") == ["1", "2", "3"]


async def test_limit_of_parallel_layers(home: Home, fake: fakeregistry.Fake) -> None:
    images = await home.open(config.Settings(downloads=2))
    running = peak = 0
    layers = [tar(entry(f"f{n}", os.urandom(200_000))) for n in range(8)]
    fake.image("a:1", *layers)
    fake.delay = 0.005

    original = fake.send

    async def send(response: Any, data: bytes) -> None:
        nonlocal running, peak
        if data not in layers:
            await original(response, data)
            return
        running += 1
        peak = max(peak, running)
        await original(response, data[:-1])
        running -= 1
        await original(response, data[-1:])

    fake.send = send  # type: ignore[method-assign]
    await images.pull(f"{fake.host}/a:1")
    await images.close()
    assert peak == 2


async def test_mirrors_in_order_then_the_registry(home: Home, fake: fakeregistry.Fake) -> None:
    async with fakeregistry.serving(fakeregistry.Fake()) as mirror:
        mirror.image("hub/lib/a:1", BASE)
        fake.image("lib/b:1", TOP)
        settings = config.Settings(
            attempts=2,
            mirrors={fake.host: ("http://127.0.0.1:1", f"http://{mirror.host}/hub")},
        )
        images = await home.open(settings)
        await images.pull(f"{fake.host}/lib/a:1")
        assert fake.asked == []
        mirror.asked.clear()
        await images.pull(f"{fake.host}/lib/b:1")
        assert mirror.asked[0] == "GET /v2/hub/lib/b/manifests/1"
        await images.close()


async def test_layers_of_a_mirror_that_dies_come_from_the_registry(
    home: Home, fake: fakeregistry.Fake
) -> None:
    async with fakeregistry.serving(fakeregistry.Fake()) as mirror:
        for one in (mirror, fake):
            one.image("a:1", BASE)
        del mirror.blobs[fakeregistry.digest(BASE)]
        settings = config.Settings(attempts=2, mirrors={"*": (f"http://{mirror.host}",)})
        images = await home.open(settings)
        await images.pull(f"{fake.host}/a:1")
        assert f"GET /v2/a/blobs/{fakeregistry.digest(BASE)}" in fake.asked
        await images.close()


async def test_nothing_stays_of_removed_images(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    fake.image("a:1", BASE, TOP)
    image = await images.pull(f"{fake.host}/a:1")
    await images.remove(image.id, lambda _: [], force=True)
    assert leftovers(images) == []


async def test_index_of_a_pulled_image_is_kept(home: Home, fake: fakeregistry.Fake) -> None:
    item = {**fake.image("a", BASE), "platform": {"os": "linux", "architecture": "amd64"}}
    index = {"schemaVersion": 2, "mediaType": fakeregistry.OCI_INDEX, "manifests": [item]}
    top = fake.manifest("a:1", index)
    images = await home.open(fakeregistry.SETTINGS)
    await images.pull(f"{fake.host}/a:1")
    await images.close()
    images = await home.open(fakeregistry.SETTINGS)
    assert images.content.exists(top["digest"])
    await images.close()
