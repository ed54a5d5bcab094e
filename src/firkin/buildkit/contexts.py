"""A client's directories, received over its session, as contexts of our builder."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import urllib.parse
from collections.abc import AsyncIterator, Sequence

from firkin.builder import contextstore, steps, trees
from firkin.buildkit import filesync, progress
from firkin.buildkit import session as sessions
from firkin.buildkit.pb import common_pb2
from firkin.wire import ignorefile

_MAX_FILE = 1 << 20


class UploadedContext:
    """A ``request.Context``: what the client has at an address of its own, such as its standard
    input: an archive, or a Dockerfile alone."""

    def __init__(
        self,
        store: contextstore.ContextStore,
        place: trees.Trees,
        session: sessions.Session,
        url: str,
    ) -> None:
        self._store = store
        self._trees = place
        self._session = session
        self._url = urllib.parse.urlsplit(url)
        self._stack = contextlib.AsyncExitStack()

    async def open(self) -> trees.Tree:
        place = await self._stack.enter_async_context(self._trees.place())
        path = os.path.join(place, "uploaded")
        with open(path, "xb", buffering=0) as file:
            async for data in self._read():
                await asyncio.to_thread(file.write, data)
        if not await asyncio.to_thread(steps.is_archive, path):
            os.rename(path, os.path.join(place, "Dockerfile"))
            return trees.Tree(root=place)

        async def pieces() -> AsyncIterator[bytes]:
            with open(path, "rb", buffering=0) as file:
                while data := await asyncio.to_thread(file.read, 1 << 20):
                    yield data

        archive = self._store.archive(pieces())
        self._stack.push_async_callback(archive.close)
        return await archive.open()

    async def _read(self) -> AsyncIterator[bytes]:
        metadata = {"urlpath": [self._url.path], "urlhost": [self._url.netloc]}
        async with self._session.conversation(
            sessions.PULL_UPLOAD, common_pb2.Bytes, common_pb2.Bytes, metadata
        ) as stream:
            await stream.send_request(end=True)
            while (message := await stream.recv_message()) is not None:
                yield message.data

    async def close(self) -> None:
        await self._stack.aclose()


class SessionContext:
    """A ``request.Context``: the directory ``name`` of a session.

    A tree that is kept from an earlier build of the same directory only gets what has changed.
    ``rules`` say what the client need not send.
    """

    def __init__(
        self,
        store: contextstore.ContextStore,
        session: sessions.Session,
        name: str,
        watcher: progress.Progress,
        rules: tuple[str, ignorefile.Ignore] | None = None,
    ) -> None:
        self._store = store
        self._session = session
        self._name = name
        self._watcher = watcher
        self._rules = rules
        self._slot: contextstore.Slot | None = None

    async def open(self) -> trees.Tree:
        slot = self._slot = await self._store.hold(_key(self._session, self._name))
        options: dict[str, Sequence[str]] = {}
        if self._rules is not None:
            options["exclude-patterns"] = patterns(self._rules[0])
        with self._watcher.task(f"[internal] load build {self._name}") as task:
            await filesync.receive(
                self._session, self._name, slot.tree, options, task.moved, owner=(0, 0)
            )
        ignore = self._rules[1] if self._rules is not None else None
        return trees.Tree(root=slot.tree, linkable=True, ignore=ignore, hidden=ignore)

    async def close(self) -> None:
        slot, self._slot = self._slot, None
        if slot is not None:
            self._store.give_back(slot)


def _key(session: sessions.Session, name: str) -> str:
    """What is the same for the same directory of the same client."""
    text = f"{session.shared_key or session.id}\0{name}"
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def patterns(text: str) -> list[str]:
    """The lines of an ignore file as the client's matcher takes them."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


async def some_files(
    store: trees.Trees, session: sessions.Session, name: str, wanted: Sequence[str]
) -> dict[str, bytes]:
    """A few small files of a client's directory by their paths; those that it does not have lack.

    Nothing else of the directory is sent.
    """
    async with store.place() as place:
        await filesync.receive(
            session, name, place, {"followpaths": list(wanted)}, lambda count: None, owner=(0, 0)
        )

        def read() -> dict[str, bytes]:
            found = {}
            for path in wanted:
                with contextlib.suppress(OSError):
                    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                    with open(os.open(os.path.join(place, path), flags), "rb") as file:
                        found[path] = file.read(_MAX_FILE + 1)
            return found

        return await asyncio.to_thread(read)
