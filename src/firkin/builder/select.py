"""Which files of a tree a COPY means, and the digest of them.

Patterns are relative to the tree's root, whatever they begin with; ``..`` stops there, and so do
symbolic links on the way. Trees don't change while they are read, so paths may be resolved first
and used then. The functions block.

The digest is of what a copy would bring: names, types, modes, owners where they are kept, targets
of links and contents; not of times.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Iterator

import msgspec

from firkin import errdefs
from firkin.builder import trees
from firkin.wire import ignorefile

_MAGIC = re.compile(r"[*?\[]")
_HOPS = 255
_DEPTH = 900
_READ = 1 << 20


class Match(msgspec.Struct, frozen=True):
    """A source: ``path`` below the root with links resolved, ``shown`` as the pattern said.

    ``pivot`` is the part of ``shown`` that ``--parents`` keeps.
    """

    path: str
    shown: str
    status: os.stat_result
    pivot: str = ""


class Found(msgspec.Struct, frozen=True):
    """A file below a match; ``relative`` is "" for the match itself."""

    path: str
    relative: str
    status: os.stat_result


def clean(path: str) -> str:
    """A path below a root: without leading slashes, dots and ways out."""
    return posixpath.normpath("/" + path).lstrip("/")


def resolve(root: str, path: str) -> str:
    """Where ``path`` leads in the tree ``root`` when links are followed inside of it.

    What does not exist is taken as written. Raises ``InvalidParameter`` for a loop of links.
    """
    pending = [part for part in path.split("/") if part not in ("", ".")]
    pending.reverse()
    done: list[str] = []
    hops = 0
    while pending:
        part = pending.pop()
        if part == "..":
            if done:
                done.pop()
            continue
        here = os.path.join(root, *done, part)
        try:
            link = os.readlink(here)
        except OSError:
            done.append(part)
            continue
        hops += 1
        if hops > _HOPS:
            raise errdefs.InvalidParameter(f"too many symbolic links on the way to {path!r}")
        if link.startswith("/"):
            done = []
        pending += reversed([part for part in link.split("/") if part not in ("", ".")])
    return "/".join(done)


def _expand(root: str, pattern: str) -> list[str]:
    """Paths that a pattern with wildcards means, sorted."""
    parts = pattern.split("/")
    found = [""]
    for at, part in enumerate(parts):
        following: list[str] = []
        last = at == len(parts) - 1
        if part == "**":
            for base in found:
                following.append(base)
                following += _directories(root, base)
            found = list(dict.fromkeys(following))
            if last:
                found = [path for base in found for path in _children(root, base, None)]
            continue
        regex = re.compile(ignorefile.translate(part), re.DOTALL) if _MAGIC.search(part) else None
        for base in found:
            if regex is None:
                path = posixpath.join(base, part.replace("\\", ""))
                if os.path.lexists(os.path.join(root, resolve(root, path))):
                    following.append(path)
            else:
                following += _children(root, base, regex)
        found = following
    return sorted(dict.fromkeys(found))


def _children(root: str, base: str, regex: re.Pattern[str] | None) -> list[str]:
    try:
        names = os.listdir(os.path.join(root, resolve(root, base)))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [posixpath.join(base, n) for n in sorted(names) if regex is None or regex.fullmatch(n)]


def _directories(root: str, base: str) -> Iterator[str]:
    for name in _children(root, base, None):
        full = os.path.join(root, resolve(root, base), posixpath.basename(name))
        if os.path.isdir(full) and not os.path.islink(full):
            yield name
            yield from _directories(root, name)


def _pivot(pattern: str) -> tuple[str, str]:
    """The pattern without its ``./`` pivot, and what is before it."""
    before, found, after = pattern.rpartition("/./")
    if not found:
        return pattern, ""
    return f"{before}/{after}", clean(before)


def matches(tree: trees.Tree, pattern: str, *, what: str = "COPY") -> list[Match]:
    """The files and directories that one source of a COPY means.

    Raises ``NotFound`` when a pattern without wildcards means nothing.
    """
    whole, before = _pivot(pattern)
    name = clean(whole)
    wild = bool(_MAGIC.search(name))
    try:
        paths = _expand(tree.root, name) if wild else [name.replace("\\", "")]
    except ignorefile.BadPattern as error:
        raise errdefs.InvalidParameter(f"{what} {pattern}: {error}") from error
    found: list[Match] = []
    for shown in paths:
        path = resolve(tree.root, shown)
        try:
            status = os.lstat(os.path.join(tree.root, path))
            if tree.hidden is not None and path and tree.hidden(path):
                raise FileNotFoundError
        except (FileNotFoundError, NotADirectoryError):
            if wild:
                continue
            raise errdefs.NotFound(
                f'{what} failed: "/{shown}": not found: file not found in build context or '
                f"excluded by .dockerignore: stat {pattern}: file does not exist"
            ) from None
        kept = posixpath.relpath(shown, before) if before else shown
        found.append(Match(path, shown, status, kept))
    return found


def below(
    tree: trees.Tree, match: Match, exclude: ignorefile.Ignore | None = None
) -> Iterator[Found]:
    """A match and, for a directory, all below it: parents first, by sorted names."""

    def out(path: str, relative: str) -> bool:
        if tree.hidden is not None and tree.hidden(path):
            return True
        return exclude is not None and (exclude(relative) or exclude(path))

    def walk(path: str, relative: str, depth: int) -> Iterator[Found]:
        if depth > _DEPTH:
            raise errdefs.InvalidParameter(f"directories are nested too deep at {path[:200]!r}")
        with os.scandir(os.path.join(tree.root, path)) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        for entry in ordered:
            child = f"{path}/{entry.name}" if path else entry.name
            below = f"{relative}/{entry.name}" if relative else entry.name
            status = entry.stat(follow_symlinks=False)
            directory = stat.S_ISDIR(status.st_mode)
            if (tree.hidden or exclude) and out(child, below):
                if directory and not _prunes(tree, exclude, child, below):
                    inner = list(walk(child, below, depth + 1))
                    if inner:
                        yield Found(child, below, status)
                        yield from inner
                continue
            yield Found(child, below, status)
            if directory:
                yield from walk(child, below, depth + 1)

    if exclude is not None and match.path and not stat.S_ISDIR(match.status.st_mode):
        base = match.path.rpartition("/")[2]
        if exclude(match.path) or exclude(base):
            return
    yield Found(match.path, "", match.status)
    if stat.S_ISDIR(match.status.st_mode):
        yield from walk(match.path, "", 0)


def _prunes(tree: trees.Tree, exclude: ignorefile.Ignore | None, child: str, below: str) -> bool:
    if tree.ignore is not None and not tree.ignore.prunes(child):
        return False
    return exclude is None or (exclude.prunes(child) and exclude.prunes(below))


def file_digest(path: str) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    hasher = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while data := file.read(_READ):
            hasher.update(data)
    return hasher.hexdigest()


def digest(
    tree: trees.Tree, found: list[Match], exclude: ignorefile.Ignore | None,
    files: dict[str, str] | None = None,
) -> str:  # fmt: skip
    """The digest of what a copy of ``found`` brings. ``files`` gets each path's own digest."""
    hasher = hashlib.sha256()
    for match in found:
        hasher.update(f"\0{match.shown.rpartition('/')[2]}\0{match.pivot}".encode(
            "utf-8", "surrogateescape"))  # fmt: skip
        for item in below(tree, match, exclude):
            status = item.status
            mode = status.st_mode
            owner = f"{status.st_uid}:{status.st_gid}" if tree.owners else ""
            content = ""
            if stat.S_ISREG(mode):
                known = tree.digest(item.path) if tree.digest is not None else ""
                content = known or file_digest(os.path.join(tree.root, item.path))
            elif stat.S_ISLNK(mode):
                content = os.readlink(os.path.join(tree.root, item.path))
            elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                content = str(status.st_rdev)
            elif stat.S_ISSOCK(mode):
                continue
            line = f"{item.relative}\0{mode:o}\0{owner}\0{content}\n"
            encoded = line.encode("utf-8", "surrogateescape")
            hasher.update(encoded)
            if files is not None:
                files[item.path or "."] = hashlib.sha256(encoded).hexdigest()[:16]
    return hasher.hexdigest()
