"""A stage while it is planned, and what comes out of it."""

from __future__ import annotations

import msgspec

from firkin.builder import graph
from firkin.types import image as types
from firkin.types import shell


class Line(msgspec.Struct):
    """A line of the history to be: what made it, and the step whose layer it is, if any."""

    created_by: str
    vertex: graph.Vertex | None = None
    author: str = ""


class Built(msgspec.Struct):
    """What a stage is: its last step, its config (without layers and history), its own lines.

    ``base`` is the image that its lowest step is from, None for scratch.
    """

    vertex: graph.Vertex | None
    config: types.ImageConfig
    lines: list[Line]
    base: types.Image | None


class State:
    """A stage while its instructions are gone through."""

    def __init__(self, built: Built, args: dict[str, str], platform: types.Platform) -> None:
        self.vertex = built.vertex
        self.image = built.config
        self.lines = list(built.lines)
        self.base = built.base
        self.args = dict(args)
        self.platform = platform
        self.shown_args: list[str] = []
        self.command_set = False

    @property
    def run(self) -> types.RunConfig:
        return self.image.config

    @property
    def env(self) -> dict[str, str]:
        return shell.as_dict(self.run.env or [])

    def variables(self) -> dict[str, str]:
        return {**self.args, **self.env}


def copied(config: types.ImageConfig) -> types.ImageConfig:
    return msgspec.json.decode(msgspec.json.encode(config), type=types.ImageConfig)


def shown(platform: types.Platform) -> str:
    """``os/arch[/variant]``."""
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)
