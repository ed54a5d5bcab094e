"""Which process has a port of this host."""

from __future__ import annotations

import glob
import os
from typing import NamedTuple

_TABLES = {"tcp": ("tcp", "tcp6"), "udp": ("udp", "udp6")}
_LISTENING = {"tcp": "0A", "udp": "07"}


class Owner(NamedTuple):
    """A process: its pid, and its name as the kernel knows it."""

    pid: int
    name: str


def owner(proto: str, port: int) -> Owner | None:
    """A process that listens on a port of tcp or udp at any address; None when it cannot be told.

    A socket that is bound and does not listen is in none of the kernel's tables. Blocks: reads the
    list of open files of every process until it is found.
    """
    inodes = {inode for table in _TABLES.get(proto, ()) for inode in _inodes(table, proto, port)}
    if not inodes:
        return None
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for link in glob.iglob("/proc/[0-9]*/fd/*"):
        try:
            if os.readlink(link) in wanted:
                pid = link.split("/")[2]
                with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
                    return Owner(int(pid), file.read().strip())
        except OSError:  # it has ended or was closed meanwhile
            continue
    return None


def _inodes(table: str, proto: str, port: int) -> list[str]:
    """Inodes of the sockets in a table of /proc/net that wait at a port, in the host's namespace.

    Columns as proc(5) has them: local address, remote address, state, ..., inode.
    """
    try:
        with open(f"/proc/self/net/{table}", encoding="ascii") as file:
            lines = file.read().splitlines()[1:]
    except OSError:
        return []
    rows = [line.split() for line in lines]
    return [
        row[9]
        for row in rows
        if int(row[1].rpartition(":")[2], 16) == port and row[3] == _LISTENING[proto]
    ]
