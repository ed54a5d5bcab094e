"""ContainerArchive, PutContainerArchive, ContainerArchiveInfo, ContainerExport and
ContainerChanges."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import AsyncGenerator, AsyncIterator

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, model, rootfiles, views
from firkin.files import process
from firkin.images import stream
from firkin.snapshots import changes as differences


def absolute(path: str) -> str:
    """A path of the API: absolute, without "..", with a slash or "/." at its end kept.

    Raises ``InvalidParameter``.
    """
    if not path:
        raise errdefs.InvalidParameter("bad parameter: 'path' cannot be empty")
    if "\0" in path:
        raise errdefs.InvalidParameter("bad parameter: 'path' contains a NUL byte")
    clean = "/" + posixpath.normpath("/" + path).strip("/")
    slash = "" if clean == "/" else "/"
    if posixpath.basename(path.rstrip("/")) == ".":
        return f"{clean}{slash}."
    return clean + slash if path.endswith("/") else clean


def _missing(path: str, called: str) -> errdefs.NotFound:
    return errdefs.NotFound(f"Could not find the file {path} in container {called}")


async def stat(
    core: engine.Core, container: model.Container, path: str, called: str
) -> process.Stat:
    """What is at ``path``. Raises ``NotFound``, in which the container is ``called`` so."""
    place = absolute(path)
    async with views.whole(core, container) as view:
        try:
            return await asyncio.to_thread(process.stat, view, place)
        except errdefs.NotFound:
            raise _missing(path, called) from None


async def read(
    core: engine.Core, container: model.Container, path: str, called: str
) -> AsyncGenerator[process.Stat | bytes, None]:
    """What is at ``path``, then its archive in pieces. Raises as ``stat``, before the first."""
    request = process.Request("read", absolute(path))
    async with views.whole(core, container) as view:
        worker = await asyncio.to_thread(process.Worker, view, request)
        try:
            try:
                answer = await asyncio.to_thread(worker.answer)
            except errdefs.NotFound:
                raise _missing(path, called) from None
            emit.container(core, container, "archive-path")
            assert answer.stat is not None
            yield answer.stat
            async for piece in _pieces(worker):
                yield piece
        finally:
            await asyncio.to_thread(worker.close)


async def _pieces(worker: process.Worker) -> AsyncIterator[bytes]:
    chunks = worker.chunks()
    while piece := await asyncio.to_thread(next, chunks, b""):
        yield piece


async def write(
    core: engine.Core,
    container: model.Container,
    path: str,
    archive: AsyncIterator[bytes],
    called: str,
    *,
    no_overwrite: bool,
    copy_owner: bool,
) -> None:
    """Extract ``archive`` (a tar, plain or compressed) into the directory at ``path``.

    ``copy_owner`` gives all of it to the container's user. Raises ``NotFound`` (as ``stat``),
    ``InvalidParameter`` and ``Forbidden`` for what is mounted read-only.
    """
    owner = None
    if copy_owner and container.record.config.user:
        async with views.root(core, container) as root:
            config = container.record.config
            found = await asyncio.to_thread(rootfiles.user, root, config.user, [])
            owner = (found.uid, found.gid)
    request = process.Request("write", absolute(path), no_overwrite, owner)
    async with views.whole(core, container) as view:
        try:
            outcome = await stream.consume(
                archive, lambda buffer: _write(view, request, buffer), "firkin-files"
            )
            if outcome is not None:
                raise outcome
        except errdefs.NotFound:
            raise _missing(path, called) from None
        except errdefs.Forbidden:
            what = "container rootfs" if container.record.host.readonly_rootfs else "mounted volume"
            raise errdefs.Forbidden(
                f"{what} is marked read-only: {path} in container {container.name} can't be written"
            ) from None
        finally:
            core.sizes.touch(container.id)
    emit.container(core, container, "extract-to-dir")


def _write(
    view: process.View, request: process.Request, buffer: stream.Buffer
) -> errdefs.FirkinError | None:
    """Write what comes; returns the failure, which is the client's to know and nobody else's."""
    try:
        process.write(view, request, buffer.take)
    except errdefs.FirkinError as error:
        return error
    return None


async def export(core: engine.Core, container: model.Container) -> AsyncGenerator[bytes, None]:
    """The whole root file system, without what is mounted in it. The first piece is empty."""
    async with views.root(core, container) as place:
        view = process.View(root=place, readonly=True, workdir=views.workdir(container))
        worker = await asyncio.to_thread(process.Worker, view, process.Request("export"))
        try:
            await asyncio.to_thread(worker.answer)
            emit.container(core, container, "export")
            yield b""
            async for piece in _pieces(worker):
                yield piece
        finally:
            await asyncio.to_thread(worker.close)


async def changes(
    core: engine.Core, container: model.Container
) -> list[dict[str, str | int]] | None:
    """The answer of ContainerChanges; ``None`` when there are none."""
    snapshots = core.images.snapshots
    layers = await snapshots.layers(container.id)
    found = await asyncio.to_thread(differences.changes, layers, stacked=snapshots.rebases)
    return [{"Path": change.path, "Kind": int(change.kind)} for change in found] or None
