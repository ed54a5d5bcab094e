"""Mounting what a snapshotter gives."""

from __future__ import annotations

import os
import shutil
import tempfile

from firkin import errdefs
from firkin.linux import mount as mounts
from firkin.types.mount import Mount

_FLAGS = {
    "rw": 0,
    "ro": mounts.MS_RDONLY,
    "nosuid": mounts.MS_NOSUID,
    "nodev": mounts.MS_NODEV,
    "noexec": mounts.MS_NOEXEC,
    "bind": mounts.MS_BIND,
    "rbind": mounts.MS_BIND | mounts.MS_REC,
}
_PATHS = ("lowerdir=", "upperdir=", "workdir=")


def _shorten(options: list[str]) -> tuple[str, str]:
    """``(directory, data)``: the mount data with its paths relative to a common directory.

    All options of a mount must fit in one page (4096 bytes), which 127 absolute paths do not.
    """
    paths = [p for o in options if o.startswith(_PATHS) for p in o.partition("=")[2].split(":")]
    if not paths:
        return "/", ",".join(options)
    directory = os.path.commonpath([os.path.dirname(path) for path in paths])
    short: list[str] = []
    for option in options:
        key, equals, value = option.partition("=")
        if option.startswith(_PATHS):
            value = ":".join(os.path.relpath(path, directory) for path in value.split(":"))
        short.append(key + equals + value)
    return directory, ",".join(short)


def mount_rootfs(wanted: list[Mount], target: str) -> None:
    """Mount a snapshot's mounts at the directory ``target``, all or none. Blocks.

    Raises ``System`` saying what the kernel refused.
    """
    done = 0
    try:
        for item in wanted:
            flags, data = 0, []
            for option in item.options:
                if option in _FLAGS:
                    flags |= _FLAGS[option]
                else:
                    data.append(option)
            place = target if item.destination == "/" else target + item.destination
            directory, text = _shorten(data)
            if len(os.fsencode(text)) >= 4096:
                raise errdefs.System(f"the mount options of {target} do not fit: too many layers")
            kind = "" if flags & mounts.MS_BIND else item.type
            mounts.mount_from(directory, item.source, place, kind, flags, text)
            done += 1
            if flags & mounts.MS_BIND and flags & mounts.MS_RDONLY:
                mounts.mount("", place, flags=flags & ~mounts.MS_REC | mounts.MS_REMOUNT)
    except OSError as error:
        for _ in range(done):
            mounts.unmount(target)
        raise errdefs.System(f"cannot mount the layers at {target}: {error.strerror}") from error


def unmount_rootfs(target: str) -> bool:
    """Unmount everything at ``target``; tells whether there was anything. Blocks."""
    found = False
    while mounts.unmount(target):
        found = True
    return found


def overlay_works(root: str) -> bool:
    """Try an overlay mount below ``root``. Needs root; leaves nothing behind. Blocks."""
    place = tempfile.mkdtemp(prefix="probe-", dir=root)
    try:
        for name in ("lower", "upper", "work", "merged"):
            os.mkdir(os.path.join(place, name))
        paths = {n: os.path.join(place, n) for n in ("lower", "upper", "work", "merged")}
        options = tuple(f"{n}dir={paths[n]}" for n in ("lower", "upper", "work"))
        item = Mount(destination="/", type="overlay", source="overlay", options=options)
        try:
            mount_rootfs([item], paths["merged"])
        except errdefs.System:
            return False
        unmount_rootfs(paths["merged"])
        return True
    finally:
        shutil.rmtree(place)
