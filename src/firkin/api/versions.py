"""API versions: which are served, and what a path asks for."""

from __future__ import annotations

import re

from firkin import errdefs

NEWEST = (1, 56)
OLDEST = (1, 40)

_PYTHON_COMPOSE = (1, 41)
"""The newest API that docker-compose 1 was written for. It asks in the newest that there is, and
then reads members which later versions have not: it fails without ContainerConfig."""

_PREFIX = re.compile(r"/v(\d{1,3})\.(\d{1,5})(?=/|$)")


def text(version: tuple[int, int]) -> str:
    """The version as clients write it."""
    return f"{version[0]}.{version[1]}"


def split(path: str) -> tuple[tuple[int, int], str]:
    """The version that a path asks for, and the path without it.

    A path without version means the newest. Raises ``InvalidParameter`` for a version outside the
    window.
    """
    match = _PREFIX.match(path)
    if match is None:
        return NEWEST, path
    version = (int(match[1]), int(match[2]))
    if version > NEWEST:
        raise errdefs.InvalidParameter(
            f"client version {text(version)} is too new. Maximum supported API version is "
            f"{text(NEWEST)}"
        )
    if version < OLDEST:
        raise errdefs.InvalidParameter(
            f"client version {text(version)} is too old. Minimum supported API version is "
            f"{text(OLDEST)}, please upgrade your client to a newer version"
        )
    return version, path[match.end() :]


def meant(version: tuple[int, int], agent: str) -> tuple[int, int]:
    """The version that a client of this User-Agent understands, where it asks for ``version``."""
    return min(version, _PYTHON_COMPOSE) if agent.startswith("docker-compose/1.") else version
