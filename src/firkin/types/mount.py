"""A mount as the kernel and the runtime-spec understand it."""

from __future__ import annotations

import msgspec


class Mount(msgspec.Struct, frozen=True, kw_only=True):
    """One mount(2) to be done.

    ``destination`` is absolute inside the rootfs it is meant for ("/" for a rootfs itself).
    ``options`` are in the words of mount(8) ("ro", "rbind", "nosuid", "size=64m").
    This is also the runtime-spec's mounts entry.
    """

    destination: str
    type: str
    source: str
    options: tuple[str, ...] = ()
