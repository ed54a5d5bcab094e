"""The engine's side of the confined worker: starting it, feeding it, believing its report.

Everything here blocks and belongs in worker threads.

A :class:`Extraction` takes the plain tar of one layer; an :class:`Inflater` turns compressed bytes
into plain ones. Both are a process that is killed when the object is closed, whatever happened.
The digest of what passes is taken in this process, not in the worker: a worker that was taken over
can spoil its own layer, but cannot pass it off as another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib.util
import os
import signal
import threading
from collections.abc import Callable, Sequence

import msgspec

import firkin
from firkin import errdefs
from firkin.linux import nursery, pidfd, syscalls

_PIPE = 1 << 20
_REPORT_LIMIT = 64 << 20
_IOV_MAX = 1024

Buffer = bytes | bytearray | memoryview


class Limits(msgspec.Struct, frozen=True):
    """What one layer may take when unpacked."""

    size: int = 256 << 30
    entries: int = 10_000_000


class Applied(msgspec.Struct, frozen=True):
    """The worker's report: bytes of file content and on the disk, number of entries, directories
    to be opaque."""

    size: int
    disk: int
    entries: int
    opaque: list[str]


def sniff(head: bytes) -> str:
    """The compression that ``head``, the first bytes of a stream, shows; "" for none known."""
    if head[:3] == b"\x1f\x8b\x08":
        return "gzip"
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return "zstd"
    if head[:3] == b"BZh":
        return "bzip2"
    if head[:6] == b"\xfd7zXZ\x00":
        return "xz"
    return ""


@functools.cache
def _import_paths() -> tuple[str, ...]:
    """Where the worker finds this package and the decompressors."""
    paths = [os.path.dirname(os.path.dirname(os.path.abspath(firkin.__file__)))]
    for name in ("isal", "zstandard"):
        found = importlib.util.find_spec(name)
        if found is not None and found.origin is not None:
            paths.append(os.path.dirname(os.path.dirname(found.origin)))
    return tuple(dict.fromkeys(paths))


@functools.cache
def _nursery() -> nursery.Nursery:
    return nursery.Nursery("firkin.images.worker", _import_paths())


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


class _Process:
    """A worker with its pipes. ``close`` kills it if it still runs."""

    def __init__(self, arguments: Sequence[str]) -> None:
        theirs_in, self.stdin = os.pipe()
        self.stdout, theirs_out = os.pipe()
        self._stderr, theirs_err = os.pipe()
        theirs = (theirs_in, theirs_out, theirs_err)
        for fd in (self.stdin, self.stdout):
            with contextlib.suppress(OSError):
                fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            self._pidfd = _nursery().spawn(arguments, *theirs)
        except BaseException:
            _close((self.stdin, self.stdout, self._stderr))
            raise
        finally:
            _close(theirs)

    def write(self, parts: Sequence[Buffer]) -> bool:
        """Write all of ``parts``; False when the worker has ended."""
        pending = list(parts)
        try:
            while pending:
                done = os.writev(self.stdin, pending[:_IOV_MAX])
                while pending and done >= len(pending[0]):
                    done -= len(pending[0])
                    del pending[0]
                if done:
                    pending[0] = memoryview(pending[0])[done:]
        except BrokenPipeError:
            return False
        return True

    def end_input(self) -> None:
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def failure(self) -> str:
        """Wait for the end; "" when it went well, else why not."""
        text = b""
        while data := os.read(self._stderr, 8000):
            text = (text + data)[:8000]
        self.wait()
        if text.endswith(nursery.DONE):
            return ""
        said = text.decode("utf-8", "replace").strip()
        return said or "the unpack worker was ended by a signal"

    def wait(self) -> None:
        """Until it has ended."""
        if self._pidfd >= 0:
            pidfd.wait_blocking(self._pidfd)

    def kill(self) -> None:
        if self._pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        if self._pidfd < 0:
            return
        self.kill()
        self.wait()
        self.end_input()
        _close((self.stdout, self._stderr, self._pidfd))
        self._pidfd = -1


class Inflater:
    """Compressed bytes in by ``write``; plain bytes out to ``sink``, called by its own thread."""

    def __init__(
        self, kind: str, empty: str, sink: Callable[[Sequence[Buffer]], None], limit: int
    ) -> None:
        self._process = _Process(("inflate", kind, empty))
        self._sink = sink
        self._limit = limit
        self._kind = kind
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._pump, name="firkin-inflate", daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        total = 0
        try:
            while data := os.read(self._process.stdout, _PIPE):
                total += len(data)
                if total > self._limit:
                    raise errdefs.InvalidParameter(
                        f"it has more than {self._limit} bytes unpacked, which is the limit"
                    )
                self._sink((data,))
        except BaseException as error:
            self._error = error
            self._process.kill()

    def write(self, parts: Sequence[Buffer]) -> None:
        if not self._process.write(parts) and self._error is not None:
            self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """End of input: wait until everything is through. Raises what went wrong."""
        self._process.end_input()
        self._thread.join()
        self._check()
        if failure := self._process.failure():
            raise errdefs.InvalidParameter(f"cannot decompress ({self._kind}): {failure}")

    def kill(self) -> None:
        """Give up: unblocks a ``write`` that another thread is in."""
        self._process.kill()

    def close(self) -> None:
        self.kill()
        self._thread.join()
        self._process.close()


class Extraction:
    """The plain tar of one layer in by ``write``, files out to ``directory``.

    ``kind`` is "overlay" or "remove" for what whiteouts become; or "plain", or "owners" (to keep
    those of the archive), for an archive that is no layer, extracted at the path ``below``.
    """

    def __init__(
        self, directory: str, *, rebases: bool = False, limits: Limits, kind: str = "",
        below: str = "/",
    ) -> None:  # fmt: skip
        self._directory = directory
        kind = kind or ("overlay" if rebases else "remove")
        arguments = ("unpack", directory, kind, str(limits.size), str(limits.entries), below)
        self._process = _Process(arguments)
        self._ended = False

    def write(self, parts: Sequence[Buffer]) -> None:
        """Feed the worker; after it gave up, nothing happens until :meth:`finish` tells why."""
        if not self._ended and not self._process.write(parts):
            self._ended = True

    @property
    def failed(self) -> bool:
        """Whether the worker has given up; :meth:`finish` raises the reason."""
        return self._ended

    def finish(self) -> Applied:
        """End of input: returns the report. Raises ``InvalidParameter`` naming the bad entry."""
        self._process.end_input()
        report = bytearray()
        while data := os.read(self._process.stdout, _PIPE):
            report += data
            if len(report) > _REPORT_LIMIT:
                break
        if failure := self._process.failure():
            kind = errdefs.System if "disk is full" in failure else errdefs.InvalidParameter
            raise kind(f"cannot unpack the layer: {failure}")
        try:
            applied = msgspec.json.decode(bytes(report), type=Applied)
        except msgspec.MsgspecError as error:
            raise errdefs.System(f"the unpack worker sent no usable report: {error}") from error
        self._make_opaque(applied.opaque)
        return applied

    def _make_opaque(self, directories: list[str]) -> None:
        if not directories:
            return
        root = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for name in directories:
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
                resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS
                try:
                    fd = syscalls.openat2(root, name, flags, resolve=resolve)
                except (FileNotFoundError, NotADirectoryError):
                    continue  # replaced by a later entry
                try:
                    os.setxattr(fd, "trusted.overlay.opaque", b"y")
                finally:
                    os.close(fd)
        except OSError as error:
            raise errdefs.System(f"cannot mark an opaque directory: {error.strerror}") from error
        finally:
            os.close(root)

    def close(self) -> None:
        self._process.close()
