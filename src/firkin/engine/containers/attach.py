"""ContainerAttach: a client on the streams of a container's process."""

from __future__ import annotations

import asyncio
import os

import msgspec

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, joined, model, streams, wait
from firkin.wire import detachkeys

_SETTLES = 1.0


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


class Attached:
    """A client's place at a container, from when it was given until :meth:`end`."""

    def __init__(
        self, container: model.Container, session: streams.Session, said: joined.Past | None
    ) -> None:
        self._container = container
        self.session = session
        self.said = said

    def end(self) -> None:
        """Give it up."""
        if self.session in self._container.pending:
            self._container.pending.remove(self.session)
        if self.said is not None:
            self.said.close()


async def begin(
    core: engine.Core,
    container: model.Container,
    request: Request,
    client: streams.Client,
    *,
    raw: bool = False,
) -> Attached:
    """A place for ``client``, from now on.

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
        held=request.logs,
    )
    # Before the first byte that the session gets: then that is in what can be read of the log.
    said = await joined.past(core, container) if request.logs else None
    if request.stream and not container.running:
        container.pending.append(session)
    return Attached(container, session, said)


async def serve(
    core: engine.Core,
    container: model.Container,
    request: Request,
    client: streams.Client,
    attached: Attached,
) -> None:
    """Serve ``client`` until its session ends."""
    session = attached.session
    emit.container(core, container, "attach")
    if request.stream and session not in container.pending:
        session.connect(os.path.join(core.bundle(container.id), "attach"))
    if not request.stream:
        session.abandon("nothing but the past is wanted")
    opening = None
    if request.logs:
        opening = joined.tell(
            core,
            container,
            client,
            session,
            attached.said,
            stdout=request.stdout,
            stderr=request.stderr,
        )
    await session.run(opening)
    if session.detached:
        emit.container(core, container, "detach")
    elif request.stream and container.running and not client.gone:
        await _settled(container)


async def _settled(container: model.Container) -> None:
    """Wait for the end that follows that of the output: a client that looks then sees it."""
    future = wait.begin(container, "not-running")
    try:
        await asyncio.wait({future}, timeout=_SETTLES)
    finally:
        wait.cancel(container, future)
