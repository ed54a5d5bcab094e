"""Caches elsewhere: another engine finds there what one has built. Pushing results."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import pytest
from test_client import made, write

from rig import Engine

pytestmark = pytest.mark.root

TEXT = (
    "FROM busybox AS dep\nRUN --mount=type=cache,id=elsewhere,target=/c echo m > /c/m; "
    "cat /proc/sys/kernel/random/uuid > /dep\n"
    "FROM busybox\nCOPY f /f\nCOPY --from=dep /dep /dep\n"
    "RUN cat /proc/sys/kernel/random/uuid > /last\n"
)
SHOW = ("cat", "/f", "/dep", "/last")


def files(engine: Engine, name: str) -> str:
    return engine.out("run", "--rm", name, *SHOW)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path / "c", {"Dockerfile": TEXT, "f": f"{time.time_ns()}\n"})


def fresh(engine: Engine, *images: str) -> None:
    engine.run("rmi", "-f", *images, check=False)
    engine.run("builder", "prune", "-af")


def test_local(builds: Engine, second: Engine, root: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made(builds, "--cache-to", f"type=local,dest={cache},mode=max", "-t", "cached", str(root))
    fresh(second, "cached")
    text = made(second, "--cache-from", f"type=local,src={cache}", "-t", "cached", str(root))
    assert "DONE" not in text.split("load build context")[1].split("\n", 2)[2], text
    assert files(second, "cached") == files(builds, "cached")
    assert second.out("inspect", "-f", "{{.RootFS.Layers}}", "cached") == builds.out(
        "inspect", "-f", "{{.RootFS.Layers}}", "cached"
    )
    kept = b"FROM busybox\nRUN --mount=type=cache,id=elsewhere,target=/x cat /x/m > /m\n"
    made(second, "-t", "mounts", "-", stdin=kept)
    assert second.out("run", "--rm", "mounts", "cat", "/m") == "m"


def test_registry(builds: Engine, second: Engine, registry: str, root: Path) -> None:
    where = f"type=registry,ref={registry}/cache:build"
    made(builds, "--no-cache", "--cache-to", f"{where},mode=max", "-t", "cached2", str(root))
    fresh(second, "cached2")
    (root / "Dockerfile").write_text(TEXT + "RUN echo more > /more\n")
    text = made(second, "--cache-from", where, "-t", "cached2", str(root))
    assert files(second, "cached2") == files(builds, "cached2"), text
    assert second.out("run", "--rm", "cached2", "cat", "/more") == "more"


def test_inline_in_a_pushed_image(builds: Engine, second: Engine, registry: str, root: Path
                                  ) -> None:  # fmt: skip
    name = f"{registry}/inline:1"
    made(builds, "--cache-to", "type=inline", "-t", name, "--push", str(root))
    fresh(second, name)
    text = made(second, "--cache-from", name, "-t", "inlined", str(root))
    assert files(second, "inlined") == files(builds, name), text
    assert "importing cache manifest" not in text


def test_a_cache_that_is_not_there_is_no_error(builds: Engine, registry: str) -> None:
    text = made(builds, "--cache-from", f"{registry}/nothing:1", "-",
                stdin=b"FROM busybox\nRUN echo nothing there\n")  # fmt: skip
    assert "importing cache manifest" in text


def test_push_of_several_platforms(builds: Engine, registry: str, tmp_path: Path) -> None:
    root = write(tmp_path / "c", {
        "Dockerfile": "FROM --platform=$BUILDPLATFORM busybox AS b\nARG TARGETPLATFORM\n"
        "RUN echo $TARGETPLATFORM > /p\nFROM scratch\nCOPY --from=b /p /\n",
    })  # fmt: skip
    made(builds, "--platform", "linux/amd64,linux/arm64", "--provenance=true", "--push", "-t",
         f"{registry}/multi:1", str(root))  # fmt: skip
    request = urllib.request.Request(
        f"http://{registry}/v2/multi/manifests/1",
        headers={"Accept": "application/vnd.oci.image.index.v1+json"},
    )
    with urllib.request.urlopen(request) as answer:
        index = json.load(answer)
    shown = [f"{m['platform']['os']}/{m['platform']['architecture']}" for m in index["manifests"]]
    assert shown == ["linux/amd64", "linux/arm64", "unknown/unknown", "unknown/unknown"]
    builds.run("rmi", "-f", f"{registry}/multi:1", check=False)
    builds.run("pull", f"{registry}/multi:1")
    assert builds.out("inspect", "-f", "{{.Architecture}}", f"{registry}/multi:1") == "amd64"


def test_from_a_registry(builds: Engine, registry: str) -> None:
    name = f"{registry}/base:1"
    made(builds, "--push", "-t", name, "-", stdin=b"FROM busybox\nRUN echo pushed > /pushed\n")
    builds.run("rmi", "-f", name)
    made(builds, "-t", "pulled", "-", stdin=f"FROM {name}\nRUN cat /pushed > /p\n".encode())
    assert builds.out("run", "--rm", "pulled", "cat", "/p") == "pushed"
