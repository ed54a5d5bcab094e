"""The engine's side of the file worker: what to do it in, starting it, its answer and its bytes.

Everything here blocks and belongs in worker threads, but for the making of a :class:`View`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import msgspec

import firkin
from firkin import errdefs

_PIPE = 1 << 20
_LINE = 1 << 16
_START = (
    "import sys; sys.path[:0] = [sys.argv[1]]; "
    "from firkin.files import worker; worker.main(sys.argv[2:])"
)


class Place(msgspec.Struct, frozen=True):
    """A mount of the view: the host's path ``source`` at ``destination`` inside."""

    source: str
    destination: str
    rw: bool = True
    recursive: bool = True


class View(msgspec.Struct, frozen=True, omit_defaults=True):
    """The files that an operation sees.

    Either those of a mount namespace (``namespace``, a descriptor of it), or the tree at the host's
    path ``root`` with ``mounts`` in it, all of it read-only with ``readonly``.
    """

    namespace: int = -1
    root: str = ""
    mounts: Sequence[Place] = ()
    readonly: bool = False


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


class Worker:
    """One running worker. ``close`` ends it, whatever it is doing."""

    def __init__(self, view: View, request: Request) -> None:
        spec = msgspec.to_builtins(request)
        spec.update(msgspec.to_builtins(view))
        passed = (view.namespace,) if view.namespace >= 0 else ()
        package = os.path.dirname(os.path.dirname(os.path.abspath(firkin.__file__)))
        text = msgspec.json.encode(spec).decode()
        command = [sys.executable, "-I", "-S", "-c", _START, package, text]
        self._path = request.path
        self._writes = request.operation == "write"
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if self._writes else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={"LC_ALL": "C.UTF-8"},
                cwd="/",
                bufsize=0,
                start_new_session=True,
                pass_fds=passed,
            )
        except OSError as error:
            raise errdefs.System(f"cannot start the file worker: {error.strerror}") from error
        assert self._process.stdout and self._process.stderr
        self._out = self._process.stdout.fileno()
        self._head = b""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE)

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

    def _failure(self) -> errdefs.FirkinError:
        assert self._process.stderr
        text = self._process.stderr.read(8000)
        status = self._process.wait()
        try:
            _raise(msgspec.json.decode(text, type=Answer), self._path)
        except msgspec.MsgspecError:
            pass
        except errdefs.FirkinError as error:
            return error
        reason = text.decode(errors="replace").strip()[-500:]
        return errdefs.System(f"the file worker failed (status {status}): {reason}")

    def chunks(self) -> Iterator[bytes]:
        """What follows the answer. Raises ``System`` when the worker ended before its time."""
        if self._head:
            yield self._head
        while data := os.read(self._out, _PIPE):
            yield data
        if self._process.wait() != 0:
            raise self._failure()

    def write(self, parts: Sequence[bytes]) -> bool:
        """Feed the worker; False when it takes no more: its answer tells why."""
        assert self._process.stdin
        try:
            for part in parts:
                rest = memoryview(part)
                while rest:
                    rest = rest[os.write(self._process.stdin.fileno(), rest) :]
        except BrokenPipeError:
            return False
        return True

    def end_input(self) -> None:
        """Nothing more to write."""
        assert self._process.stdin
        self._process.stdin.close()

    def close(self) -> None:
        """Kill the worker if it still runs, and collect it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


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
