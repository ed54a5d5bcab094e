"""Pull and push over the API: the parameters in, progress messages out."""

from __future__ import annotations

from aiohttp import web

from firkin import errdefs, reference
from firkin.api import call, progress
from firkin.images import platforms
from firkin.remotes import auth
from firkin.types import base, image

AUTH = "X-Registry-Auth"


def credentials(one: call.Call) -> auth.Credentials:
    """Who the client is to a registry."""
    return auth.from_header(one.request.headers.get(AUTH, ""))


def named(name: str, tag: str) -> reference.Reference:
    """The reference that an API call's name and tag (or digest) mean together."""
    parsed = reference.parse(name)
    if not tag:
        return parsed
    joint = "@" if ":" in tag else ":"
    bare = reference.Reference(parsed.domain, parsed.path)
    return reference.parse(f"{bare}{joint}{tag}")


async def pull(one: call.Call) -> web.StreamResponse:
    """ImageCreate with ``fromImage``: one tag or digest, or without either all tags."""
    parsed = named(one.text("fromImage"), one.text("tag"))
    who = credentials(one)
    platform = wanted_platform(one)
    images = one.core.images

    if one.flag("dryrun"):
        return await progress.stream(one, lambda say: _dry_run(one, parsed, platform, who, say))

    async def work(say: progress.Say) -> None:
        if parsed.tag or parsed.digest:
            await images.pull(str(parsed), platform=platform, credentials=who, progress=say)
            return
        tags = await images.tags(str(parsed), who)
        if not tags:
            raise errdefs.NotFound(f"{parsed.familiar_name} has no tags")
        for tag in tags:
            name = str(reference.Reference(parsed.domain, parsed.path, tag))
            await images.pull(name, platform=platform, credentials=who, progress=say)

    return await progress.stream(one, work)


async def _dry_run(
    one: call.Call,
    parsed: reference.Reference,
    platform: str,
    who: auth.Credentials,
    say: progress.Say,
) -> None:
    """What a pull would fetch (an operation of this engine's own)."""
    name = parsed.tagged()
    plan = await one.core.images.plan(str(name), platform=platform, credentials=who)
    say({"status": f"Would pull {name.familiar}"})
    total = 0
    for blob in plan.blobs:
        missing = blob.size - blob.here
        total += missing
        status = f"Would {'resume' if blob.here else 'download'} {progress.size(missing)}"
        say({"id": blob.digest[7:19], "status": status if missing else "Already exists"})
    say({"status": f"Digest: {plan.digest}"})
    say({"status": f"Total: {progress.size(total)} to download"})


async def push(one: call.Call) -> web.StreamResponse:
    """ImagePush: one tag, or without one all tags of the repository."""
    parsed = named(one.var("name"), one.text("tag"))
    who = credentials(one)
    platform = wanted_platform(one)
    images = one.core.images

    async def work(say: progress.Say) -> None:
        await images.push(str(parsed), platform=platform, credentials=who, progress=say)

    return await progress.stream(one, work)


def wanted_platform(one: call.Call) -> str:
    """The query's ``platform``: JSON of an OCI platform, or os[/arch[/variant]]."""
    text = one.text("platform")
    if not text.startswith("{"):
        return text
    found = base.decode(image.Platform, text)
    return platforms.show(found)
