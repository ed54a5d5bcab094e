"""Contexts on this machine: trees that follow a client's directory, and trees out of archives.

A client that builds the same directory again sends what the directory has, a line for each path,
and then only the files that this side does not have as they are::

    sync(key, lines)  ──> a slot, the paths wanted      the tree has lost what is gone
    receive(slot, tar)                                  ... and got what was wanted
    context(slot)     ──> Context for a request; its close() gives the slot back

A line is ``[path, mode, size, mtime in ns, stamp, link]``, in the order of the paths' names; the
stamp is whatever changes when the file does. A slot is for one build at a time: a second build of
the same directory gets a slot of its own. Files are only ever replaced, never written to, because
layers may have hard links to them.

A slot's ``index`` is what its tree is; it is away while the tree is being changed, so a tree that
was left half changed is known and started anew. Everything that blocks runs in threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import stat
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import BinaryIO

import msgspec

from firkin import errdefs
from firkin.builder import cache, followed, select, trees
from firkin.images import stream, tarstream, unpack
from firkin.linux import tasks
from firkin.snapshots import base

_PATIENCE = 900.0
_KEY = re.compile(r"[A-Za-z0-9_-]{8,64}")
_MAX_LINE = 1 << 16
_MAX_MANIFEST = 8 << 30
_SLOTS = 8

Line = tuple[str, int, int, int, str, str]


class Slot:
    """A tree of a client's directory, held by one build."""

    def __init__(self, directory: str, record: str) -> None:
        self.directory = directory
        self.record = record
        self.token = secrets.token_hex(16)
        self.ready = False
        self.missing = 0

    @property
    def tree(self) -> str:
        return os.path.join(self.directory, "tree")

    def file(self, name: str) -> str:
        return os.path.join(self.directory, name)


def _lines(path: str) -> Iterator[list[object]]:
    decoder = msgspec.json.Decoder(list[object])
    try:
        with open(path, "rb") as file:
            for line in file:
                yield decoder.decode(line)
    except FileNotFoundError:
        return


class ContextStore:
    """All contexts, below ``root``."""

    def __init__(self, root: str, known: cache.Cache, scratch: str) -> None:
        self._root = root
        self._cache = known
        self.scratch = scratch
        self._slots: dict[str, Slot] = {}
        self._archives: dict[str, TarContext] = {}
        self._busy: set[str] = set()
        self._tasks = tasks.Tasks("contexts")
        os.makedirs(root, mode=0o700, exist_ok=True)

    def clean(self) -> None:
        """Remove trees of archives, and slots that no record knows. Blocks."""
        for name in os.listdir(self._root):
            if name not in self._cache.records:
                base.remove_tree(os.path.join(self._root, name))

    def discard(self, record: cache.Record) -> None:
        """Remove the tree of a record that has been forgotten. Blocks."""
        base.remove_tree(self.path(record))
        self._cache.sizes.forget(record.id)

    def path(self, record: cache.Record) -> str:
        """Where the directory of a record is."""
        return os.path.join(self._root, record.id)

    def busy(self, record: cache.Record) -> bool:
        """Whether a build holds the slot of a record."""
        return record.id in self._busy

    # Following a directory

    async def sync(self, key: str, source: AsyncIterator[bytes]) -> Slot:
        """Bring a slot's tree in line with a manifest, but for the files to be received.

        The paths wanted are in the slot's file ``missing``. Raises ``InvalidParameter`` for a
        manifest that is none.
        """
        if not _KEY.fullmatch(key):
            raise errdefs.InvalidParameter("the key of a context is 8 to 64 letters and digits")
        slot = await self._take(key)
        try:
            await stream.consume(source, lambda buffer: _spool(buffer, slot), "receive a manifest")
            slot.missing = await stream.in_own_thread(lambda: _merge(slot), "firkin-context")
        except BaseException:
            self._give_back(slot)
            raise
        slot.ready = not slot.missing
        if slot.ready:
            await asyncio.to_thread(_commit, slot)
        self._slots[slot.token] = slot
        self._tasks.spawn(self._expire(slot), f"context {key[:8]}")
        return slot

    async def _take(self, key: str) -> Slot:
        for number in range(_SLOTS):
            name = f"{key}.{number}"
            if name in self._busy:
                continue
            self._busy.add(name)
            directory = os.path.join(self._root, name)
            try:
                if name not in self._cache.records:
                    await asyncio.to_thread(base.remove_tree, directory)
                    now = time.time()
                    await self._cache.add(cache.Record(
                        id=name, kind=cache.LOCAL, description="local source for context",
                        created=now, used=now), ())  # fmt: skip
                os.makedirs(os.path.join(directory, "tree"), mode=0o755, exist_ok=True)
            except BaseException:
                self._busy.discard(name)
                raise
            self._cache.touch(self._cache.records[name])
            self._cache.sizes.touch(name)
            return Slot(directory, name)
        raise errdefs.Unavailable(
            f"{_SLOTS} builds of this context run already: wait for one of them to end"
        )

    def _give_back(self, slot: Slot) -> None:
        self._busy.discard(slot.record)
        self._slots.pop(slot.token, None)
        self._cache.sizes.touch(slot.record)

    async def _expire(self, slot: Slot) -> None:
        """A client that went away between two requests does not hold its slot for ever."""
        await asyncio.sleep(_PATIENCE)
        if slot.token in self._slots:
            self._give_back(slot)

    async def receive(self, token: str, source: AsyncIterator[bytes]) -> None:
        """Take the files that were wanted, as a tar. Raises ``NotFound`` for an unknown token."""
        slot = self._slots.get(token)
        if slot is None:
            raise errdefs.NotFound("no such context: send its manifest again")
        try:
            await extract(source, slot.tree, self.scratch)
            await asyncio.to_thread(_commit, slot)
        except BaseException:
            self._give_back(slot)
            raise
        slot.ready = True

    def context(self, token: str) -> SyncedContext | TarContext:
        """The context of a slot, or of an archive that was uploaded. Raises ``NotFound``."""
        if (archive := self._archives.pop(token, None)) is not None:
            return archive
        slot = self._slots.pop(token, None)
        if slot is None:
            raise errdefs.NotFound("no such context: send its manifest again")
        return SyncedContext(self, slot)

    async def hold(self, key: str) -> Slot:
        """A slot whose tree the caller brings in line itself, until it is given back."""
        slot = await self._take(key)

        def forget() -> None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(slot.file("index"))

        await asyncio.to_thread(forget)
        return slot

    def give_back(self, slot: Slot) -> None:
        """A build is done with a slot."""
        self._give_back(slot)

    # Archives

    async def upload(self, source: AsyncIterator[bytes]) -> str:
        """Unpack an archive for a build that comes later; returns its token."""
        context = self.archive(source)
        try:
            await context.open()
        except BaseException:
            await context.close()
            raise
        token = secrets.token_hex(16)
        self._archives[token] = context
        self._tasks.spawn(self._forget(token), f"archive {token[:8]}")
        return token

    async def _forget(self, token: str) -> None:
        await asyncio.sleep(_PATIENCE)
        if (context := self._archives.pop(token, None)) is not None:
            await context.close()

    def archive(self, source: AsyncIterator[bytes]) -> TarContext:
        """The context in a tar, plain or compressed."""
        return TarContext(self._root, source, self.scratch)


class SyncedContext:
    """A ``request.Context`` that follows a client's directory."""

    def __init__(self, store: ContextStore, slot: Slot) -> None:
        self._store = store
        self._slot = slot
        self._digests: dict[str, str] | None = None
        self._changed = False

    async def open(self) -> trees.Tree:
        if not self._slot.ready:
            raise errdefs.InvalidParameter("the context's files were not sent")
        return trees.Tree(root=self._slot.tree, linkable=True, digest=self._digest)

    def _digest(self, path: str) -> str:
        """The digest of a file, from the index when it is known. Called in threads."""
        if self._digests is None:
            self._digests = {
                str(line[0]): str(line[6]) for line in _lines(self._slot.file("index"))
            }
        known = self._digests.get(path, "")
        if not known:
            known = select.file_digest(os.path.join(self._slot.tree, path))
            self._digests[path] = known
            self._changed = True
        return known

    async def close(self) -> None:
        try:
            if self._changed:
                await asyncio.to_thread(self._keep)
        finally:
            self._store.give_back(self._slot)

    def _keep(self) -> None:
        """Write the digests that were found into the index."""
        assert self._digests is not None
        index = self._slot.file("index")
        encoder = msgspec.json.Encoder()
        with open(index + ".next", "wb") as file:
            for line in _lines(index):
                line[6] = self._digests.get(str(line[0]), "")
                file.write(encoder.encode(line) + b"\n")
        os.rename(index + ".next", index)


class TarContext:
    """A ``request.Context`` out of an archive; its files are removed when the build ends."""

    def __init__(self, root: str, source: AsyncIterator[bytes], scratch: str) -> None:
        self._directory = os.path.join(root, f"archive-{secrets.token_hex(8)}")
        self._source = source
        self._scratch = scratch
        self._unpacked = False

    async def open(self) -> trees.Tree:
        if not self._unpacked:
            await asyncio.to_thread(os.makedirs, self._directory, 0o755)
            await extract(self._source, self._directory, self._scratch)
            self._unpacked = True
        return trees.Tree(root=self._directory, linkable=True)

    async def close(self) -> None:
        await asyncio.to_thread(base.remove_tree, self._directory)


async def extract(source: AsyncIterator[bytes], directory: str, scratch: str) -> None:
    """A tar, plain or compressed, into a directory. Raises ``InvalidParameter``."""

    def work(buffer: stream.Buffer) -> None:
        limits = unpack.Limits()
        head = b""
        pending: list[bytes] = []
        while len(head) < 8 and (chunks := buffer.take()):
            pending += chunks
            head = b"".join(pending)[:8]
        extraction = unpack.Extraction(directory, limits=limits, kind="plain")
        inflater: unpack.Inflater | None = None
        ending = tarstream.Ending()

        def plain(parts: Sequence[unpack.Buffer]) -> None:
            for part in parts:
                ending.feed(part)
            extraction.write(parts)

        try:
            write = plain
            if compression := unpack.sniff(head):
                inflater = unpack.Inflater(compression, scratch, plain, limits.size)
                write = inflater.write
            write(pending)
            while chunks := buffer.take():
                write(chunks)
                if extraction.failed:
                    break
            if inflater is not None:
                inflater.finish()
            if ending.padding:  # the official client's, when it has put a Dockerfile in
                extraction.write([bytes(ending.padding)])
            extraction.finish()
        except errdefs.InvalidParameter as error:
            text = str(error).replace("unpack the layer", "unpack the build context")
            raise errdefs.InvalidParameter(text) from error
        finally:
            if inflater is not None:
                inflater.close()
            extraction.close()

    await stream.consume(source, work, "receive a context")


def _spool(buffer: stream.Buffer, slot: Slot) -> None:
    size = 0
    with open(slot.file("incoming"), "wb") as file:
        while chunks := buffer.take():
            size += sum(len(chunk) for chunk in chunks)
            if size > _MAX_MANIFEST:
                raise errdefs.InvalidParameter("the manifest of the context is too large")
            file.writelines(chunks)


def _incoming(slot: Slot) -> Iterator[Line]:
    """The lines of the manifest, checked."""
    decoder = msgspec.json.Decoder(Line)
    last: list[str] = []
    with open(slot.file("incoming"), "rb") as file:
        for raw in iter(lambda: file.readline(_MAX_LINE + 1), b""):
            try:
                line = decoder.decode(raw)
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                raise errdefs.InvalidParameter(
                    f"the manifest of the context is malformed: {error}"
                ) from error
            parts = line[0].split("/")
            if any(part in ("", ".", "..") or "\0" in part for part in parts) or parts <= last:
                raise errdefs.InvalidParameter(
                    f"the manifest of the context has {line[0][:200]!r} out of order"
                )
            last = parts
            yield line


def _merge(slot: Slot) -> int:
    """Compare the manifest with the index; change the tree. Returns how many files are wanted."""
    index = slot.file("index")
    current = slot.file("changing")
    if os.path.exists(index):
        os.rename(index, current)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(current)
        base.remove_tree(slot.tree)
        os.mkdir(slot.tree, 0o755)
    wanted = 0
    encoder = msgspec.json.Encoder()
    old = _lines(current)
    have = next(old, None)
    with (
        open(slot.file("new"), "wb") as new,
        open(slot.file("missing"), "wb") as missing,
        contextlib.closing(followed.Tree(slot.tree)) as tree,
    ):
        for line in _incoming(slot):
            key = line[0].split("/")
            while have is not None and str(have[0]).split("/") < key:
                tree.remove(str(have[0]))
                have = next(old, None)
            same = have if have is not None and have[0] == line[0] else None
            digest = _apply(tree, line, same)
            if same is not None:
                have = next(old, None)
            if digest is None:
                wanted += 1
                missing.write(encoder.encode(line[0]) + b"\n")
            new.write(encoder.encode([*line, digest or ""]) + b"\n")
        while have is not None:
            tree.remove(str(have[0]))
            have = next(old, None)
    return wanted


def _apply(tree: followed.Tree, line: Line, same: list[object] | None) -> str | None:
    """Make one path what the line says; its digest, or None when its content is wanted."""
    path, mode, _, mtime, stamp, link = line
    if same is not None and same[1] == mode and same[4] == stamp and same[5] == link:
        return str(same[6])
    if same is not None and stat.S_IFMT(_number(same[1])) != stat.S_IFMT(mode):
        tree.remove(path)
    if stat.S_ISDIR(mode):
        tree.directory(path, stat.S_IMODE(mode))
    elif stat.S_ISLNK(mode):
        tree.link(path, link, mtime)
    elif stat.S_ISFIFO(mode):
        tree.fifo(path, stat.S_IMODE(mode))
    else:
        tree.remove(path)
        return None
    return ""


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _commit(slot: Slot) -> None:
    """All is there: give directories their times and let the new index be the index."""
    with contextlib.closing(followed.Tree(slot.tree)) as tree:
        for line in _lines(slot.file("new")):
            if stat.S_ISDIR(_number(line[1])):
                tree.changed(str(line[0]), _number(line[3]))
    os.rename(slot.file("new"), slot.file("index"))
    for name in ("changing", "incoming", "missing"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(slot.file(name))


def missing(slot: Slot) -> BinaryIO:
    """The paths wanted, a JSON string on each line."""
    return open(slot.file("missing"), "rb")
