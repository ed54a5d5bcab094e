"""Images."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from firkin import errdefs
from firkin.api import call, older, progress, pulls, routes
from firkin.engine import filters
from firkin.engine import images as engine
from firkin.images import filters as known
from firkin.types import base, container

ROUTES = routes.Routes()


@ROUTES.add("GET", "/images/json")
async def list_images(one: call.Call) -> web.StreamResponse:
    """ImageList."""
    wanted = filters.Filters.parse(one.text("filters"), known.LIST).values
    found = one.core.images.list(wanted, all=one.flag("all"))
    shown: list[dict[str, Any]] = [base.to_builtins(summary) for summary in found]
    users = engine.users(one.core)
    if one.flag("manifests") or one.flag("identity"):  # an identity would be a manifest's
        shown = await one.core.images.describe(found, users)
    if one.version >= (1, 51):
        for item in shown:
            item["Containers"] = len(users.get(item["Id"], ()))
    if one.flag("shared-size"):
        usage = await one.core.images.usage()
        for item in shown:
            item["SharedSize"] = usage.shared.get(item["Id"], 0)
    return call.reply(older.images(shown, one.version))


@ROUTES.add("POST", "/images/create", stream=True)
async def create_image(one: call.Call) -> web.StreamResponse:
    """ImageCreate: a pull or an import."""
    if one.given("fromImage"):
        return await pulls.pull(one)
    return await _import(one)


async def _import(one: call.Call) -> web.StreamResponse:
    source = one.text("fromSrc")
    stream = one.stream()
    if source != "-":
        stream = one.core.images.registries.download(source)
    made = await one.core.images.import_(
        stream,
        repository=one.text("repo"),
        tag=one.text("tag"),
        message=one.text("message"),
        changes=one.texts("changes"),
        platform=one.text("platform"),
        size=_announced(one),
    )
    response = await call.begin(one)
    await response.write(base.encode({"status": made.id}) + b"\n")
    await response.write_eof()
    return response


def _announced(one: call.Call) -> int:
    """How many bytes the body has, as far as the client tells: our own by ``size``."""
    return max(0, one.number("size", 0) or one.request.content_length or 0)


@ROUTES.add("POST", "/images/load", stream=True)
async def load_images(one: call.Call) -> web.StreamResponse:
    """ImageLoad."""
    platforms = [text for text in one.texts("platform") if text]
    load, quiet = one.core.images.load, one.flag("quiet")

    async def work(say: progress.Say) -> None:
        heard = None if quiet else say
        async for message in load(one.stream(), platforms, _announced(one), heard):
            say(message)

    return await progress.stream(one, work)


async def _send(
    one: call.Call, names: list[str], without: tuple[str, ...] = ()
) -> web.StreamResponse:
    platforms = [text for text in one.texts("platform") if text]
    pieces = one.core.images.save(names, platforms, without)
    response = await call.begin(one, "application/x-tar")
    async for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response


@ROUTES.add("GET", "/images/get", stream=True)
async def save_images(one: call.Call) -> web.StreamResponse:
    """ImageGetAll."""
    names = one.texts("names")
    if not names:
        raise errdefs.InvalidParameter("no image names given: name at least one to save")
    return await _send(one, names)


class _Thin(base.Wire):
    names: list[str]
    without: list[str] = []


@ROUTES.add("POST", "/firkin/images/get", stream=True)
async def save_without(one: call.Call) -> web.StreamResponse:
    """ImageGetAll without layers that the reader has (an operation of this engine's own)."""
    wanted = await one.json(_Thin)
    return await _send(one, wanted.names, tuple(wanted.without))


@ROUTES.add("GET", "/firkin/images/layers")
async def stored_layers(one: call.Call) -> web.StreamResponse:
    """The digests of an image's layers as they are stored (an operation of this engine's own)."""
    images = one.core.images
    image = images.resolve(one.text("name"))
    manifest = await asyncio.to_thread(images.catalog.manifest, image)
    return call.reply([layer.digest for layer in manifest.layers])


@ROUTES.add("POST", "/firkin/blobs/missing")
async def missing_blobs(one: call.Call) -> web.StreamResponse:
    """Which of the digests in the body are not here (an operation of this engine's own)."""
    digests = await one.json(list[str])
    store = one.core.images.content
    found = await asyncio.to_thread(lambda: [d for d in digests if not store.exists(d)])
    return call.reply(found)


@ROUTES.add("GET", "/images/{name...}/get", stream=True)
async def save_image(one: call.Call) -> web.StreamResponse:
    """ImageGet."""
    return await _send(one, [one.var("name")])


@ROUTES.add("GET", "/images/{name...}/json")
async def inspect_image(one: call.Call) -> web.StreamResponse:
    """ImageInspect."""
    shown = await one.core.images.inspect(
        one.var("name"),
        platform=one.text("platform"),
        manifests=one.flag("manifests"),
        users=engine.users(one.core),
    )
    return call.reply(older.image(shown, one.version))


@ROUTES.add("GET", "/images/{name...}/history")
async def image_history(one: call.Call) -> web.StreamResponse:
    """ImageHistory."""
    found = await one.core.images.history(one.var("name"), one.text("platform"))
    return call.reply(found)


@ROUTES.add("GET", "/images/{name...}/attestations")
async def image_attestations(one: call.Call) -> web.StreamResponse:
    """ImageAttestations."""
    platforms = one.texts("platform")
    if len(platforms) > 1:
        raise errdefs.InvalidParameter("give one platform: several are not supported")
    found = await one.core.images.attestations(
        one.var("name"), "".join(platforms), one.texts("type"), one.flag("statement")
    )
    return call.reply(found)


@ROUTES.add("POST", "/images/{name...}/tag")
async def tag_image(one: call.Call) -> web.StreamResponse:
    """ImageTag."""
    await one.core.images.tag(one.var("name"), one.text("repo"), one.text("tag"))
    return web.Response(status=201)


@ROUTES.add("POST", "/images/{name...}/push", stream=True)
async def push_image(one: call.Call) -> web.StreamResponse:
    """ImagePush."""
    return await pulls.push(one)


@ROUTES.add("POST", "/images/prune")
async def prune_images(one: call.Call) -> web.StreamResponse:
    """ImagePrune."""
    wanted = filters.Filters.parse(one.text("filters"), known.PRUNE).values
    items, reclaimed = await one.core.images.prune(wanted, engine.in_use(one.core))
    one.core.events.publish("image", "prune", "", {"reclaimed": str(reclaimed)})
    return call.reply(
        {"ImagesDeleted": base.to_builtins(items) or None, "SpaceReclaimed": reclaimed}
    )


@ROUTES.add("DELETE", "/images/{name...}")
async def remove_image(one: call.Call) -> web.StreamResponse:
    """ImageDelete."""
    items = await one.core.images.remove(
        one.var("name"),
        engine.in_use(one.core),
        force=one.flag("force"),
        noprune=one.flag("noprune"),
        platforms=[text for text in one.texts("platforms") if text],
    )
    return call.reply(items)


@ROUTES.add("POST", "/commit")
async def commit(one: call.Call) -> web.StreamResponse:
    """ImageCommit."""
    config = await one.json_if_any(container.Config)
    subject = one.core.containers.get(one.text("container"))
    made = await engine.commit(
        one.core,
        subject,
        config,
        repository=one.text("repo"),
        tag=one.text("tag"),
        comment=one.text("comment"),
        author=one.text("author"),
        changes=one.texts("changes"),
        pause=one.flag("pause", default=True),
    )
    return call.reply({"Id": made.id}, 201)
