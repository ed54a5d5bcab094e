"""Builds that are over, on the disk: what was asked and how it ended, and what was told meanwhile.

Each has two files: ID.trace, and ID.record, which is there last and gone first: without it there is
no build. What is written is in no need of a sync: a power cut may cost the latest records.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import zlib
from collections.abc import Iterable, Iterator

from google.protobuf import message

from firkin.buildkit.pb import control_pb2

log = logging.getLogger(__name__)


class Records:
    """The files in ``directory``. Everything here blocks."""

    def __init__(self, directory: str) -> None:
        self._directory = directory

    def load(self) -> Iterator[control_pb2.BuildHistoryRecord]:
        """All records; what is left of half a record is removed."""
        try:
            names = set(os.listdir(self._directory))
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("the history of builds can't be read: %s", error)
            return
        for name in names:
            key, _, kind = name.rpartition(".")
            if kind != "record":
                if f"{key}.record" not in names:
                    self._unlink(name)
                continue
            try:
                with open(os.path.join(self._directory, name), "rb") as file:
                    yield control_pb2.BuildHistoryRecord.FromString(file.read())
            except (OSError, message.DecodeError) as error:
                log.warning("the build record %s can't be read and is removed: %s", name, error)
                self._unlink(name)
                self._unlink(f"{key}.trace")

    def keep(
        self,
        record: control_pb2.BuildHistoryRecord,
        said: Iterable[control_pb2.StatusResponse],
    ) -> None:
        """Store a build. Raises ``OSError``."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        data = control_pb2.KeptStatus(said=said).SerializeToString()
        self._write(_key(record.ref) + ".trace", zlib.compress(data, 1))
        self.change(record)

    def change(self, record: control_pb2.BuildHistoryRecord) -> None:
        """Store a record anew. Raises ``OSError``."""
        self._write(_key(record.ref) + ".record", record.SerializeToString())

    def said(self, ref: str) -> list[control_pb2.StatusResponse]:
        """What was told of a build; nothing when it is removed meanwhile."""
        try:
            with open(os.path.join(self._directory, _key(ref) + ".trace"), "rb") as file:
                return list(control_pb2.KeptStatus.FromString(zlib.decompress(file.read())).said)
        except FileNotFoundError:
            return []

    def remove(self, ref: str) -> None:
        """Remove a build."""
        self._unlink(_key(ref) + ".record")
        self._unlink(_key(ref) + ".trace")

    def _write(self, name: str, data: bytes) -> None:
        path = os.path.join(self._directory, name)
        try:
            with open(path + ".new", "wb") as file:
                file.write(data)
            os.rename(path + ".new", path)
        except OSError:
            self._unlink(name + ".new")
            raise

    def _unlink(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(self._directory, name))


def _key(ref: str) -> str:
    """The name of a build's files: its ref is a client's word and may be anything."""
    return hashlib.sha256(ref.encode()).hexdigest()[:32]
