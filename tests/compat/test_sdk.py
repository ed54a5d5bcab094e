"""The Docker SDK for Python, unchanged, against the engine."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import docker
import docker.errors
import docker.types
import pytest

from rig import Engine

pytestmark = pytest.mark.root


@pytest.fixture
def sdk(engine: Engine) -> Iterator[Any]:
    with contextlib.closing(docker.DockerClient(base_url=engine.host)) as client:
        yield client


def test_run_and_errors(sdk: Any) -> None:
    assert sdk.containers.run("busybox", "echo hi", remove=True) == b"hi\n"
    with pytest.raises(docker.errors.ContainerError) as failed:
        sdk.containers.run("busybox", "sh -c 'echo bad >&2; exit 3'", remove=True)
    assert failed.value.exit_status == 3
    assert failed.value.stderr == b"bad\n"
    with pytest.raises(docker.errors.NotFound):
        sdk.containers.get("nosuch")
    with pytest.raises(docker.errors.APIError):
        sdk.containers.run("busybox", "true", mem_limit="1m")


def test_life(sdk: Any) -> None:
    box = sdk.containers.create(
        "busybox", "sleep 1000", name="life", labels={"k": "v"}, environment={"A": "1"},
        ports={"80/tcp": None}, volumes={"datavol": {"bind": "/d", "mode": "rw"}},
        mem_limit="64m", restart_policy={"Name": "on-failure", "MaximumRetryCount": 2},
    )  # fmt: skip
    assert box.status == "created"
    box.start()
    box.reload()
    assert box.status == "running"
    assert box.ports["80/tcp"][0]["HostPort"].isdigit()
    assert box.attrs["HostConfig"]["Memory"] == 64 << 20
    box.pause()
    box.reload()
    assert box.status == "paused"
    box.unpause()
    box.rename("lives")
    assert [c.name for c in sdk.containers.list(filters={"label": ["k=v"]})] == ["lives"]
    box.restart(timeout=0)
    box.stop(timeout=0)
    assert box.wait()["StatusCode"] == 137
    box.remove(v=True)
    sdk.volumes.get("datavol").remove()


def test_logs_and_streams(sdk: Any) -> None:
    box = sdk.containers.run(
        "busybox", ["sh", "-c", "for i in 1 2 3; do echo $i; sleep .2; done"], detach=True
    )
    assert b"".join(box.logs(stream=True, follow=True)) == b"1\n2\n3\n"
    assert box.logs(tail=1) == b"3\n"
    assert box.wait()["StatusCode"] == 0
    box.remove()


def test_attach(sdk: Any) -> None:
    box = sdk.containers.create("busybox", "cat", stdin_open=True)
    stream = box.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    box.start()
    stream._sock.sendall(b"there and back\n")
    time.sleep(0.3)
    assert b"there and back" in stream.read(8 + 15)
    stream.close()
    box.kill()
    box.remove()


def test_exec(sdk: Any) -> None:
    box = sdk.containers.run("busybox", "sleep 1000", detach=True)
    done = box.exec_run(["sh", "-c", "echo out; echo err >&2; exit 4"], demux=True)
    assert (done.exit_code, done.output) == (4, (b"out\n", b"err\n"))
    assert b"".join(box.exec_run(["seq", "3"], stream=True).output) == b"1\n2\n3\n"
    assert box.exec_run("id -u", user="nobody").output == b"65534\n"
    assert box.exec_run("pwd", workdir="/tmp", environment=["A=b"]).output == b"/tmp\n"
    assert box.exec_run("cat", stdin=True, socket=True).output is not None
    assert "sleep" in str(box.attrs["Config"]["Cmd"])
    box.remove(force=True)


def test_images(sdk: Any) -> None:
    image = sdk.images.get("busybox")
    assert image.tag("sdk", "1")
    assert {"busybox:latest", "sdk:1"} <= set(sdk.images.get("sdk:1").tags)
    saved = b"".join(sdk.images.get("sdk:1").save(named="sdk:1"))
    sdk.images.remove("sdk:1")
    with pytest.raises(docker.errors.ImageNotFound):
        sdk.images.get("sdk:1")
    assert [found.id for found in sdk.images.load(saved)] == [image.id]
    assert image.history()
    sdk.images.remove("sdk:1")


def test_volumes_and_networks(sdk: Any) -> None:
    volume = sdk.volumes.create("sdkvol", labels={"a": "b"})
    assert volume.attrs["Labels"] == {"a": "b"}
    assert [found.name for found in sdk.volumes.list(filters={"label": "a=b"})] == ["sdkvol"]
    mount = docker.types.Mount("/v", "sdkvol", read_only=True)
    with pytest.raises(docker.errors.ContainerError):
        sdk.containers.run("busybox", "touch /v/x", mounts=[mount], remove=True)
    volume.remove()
    assert {"bridge", "host", "none"} <= {found.name for found in sdk.networks.list()}


def test_events(sdk: Any) -> None:
    since = int(time.time())
    seen: list[str] = []
    stream = sdk.events(decode=True, filters={"type": "container", "image": "busybox"})

    def collect() -> None:
        with contextlib.suppress(Exception):
            for event in stream:
                seen.append(event["Action"])

    listener = threading.Thread(target=collect)
    listener.start()
    time.sleep(0.3)
    sdk.containers.run("busybox", "true", remove=True, name="brief")
    deadline = time.monotonic() + 10
    while "destroy" not in seen:
        assert time.monotonic() < deadline, seen
        time.sleep(0.1)
    stream.close()
    listener.join(10)
    assert [action for action in seen if action in ("create", "start", "die", "destroy")] == [
        "create", "start", "die", "destroy",
    ]  # fmt: skip
    filters = {"event": "die", "container": "brief"}
    past = sdk.events(decode=True, since=since, until=int(time.time()) + 1, filters=filters)
    assert [event["Action"] for event in past] == ["die"]


def test_system(sdk: Any) -> None:
    info = sdk.info()
    assert info["OSType"] == "linux"
    assert info["Containers"] == len(sdk.containers.list(all=True))
    assert sdk.version()["ApiVersion"]
    assert {"Images", "Containers", "Volumes"} <= set(sdk.df())
