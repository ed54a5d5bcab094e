"""The ``local`` driver: volumes are directories below the engine's data root.

A volume with options is a file system that is mounted there while the volume is in use (``type``,
``o`` and ``device``, as mount(8) has them: nfs, cifs, tmpfs, bind, ext4, btrfs...), or has a limit
of its size (``size``, where the data root's file system has project quotas).
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
from collections.abc import Mapping

from firkin import errdefs
from firkin.linux import mount as mounts
from firkin.linux import projectquota, treesize

_OPTIONS = ("device", "o", "size", "type")
_SIZE = re.compile(r"(\d{1,18})([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_FLAGS: dict[str, tuple[int, int]] = {  # to set, to clear
    "ro": (mounts.MS_RDONLY, 0),
    "rw": (0, mounts.MS_RDONLY),
    "nosuid": (mounts.MS_NOSUID, 0),
    "suid": (0, mounts.MS_NOSUID),
    "nodev": (mounts.MS_NODEV, 0),
    "dev": (0, mounts.MS_NODEV),
    "noexec": (mounts.MS_NOEXEC, 0),
    "exec": (0, mounts.MS_NOEXEC),
    "sync": (16, 0),
    "async": (0, 16),
    "dirsync": (128, 0),
    "noatime": (1024, 0),
    "atime": (0, 1024),
    "nodiratime": (2048, 0),
    "diratime": (0, 2048),
    "relatime": (1 << 21, 0),
    "norelatime": (0, 1 << 21),
    "strictatime": (1 << 24, 0),
    "bind": (mounts.MS_BIND, 0),
    "rbind": (mounts.MS_BIND | mounts.MS_REC, 0),
    "defaults": (0, 0),
}
_NETWORK = ("nfs", "nfs4", "cifs", "smb3")


def parse_size(text: str) -> int:
    """A size in bytes; k, m, g, t and p are powers of 1024. Raises ``InvalidParameter``."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or not int(match[1]):
        raise errdefs.InvalidParameter(f"invalid size {text!r}: use a number with k, m, g or t")
    return int(match[1]) << 10 * " kmgtp".index(match[2].lower() or " ")


def parse_options(text: str) -> tuple[int, str]:
    """``o`` as the flags and the data of mount(2)."""
    flags, data = 0, []
    for word in filter(None, text.split(",")):
        if word in _FLAGS:
            to_set, to_clear = _FLAGS[word]
            flags = (flags | to_set) & ~to_clear
        else:
            data.append(word)
    return flags, ",".join(data)


def _resolve(data: str) -> str:
    """The kernel wants the server's address, not its name. Raises ``Unavailable``."""
    words = data.split(",")
    for index, word in enumerate(words):
        key, equals, host = word.partition("=")
        if key == "addr" and equals:
            try:
                address = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0]
            except OSError as error:
                raise errdefs.Unavailable(f"cannot find the host {host!r}: {error}") from error
            words[index] = f"addr={address}"
    return ",".join(words)


class Local:
    """Volumes at ``ROOT/NAME/_data``."""

    name = "local"
    scope = "local"
    exclusive = True

    def __init__(self, root: str) -> None:
        self._root = root
        os.makedirs(root, mode=0o711, exist_ok=True)

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """See ``Driver.create``."""
        self._check(name, options)
        home = os.path.join(self._root, name)
        os.makedirs(home, mode=0o701, exist_ok=True)
        try:
            os.mkdir(self.path(name), mode=0o755)
            if "size" in options:
                projectquota.limit(self.path(name), parse_size(options["size"]))
            else:
                projectquota.account(self.path(name))
        except FileExistsError:
            pass
        except BaseException:
            self.remove(name)
            raise

    def _check(self, name: str, options: Mapping[str, str]) -> None:
        for key in options:
            if key not in _OPTIONS:
                raise errdefs.InvalidParameter(
                    f"create {name}: invalid option: {key!r}: the local driver has "
                    + ", ".join(_OPTIONS)
                )
        if any("\0" in value for value in options.values()):
            raise errdefs.InvalidParameter(f"create {name}: an option contains a NUL byte")
        if "size" in options:
            parse_size(options["size"])
        mounted = {key for key in ("type", "o", "device") if options.get(key)}
        if not mounted:
            return
        if "size" in options:
            raise errdefs.InvalidParameter(
                f"create {name}: size limits a directory of the engine's, not what is mounted: use "
                "the option o (for a tmpfs: o=size=...)"
            )
        flags, _ = parse_options(options.get("o", ""))
        binds = bool(flags & mounts.MS_BIND)
        for key in ("device",) if binds else ("type", "device"):
            if key not in mounted:
                raise errdefs.InvalidParameter(f'create {name}: missing required option: "{key}"')
        if binds and not options["device"].startswith("/"):
            raise errdefs.InvalidParameter(
                f"create {name}: the device of a bind must be an absolute path"
            )

    def mount(self, name: str, options: Mapping[str, str]) -> str:
        """See ``Driver.mount``."""
        place = self.path(name)
        if not os.path.isdir(place):
            raise errdefs.NotFound(
                f"mount {name}: its directory {place} is gone: remove the volume, or let `firkin "
                "system check --repair` make an empty one"
            )
        if not options.get("device") or os.path.ismount(place):
            return place
        flags, data = parse_options(options.get("o", ""))
        kind = options.get("type", "none")
        if kind in _NETWORK:
            data = _resolve(data)
        try:
            mounts.mount(options["device"], place, kind, flags, data)
            if flags & mounts.MS_BIND and flags & ~(mounts.MS_BIND | mounts.MS_REC):
                mounts.mount("", place, flags=flags & ~mounts.MS_REC | mounts.MS_REMOUNT)
        except OSError as error:
            mounts.unmount(place)
            shown = ", ".join(f"{key}={options[key]}" for key in _OPTIONS if options.get(key))
            raise errdefs.System(
                f"failed to mount local volume {name} ({shown}): {error.strerror}: check the "
                "device and that the kernel has this file system"
            ) from error
        return place

    def unmount(self, name: str) -> None:
        """See ``Driver.unmount``: a plain directory needs nothing undone."""
        for point in list(mounts.mounted_below(self.path(name))):
            mounts.unmount(point)

    def path(self, name: str) -> str:
        """See ``Driver.path``."""
        return os.path.join(self._root, name, "_data")

    def usage(self, name: str) -> int:
        """See ``Measuring.usage``: the kernel's own figure where it counts."""
        path = self.path(name)
        taken = (projectquota.used(path) or treesize.measure(path)).size
        return taken + treesize.alone(os.path.dirname(path))

    def rename(self, old: str, new: str) -> None:
        """See ``Renaming.rename``."""
        self.unmount(old)
        try:
            os.rename(os.path.join(self._root, old), os.path.join(self._root, new))
        except FileNotFoundError:
            pass

    def remove(self, name: str) -> None:
        """See ``Driver.remove``. The volume vanishes at once by rename, then its files go.

        What is mounted is unmounted first, whatever left it there: its files are not the volume's.
        """
        home = os.path.join(self._root, name)
        self.unmount(name)
        if any(mounts.mounted_below(home)):
            raise errdefs.System(f"remove {name}: something is still mounted below {home}")
        grave = os.path.join(self._root, f".removed-{secrets.token_hex(8)}")
        try:
            os.rename(home, grave)
        except FileNotFoundError:
            return
        shutil.rmtree(grave, ignore_errors=True)

    def list(self) -> list[str]:
        """See ``Driver.list``; also finishes removals that were cut short."""
        names = []
        for entry in os.scandir(self._root):
            if entry.name.startswith("."):
                shutil.rmtree(entry.path, ignore_errors=True)
            elif entry.is_dir(follow_symlinks=False):
                names.append(entry.name)
        return names
