"""Image services on real directories, and archives to feed them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from firkin.images import service, unpack
from firkin.remotes import config as config_
from firkin.store import db

Entry = tuple[tarfile.TarInfo, bytes]


def entry(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **fields: Any) -> Entry:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = kind, len(data), 1_700_000_000
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def tar(*entries: Entry) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def config(*plain: bytes, **run: Any) -> bytes:
    return json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2024-01-01T00:00:00Z",
            "config": run,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha(data)}" for data in plain]},
            "history": [{"created_by": "test"} for _ in plain],
        }
    ).encode()


def docker(name: str | None, *plain: bytes, stored: tuple[bytes, ...] = (), **run: Any) -> bytes:
    """A docker-archive; ``stored`` are the layers as they are in it, when compressed."""
    document = config(*plain, **run)
    paths = [f"{sha(data)}/layer.tar" for data in plain]
    listed = [
        {
            "Config": f"{sha(document)}.json",
            "RepoTags": [name] if name else None,
            "Layers": paths,
        }
    ]
    members = dict(zip(paths, stored or plain, strict=True))
    return tar(
        *(entry(path, data) for path, data in members.items()),
        entry(f"{sha(document)}.json", document),
        entry("manifest.json", json.dumps(listed).encode()),
    )


async def chunks(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def load(images: service.ImageService, data: bytes) -> list[str]:
    return [message["stream"] async for message in images.load(chunks(data))]


def leftovers(images: service.ImageService) -> list[str]:
    """Blobs, ingests and snapshot directories on the disk."""
    return [
        *os.listdir(images.content.blobs),
        *os.listdir(images.content.ingest),
        *os.listdir(images.snapshots.root),  # type: ignore[attr-defined]
    ]


class Home:
    """A directory that services are opened on, one after another: a database has one owner."""

    def __init__(self, path: Path, driver: str) -> None:
        self.path = path
        self.driver = driver
        self.events: list[tuple[str, str, dict[str, str]]] = []
        self._open: db.Database | None = None

    async def open(
        self, settings: config_.Settings | None = None, **limits: int
    ) -> service.ImageService:
        self.close()
        database = self._open = db.Database.open(str(self.path / "db"))
        return await service.ImageService.open(
            str(self.path),
            database,
            driver=self.driver,
            on_event=lambda *event: self.events.append(event),
            limits=unpack.Limits(**limits),
            settings=settings,
        )

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None
