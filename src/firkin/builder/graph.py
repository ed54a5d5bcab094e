"""What has to be done for an image: vertices that depend on each other.

A vertex has an operation and inputs. Its result is a :class:`firkin.builder.trees.Ref`, a file
tree that never changes. Sources (images, contexts, downloads) have no inputs. The graph says
nothing of how or when: any order that respects the inputs gives the same results, so independent
vertices run at the same time and equal ones are done once.

An operation's ``definition`` is what its result follows from, with the inputs: no secret's content,
no context's path and no time is in it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from firkin.types import container


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """The layers of an image; ``top`` is the chain id of the topmost."""

    name: str
    top: str


class Local(msgspec.Struct, frozen=True, kw_only=True):
    """Files that the client has: the context, or a named one."""

    name: str


class Download(msgspec.Struct, frozen=True, kw_only=True):
    """A file by HTTP. ``filename`` is what it is called in the tree."""

    url: str
    filename: str
    checksum: str = ""


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """A Git repository at a commit, ``subdir`` of it."""

    url: str
    ref: str = ""
    subdir: str = ""
    keep_git_dir: bool = False
    checksum: str = ""


class Inline(msgspec.Struct, frozen=True, kw_only=True):
    """A small file that is in the Dockerfile itself."""

    name: str
    content: bytes


class RunMount(msgspec.Struct, frozen=True, kw_only=True):
    """A mount of a RUN step, expanded. ``input`` is an index of the vertex's inputs, or -1."""

    type: str
    target: str
    input: int = -1
    source: str = "/"
    writable: bool = False
    id: str = ""
    sharing: str = "shared"
    required: bool = False
    size: int = 0
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    env: str = ""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """Run a command in the first input. ``hidden`` variables are not part of the definition;
    ``scripts`` are files to mount, with the absolute path as their name; ``devices`` are CDI names,
    and whether the step needs them."""

    args: list[str]
    env: list[str]
    cwd: str
    user: str
    mounts: list[RunMount] = []
    network: str = ""
    security: str = "sandbox"
    hidden: list[str] = []
    platform: str = ""
    scripts: list[Inline] = []
    devices: list[tuple[str, bool]] = []

    def definition(self) -> dict[str, Any]:
        shown: dict[str, Any] = msgspec.to_builtins(self)
        del shown["hidden"]
        if not self.devices:
            del shown["devices"]
        for mount in shown["mounts"]:
            if mount["type"] != "secret" and mount["type"] != "ssh":
                continue
            mount.pop("required")
        return {"run": shown}


class Paths(msgspec.Struct, frozen=True, kw_only=True):
    """Sources of a copy out of one input: patterns below its root."""

    input: int
    patterns: list[str]
    unpack: bool = False
    download: bool = False


class Copy(msgspec.Struct, frozen=True, kw_only=True):
    """Copy files into the first input (into an empty tree when ``link``)."""

    sources: list[Paths]
    inline: list[Inline]
    target: str
    chown: str = ""
    chmod: str = ""
    exclude: list[str] = []
    parents: bool = False
    link: bool = False

    def definition(self) -> dict[str, Any]:
        return {"copy": msgspec.to_builtins(self)}


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """Make sure that a directory is there (WORKDIR)."""

    path: str

    def definition(self) -> dict[str, Any]:
        return {"mkdir": self.path}


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """Put the second input, an independent layer, on top of the first."""

    def definition(self) -> dict[str, Any]:
        return {"put": 1}


Source = Image | Local | Download | Checkout
Step = Run | Copy | Directory | Put


class Vertex:
    """One thing to do. Compared by identity; the solver finds equal ones by their keys."""

    def __init__(
        self,
        op: Source | Step,
        inputs: tuple[Vertex | None, ...] = (),
        *,
        name: str = "",
        no_cache: bool = False,
        line: int = 0,
        last_line: int = 0,
        place: str = "",
    ) -> None:
        self.op = op
        self.inputs = inputs
        self.name = name
        self.no_cache = no_cache
        self.line = line
        self.last_line = last_line
        self.place = place

    def __repr__(self) -> str:
        return f"<{self.name}>"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What every RUN step of a build is given; not part of any key.

    ``devices`` may be used: CDI names, or "" for all.
    """

    host: container.HostConfig = msgspec.field(default_factory=container.HostConfig)
    devices: frozenset[str] = frozenset()


def ancestors(targets: list[Vertex]) -> list[Vertex]:
    """All vertices that ``targets`` need, themselves included, inputs before their users."""
    found: dict[int, Vertex] = {}
    done: list[Vertex] = []
    pending: list[tuple[Vertex, bool]] = [(vertex, False) for vertex in reversed(targets)]
    while pending:
        vertex, expanded = pending.pop()
        if expanded:
            done.append(vertex)
            continue
        if id(vertex) in found:
            continue
        found[id(vertex)] = vertex
        pending.append((vertex, True))
        pending += [(one, False) for one in reversed(vertex.inputs) if one is not None]
    return done
