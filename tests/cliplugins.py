"""Where the official client's plug-ins are: scripts/cli-plugins gets them, Debian 12 has none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import rig


def find(name: str) -> Path | None:
    """The program ``docker-NAME``, if it is installed as a plug-in."""
    directories = (
        os.environ.get("FIRKIN_CLI_PLUGINS", "/nonexistent"),
        rig.ROOT / ".venv/lib/docker/cli-plugins",
        Path(sys.prefix) / "lib/docker/cli-plugins",
        "/usr/libexec/docker/cli-plugins",
        "/usr/local/lib/docker/cli-plugins",
    )
    paths = (Path(directory) / f"docker-{name}" for directory in directories)
    return next((path for path in paths if path.exists()), None)
