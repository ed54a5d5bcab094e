"""What instructions make of an image's config, once their words are expanded.

A build's stages use it, and ``commit --change`` and ``import --change``.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence

from firkin.dockerfile import instructions, words
from firkin.types import image as types
from firkin.types import shell

_SHELL = ["/bin/sh", "-c"]


def shell_words(config: types.RunConfig, text: str) -> list[str]:
    """The arguments that run a command in shell form."""
    return [*(config.shell or _SHELL), text]


def set_pairs(config: types.RunConfig, keyword: str, pairs: Iterable[tuple[str, str]]) -> None:
    """ENV and LABEL."""
    if keyword == "ENV":
        env = {**shell.as_dict(config.env or []), **dict(pairs)}
        config.env = [f"{key}={value}" for key, value in env.items()]
    else:
        config.labels = {**(config.labels or {}), **dict(pairs)}


def set_command(config: types.RunConfig, one: instructions.Command, *, keep_cmd: bool) -> list[str]:
    """CMD, ENTRYPOINT and SHELL; returns what is set.

    The command of a base is no argument of a new entry point: that goes unless ``keep_cmd``.
    """
    found = one.args if one.args is not None else shell_words(config, one.shell)
    if one.node.keyword == "SHELL":
        config.shell = found
    elif one.node.keyword == "CMD":
        config.cmd = found or None
    else:
        config.entrypoint = found or None
        if not keep_cmd:
            config.cmd = None
    return found


def add_words(config: types.RunConfig, keyword: str, given: Sequence[str]) -> list[str]:
    """EXPOSE and VOLUME; returns what is added. Raises ``ValueError``."""
    if keyword == "EXPOSE":
        ports = words.exposed(given)
        config.exposed_ports = {**(config.exposed_ports or {}), **{port: {} for port in ports}}
        return ports
    if not given or "" in given:
        raise ValueError("VOLUME specified can not be an empty string")
    config.volumes = {**(config.volumes or {}), **{path: {} for path in given}}
    return list(given)


def set_text(config: types.RunConfig, keyword: str, value: str) -> None:
    """USER, STOPSIGNAL and WORKDIR. Raises ``ValueError``."""
    if keyword == "USER":
        config.user = value
    elif keyword == "STOPSIGNAL":
        config.stop_signal = words.stop_signal(value)
    else:
        path = posixpath.normpath(posixpath.join("/", config.working_dir or "/", value))
        config.working_dir = "/" + path.lstrip("/")
