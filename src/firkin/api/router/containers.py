"""Containers."""

from __future__ import annotations

import asyncio

import msgspec
from aiohttp import web

from firkin import errdefs
from firkin.api import call, hijack, older, routes, websocket
from firkin.engine import filters, times
from firkin.engine.containers import (
    attach,
    create,
    inspect,
    links,
    listing,
    logs,
    model,
    registry,
    remove,
    rename,
    resize,
    restart,
    start,
    stop,
    wait,
)
from firkin.types import base, container

ROUTES = routes.Routes()

_READS_JSON_FILE_ONLY = "docker-sdk-python"
"""This client returns what a container has written only if its driver has the name json-file or
journald; that of the driver local can be read just as well."""


_OLD_FILTERS = ("before", "since")
"""Parameters that became filters, and that SDKs still send."""


def _subject(one: call.Call) -> model.Container:
    return one.core.containers.get(one.var("id"))


@ROUTES.add("GET", "/containers/json")
async def list_containers(one: call.Call) -> web.StreamResponse:
    """ContainerList."""
    wanted = filters.Filters.parse(one.text("filters"), listing.FILTERS)
    if old := {name: [one.text(name)] for name in _OLD_FILTERS if one.text(name)}:
        wanted = filters.Filters({**old, **wanted.values})
    found = await listing.listing(
        one.core,
        everything=one.flag("all"),
        limit=one.number("limit", -1) or -1,
        size=one.flag("size"),
        wanted=wanted,
        version=one.version,
    )
    return call.reply(found)


@ROUTES.add("POST", "/containers/create")
async def create_container(one: call.Call) -> web.StreamResponse:
    """ContainerCreate."""
    request = await one.json(container.CreateRequest)
    networking = request.networking_config or container.NetworkingConfig()
    if one.version < (1, 44) and len(networking.endpoints_config or ()) > 1:
        raise errdefs.InvalidParameter(
            "Container cannot be created with multiple network endpoints: connect the others "
            "afterwards, or use API version 1.44"
        )
    made = await create.create(one.core, one.text("name"), request, platform=one.text("platform"))
    return call.reply(made, 201)


@ROUTES.add("POST", "/containers/prune")
async def prune(one: call.Call) -> web.StreamResponse:
    """ContainerPrune."""
    wanted = filters.Filters.parse(one.text("filters"), listing.PRUNE_FILTERS)
    return call.reply(await listing.prune(one.core, wanted))


@ROUTES.add("GET", "/containers/{id}/json")
async def inspect_container(one: call.Call) -> web.StreamResponse:
    """ContainerInspect."""
    shown = await inspect.inspect(
        one.core, _subject(one), size=one.flag("size"), version=one.version
    )
    if one.request.headers.get("User-Agent", "").startswith(_READS_JSON_FILE_ONLY):
        log = shown["HostConfig"]["LogConfig"]
        log["Type"] = "json-file" if log["Type"] == "local" else log["Type"]
    return call.reply(older.container(shown, one.version))


@ROUTES.add("POST", "/containers/{id}/start")
async def start_container(one: call.Call) -> web.StreamResponse:
    """ContainerStart."""
    if one.request.query.get("checkpoint"):
        raise errdefs.InvalidParameter("checkpoints are only supported in experimental mode")
    await start.start(one.core, _subject(one))
    return call.empty()


@ROUTES.add("POST", "/containers/{id}/stop")
async def stop_container(one: call.Call) -> web.StreamResponse:
    """ContainerStop."""
    slow = await stop.stop(
        one.core, _subject(one), timeout=one.number("t"), stop_signal=one.text("signal")
    )
    return _warned(slow)


def _warned(warning: str) -> web.StreamResponse:
    """An empty answer with a warning (RFC 9111, 5.5), if there is one."""
    response = call.empty()
    if warning:
        printable = "".join(c if " " <= c < "\x7f" and c not in '"\\' else "?" for c in warning)
        response.headers["Warning"] = f'299 firkin "{printable}"'
    return response


@ROUTES.add("POST", "/containers/{id}/restart")
async def restart_container(one: call.Call) -> web.StreamResponse:
    """ContainerRestart."""
    slow = await restart.restart(
        one.core, _subject(one), timeout=one.number("t"), stop_signal=one.text("signal")
    )
    return _warned(slow)


@ROUTES.add("POST", "/containers/{id}/kill")
async def kill_container(one: call.Call) -> web.StreamResponse:
    """ContainerKill."""
    await stop.kill(one.core, _subject(one), one.text("signal"))
    return call.empty()


@ROUTES.add("POST", "/containers/{id}/pause")
async def pause_container(one: call.Call) -> web.StreamResponse:
    """ContainerPause."""
    await stop.pause(one.core, _subject(one))
    return call.empty()


@ROUTES.add("POST", "/containers/{id}/unpause")
async def unpause_container(one: call.Call) -> web.StreamResponse:
    """ContainerUnpause."""
    await stop.unpause(one.core, _subject(one))
    return call.empty()


@ROUTES.add("POST", "/containers/{id}/rename")
async def rename_container(one: call.Call) -> web.StreamResponse:
    """ContainerRename."""
    await rename.rename(one.core, _subject(one), registry.check_name(one.text("name")))
    return call.empty()


@ROUTES.add("POST", "/containers/{id}/resize")
async def resize_container(one: call.Call) -> web.StreamResponse:
    """ContainerResize."""
    rows, columns = size(one)
    await resize.resize(one.core, _subject(one), rows, columns)
    return web.Response(status=200)


def size(one: call.Call) -> tuple[int, int]:
    """The terminal size asked for: rows and columns. Raises ``InvalidParameter``."""
    return _side(one, "h", "height"), _side(one, "w", "width")


def _side(one: call.Call, name: str, what: str) -> int:
    text = one.text(name)
    if not text.removeprefix("-").isdecimal():
        raise errdefs.InvalidParameter(f'invalid resize {what} "{text[:80]}": invalid syntax')
    if len(text) > 5 or not 0 <= int(text) < 65536:
        raise errdefs.InvalidParameter(f'invalid resize {what} "{text[:80]}": value out of range')
    return int(text)


@ROUTES.add("DELETE", "/containers/{id}")
async def remove_container(one: call.Call) -> web.StreamResponse:
    """ContainerDelete."""
    if one.flag("link"):
        name, slash, alias = one.var("id").strip("/").rpartition("/")
        if not slash:
            raise errdefs.InvalidParameter(
                f"{alias}: a link is named by its container and its alias: CONTAINER/ALIAS"
            )
        await links.unlink(one.core, one.core.containers.get(name), alias)
        return call.empty()
    await remove.remove(one.core, _subject(one), force=one.flag("force"), volumes=one.flag("v"))
    return call.empty()


@ROUTES.add("DELETE", "/containers/{id}/{alias}")
async def remove_link(one: call.Call) -> web.StreamResponse:
    """ContainerDelete of a link."""
    if not one.flag("link"):
        raise errdefs.NotFound("page not found")
    await links.unlink(one.core, _subject(one), one.var("alias"))
    return call.empty()


@ROUTES.add("POST", "/containers/{id}/wait", stream=True)
async def wait_container(one: call.Call) -> web.StreamResponse:
    """ContainerWait. The header goes out at once: clients start the container after it."""
    subject = _subject(one)
    future = wait.begin(subject, one.text("condition"))
    try:
        response = await call.begin(one)
        code, error = await future
        answer = container.WaitResponse(
            status_code=code, error=container.WaitError(message=error) if error else None
        )
        shown = base.to_builtins(answer)
        if not error:
            shown.pop("Error")
        await response.write(base.encode(shown) + b"\n")
        await response.write_eof()
        return response
    finally:
        wait.cancel(subject, future)


@ROUTES.add("GET", "/containers/{id}/logs", stream=True)
async def container_logs(one: call.Call) -> web.StreamResponse:
    """ContainerLogs."""
    subject = _subject(one)
    tail = one.text("tail", "all")
    options = logs.Options(
        stdout=one.flag("stdout"),
        stderr=one.flag("stderr"),
        follow=one.flag("follow"),
        timestamps=one.flag("timestamps"),
        since=times.parse(one.text("since"), "since"),
        until=times.parse(one.text("until"), "until"),
        tail=int(tail) if tail.isdigit() and len(tail) < 12 else -1,
        details=one.flag("details"),
    )
    logs.check(subject, options)
    raw = subject.record.config.tty
    kind = hijack.RAW if raw or one.version < (1, 42) else hijack.MULTIPLEXED
    response = await call.begin(one, kind)
    async for data in logs.read(one.core, subject, options):
        await response.write(data)
    await response.write_eof()
    return response


def _attach_request(one: call.Call) -> attach.Request:
    return attach.Request(
        stdin=one.flag("stdin"),
        stdout=one.flag("stdout"),
        stderr=one.flag("stderr"),
        stream=one.flag("stream"),
        logs=one.flag("logs"),
        detach_keys=one.text("detachKeys"),
    )


@ROUTES.add("POST", "/containers/{id}/attach", stream=True)
async def attach_container(one: call.Call) -> web.StreamResponse:
    """ContainerAttach."""
    subject = _subject(one)
    request = _attach_request(one)
    attach.check(subject)
    raw = subject.record.config.tty or one.version < (1, 42)
    connection = hijack.Connection(one.request)
    attached = await attach.begin(one.core, subject, request, connection)
    try:
        await connection.take(hijack.RAW if raw else hijack.MULTIPLEXED)
        try:
            await attach.serve(one.core, subject, request, connection, attached)
        finally:
            taken = connection.close()
    finally:
        attached.end()
    return taken


@ROUTES.add("GET", "/containers/{id}/attach/ws", stream=True)
async def attach_websocket(one: call.Call) -> web.StreamResponse:
    """ContainerAttachWebsocket."""
    subject = _subject(one)
    request = _attach_request(one)
    if one.version < (1, 42):  # which gave all streams, whatever was asked for
        request = msgspec.structs.replace(request, stdin=True, stdout=True, stderr=True)
    attach.check(subject)
    connection = websocket.Connection(one.request)
    attached = await attach.begin(one.core, subject, request, connection, raw=True)
    try:
        await connection.open()
        sender = one.core.tasks.spawn(connection.send(), f"websocket of {subject.short}")
        try:
            await attach.serve(one.core, subject, request, connection, attached)
            await asyncio.sleep(0)
            sender.cancel()
            await connection.flush()
        finally:
            sender.cancel()
    finally:
        attached.end()
    return connection.response
