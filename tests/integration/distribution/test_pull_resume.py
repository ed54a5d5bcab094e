"""Pulls that break, and go on."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import fakeregistry
import pytest
from aiohttp import web

from firkin import errdefs
from firkin.images import service
from imagearchives import Home, entry, leftovers, tar

pytestmark = pytest.mark.root

LAYER = tar(entry("big", os.urandom(6 << 20)))
DIGEST = fakeregistry.digest(LAYER)


def layer_requests(fake: fakeregistry.Fake) -> int:
    return sum(DIGEST in line for line in fake.asked)


def breaking(fake: fakeregistry.Fake, after: int, times: int) -> None:
    """Have the first ``times`` answers for the layer end after so many bytes."""
    original = fake.send
    left = times

    async def send(response: web.StreamResponse, data: bytes) -> None:
        nonlocal left
        if len(data) > after and left and LAYER.endswith(data):
            left -= 1
            await original(response, data[:after])
            assert response._req is not None
            response._req.transport.abort()  # type: ignore[union-attr]
            return
        await original(response, data)

    fake.send = send  # type: ignore[method-assign]


@pytest.mark.parametrize("ranges", [True, False])
async def test_broken_connection(
    images: service.ImageService, fake: fakeregistry.Fake, ranges: bool
) -> None:
    fake.image("a:1", LAYER)
    fake.ranges = ranges
    breaks = 3 if ranges else 1
    breaking(fake, 2_000_001, breaks)
    image = await images.pull(f"{fake.host}/a:1")
    assert layer_requests(fake) == breaks + 1
    if ranges:
        assert fake.served < len(LAYER) + (1 << 20)
    top = (await images.snapshots.layers(image.top))[0]
    assert os.path.getsize(f"{top}/big") == 6 << 20


async def test_next_pull_takes_it_up(home: Home, fake: fakeregistry.Fake) -> None:
    small = tar(entry("small", b"x"))
    fake.image("a:1", small, LAYER)
    breaking(fake, 4_500_000, 1)
    images = await home.open(fakeregistry.SETTINGS)
    original = fake.blobs.pop

    async def gone(request: web.Request) -> web.StreamResponse | None:
        if DIGEST in request.path and "Range" in request.headers:
            return web.Response(status=503)
        return None

    fake.before = gone
    with pytest.raises(errdefs.Unavailable, match="503"):
        await images.pull(f"{fake.host}/a:1")
    assert original is not None
    assert images.list() == []
    await images.close()
    fake.before = None
    fake.asked.clear()
    fake.served = 0
    images = await home.open(fakeregistry.SETTINGS)
    assert 3 << 20 <= images.content.begun(DIGEST) <= 4_500_000
    image = await images.pull(f"{fake.host}/a:1")
    assert fake.served < len(LAYER) - (2 << 20)
    assert not any(fakeregistry.digest(small) in line for line in fake.asked)
    await images.remove(image.id, lambda _: [], force=True)
    assert leftovers(images) == []
    await images.close()


async def test_a_spoilt_beginning_is_not_believed(home: Home, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", LAYER)
    images = await home.open(fakeregistry.SETTINGS)
    path = os.path.join(images.content.partial, DIGEST[7:])
    with open(path, "wb") as file:
        file.write(bytes(3 << 20))
    image = await images.pull(f"{fake.host}/a:1")
    assert image.size == 6 << 20
    assert images.content.begun(DIGEST) == 0
    await images.close()


async def test_cancelled_pull_keeps_what_it_has(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    fake.image("a:1", LAYER)
    fake.delay = 0.005
    pull = asyncio.ensure_future(images.pull(f"{fake.host}/a:1"))  # noqa: TID251
    while fake.served < 3 << 20:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull
    assert images.list() == []
    assert images.content.begun(DIGEST) >= 2 << 20
    fake.served, fake.delay = 0, 0
    await images.pull(f"{fake.host}/a:1")
    assert fake.served < len(LAYER) - (1 << 20)


async def test_prune_gives_up_what_is_left(
    images: service.ImageService, fake: fakeregistry.Fake
) -> None:
    small = tar(entry("small", b"x"))
    fake.image("a:1", small, LAYER)
    del fake.blobs[DIGEST]
    with pytest.raises(errdefs.NotFound):
        await images.pull(f"{fake.host}/a:1")
    assert images.content.exists(fakeregistry.digest(small))
    await images.prune(None, lambda _: [])
    assert leftovers(images) == []


async def test_failures_that_pass(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    fake.image("a:1", tar(entry("x")))
    failures = iter([503, 429, 200, 500, 200, 502])

    async def sometimes(request: web.Request) -> web.StreamResponse | None:
        status = next(failures, 200)
        return None if status == 200 else web.Response(status=status, headers={"Retry-After": "0"})

    fake.before = sometimes
    await images.pull(f"{fake.host}/a:1")


async def test_rate_limit(images: service.ImageService, fake: fakeregistry.Fake) -> None:
    async def limited(request: web.Request) -> web.StreamResponse | None:
        body: dict[str, Any] = {"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}
        return web.json_response(body, status=429, headers={"Retry-After": "3600"})

    fake.before = limited
    with pytest.raises(errdefs.Unavailable, match=r"toomanyrequests: .*slow down.*log in"):
        await images.pull(f"{fake.host}/a:1")
    assert len(fake.asked) <= 2
