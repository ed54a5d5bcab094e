"""``json-file``: a JSON object a line, in files that other programs read too.

``ID-json.log`` is the newest file, ``ID-json.log.1`` the one before. The state is the file's inode
and size: what a killed engine wrote beyond it is cut off, so that nothing is there twice.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Mapping, Sequence

import msgspec
from isal import igzip

from firkin import errdefs
from firkin.logger import logger, options

NAME = "json-file"
_OLDER = re.compile(r"(?:\.(\d{1,9}))?(\.gz)?")


def path_of(directory: str, container_id: str) -> str:
    """The newest file of a container's log."""
    return os.path.join(directory, f"{container_id}-json.log")


class Record(msgspec.Struct):
    """One line. ``log`` has its own newline, but for a part of a line."""

    log: str = ""
    stream: str = "stdout"
    time: str = ""
    attrs: dict[str, str] | None = None


class JSONFile:
    """The driver."""

    name = NAME
    options = frozenset({"max-size", "max-file", "compress"}) | logger.ATTRIBUTE_OPTIONS

    def validate(self, given: Mapping[str, str]) -> None:
        """See ``Driver.validate``."""
        size = options.size(given, "max-size", 0)
        files = options.count(given, "max-file", 1)
        compress = options.truth(given, "compress", False)
        if compress and (files < 2 or not size):
            raise errdefs.InvalidParameter(
                "compress cannot be true when max-file is less than 2 or max-size is not set"
            )

    def open(self, info: logger.Info, state: str = "") -> Files:
        """See ``Driver.open``."""
        return Files(info, state)


class Files:
    """The logger."""

    def __init__(self, info: logger.Info, state: str) -> None:
        self._path = path_of(info.directory, info.id)
        self._size = options.size(info.options, "max-size", 0)
        self._files = options.count(info.options, "max-file", 1)
        self._compress = options.truth(info.options, "compress", False)
        attributes = options.attributes(info)
        tail = b',"attrs":' + msgspec.json.encode(attributes) if attributes else b""
        self._streams = (b"", b',"stream":"stdout"' + tail, b',"stream":"stderr"' + tail)
        self._fd = -1
        self._open(state)

    def _open(self, state: str) -> None:
        self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        found = os.fstat(self._fd)
        inode, _, size = state.partition(":")
        known = int(size) if inode == str(found.st_ino) else 0 if state else found.st_size
        if found.st_size > known:
            os.ftruncate(self._fd, known)

    def write(self, entries: Sequence[logger.Entry]) -> str:
        """See ``Logger.write``."""
        encode, streams = msgspec.json.encode, self._streams
        text = b"".join(
            b'{"log":%b%b,"time":"%b"}\n'
            % (
                encode(line.decode("utf-8", "replace") + ("" if partial else "\n")),
                streams[stream],
                time,
            )
            for time, stream, line, partial in entries
        )
        if self._size and os.fstat(self._fd).st_size >= self._size:
            self._rotate()
        view = memoryview(text)
        while view:
            view = view[os.write(self._fd, view) :]
        found = os.fstat(self._fd)
        return f"{found.st_ino}:{found.st_size}"

    def _rotate(self) -> None:
        os.close(self._fd)
        self._fd = -1
        last = self._files - 1
        for number in range(last, 0, -1):
            for suffix in ("", ".gz"):
                older = f"{self._path}.{number}{suffix}"
                newer = self._path if number == 1 else f"{self._path}.{number - 1}{suffix}"
                with contextlib.suppress(FileNotFoundError):
                    if number == last:
                        os.unlink(older)
                if number > 1 or not suffix:
                    with contextlib.suppress(FileNotFoundError):
                        os.rename(newer, older)
        if not last:
            os.unlink(self._path)
        elif self._compress:
            self._pack(f"{self._path}.1")
        self._open("")

    def _pack(self, path: str) -> None:
        fresh = self._path + ".tmp"
        with open(path, "rb") as source, igzip.open(fresh, "wb", compresslevel=1) as target:
            shutil.copyfileobj(source, target, 1 << 20)
        os.rename(fresh, path + ".gz")
        os.unlink(path)

    def close(self) -> None:
        """See ``Logger.close``."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def files(directory: str, container_id: str) -> list[str]:
    """The files of a container's log, the oldest first."""
    newest = os.path.basename(path_of(directory, container_id))
    found: dict[int, str] = {}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(directory):
            match = _OLDER.fullmatch(name.removeprefix(newest))
            if name.startswith(newest) and match is not None:
                number = int(match[1] or 0)
                if not (match[2] and number in found):  # the original is there still
                    found[number] = os.path.join(directory, name)
    return [found[number] for number in sorted(found, reverse=True)]
