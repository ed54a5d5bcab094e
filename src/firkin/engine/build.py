"""Builds: what the builder needs of the engine. RUN steps are containers like any other, made of
the same parts, but without a record, a log file or a monitor: a step does not outlive its build.

A step's bundle lies among the containers'. So what an engine that was killed left of it (process,
mounts, network, cgroup) is found and taken back like that of a container whose creation was cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Sequence

import msgspec

from firkin import errdefs, reference
from firkin.builder import executor, request
from firkin.engine import core as engine
from firkin.engine.containers import etcfiles, limits, model, netmode, networking, release, specs
from firkin.images import platforms
from firkin.linux import failures, kmsg, pidfd, syscalls
from firkin.oci import cdi
from firkin.snapshots import mounting
from firkin.types import container, image, mount, network

_HOSTNAME = "buildkitsandbox"
_CHUNK = 1 << 16
_LAST_WORDS = 2.0
_ALWAYS = ("proc", "sys", "dev")
_ETC = ("hostname", "hosts", "resolv.conf")
_EMULATORS = {
    "amd64": "x86_64", "arm64": "aarch64", "arm": "arm", "386": "i386", "ppc64le": "ppc64le",
    "s390x": "s390x", "riscv64": "riscv64", "mips64le": "mips64el",
}  # fmt: skip

_NO_MEMORY = (
    b"the kernel killed a process of this step for lack of memory: the limit is the build's "
    b"(--memory), or that of this host\n"
)


class Executor:
    """The :class:`firkin.builder.executor.Executor` of an engine."""

    def __init__(self, core: engine.Core) -> None:
        self._core = core

    async def permit(self, devices: list[tuple[str, bool]], allowed: frozenset[str]) -> None:
        """See ``Executor.permit``."""

        def work() -> None:
            known = cdi.Known(self._core.config.cdi_directories)
            for name, _ in devices:
                _permit(name, known.find(name), allowed)

        await asyncio.to_thread(work)

    def can_run(self, platform: str) -> bool:
        """See ``Executor.can_run``."""
        wanted, here = platforms.parse(platform), platforms.host()
        if wanted.architecture == here.architecture:
            return True
        if (here.architecture, wanted.architecture) == ("amd64", "386"):
            return True
        name = _EMULATORS.get(wanted.architecture, wanted.architecture)
        try:
            with open(f"/proc/sys/fs/binfmt_misc/qemu-{name}", encoding="ascii") as file:
                return file.readline().strip() == "enabled"
        except OSError:
            return False

    async def run(self, step: executor.Step, output: executor.Output) -> int:
        """See ``Executor.run``."""
        subject = _subject(self._core, step)
        try:
            with failures.told("run the step"):
                return await self._run(step, subject, output)
        finally:
            await asyncio.shield(release.release(self._core, subject))

    async def _run(
        self, step: executor.Step, subject: model.Container, output: executor.Output
    ) -> int:
        core = self._core
        bundle = core.bundle(subject.id)
        rootfs = os.path.join(bundle, "rootfs")
        os.makedirs(rootfs, mode=0o711)
        _, endpoints = await asyncio.gather(
            asyncio.to_thread(mounting.mount_rootfs, step.rootfs, rootfs),
            self._connect(subject),
        )
        etc = _etc_files(core, subject, bundle, endpoints)
        taken = {one.destination for one in step.mounts}
        mounts = [*step.mounts, *(one for one in etc if one.destination not in taken)]
        document = await asyncio.to_thread(
            specs.build,
            core,
            subject,
            rootfs=rootfs,
            sources={},
            etc=mounts,
            netns=endpoints[0].netns if endpoints else "",
        )
        targets = [one.destination for one in mounts]
        if step.devices:
            found, missing = await asyncio.to_thread(_devices, core, step)
            for name in missing:
                output(2, f"the device {name} is not on this host: going on without it\n".encode())
            await asyncio.to_thread(cdi.apply, document, found)
            targets += [m.container_path for one in found for e in one.edits for m in e.mounts]
        with open(os.path.join(bundle, "config.json"), "wb") as file:
            file.write(msgspec.json.encode(document))
        stubs = await asyncio.to_thread(_missing, rootfs, targets)
        argv = core.runtime("").run_argv(subject.id, bundle)
        began = time.monotonic()
        code = await _process(argv, bundle, output)
        group = specs.cgroup_path(core, subject)
        if code and await asyncio.to_thread(kmsg.oom_killed, group, since=began):
            output(2, _NO_MEMORY)
        await asyncio.to_thread(_remove_stubs, rootfs, stubs)
        return code

    async def _connect(self, subject: model.Container) -> tuple[network.Endpoint, ...]:
        if netmode.shared_with(subject.record.host.network_mode):
            return ()
        return await self._core.network.join(networking.request(self._core, subject))


def _subject(core: engine.Core, step: executor.Step) -> model.Container:
    """The step as a container that nobody can see."""
    host = msgspec.json.decode(msgspec.json.encode(step.host), type=container.HostConfig)
    host.network_mode = netmode.network_of(step.network, core.config.bridge)
    if step.insecure:
        host.privileged = True
    limits.fill_defaults(core, host)
    host.ipc_mode = "private"
    host.init = False
    host.security_opt = host.security_opt or ["no-new-privileges=false"]
    hostname = step.hostname or _HOSTNAME
    config = container.Config(
        hostname=hostname, user=step.user, env=step.env, working_dir=step.cwd, cmd=step.args
    )
    record = model.Record(image_id="", config=config, host=host, args=step.args)
    record.networks = networking.plan(core, config, host, {})
    return model.Container(step.id, f"build-{step.id[:12]}", 0, record, model.State())


def _etc_files(
    core: engine.Core, subject: model.Container, bundle: str, endpoints: Sequence[network.Endpoint]
) -> list[mount.Mount]:
    host = subject.record.host
    hostname = subject.record.config.hostname
    gateways = netmode.host_gateways(endpoints, core.config.host_gateways)
    known = etcfiles.hosts(hostname, "", endpoints, host.extra_hosts or [], gateways)
    resolv = networking.resolv_conf(core, subject)
    found: list[mount.Mount] = []
    for name, content in zip(_ETC, (f"{hostname}\n", known, resolv), strict=True):
        path = etcfiles.write(bundle, name, content)
        found.append(mount.Mount(destination=f"/etc/{name}", type="bind", source=path,
                                 options=("rbind", "rprivate", "rw")))  # fmt: skip
    return found


def _devices(core: engine.Core, step: executor.Step) -> tuple[list[cdi.Device], list[str]]:
    """The devices of a step, and the names of those that are not there.

    Blocks. Raises ``InvalidParameter``.
    """
    known = cdi.Known(core.config.cdi_directories)
    found: list[cdi.Device] = []
    missing: list[str] = []
    for name, required in step.devices:
        chosen = known.need(name) if required else known.find(name)
        if not chosen:
            missing.append(name)
        _permit(name, chosen, step.allowed)
        found += chosen
    return found, missing


def _permit(name: str, chosen: list[cdi.Device], allowed: frozenset[str]) -> None:
    for one in chosen:
        if not one.allowed and not allowed & {"", name, one.name, one.kind}:
            raise errdefs.InvalidParameter(
                f"the device {one.name} is not allowed: build with --allow device, or "
                f"--allow device={one.name}"
            )


# Mount points


def _missing(rootfs: str, targets: list[str]) -> list[tuple[str, int]]:
    """Paths that the runtime will have to make for mounts, with the times of their parents.

    The parents' first, so that undoing goes backwards.
    """
    found: dict[str, int] = {}
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for target in [*_ALWAYS, *targets]:
            place = ""
            for part in [one for one in target.split("/") if one]:
                above, place = place or ".", f"{place}/{part}".lstrip("/")
                if place in found or _stat(root, place) is not None:
                    continue
                status = _stat(root, above)
                found[place] = status.st_mtime_ns if status is not None else -1
    finally:
        os.close(root)
    return list(found.items())


def _stat(root: int, path: str) -> os.stat_result | None:
    """What is at ``path`` of the tree, its links followed inside."""
    try:
        fd = syscalls.openat2(root, path, os.O_PATH, resolve=syscalls.RESOLVE_IN_ROOT)
    except OSError:
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def _remove_stubs(rootfs: str, stubs: list[tuple[str, int]]) -> None:
    """Remove what was only there to be mounted on, where the step put nothing into it."""
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for path, time in reversed(stubs):
            above, _, name = path.rpartition("/")
            try:
                parent = syscalls.openat2(
                    root, above or ".", os.O_RDONLY | os.O_DIRECTORY,
                    resolve=syscalls.RESOLVE_IN_ROOT,
                )  # fmt: skip
            except OSError:
                continue
            try:
                _remove_stub(parent, name, time)
            finally:
                os.close(parent)
    finally:
        os.close(root)


def _remove_stub(parent: int, name: str, time: int) -> None:
    try:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if status.st_size == 0 and status.st_mode & 0o170000 == 0o100000:
            os.unlink(name, dir_fd=parent)
        elif status.st_mode & 0o170000 == 0o040000:
            os.rmdir(name, dir_fd=parent)
        else:
            return
    except OSError:
        return
    if time >= 0:
        os.utime(parent, ns=(time, time))


# The process


async def _process(argv: list[str], cwd: str, output: executor.Output) -> int:
    """Run the runtime to its end, passing its output on. Killed when cancelled."""
    loop = asyncio.get_running_loop()
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(2)]
    try:
        try:
            child = await asyncio.to_thread(
                subprocess.Popen, argv, stdin=subprocess.DEVNULL, stdout=pipes[0][1],
                stderr=pipes[1][1], cwd=cwd, start_new_session=True,
            )  # fmt: skip
        finally:
            for _, end in pipes:
                os.close(end)
        fd = os.pidfd_open(child.pid)
        try:
            ended = [loop.create_future() for _ in pipes]
            for number, ((end, _), future) in enumerate(zip(pipes, ended, strict=True), 1):
                _follow(loop, end, number, output, future)
            try:
                await pidfd.wait(fd)
                # What is still in the pipes; nobody writes any more, all is dead.
                await asyncio.wait(ended, timeout=_LAST_WORDS)
            finally:
                if not pidfd.ended(fd):
                    pidfd.send(fd, signal.SIGKILL)
                child.wait()
        finally:
            os.close(fd)
        return child.returncode if child.returncode >= 0 else 128 - child.returncode
    finally:
        for end, _ in pipes:
            loop.remove_reader(end)
            os.close(end)


def _follow(
    loop: asyncio.AbstractEventLoop, fd: int, number: int, output: executor.Output,
    ended: asyncio.Future[None],
) -> None:  # fmt: skip
    os.set_blocking(fd, False)

    def ready() -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        if data:
            output(number, data)
            return
        loop.remove_reader(fd)
        if not ended.done():
            ended.set_result(None)

    loop.add_reader(fd, ready)


class Images:
    """Base images for builds: those that are here, and what registries have."""

    def __init__(self, core: engine.Core) -> None:
        self._core = core

    async def resolve(
        self, name: str, platform: image.Platform, wanted: request.Request
    ) -> image.Image:
        """See ``firkin.builder.plan.Images``."""
        images = self._core.images
        found: image.Image | None = None
        if not wanted.pull:
            with contextlib.suppress(errdefs.NotFound):
                found = images.resolve(name)
            if found is not None and _fits(found, platform):
                return found
            if found is not None:
                with contextlib.suppress(errdefs.NotFound):
                    return images.resolve(name, platforms.show(platform))
        parsed = reference.parse(name)
        who = await wanted.keys.get(parsed.domain)
        shown = platforms.show(platform)
        try:
            return await images.pull(name, platform=shown, credentials=who)
        except errdefs.FirkinError as error:
            if found is not None:
                raise errdefs.InvalidParameter(
                    f"image {name} is here for {found.config.os}/{found.config.architecture} only, "
                    f"the build needs it for {shown}: {error}"
                ) from error
            if wanted.pull and isinstance(error, errdefs.Unavailable | errdefs.NotFound):
                with contextlib.suppress(errdefs.NotFound):
                    return images.resolve(name)
            raise type(error)(f"failed to resolve source metadata for {name}: {error}") from error


def _fits(found: image.Image, platform: image.Platform) -> bool:
    config = found.config
    return not config.architecture or (config.os or "linux", config.architecture) == (
        platform.os, platform.architecture,
    )  # fmt: skip
