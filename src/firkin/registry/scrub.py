"""Scrubbing: proof that what is stored is what it is said to be.

Every blob is read and hashed, every manifest too, and every reference is followed. With ``repair``
a damaged blob is taken out: it answers 404 from then on, never wrong bytes, and the next push of an
image that has it brings it back.
"""

from __future__ import annotations

import contextlib
import sqlite3

import msgspec

from firkin import errdefs
from firkin.registry import core, names
from firkin.registry.index import blobs
from firkin.registry.storage import storage

_BATCH = 100
_PIECE = 1 << 20


class Report(msgspec.Struct):
    """What was looked at, and what is wrong with it."""

    blobs: int = 0
    bytes: int = 0
    manifests: int = 0
    problems: list[str] = []
    repaired: int = 0


def damage(store: storage.Storage, digest: str, size: int) -> str:
    """What is wrong with a blob, or "". Blocks, as long as reading it takes."""
    algorithm = digest.partition(":")[0]
    hasher = names.hasher(algorithm)
    length = 0
    try:
        with contextlib.closing(store.open(digest)) as reader:
            while piece := reader.read(_PIECE):
                hasher.update(piece)
                length += len(piece)
    except errdefs.NotFound:
        return "it is missing"
    if length != size:
        return f"it has {length} bytes instead of {size}"
    found = f"{algorithm}:{hasher.hexdigest()}"
    return "" if found == digest else f"its bytes have the digest {found}"


async def scrub(registry: core.Registry, *, repair: bool = False) -> Report:
    """Look at everything."""
    report = Report()
    last = ""
    while page := await registry.db.read(blobs.page, last, _BATCH):
        for digest, size in page:
            await _blob(registry, report, digest, size, repair=repair)
        last = page[-1][0]
    last = ""
    while bodies := await registry.db.read(_bodies, last):
        for digest, content in bodies:
            report.manifests += 1
            if names.digest_of(content, digest.partition(":")[0]) != digest:
                report.problems.append(f"manifest {digest}: its bytes have another digest")
        last = bodies[-1][0]
    if not registry.config.proxy.upstream:  # a cache is not complete
        report.problems += await registry.db.read(_dangling)
    return report


async def _blob(
    registry: core.Registry, report: Report, digest: str, size: int, *, repair: bool
) -> None:
    report.blobs += 1
    report.bytes += size
    if not await registry.run(damage, registry.storage, digest, size):
        return
    async with registry.locks.hold(digest):  # it may have been deleted or replaced meanwhile
        if await registry.db.read(blobs.known, digest) != size:
            return
        wrong = await registry.run(damage, registry.storage, digest, size)
        if not wrong:
            return
        report.problems.append(f"blob {digest}: {wrong}")
        if repair:
            await registry.db.write(blobs.condemn, digest)
            await registry.run(registry.storage.delete, digest)
            report.repaired += 1


def _bodies(c: sqlite3.Connection, last: str) -> list[tuple[str, bytes]]:
    return c.execute(
        "SELECT digest, content FROM bodies WHERE digest > ? ORDER BY digest LIMIT ?",
        (last, _BATCH),
    ).fetchall()


def _dangling(c: sqlite3.Connection) -> list[str]:
    rows = c.execute(
        "SELECT p.name, r.parent, r.kind, r.child FROM refs r "
        "JOIN repositories p ON p.id = r.repository WHERE "
        "(r.kind = 'manifest' AND NOT EXISTS (SELECT 1 FROM manifests m WHERE "
        "m.repository = r.repository AND m.digest = r.child)) OR "
        "(r.kind = 'blob' AND NOT EXISTS (SELECT 1 FROM links l WHERE "
        "l.repository = r.repository AND l.digest = r.child))"
    )
    return [
        f"image {name}@{parent}: {kind} {child} is missing; push the image again"
        for name, parent, kind, child in rows
        if not _foreign(c, parent, child)
    ]


def _foreign(c: sqlite3.Connection, parent: str, child: str) -> bool:
    from firkin.registry import manifest

    (content,) = c.execute("SELECT content FROM bodies WHERE digest = ?", (parent,)).fetchone()
    layers = manifest.decode(content).layers or ()
    return any(layer.digest == child and layer.urls for layer in layers)
