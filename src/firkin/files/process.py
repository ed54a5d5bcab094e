"""The engine's side of the file worker: what to do it in, starting it, its answer and its bytes.

Everything here blocks and belongs in worker threads, but for the making of a :class:`View`.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import signal
from collections.abc import Callable, Iterator, Sequence

import msgspec

import firkin
from firkin import errdefs
from firkin.linux import nursery, pidfd

_PIPE = 1 << 20
_LINE = 1 << 16
_WORDS = 8000


class Place(msgspec.Struct, frozen=True):
    """A mount of the view: the host's path ``source`` at ``destination`` inside."""

    source: str
    destination: str
    rw: bool = True
    recursive: bool = True


class View(msgspec.Struct, frozen=True, omit_defaults=True):
    """The files that an operation sees.

    Either those of a mount namespace (``namespace``, a descriptor of it), or the tree at the host's
    path ``root`` with ``mounts`` in it, all of it read-only with ``readonly``. The directory
    ``workdir`` is made in such a tree where it is missing.
    """

    namespace: int = -1
    root: str = ""
    mounts: Sequence[Place] = ()
    readonly: bool = False
    workdir: str = ""


class Stat(msgspec.Struct, frozen=True):
    """A file: ``mode`` as in stat(2), ``mtime`` in nanoseconds, ``target`` of a symbolic link."""

    name: str
    size: int
    mode: int
    mtime: int
    target: str


class Answer(msgspec.Struct):
    """The first line that a worker says."""

    stat: Stat | None = None
    entries: int = 0
    size: int = 0
    kind: str = ""
    error: str = ""


class Request(msgspec.Struct, frozen=True):
    """An operation: "stat", "read" and "write" on a path, "export" of the whole tree.

    ``no_overwrite`` refuses to put a directory where something else is, and the other way round;
    ``owner`` (uid, gid) is for all that is written instead of the owners in the archive; ``top``
    puts the root directory itself into an export.
    """

    operation: str
    path: str = "/"
    no_overwrite: bool = False
    owner: tuple[int, int] | None = None
    top: bool = False


def _raise(answer: Answer, path: str) -> None:
    if answer.kind == "missing":
        raise errdefs.NotFound(path)
    if answer.kind == "readonly":
        raise errdefs.Forbidden(path)
    if answer.kind == "invalid":
        raise errdefs.InvalidParameter(answer.error)
    if answer.kind:
        raise errdefs.System(answer.error)


@functools.cache
def _nursery() -> nursery.Nursery:
    package = os.path.dirname(os.path.dirname(os.path.abspath(firkin.__file__)))
    return nursery.Nursery("firkin.files.worker", (package,))


class Worker:
    """One running worker. ``close`` ends it, whatever it is doing."""

    def __init__(self, view: View, request: Request) -> None:
        self._path = request.path
        self._head = b""
        self._in = -1
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as mine:

            def pipe() -> tuple[int, int]:
                ends = os.pipe()
                with contextlib.suppress(OSError):
                    fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, _PIPE)
                return ends

            if request.operation == "write":
                stdin, self._in = pipe()
                mine.callback(self.end_input)
            else:
                stdin = os.open(os.devnull, os.O_RDONLY)
            self._out, stdout = pipe()
            self._said, stderr = os.pipe()
            for fd in (stdin, stdout, stderr):
                theirs.callback(os.close, fd)
            for fd in (self._out, self._said):
                mine.callback(os.close, fd)
            spec = msgspec.to_builtins(request)
            spec.update(msgspec.to_builtins(view))
            more = []
            if view.namespace >= 0:
                spec["namespace"], more = 3, [view.namespace]
            text = msgspec.json.encode(spec).decode()
            self._pidfd = _nursery().spawn([text], stdin, stdout, stderr, *more)
            mine.callback(os.close, self._pidfd)
            self._ends = mine.pop_all()

    def answer(self) -> Answer:
        """Wait for the first line. Raises what the worker could not do.

        ``NotFound`` and ``Forbidden`` (read-only) carry the path alone: the caller knows better
        what to say.
        """
        while b"\n" not in self._head and len(self._head) < _LINE:
            data = os.read(self._out, _LINE)
            if not data:
                raise self._failure()
            self._head += data
        line, _, self._head = self._head.partition(b"\n")
        answer = msgspec.json.decode(line, type=Answer)
        _raise(answer, self._path)
        return answer

    def _last_words(self) -> bytes:
        """What it says on standard error until it has ended."""
        text = b""
        while data := os.read(self._said, _WORDS):
            text = (text + data)[-_WORDS:]
        pidfd.wait_blocking(self._pidfd)
        return text

    def _failure(self, text: bytes | None = None) -> errdefs.FirkinError:
        text = self._last_words() if text is None else text
        try:
            _raise(msgspec.json.decode(text, type=Answer), self._path)
        except msgspec.MsgspecError:
            pass
        except errdefs.FirkinError as error:
            return error
        reason = text.decode(errors="replace").strip()[-500:]
        return errdefs.System(f"the file worker failed: {reason or 'it was ended by a signal'}")

    def chunks(self) -> Iterator[bytes]:
        """What follows the answer. Raises ``System`` when the worker ended before its time."""
        if self._head:
            yield self._head
        while data := os.read(self._out, _PIPE):
            yield data
        if not (text := self._last_words()).endswith(nursery.DONE):
            raise self._failure(text)

    def write(self, parts: Sequence[bytes]) -> bool:
        """Feed the worker; False when it takes no more: its answer tells why."""
        try:
            for part in parts:
                rest = memoryview(part)
                while rest:
                    rest = rest[os.write(self._in, rest) :]
        except BrokenPipeError:
            return False
        return True

    def end_input(self) -> None:
        """Nothing more to write."""
        if self._in >= 0:
            fd, self._in = self._in, -1
            os.close(fd)

    def close(self) -> None:
        """Kill the worker if it still runs, and wait for its end."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        pidfd.wait_blocking(self._pidfd)
        self._ends.close()


def stat(view: View, path: str) -> Stat:
    """What is at ``path``. Raises ``NotFound``."""
    worker = Worker(view, Request("stat", path))
    try:
        found = worker.answer().stat
        assert found is not None
        return found
    finally:
        worker.close()


def write(view: View, request: Request, take: Callable[[], Sequence[bytes]]) -> Answer:
    """Write an archive whose pieces ``take`` gives until it gives none."""
    worker = Worker(view, request)
    try:
        while parts := take():
            if not worker.write(parts):
                break
        worker.end_input()
        return worker.answer()
    finally:
        worker.close()
