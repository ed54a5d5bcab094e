"""Execs: further processes in a running container.

An exec has three states: created, running, exited. Its streams are in the hands of a monitor of its
own. Execs live in memory: after a restart of the engine the processes still run but can't be asked
about, as with Docker.

The monitor is made ready as soon as an exec is created, since whoever creates one starts it at
once; one that is not started soon is put away and made again when it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from typing import Any

import msgspec

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, model, rootfiles, sessions, specs, streams
from firkin.linux import failures
from firkin.oci import process
from firkin.runtime import conmon, errors, runtime
from firkin.types import container as wire
from firkin.wire import stdcopy

_KEPT_AFTER_EXIT = 300.0
_RESIZE_WAITS = 10.0
_READY_FOR = 2.0
_MOST_READY = 32


def create(
    core: engine.Core, container: model.Container, request: wire.ExecCreateRequest
) -> sessions.Session:
    """Register an exec.

    Raises ``Conflict`` when the container does not run, ``InvalidParameter`` for what can't be run
    or for an unknown user.
    """
    _require_running(container)
    if not request.cmd or not request.cmd[0]:
        raise errdefs.InvalidParameter("No exec command specified")
    process.checked_args(request.cmd)
    process.merge_env([], request.env)
    process.checked_cwd(request.working_dir)
    if request.user:
        rootfiles.user(os.path.join(core.bundle(container.id), "rootfs"), request.user, None)
    session = sessions.Session(container, request)
    _forget_old(core, container)
    if sum(other.ready is not None for other in core.execs.values()) < _MOST_READY:
        session.ready = core.tasks.spawn(_prepare(core, session), f"ready {session.id[:12]}")
        asyncio.get_running_loop().call_later(_READY_FOR, _put_away, core, session)
    core.execs[session.id] = session
    container.execs.add(session.id)
    emit.container(core, container, _action("exec_create", request), execID=session.id)
    return session


async def _monitor(core: engine.Core, session: sessions.Session) -> conmon.ConmonExec:
    chosen = core.runtime(session.container.record.runtime)
    parent = os.path.join(core.bundle(session.container.id), "exec")
    os.makedirs(parent, mode=0o700, exist_ok=True)
    session.path = os.path.join(parent, secrets.token_hex(16))
    return await chosen.exec(
        runtime.ExecBundle(
            id=session.id,
            container=session.container.id,
            path=session.path,
            terminal=session.request.tty,
            stdin=session.request.attach_stdin,
        )
    )


async def _prepare(core: engine.Core, session: sessions.Session) -> conmon.ConmonExec | None:
    try:
        return await _monitor(core, session)
    except (errdefs.FirkinError, OSError):
        return None  # the start will fail in the same way and say why


async def _ready(core: engine.Core, session: sessions.Session) -> conmon.ConmonExec:
    task, session.ready = session.ready, None
    return (await task if task is not None else None) or await _monitor(core, session)


def _put_away(core: engine.Core, session: sessions.Session) -> None:
    """Give up a monitor that was made ready and is not wanted (yet)."""
    task, session.ready = session.ready, None

    async def work(task: asyncio.Task[conmon.ConmonExec | None]) -> None:
        if (run := await task) is not None:
            await run.close()

    if task is not None:
        core.tasks.spawn(work(task), f"put away {session.id[:12]}")


def drop(core: engine.Core, container: model.Container) -> None:
    """Forget the execs of a container that is about to go."""
    for exec_id in list(container.execs):
        if (session := core.execs.pop(exec_id, None)) is not None:
            _put_away(core, session)
    container.execs.clear()


def _action(verb: str, request: wire.ExecCreateRequest) -> str:
    return f"{verb}: {' '.join(request.cmd or [])}"


def _require_running(container: model.Container) -> None:
    container.require_unpaused("exec")
    container.require_settled()
    if not container.running:
        raise errdefs.Conflict(f"container {container.id} is not running")


def _forget_old(core: engine.Core, container: model.Container) -> None:
    now = time.monotonic()
    for exec_id in list(container.execs):
        old = core.execs.get(exec_id)
        if old is None or (not old.running and now - old.created > _KEPT_AFTER_EXIT):
            core.execs.pop(exec_id, None)
            container.execs.discard(exec_id)


def get(core: engine.Core, exec_id: str) -> sessions.Session:
    """The exec of that id. Raises ``NotFound``."""
    session = core.execs.get(exec_id)
    if session is None:
        raise errdefs.NotFound(f"No such exec instance: {exec_id}")
    return session


def claim(session: sessions.Session) -> None:
    """Take the exec for a start. Raises ``Conflict`` when it can't be started (any more)."""
    if session.started:
        state = "has already run" if session.exit_code is not None else "is already running"
        raise errdefs.Conflict(f"exec instance {session.id} {state}: create a new one")
    _require_running(session.container)
    session.started = True


def _process(
    core: engine.Core, session: sessions.Session, size: list[int] | None
) -> dict[str, Any]:
    bundle = core.bundle(session.container.id)
    with open(os.path.join(bundle, "config.json"), "rb") as file:
        base = msgspec.json.decode(file.read())["process"]
    request = session.request
    user = None
    given = session.container.record.config.env or []
    if not request.tty and not any(entry.startswith("TERM=") for entry in given):
        base["env"] = [entry for entry in base["env"] if entry != "TERM=xterm"]  # the terminal's
    if request.user:
        user = rootfiles.user(os.path.join(bundle, "rootfs"), request.user, None)
    return process.exec_process(base, request, user, kernel_caps=specs.kernel_caps(core), size=size)


async def start(
    core: engine.Core,
    session: sessions.Session,
    client: streams.Client | None,
    *,
    size: list[int] | None = None,
    raw: bool = False,
) -> None:
    """Run an exec that was claimed; with a client, until its session ends, else until the process
    runs.

    ``raw`` leaves the client's streams without frames; whether the process has a terminal was said
    when the exec was created, and is another question.

    Raises what the runtime says of an unusable command; the exit code is then 126 or 127.
    """
    request = session.request
    run: conmon.ConmonExec | None = None
    emit.container(core, session.container, _action("exec_start", request), execID=session.id)
    try:
        with failures.told(f"run the exec in container {session.container.name}"):
            spec = await asyncio.to_thread(_process, core, session, size)
            run = await _ready(core, session)
        attached = None
        if client is not None:
            attached = streams.Session(
                client,
                raw=raw,
                stdin=request.attach_stdin,
                stdout=request.attach_stdout,
                stderr=request.attach_stderr,
                keys=session.keys if request.tty else None,
                closes_stdin=not request.tty,
            )
            attached.connect(run.socket_path)
        session.pid = await run.go(spec)
        session.running = True
        session.settled.set()
    except BaseException as error:
        session.settled.set()
        session.exit_code = (
            127
            if isinstance(error, errors.CommandNotFound)
            else 126
            if isinstance(error, errors.CommandNotExecutable)
            else 128
        )
        if run is not None:
            await run.close()
        if isinstance(error, errdefs.System):
            _require_running(session.container)  # it may have ended under our hands
        raise
    ending = core.tasks.spawn(_ended(core, session, run), f"exec {session.id[:12]}")
    if attached is not None:
        await attached.run()
        if not attached.detached and client is not None and not client.gone:
            await asyncio.shield(ending)


async def _ended(core: engine.Core, session: sessions.Session, run: conmon.ConmonExec) -> None:
    try:
        session.exit_code = await run.wait()
    finally:
        session.running = False
        session.created = time.monotonic()
        if session.exit_code is None:
            session.exit_code = 137
        await run.close()
        emit.container(
            core,
            session.container,
            "exec_die",
            execID=session.id,
            exitCode=str(session.exit_code),
        )


def failure_text(message: str, *, raw: bool) -> bytes:
    """What a client that is already attached is told about a failed start."""
    text = f"{message}\r\n".encode()
    return text if raw else stdcopy.header(1, len(text)) + text


async def resize(session: sessions.Session, rows: int, columns: int) -> None:
    """Give the exec's terminal a size. Raises ``Conflict`` when it does not run.

    An attached client knows of the start before the process runs, and may ask at once: the answer
    waits for the process then.
    """
    if session.started:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_RESIZE_WAITS):
                await session.settled.wait()
    if not session.running:
        raise errdefs.Conflict(f"exec instance {session.id} is not running: it has no terminal")
    try:
        await conmon.resize(session.path, rows, columns)
    except OSError as error:
        raise errdefs.Conflict(f"exec instance {session.id} has ended") from error


def describe(session: sessions.Session) -> dict[str, Any]:
    """The exec as ExecInspect shows it."""
    request = session.request
    command = request.cmd or [""]
    return {
        "CanRemove": session.exit_code is not None,
        "ContainerID": session.container.id,
        "DetachKeys": request.detach_keys,
        "ExitCode": session.exit_code,
        "ID": session.id,
        "OpenStderr": request.attach_stderr,
        "OpenStdin": request.attach_stdin,
        "OpenStdout": request.attach_stdout,
        "ProcessConfig": {
            "arguments": command[1:],
            "entrypoint": command[0],
            "privileged": request.privileged,
            "tty": request.tty,
            **({"user": request.user} if request.user else {}),
        },
        "Running": session.running,
        "Pid": session.pid,
    }
