"""User namespaces that are nothing but a table of ids: for id-mapped mounts."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

from firkin.linux import syscalls

Range = tuple[int, int, int]
"""Ids on the disk, ids shown, how many."""


@contextlib.contextmanager
def mapping(uids: Sequence[Range], gids: Sequence[Range]) -> Iterator[int]:
    """A descriptor of a user namespace with these tables. Blocks. Raises ``OSError``.

    Some process must be in a namespace for as long as its tables are written; a cat(1) is, which
    says by an echo that it has arrived.
    """
    process = subprocess.Popen(
        ["unshare", "--user", "cat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )
    assert process.stdin and process.stdout
    try:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(b".")
        if process.stdout.read(1) != b".":
            raise OSError(38, "this host makes no user namespaces")
        for name, table in (("uid_map", uids), ("gid_map", gids)):
            text = "".join(f"{disk} {shown} {count}\n" for disk, shown, count in table)
            with open(f"/proc/{process.pid}/{name}", "w", encoding="ascii") as file:
                file.write(text)
        fd = os.open(f"/proc/{process.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    try:
        yield fd
    finally:
        os.close(fd)


def bind(
    source: str, target: int, uids: Sequence[Range], gids: Sequence[Range], *, recursive: bool
) -> None:
    """Mount ``source`` at the descriptor ``target`` with its owners mapped. Blocks.

    What is mounted below ``source`` comes along unmapped. Raises ``OSError``.
    """
    tree = syscalls.open_tree(source, recursive=recursive)
    try:
        with mapping(uids, gids) as table:
            syscalls.mount_setattr(tree, syscalls.MOUNT_ATTR_IDMAP, userns=table)
        syscalls.move_mount(tree, target)
    finally:
        os.close(tree)
