"""ContainerAttach: a client on the streams of a container's process."""

from __future__ import annotations

import os

import msgspec

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, logs, model, streams
from firkin.wire import detachkeys


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The query of ContainerAttach."""

    stdin: bool
    stdout: bool
    stderr: bool
    stream: bool
    logs: bool
    detach_keys: str = ""


def check(container: model.Container) -> None:
    """Raise ``Conflict`` when nobody can attach now."""
    container.require_unpaused("attach")
    container.require_settled()
    if container.state.status in (model.Status.REMOVING, model.Status.DEAD):
        raise errdefs.Conflict(
            f"cannot attach to container {container.name}: it is {container.state.status}"
        )


def begin(
    core: engine.Core,
    container: model.Container,
    request: Request,
    client: streams.Client,
    *,
    raw: bool = False,
) -> streams.Session:
    """A session for ``client``, which has its place from now on.

    A container that does not run yet gives its streams when it starts, from the first byte on.
    Raises ``InvalidParameter`` for bad detach keys.
    """
    config = container.record.config
    session = streams.Session(
        client,
        raw=raw or config.tty,
        stdin=request.stdin and config.open_stdin,
        stdout=request.stdout,
        stderr=request.stderr,
        keys=detachkeys.parse(request.detach_keys) if config.tty else None,
        closes_stdin=config.stdin_once and not config.tty and config.open_stdin,
        parked=container.parked,
    )
    if request.stream and not container.running:
        container.pending.append(session)
    return session


async def serve(
    core: engine.Core,
    container: model.Container,
    request: Request,
    client: streams.Client,
    session: streams.Session,
) -> None:
    """Serve ``client`` until its session ends."""
    emit.container(core, container, "attach")
    try:
        if request.logs:
            await logs.replay(
                core,
                container,
                client,
                raw=session.raw,
                stdout=request.stdout,
                stderr=request.stderr,
            )
        if not request.stream:
            return
        if session not in container.pending:
            session.connect(os.path.join(core.bundle(container.id), "attach"))
        await session.run()
    finally:
        if session in container.pending:
            container.pending.remove(session)
    if session.detached:
        emit.container(core, container, "detach")
