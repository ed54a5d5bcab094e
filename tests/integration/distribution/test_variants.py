"""One name, several platforms."""

from __future__ import annotations

import json
from typing import Any

import fakeregistry
import pytest

from firkin import errdefs
from firkin.images import service
from imagearchives import Home, chunks, entry, leftovers, tar

pytestmark = pytest.mark.root

LAYERS = {name: tar(entry(name, name.encode())) for name in ("amd64", "arm64", "s390x")}


def multi(fake: fakeregistry.Fake, *architectures: str, name: str = "a:1") -> dict[str, Any]:
    """An index of an image for each of the architectures."""
    listed = []
    for architecture in architectures:
        item = fake.image("a", LAYERS[architecture], architecture=architecture)
        platform = {"os": "linux", "architecture": architecture}
        listed.append({**item, "platform": platform})
    value = {"schemaVersion": 2, "mediaType": fakeregistry.OCI_INDEX, "manifests": listed}
    return fake.manifest(name, value)


async def both(images: service.ImageService, fake: fakeregistry.Fake) -> str:
    """Pull for two platforms; the tag is at amd64 then."""
    name = f"{fake.host}/a:1"
    await images.pull(name, platform="linux/arm64")
    await images.pull(name)
    return name


async def test_both_stand_under_the_name(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    top = multi(fake, "amd64", "arm64", "s390x")
    name = await both(images, fake)
    assert [one.repo_tags for one in images.list()] == [[name]]
    assert len(images.list(all=True)) == 2
    arm = images.resolve(name, "linux/arm64")
    assert arm.config.architecture == "arm64"
    assert images.resolve(name, json.dumps({"os": "linux", "architecture": "arm64"})).id == arm.id
    assert images.resolve(name).config.architecture == "amd64"
    with pytest.raises(errdefs.NotFound, match="wanted linux/s390x, actual: linux/amd64"):
        images.resolve(name, "linux/s390x")
    shown = await images.inspect(name, manifests=True, users={arm.id: ["c1"]})
    assert shown["Descriptor"]["digest"] == top["digest"]
    available = {
        one["ImageData"]["Platform"]["architecture"]: one["Available"] for one in shown["Manifests"]
    }
    assert available == {"amd64": True, "arm64": True, "s390x": False}
    (used,) = [one for one in shown["Manifests"] if one["ImageData"]["Containers"]]
    assert used["ImageData"]["Containers"] == ["c1"]
    assert used["Size"]["Total"] == used["Size"]["Content"] + 5
    assert (await images.inspect(name, platform="linux/arm64"))["Architecture"] == "arm64"
    with pytest.raises(errdefs.InvalidParameter):
        await images.inspect(name, platform="linux/arm64", manifests=True)


async def test_all_go_with_the_name(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    multi(fake, "amd64", "arm64")
    name = await both(images, fake)
    items, _ = await images.prune(None, lambda _: [])
    assert items == []
    await images.remove(name, lambda _: [])
    assert images.list(all=True) == []
    assert leftovers(images) == []


async def test_one_can_go_alone(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    multi(fake, "amd64", "arm64")
    name = await both(images, fake)
    await images.remove(name, lambda _: [], platforms=["linux/amd64"])
    assert images.resolve(name).config.architecture == "arm64"
    with pytest.raises(errdefs.NotFound):
        await images.remove(name, lambda _: [], platforms=["linux/amd64"])
    await images.remove(name, lambda _: [], platforms=["linux/arm64"])
    assert leftovers(images) == []


async def test_archive_has_both(
    images: service.ImageService, fake: fakeregistry.Fake, tmp_path: Any
) -> None:
    multi(fake, "amd64", "arm64")
    name = await both(images, fake)
    archive = b"".join([piece async for piece in images.save([name])])
    one = b"".join([piece async for piece in images.save([name], ["linux/arm64"])])
    assert len(one) < len(archive)
    (tmp_path / "other").mkdir()
    place = Home(tmp_path / "other", "overlay2")
    other = await place.open()
    for data in (archive, one):
        said = [m async for m in other.load(chunks(data), ["linux/arm64"])]
        assert said[-1] == {"stream": f"Loaded image: {name}\n"}
        assert other.resolve(name).config.architecture == "arm64"
    [_ async for _ in other.load(chunks(archive))]
    assert other.resolve(name).config.architecture == "amd64"
    with pytest.raises(errdefs.NotFound, match="no image for linux/s390x"):
        [_ async for _ in other.load(chunks(archive), ["linux/s390x"])]
    await other.close()
    place.close()


async def test_archive_without_layers_that_are_there(
    images: service.ImageService, fake: fakeregistry.Fake, tmp_path: Any
) -> None:
    fake.image("a:1", LAYERS["amd64"])
    fake.image("a:2", LAYERS["amd64"], LAYERS["arm64"])
    for tag in ("1", "2"):
        await images.pull(f"{fake.host}/a:{tag}")
    (tmp_path / "other").mkdir()
    place = Home(tmp_path / "other", "overlay2")
    other = await place.open()
    first = b"".join([piece async for piece in images.save([f"{fake.host}/a:1"])])
    shared = fakeregistry.digest(LAYERS["amd64"])
    thin = images.save([f"{fake.host}/a:2"], without=[shared])
    second = b"".join([piece async for piece in thin])
    assert shared[7:].encode() + b"\0" not in second
    with pytest.raises(errdefs.InvalidParameter, match="is not in it"):
        [_ async for _ in other.load(chunks(second))]
    [_ async for _ in other.load(chunks(first))]
    [_ async for _ in other.load(chunks(second))]
    assert other.resolve(f"{fake.host}/a:2").id == images.resolve(f"{fake.host}/a:2").id
    await other.close()
    place.close()


async def test_attestations(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    item = fake.image("a", LAYERS["amd64"])
    statement = {"_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://x.example"}
    layer = {
        "mediaType": "application/vnd.in-toto+json",
        "annotations": {"in-toto.io/predicate-type": "https://x.example"},
        **fake.blob(json.dumps(statement).encode()),
    }
    proof = fake.manifest(
        "a",
        {
            "schemaVersion": 2,
            "mediaType": fakeregistry.OCI_MANIFEST,
            "config": {"mediaType": fakeregistry.OCI_CONFIG, **fake.blob(b"{}")},
            "layers": [layer],
        },
    )
    notes = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": item["digest"],
    }
    listed = [
        {**item, "platform": {"os": "linux", "architecture": "amd64"}},
        {**proof, "platform": {"os": "unknown", "architecture": "unknown"}, "annotations": notes},
    ]
    fake.manifest(
        "a:1", {"schemaVersion": 2, "mediaType": fakeregistry.OCI_INDEX, "manifests": listed}
    )
    name = f"{fake.host}/a:1"
    image = await images.pull(name)
    found = await images.attestations(name, "", [], True)
    assert [one["PredicateType"] for one in found] == ["https://x.example"]
    assert json.loads(bytes(found[0]["Statement"])) == statement
    assert await images.attestations(name, "", ["https://y.example"], False) == []
    kinds = [one["Kind"] for one in (await images.inspect(name, manifests=True))["Manifests"]]
    assert kinds == ["image", "attestation"]
    await images.collector.collect()
    assert len(await images.attestations(name, "", [], False)) == 1
    await images.remove(image.id, lambda _: [], force=True)
    assert leftovers(images) == []
