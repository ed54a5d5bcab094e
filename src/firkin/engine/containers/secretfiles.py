"""Secrets as files of a container: on a tmpfs of its bundle, and bound from there read-only."""

from __future__ import annotations

import os
import posixpath

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import model, rootfiles
from firkin.linux import mount as kernel
from firkin.types import container, mount

DIRECTORY = "/run/secrets"


def plan(core: engine.Core, host: container.HostConfig) -> None:
    """Check what a new container asks for, and name each secret by its id.

    Raises ``InvalidParameter`` for one that there is not, and for two at one place.
    """
    taken = set()
    for asked in host.secrets or []:
        try:
            found = core.secrets.get(asked.source)
        except errdefs.NotFound as error:
            raise errdefs.InvalidParameter(
                f"{error}: create it with `firkin secret create {asked.source} FILE`"
            ) from None
        asked.id, asked.source = found.id, found.name
        target = posixpath.join(DIRECTORY, asked.target or found.name)
        asked.target = posixpath.normpath(target)
        if asked.target in ("/", DIRECTORY) or "\0" in target or asked.target in taken:
            raise errdefs.InvalidParameter(f"invalid target {target!r} of secret {found.name}")
        taken.add(asked.target)
        if not 0 <= asked.mode <= 0o7777:
            raise errdefs.InvalidParameter(f"invalid mode {asked.mode:o} of secret {found.name}")


def users(core: engine.Core, secret_id: str) -> list[str]:
    """Names of the containers that use a secret."""
    return [
        subject.name
        for subject in core.containers
        if any(one.id == secret_id for one in subject.record.host.secrets or [])
    ]


def write(core: engine.Core, subject: model.Container, rootfs: str) -> list[mount.Mount]:
    """Make the files, in memory only, and return their mounts. Blocks."""
    wanted = subject.record.host.secrets or []
    if not wanted:
        return []
    place = os.path.join(core.bundle(subject.id), "secrets")
    os.mkdir(place, mode=0o700)
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("secrets", place, "tmpfs", flags, "mode=0700,size=64m")
    made = []
    for index, asked in enumerate(wanted):
        user = rootfiles.user(rootfs, f"{asked.uid or 0}:{asked.gid or 0}", [])
        path = os.path.join(place, str(index))
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(core.secrets.value(asked.id))
            os.fchown(fd, user.uid, user.gid)
            os.fchmod(fd, asked.mode)
        options = ("bind", "private", "ro", "nosuid", "nodev", "noexec")
        made.append(
            mount.Mount(destination=asked.target, type="bind", source=path, options=options)
        )
    return made
