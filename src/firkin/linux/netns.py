"""Network namespaces that outlive their processes: each is kept by a bind mount on a file.

A namespace is a property of a thread. Everything here runs its work in a fresh thread that enters
the namespace and ends with it, so no thread of a pool is ever left in the wrong one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TypeVar

from firkin.linux import mount, syscalls

T = TypeVar("T")

_SELF = "/proc/thread-self/ns/net"


def _in_thread(work: Callable[[], T]) -> T:
    result: list[T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            result.append(work())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name="firkin-netns", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]


def create(path: str, prepare: Callable[[], T]) -> T:
    """Make a network namespace, keep it at ``path`` and return what ``prepare()`` returns.

    ``prepare`` runs inside the new namespace. When anything fails nothing is left at ``path``,
    which must not exist before. Blocks for milliseconds; raises ``OSError``.
    """

    def work() -> T:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDONLY | os.O_CLOEXEC, 0o444))
        try:
            mount.mount(_SELF, path, flags=mount.MS_BIND)
            return prepare()
        except BaseException:
            remove(path)
            raise

    return _in_thread(work)


def remove(path: str) -> None:
    """Let go of the namespace at ``path``. It ends with its last process; absent is fine."""
    while mount.unmount(path):
        pass
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def exists(path: str) -> bool:
    """Whether a namespace is kept at ``path``: a mere file, left by a reboot, is not one."""
    try:
        return os.stat(path).st_dev == os.stat(_SELF).st_dev
    except OSError:
        return False


def within(path: str, work: Callable[[], T]) -> T:
    """Run ``work()`` inside the namespace at ``path`` and return its result."""

    def body() -> T:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            syscalls.setns(fd, syscalls.CLONE_NEWNET)
        finally:
            os.close(fd)
        return work()

    return _in_thread(body)
