"""Contexts that the official client's builder leaves to the engine to get: Git, archives, files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from test_buildx import buildx

import remoteservers
from remoteservers import Servers
from rig import Engine

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with remoteservers.serving(tmp_path_factory.mktemp("servers")) as made:
        yield made


def shown(engine: Engine, tmp_path: Path, *words: str, stdin: bytes = b"") -> list[str]:
    """What /ls of the image built with these words has."""
    done = buildx(engine, tmp_path, "build", "-t", "remote:1", *words, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return engine.out("run", "--rm", "remote:1", "cat", "/ls").split()


ALL = [".dockerignore", "Dockerfile", "f", "sub"]


def test_repositories(engine: Engine, tmp_path: Path, servers: Servers) -> None:
    assert shown(engine, tmp_path, servers.git) == ALL
    assert shown(engine, tmp_path, f"{servers.http}/repo.git#v1") == ALL
    assert shown(engine, tmp_path, f"{servers.git}#dev:sub") == ["Dockerfile", "g"]
    assert shown(engine, tmp_path, "--build-arg", "BUILDKIT_CONTEXT_KEEP_GIT_DIR=1",
                 servers.git) == sorted([".git", *ALL])  # fmt: skip
    done = buildx(engine, tmp_path, "build", f"{servers.git}#nowhere")
    assert done.returncode == 1 and "nowhere" in done.stderr


def test_the_dockerfile_may_be_the_client_s(
    engine: Engine, tmp_path: Path, servers: Servers
) -> None:
    text = b"FROM busybox\nCOPY f /ls\n"
    assert shown(engine, tmp_path, "-f", "-", f"{servers.git}#v1", stdin=text) == ["one"]
    (tmp_path / "own").write_bytes(text)
    assert shown(engine, tmp_path, "-f", str(tmp_path / "own"), servers.git) == ["two"]


def test_archives_and_files(engine: Engine, tmp_path: Path, servers: Servers) -> None:
    assert shown(engine, tmp_path, f"{servers.http}/ctx.tar.gz") == ["Dockerfile", "f"]
    assert shown(engine, tmp_path, f"{servers.http}/alone") == ["alone"]


def test_named_contexts(engine: Engine, tmp_path: Path, servers: Servers) -> None:
    text = b"FROM busybox\nCOPY --from=g f /ls\nRUN --mount=from=t,target=/t cat /t/f >> /ls\n"
    assert shown(engine, tmp_path, "--build-context", f"g={servers.git}#v1", "--build-context",
                 f"t={servers.http}/ctx.tar.gz", "-", stdin=text) == ["one", "two"]  # fmt: skip


def test_a_bake_file_in_a_repository(engine: Engine, tmp_path: Path, servers: Servers) -> None:
    done = buildx(engine, tmp_path, "bake", servers.git)
    assert done.returncode == 0, done.stderr
    assert engine.out("run", "--rm", "baked/far:1", "cat", "/ls").split() == ALL
    done = buildx(engine, tmp_path, "bake", servers.git, "nothing")
    assert done.returncode == 1 and "nothing" in done.stderr
