"""Files of containers."""

from __future__ import annotations

import base64
import datetime
import stat

from aiohttp import web

from firkin.api import call, routes
from firkin.engine.containers import files, model, top
from firkin.files import process
from firkin.types import base

ROUTES = routes.Routes()

_STAT = "X-Docker-Container-Path-Stat"
# The bits of Go's os.FileMode, which the API shows as a number.
_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
}
_BITS = {stat.S_ISUID: 1 << 23, stat.S_ISGID: 1 << 22, stat.S_ISVTX: 1 << 20}


def go_mode(mode: int) -> int:
    """A file's mode as Go's os.FileMode."""
    shown = (mode & 0o777) | _KINDS.get(stat.S_IFMT(mode), 0)
    for bit, theirs in _BITS.items():
        if mode & bit:
            shown |= theirs
    return shown


def path_stat(found: process.Stat) -> str:
    """The value of the header that tells what a path is."""
    seconds, fraction = divmod(found.mtime, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f".{fraction:09d}".rstrip("0") if fraction else ""
    value = {
        "name": found.name,
        "size": found.size,
        "mode": go_mode(found.mode),
        "mtime": f"{moment}{digits}Z",
        "linkTarget": found.target,
    }
    return base64.b64encode(base.encode(value)).decode()


def _subject(one: call.Call) -> model.Container:
    return one.core.containers.get(one.var("id"))


@ROUTES.add("HEAD", "/containers/{id}/archive")
async def archive_info(one: call.Call) -> web.StreamResponse:
    """ContainerArchiveInfo."""
    found = await files.stat(one.core, _subject(one), one.text("path"), one.var("id"))
    return web.Response(headers={_STAT: path_stat(found)}, content_type="application/json")


@ROUTES.add("GET", "/containers/{id}/archive", stream=True)
async def get_archive(one: call.Call) -> web.StreamResponse:
    """ContainerArchive."""
    pieces = files.read(one.core, _subject(one), one.text("path"), one.var("id"))
    try:
        found = await anext(pieces)
        assert isinstance(found, process.Stat)
        response = await call.begin(one, "application/x-tar", headers={_STAT: path_stat(found)})
        async for piece in pieces:
            assert isinstance(piece, bytes)
            await response.write(piece)
        await response.write_eof()
        return response
    finally:
        await pieces.aclose()


@ROUTES.add("PUT", "/containers/{id}/archive", stream=True)
async def put_archive(one: call.Call) -> web.StreamResponse:
    """PutContainerArchive."""
    await files.write(
        one.core,
        _subject(one),
        one.text("path"),
        one.stream(),
        one.var("id"),
        no_overwrite=one.flag("noOverwriteDirNonDir"),
        copy_owner=one.flag("copyUIDGID"),
    )
    return web.Response(status=200)


@ROUTES.add("GET", "/containers/{id}/export", stream=True)
async def export(one: call.Call) -> web.StreamResponse:
    """ContainerExport."""
    pieces = files.export(one.core, _subject(one))
    try:
        await anext(pieces)
        response = await call.begin(one, "application/octet-stream")
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response
    finally:
        await pieces.aclose()


@ROUTES.add("GET", "/containers/{id}/changes")
async def changes(one: call.Call) -> web.StreamResponse:
    """ContainerChanges."""
    return call.reply(await files.changes(one.core, _subject(one)))


@ROUTES.add("GET", "/containers/{id}/top")
async def list_processes(one: call.Call) -> web.StreamResponse:
    """ContainerTop."""
    return call.reply(await top.top(one.core, _subject(one), one.text("ps_args", "-ef")))
