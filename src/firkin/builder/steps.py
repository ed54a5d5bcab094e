"""Doing the work of one vertex: a new tree out of its inputs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import stat
import subprocess
from collections.abc import AsyncIterator, Callable
from typing import Any

from firkin import errdefs
from firkin.builder import (
    cache,
    cachemounts,
    copying,
    executor,
    forwarding,
    graph,
    masking,
    modes,
    request,
    select,
    trees,
)
from firkin.images import unpack
from firkin.linux import failures
from firkin.linux import mount as kernel
from firkin.types import mount
from firkin.wire import ignorefile

_SECRET_LIMIT = 1 << 20
_HEAD = 1 << 16

Made = tuple[str, int] | None
"""A new snapshot's key and size, or None when the parent is the result."""


class RunFailed(errdefs.InvalidParameter):
    """A command that ended with another status than 0."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Workshop:
    """What steps are made with. ``root`` is the builder's lasting directory."""

    def __init__(
        self, root: str, known: cache.Cache, place: trees.Trees, runner: executor.Executor
    ) -> None:
        self.root = root
        self.cache = known
        self.trees = place
        self.executor = runner
        self.mounts = cachemounts.CacheMounts(os.path.join(root, "mounts"), known, place)

    async def run(
        self, op: graph.Source | graph.Step, inputs: list[Any], wanted: request.Request,
        limits: graph.Limits, output: executor.Output, keep: Callable[[str], object],
    ) -> Made:  # fmt: skip
        """Make the tree of a vertex. Whatever it raises, nothing is left.

        ``keep`` is told the new snapshot's key before that may be collected.
        """
        parent = inputs[0]
        assert isinstance(parent, trees.Ref)
        below = trees.SCRATCH if isinstance(op, graph.Copy) and op.link else parent
        active = await self.trees.begin(below)
        try:
            with failures.told("build the step"):
                if isinstance(op, graph.Run):
                    await self._run(op, active, inputs, wanted, limits, output)
                elif isinstance(op, graph.Copy):
                    await self._copy(op, active, inputs)
                elif isinstance(op, graph.Directory):
                    await self._directory(op, active)
                else:
                    await self._put(active, inputs)
            return await self.trees.finish(active, keep)
        except BaseException:
            await asyncio.shield(self.trees.drop(active))
            raise

    # Files

    @contextlib.asynccontextmanager
    async def _target(self, active: trees.Active) -> AsyncIterator[copying.Target]:
        if not self.trees.snapshots.rebases:
            yield copying.Target(active.upper, active.upper)
            return
        async with self.trees.view(active.parent) as view:
            yield copying.Target(view, active.upper)

    @contextlib.asynccontextmanager
    async def tree(self, value: trees.Ref | trees.Tree) -> AsyncIterator[trees.Tree]:
        """An input as a directory."""
        if isinstance(value, trees.Tree):
            yield value
            return
        async with self.trees.view(value) as path:
            yield trees.Tree(root=path, owners=True)

    async def _directory(self, op: graph.Directory, active: trees.Active) -> None:
        async with self._target(active) as target:

            def work() -> None:
                target.directory(select.resolve(target.view, op.path))
                target.settle()

            await asyncio.to_thread(work)

    async def _copy(self, op: graph.Copy, active: trees.Active, inputs: list[Any]) -> None:
        archives: list[tuple[str, str]] = []
        async with contextlib.AsyncExitStack() as stack:
            target = await stack.enter_async_context(self._target(active))
            found = [
                (one, await stack.enter_async_context(self.tree(inputs[one.input])))
                for one in op.sources
            ]
            await asyncio.to_thread(_copy_all, op, target, found, archives)
            for archive, place in archives:
                await self._archive(op, active, target, archive, place)

    async def _archive(
        self, op: graph.Copy, active: trees.Active, target: copying.Target, archive: str,
        place: str,
    ) -> None:  # fmt: skip
        """Extract an archive into the tree, whose links are followed as the tree has them."""
        scratch = self.trees.owner.scratch
        if not (op.chown or op.chmod):
            async with self.trees.writable(active) as root:
                await asyncio.to_thread(_unpack, archive, root, place, "owners", scratch)
            return
        async with self.trees.place() as aside:
            await asyncio.to_thread(_unpack, archive, aside, "", "owners", scratch)

            def work() -> None:
                copier = copying.Copier(target, _options(op, target))
                for match in select.matches(trees.Tree(root=aside, owners=True), "/"):
                    copier.copy(trees.Tree(root=aside, owners=True), match, place, into=True)
                target.settle()

            await asyncio.to_thread(work)

    async def _put(self, active: trees.Active, inputs: list[Any]) -> None:
        """A layer that was made on nothing, put on the parent: hard links where possible."""
        layer = inputs[1]
        if not layer.snapshot:
            return
        if self.trees.snapshots.rebases:
            async with self.cache.naming:
                source = await self.trees.snapshots.directory(layer.snapshot)
            await asyncio.to_thread(_link_tree, source, active.upper)
            return
        async with self.tree(layer) as tree, self._target(active) as target:

            def work() -> None:
                copier = copying.Copier(target, copying.Options())
                for match in select.matches(tree, "/"):
                    copier.copy(tree, match, "", into=True)
                target.settle()

            await asyncio.to_thread(work)

    # Commands

    async def _run(
        self, op: graph.Run, active: trees.Active, inputs: list[Any], wanted: request.Request,
        limits: graph.Limits, output: executor.Output,
    ) -> None:  # fmt: skip
        if op.platform and not self.executor.can_run(op.platform):
            raise errdefs.InvalidParameter(
                f"cannot run programs for {op.platform} on this host: register an emulator with "
                "binfmt_misc (for example the package qemu-user-static), or build this stage with "
                "FROM --platform=$BUILDPLATFORM"
            )
        async with contextlib.AsyncExitStack() as stack:
            mounts: list[mount.Mount] = []
            env: list[str] = []
            hidden: list[bytes] = []
            for one in op.mounts:
                await self._mount(one, stack, inputs, wanted, mounts, env, hidden)
            for script in op.scripts:
                path = await self._file(stack, script.content, 0o755)
                mounts.append(_bind(path, script.name, False))
            masked = masking.Mask(hidden, output) if hidden else None
            step = executor.Step(
                id=secrets.token_hex(32), args=op.args, env=[*op.hidden, *op.env, *env],
                cwd=op.cwd, user=op.user, rootfs=active.mounts, mounts=mounts,
                network=op.network, host=limits.host, insecure=op.security == "insecure",
                hostname=wanted.args.get("BUILDKIT_SANDBOX_HOSTNAME", ""),
                devices=op.devices, allowed=limits.devices,
            )  # fmt: skip
            code = await self.executor.run(step, masked.write if masked else output)
            if masked:
                masked.end()
        if code:
            shown = " ".join(op.args)
            raise RunFailed(f"The command '{shown}' returned a non-zero code: {code}", code)

    async def _mount(
        self, one: graph.RunMount, stack: contextlib.AsyncExitStack, inputs: list[Any],
        wanted: request.Request, mounts: list[mount.Mount], env: list[str], hidden: list[bytes],
    ) -> None:  # fmt: skip
        if one.type == "tmpfs":
            size = (f"size={one.size}",) if one.size else ()
            mounts.append(mount.Mount(destination=one.target, type="tmpfs", source="tmpfs",
                                      options=("nosuid", "nodev", *size)))  # fmt: skip
        elif one.type == "bind":
            path = await self._bound(one, stack, inputs)
            mounts.append(_bind(path, one.target, one.writable))
        elif one.type == "cache":
            source = inputs[one.input] if one.input > 0 else None
            async with contextlib.AsyncExitStack() as inner:
                tree = None
                if source is not None:
                    tree = await inner.enter_async_context(self.tree(source))
                path = await self.mounts.take(one, stack, tree)
            mounts.append(_bind(path, one.target, one.writable))
        elif one.type == "secret":
            await self._secret(one, stack, wanted, mounts, env, hidden)
        else:
            await self._agent(one, stack, wanted, mounts, env)

    async def _bound(
        self, one: graph.RunMount, stack: contextlib.AsyncExitStack, inputs: list[Any]
    ) -> str:
        value = inputs[one.input] if one.input > 0 else inputs[0]
        if not one.writable:
            tree = await stack.enter_async_context(self.tree(value))
            return os.path.join(tree.root, _existing(tree, one.source))
        if isinstance(value, trees.Ref):
            # Writes are for this step alone: a tree of its own, thrown away.
            active = await self.trees.begin(value)
            stack.push_async_callback(self.trees.drop, active)
            path = await stack.enter_async_context(self.trees.writable(active))
            return os.path.join(path, _existing(trees.Tree(root=path), one.source))
        active = await self.trees.begin(trees.SCRATCH)
        stack.push_async_callback(self.trees.drop, active)
        path = await stack.enter_async_context(self.trees.writable(active))
        source = os.path.join(value.root, _existing(value, one.source))
        place = os.path.join(path, "copy")
        await asyncio.to_thread(_copy_tree, source, place)
        return place

    async def _secret(
        self, one: graph.RunMount, stack: contextlib.AsyncExitStack, wanted: request.Request,
        mounts: list[mount.Mount], env: list[str], hidden: list[bytes],
    ) -> None:  # fmt: skip
        content = await wanted.secrets.get(one.id)
        if content is None:
            if one.required:
                raise errdefs.InvalidParameter(f"secret {one.id}: not found, and it is required")
            return
        if len(content) > _SECRET_LIMIT:
            raise errdefs.InvalidParameter(f"secret {one.id}: larger than {_SECRET_LIMIT} bytes")
        hidden.append(content)
        if one.env:
            text = content.decode("utf-8", "surrogateescape")
            if "\0" in text:
                raise errdefs.InvalidParameter(f"secret {one.id}: has a NUL, it can't be env")
            env.append(f"{one.env}={text}")
        if not one.target:
            return
        path = await self._file(stack, content, one.mode, one.uid, one.gid)
        mounts.append(_bind(path, one.target, False))

    async def _file(
        self, stack: contextlib.AsyncExitStack, content: bytes, mode: int, uid: int = 0,
        gid: int = 0,
    ) -> str:  # fmt: skip
        """A file in memory for the time of a step."""
        place = await stack.enter_async_context(self.trees.place())
        kernel.mount("tmpfs", place, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=0700")
        path = os.path.join(place, "file")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(content)
            os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
        return path

    async def _agent(
        self, one: graph.RunMount, stack: contextlib.AsyncExitStack, wanted: request.Request,
        mounts: list[mount.Mount], env: list[str],
    ) -> None:  # fmt: skip
        path = await wanted.agents.socket(one.id)
        if path is None:
            if one.required:
                raise errdefs.InvalidParameter(
                    f"SSH agent {one.id!r} is not forwarded, and it is required: build with --ssh"
                )
            return
        place = await stack.enter_async_context(self.trees.place())
        path = await stack.enter_async_context(
            forwarding.socket(path, place, one.mode, one.uid, one.gid)
        )
        mounts.append(_bind(path, one.target, True))
        env.append(f"SSH_AUTH_SOCK={one.target}")


def _bind(source: str, target: str, writable: bool) -> mount.Mount:
    options = ("rbind", "rprivate", "rw" if writable else "ro")
    return mount.Mount(destination=target, type="bind", source=source, options=options)


def _existing(tree: trees.Tree, path: str) -> str:
    found = select.resolve(tree.root, path)
    if not os.path.lexists(os.path.join(tree.root, found)):
        raise errdefs.InvalidParameter(f'the source of the mount, "{path}", is not found')
    return found


def _copy_tree(source: str, target: str) -> None:
    done = subprocess.run(
        ["cp", "-a", "--reflink=auto", "--", source, target], capture_output=True, check=False
    )
    if done.returncode:
        raise errdefs.System(f"cannot copy a mount: {done.stderr.decode(errors='replace')[:500]}")


def _link_tree(source: str, target: str) -> None:
    done = subprocess.run(
        ["cp", "-al", "--", f"{source}/.", target], capture_output=True, check=False
    )
    if done.returncode:
        raise errdefs.System(f"cannot link a layer: {done.stderr.decode(errors='replace')[:500]}")


def is_archive(path: str) -> bool:
    """Whether a file is a tar, plain or compressed as is known, by its content."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    kind = unpack.sniff(head)
    if kind:
        head = _first(kind, head)
    return len(head) >= 512 and (head[257:262] == b"ustar" or _checksum(head[:512]))


def _checksum(block: bytes) -> bool:
    try:
        wanted = int(block[148:156].strip(b"\0 ") or b"x", 8)
    except ValueError:
        return False
    return wanted == sum(block[:148]) + 8 * 32 + sum(block[156:512])


def _first(kind: str, head: bytes) -> bytes:
    """The first 512 bytes of what is compressed in ``head``; b"" when that can't be told.

    No more is ever decompressed: 64 KiB of zstd may stand for gigabytes.
    """
    import bz2
    import lzma
    import zlib

    import zstandard

    try:
        if kind == "gzip":
            return zlib.decompressobj(31).decompress(head, 512)
        if kind == "bzip2":
            return bz2.BZ2Decompressor().decompress(head, 512)
        if kind == "xz":
            return lzma.LZMADecompressor(memlimit=256 << 20).decompress(head, 512)
        unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        with unpacker.stream_reader(head) as reader:
            return reader.read(512)
    except (OSError, EOFError, ValueError, MemoryError, zlib.error, lzma.LZMAError,
            zstandard.ZstdError):  # fmt: skip
        return b""


def _unpack(archive: str, root: str, place: str, kind: str, scratch: str) -> None:
    """Extract an archive of the context at ``place`` below ``root``. Blocks."""
    limits = unpack.Limits()
    inside = "/" + place
    extraction = unpack.Extraction(root, limits=limits, kind=kind, below=inside)
    try:
        with open(archive, "rb", buffering=0) as file:
            compression = unpack.sniff(file.read(8))
            file.seek(0)
            if not compression:
                while data := file.read(1 << 20):
                    extraction.write((data,))
            else:
                inflater = unpack.Inflater(compression, scratch, extraction.write, limits.size)
                try:
                    while data := file.read(1 << 20):
                        inflater.write((data,))
                    inflater.finish()
                finally:
                    inflater.close()
        extraction.finish()
    finally:
        extraction.close()


def _options(op: graph.Copy, target: copying.Target) -> copying.Options:
    try:
        change = modes.changer(op.chmod) if op.chmod else None
        exclude = ignorefile.Ignore(ignorefile.lines("\n".join(op.exclude))) if op.exclude else None
    except ValueError as error:
        raise errdefs.InvalidParameter(str(error)) from error
    return copying.Options(
        owner=copying.owner_of(op.chown, target), mode=change, exclude=exclude, parents=op.parents
    )


def _copy_all(
    op: graph.Copy, target: copying.Target,
    found: list[tuple[graph.Paths, trees.Tree]], archives: list[tuple[str, str]],
) -> None:  # fmt: skip
    """Copy all sources; archives to be unpacked are only listed, with their places. Blocks."""
    options = _options(op, target)
    change = options.mode
    into = op.target.endswith("/")
    place = select.resolve(target.view, op.target)
    copier = copying.Copier(target, options)
    taken = 0
    for one, tree in found:
        for pattern in one.patterns:
            for match in select.matches(tree, pattern, what="ADD" if one.unpack else "COPY"):
                taken += 1
                source = os.path.join(tree.root, match.path)
                plain = stat.S_ISREG(match.status.st_mode)
                if one.unpack and plain and is_archive(source):
                    target.directory(place, options.owner or (0, 0))
                    archives.append((source, place))
                    continue
                copier.copy(tree, match, place, into=into)
    for item in op.inline:
        base = f"{place}/{item.name}".strip("/") if into else place
        there = target.lookup(base)
        if not into and there is not None and stat.S_ISDIR(there.st_mode):
            base = f"{base}/{item.name}"
        target.directory(base.rpartition("/")[0], options.owner or (0, 0))
        target.make_way(base)
        full = os.path.join(target.upper, base)
        fd = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(item.content)
        os.chown(full, *(options.owner or (0, 0)))
        os.chmod(full, change(stat.S_IFREG | 0o644) if change is not None else 0o644)
        taken += 1
    if not taken:
        target.directory(place if into else place.rpartition("/")[0])
    target.settle()
