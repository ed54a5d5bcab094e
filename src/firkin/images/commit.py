"""Committing: a container's changes as a new layer on its image."""

from __future__ import annotations

import asyncio
import time

import msgspec

from firkin import errdefs
from firkin.images import assemble, catalog, changes, diff, layers, platforms, stream, views
from firkin.types import container
from firkin.types import image as types


class Request(msgspec.Struct):
    """What to commit. ``names`` are canonical; ``key`` is the container's snapshot."""

    key: str
    parent: types.Image | None
    config: container.Config
    author: str = ""
    comment: str = ""
    changes: list[str] = []
    names: list[str] = []
    created_by: str = ""


def _words(value: list[str] | str | None) -> list[str] | None:
    return [value] if isinstance(value, str) else value


def run_config(config: container.Config) -> types.RunConfig:
    """The part of a container's config that an image keeps."""
    return types.RunConfig(
        user=config.user,
        exposed_ports=config.exposed_ports,
        env=config.env,
        entrypoint=_words(config.entrypoint),
        cmd=_words(config.cmd),
        healthcheck=config.healthcheck,
        args_escaped=bool(config.args_escaped),
        volumes=config.volumes,
        working_dir=config.working_dir,
        on_build=config.on_build,
        labels=config.labels,
        stop_signal=config.stop_signal or "",
        shell=config.shell,
    )


async def _layer(owner: layers.Layers, key: str) -> layers.Received | None:
    """The snapshot's changes, stored and unpacked; None when there are none."""
    loop = asyncio.get_running_loop()
    directories = await owner.snapshots.layers(key)
    below = "" if owner.snapshots.rebases or len(directories) < 2 else directories[1]

    def work() -> layers.Received | None:
        walker = diff.Walker()
        sink: layers.Sink | None = None
        try:
            for batch in diff.batches(walker.run(directories[0], below)):
                if not walker.entries:
                    continue
                if sink is None:
                    sink = owner.sink(loop, batch[0][:512], "the container's changes")
                sink.write(batch)
            return sink.finish() if sink is not None else None
        except OSError as error:
            raise errdefs.System(
                f"cannot read the container's changes: {error.strerror} ({error.filename})"
            ) from error
        finally:
            if sink is not None:
                sink.close()

    return await stream.in_own_thread(work, "firkin-commit")


async def commit_layer(
    owner: layers.Layers, known: catalog.Catalog, request: Request
) -> types.Image:
    """Make the image. The caller holds a lease."""
    info = await owner.snapshots.stat(request.key)
    parent = request.parent
    if info.parent != (parent.top if parent is not None else ""):
        raise errdefs.InvalidParameter(
            f"the container {request.key[:12]} was not made from the image given as its parent, "
            "or that image is gone: its layers cannot be described"
        )
    run = run_config(request.config)
    changes.apply(run, request.changes)
    here = platforms.host()
    config = types.ImageConfig(
        created=views.rfc3339(time.time()),
        author=request.author,
        architecture=here.architecture,
        os=here.os,
        config=run,
    )
    stack: list[layers.Received] = []
    if parent is not None:
        manifest = await asyncio.to_thread(known.manifest, parent)
        stack = [assemble.stored(owner.store, item) for item in manifest.layers]
        config.rootfs.diff_ids = list(parent.config.rootfs.diff_ids)
        config.history = list(parent.config.history)
        config.architecture, config.os = parent.config.architecture, parent.config.os
        config.variant = parent.config.variant
    layer = await _layer(owner, request.key)
    try:
        config.history.append(
            types.History(
                created=config.created,
                created_by=request.created_by or " ".join(run.cmd or []),
                author=request.author,
                comment=request.comment,
                empty_layer=layer is None,
            )
        )
        if layer is not None:
            config.rootfs.diff_ids.append(layer.diff_id)
            stack.append(layer)
            if not layer.key and not owner.snapshots.rebases:
                layer.diff_id = ""
        parts = assemble.Parts(
            config=assemble.encode_config(config),
            layers=stack,
            names=request.names,
            parent=parent.id if parent is not None else "",
        )
        return await assemble.assemble(parts, owner, known)
    finally:
        if layer is not None:
            await owner.discard(layer)
