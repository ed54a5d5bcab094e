"""An SSH agent of a test's own, and a build context whose steps ask it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import rig


@contextlib.contextmanager
def agent(directory: Path) -> Iterator[str]:
    """The socket of an agent with one key, whose comment is firkin-key."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("there is no ssh-agent")
    path = str(directory / "agent")
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        assert rig.settled(lambda: os.path.exists(path))
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "firkin-key", "-f",
             directory / "key"], check=True,
        )  # fmt: skip
        subprocess.run(
            ["ssh-add", "-q", directory / "key"], env={**os.environ, "SSH_AUTH_SOCK": path},
            check=True,
        )  # fmt: skip
        yield path
    finally:
        process.terminate()
        process.wait(10)


def context(root: Path) -> Path:
    """A context with the host's ssh-add and the libraries that it needs."""
    root.mkdir()
    tool = shutil.which("ssh-add")
    assert tool is not None
    listed = subprocess.run(["ldd", tool], capture_output=True, text=True, check=True).stdout
    for path in [tool, *(word for word in listed.split() if word.startswith("/"))]:
        target = root / "fs" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (root / "Dockerfile").write_text(
        "FROM busybox\nCOPY fs /\n"
        f"RUN --mount=type=ssh {tool} -l > /keys && ! test -e /run/buildkit/other\n"
        "RUN --mount=type=ssh,id=two,target=/run/two,uid=1234,mode=0640 "
        "stat -c '%u %a' /run/two > /owner; echo $SSH_AUTH_SOCK > /where\n"
        f"USER 1234\nRUN --mount=type=ssh,id=two,uid=1234,required {tool} -l | grep firkin-key\n"
    )
    return root
