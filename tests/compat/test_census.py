"""Every operation of the Engine API that one host has: asked for by raw HTTP, and by the official
client wherever one of its commands asks for it."""

from __future__ import annotations

import base64
import functools
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cliplugins
import operations
import recorder
import registryrig
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root

NO_COMMAND = {
    "GET /containers/{id}/attach/ws", "POST /secrets/{id}/update", "GET /images/{name}/get",
    "GET /images/{name}/attestations", "GET /distribution/{name}/json", "GET /_ping",
}  # fmt: skip
"""Operations that no command of the official client for one host asks for."""

UPGRADE = "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
SOCKET = (
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
H2C = "Connection: Upgrade\r\nUpgrade: h2c\r\nX-Docker-Expose-Session-Uuid: one\r\n\r\n"


@functools.cache
def _tar(name: str, text: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[registryrig.Server]:
    with registryrig.serving(tmp_path_factory.mktemp("registry")) as server:
        yield server


class Asked:
    """Requests to an engine in one version of its API, and which operations they were."""

    def __init__(self, engine: Engine, version: str) -> None:
        self._path = engine.socket
        self.version = version
        self.seen: set[str] = set()

    def _note(self, method: str, target: str) -> str:
        found = operations.find(method, target)
        assert found, (method, target)
        self.seen.add(found)
        return f"/v{self.version}{target}"

    def __call__(self, method: str, target: str, body: Any = None, expect: int = 200) -> Any:
        """The answer to a request, of which the status must be this one."""
        kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
        status, answer = unixhttp.ask(self._path, method, self._note(method, target), body, kind)
        assert status == expect, (method, target, status, answer)
        return answer

    def raw(self, method: str, target: str, rest: str, expect: bytes) -> None:
        """A request that takes the connection over, which ends on this side at once."""
        head = f"{method} {self._note(method, target)} HTTP/1.1\r\nHost: x\r\n{rest}"
        answer = unixhttp.exchange(self._path, head.encode())
        assert expect in answer, (target, answer)


def _containers(ask: Asked) -> None:
    made = ask(
        "POST", "/containers/create?name=one",
        {"Image": "busybox", "Cmd": ["sh", "-c", "echo said; exec sleep 1000"], "Tty": True,
         "OpenStdin": True, "StopSignal": "KILL", "Volumes": {"/v": {}}}, 201,
    )  # fmt: skip
    assert made["Warnings"] == []
    ask("POST", "/containers/one/start", None, 204)
    ask("POST", "/containers/one/start", None, 304)
    ask("POST", "/containers/one/resize?h=20&w=70")
    shown = ask("GET", "/containers/one/json")
    image = ask("GET", "/images/busybox/json")
    assert (shown["Id"], shown["Image"]) == (made["Id"], image["Id"])
    if ask.version >= "1.48":
        manifest = shown["ImageManifestDescriptor"]["digest"]
        assert manifest == image["Descriptor"]["digest"]
    assert [c["Names"] for c in ask("GET", "/containers/json")] == [["/one"]]
    assert ask("GET", "/containers/one/top?ps_args=-o%20pid,cmd")["Titles"] == ["PID", "CMD"]
    assert "cpu_stats" in ask("GET", "/containers/one/stats?stream=0&one-shot=1")
    ask("POST", "/containers/one/attach?logs=1&stdout=1", "")
    ask.raw("POST", "/containers/one/attach?logs=1&stdout=1", UPGRADE, b"101 UPGRADED")
    ask.raw("GET", "/containers/one/attach/ws?logs=1&stdout=1", SOCKET, b"101 Switching")
    assert "said" in ask("GET", "/containers/one/logs?stdout=1")
    run = ask("POST", "/containers/one/exec", {"Cmd": ["echo", "x"], "AttachStdout": True}, 201)
    ask.raw("POST", f"/exec/{run['Id']}/start", UPGRADE, b"101 UPGRADED")
    assert ask("GET", f"/exec/{run['Id']}/json")["ContainerID"] == made["Id"]
    live = ask("POST", "/containers/one/exec", {"Cmd": ["sleep", "100"], "Tty": True}, 201)["Id"]
    ask("POST", f"/exec/{live}/start", {"Detach": True, "Tty": True})
    ask("POST", f"/exec/{live}/resize?h=20&w=70")
    assert ask("POST", "/containers/one/update", {"PidsLimit": 50})["Warnings"] == []
    ask("POST", "/containers/one/pause", None, 204)
    ask("POST", "/containers/one/unpause", None, 204)
    ask("PUT", "/containers/one/archive?path=/v", _tar("in", "text"))
    assert "text" in ask("GET", "/containers/one/archive?path=/v/in")
    ask("HEAD", "/containers/one/archive?path=/v/in")
    ask("PUT", "/containers/one/archive?path=/", _tar("new", "text"))
    assert {"Path": "/new", "Kind": 1} in ask("GET", "/containers/one/changes")
    assert "new" in ask("GET", "/containers/one/export")
    ask("POST", "/containers/one/restart?t=0", None, 204)
    ask("POST", "/containers/one/rename?name=two", None, 204)
    ask("POST", "/containers/two/kill?signal=KILL", None, 204)
    assert ask("POST", "/containers/two/wait")["StatusCode"] == 137
    ask("POST", "/containers/two/stop", None, 304)
    ask("POST", "/commit?container=two&repo=committed", {}, 201)
    ask("DELETE", "/containers/two?v=1", None, 204)
    ask("DELETE", "/containers/two", None, 404)
    ask("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]}, 201)
    assert len(ask("POST", "/containers/prune")["ContainersDeleted"]) == 1


def _images(ask: Asked, registry: registryrig.Server) -> None:
    name = f"{registry.name}/census"
    assert "busybox:latest" in str(ask("GET", "/images/json"))
    ask("POST", f"/images/busybox/tag?repo={name}&tag=1", None, 201)
    ask("POST", "/auth", {"username": "any", "password": "any", "serveraddress": registry.name})
    ask("POST", f"/images/{name}/push?tag=1")
    described = ask("GET", f"/distribution/{name}:1/json")
    assert described["Descriptor"]["digest"].startswith("sha256:")
    assert ask("GET", f"/images/{name}:1/json")["RepoTags"]
    assert ask("GET", f"/images/{name}:1/attestations") == []
    assert ask("GET", f"/images/{name}:1/history")
    ask("GET", f"/images/{name}:1/get")
    saved = ask("GET", f"/images/get?names={name}:1")
    assert "manifest.json" in saved
    assert ask("DELETE", f"/images/{name}:1")[0] == {"Untagged": f"{name}:1"}
    ask("POST", f"/images/create?fromImage={name}&tag=1")
    ask("DELETE", f"/images/{name}:1?force=1")
    ask("POST", "/images/create?fromSrc=-&repo=imported", _tar("f", "text"))
    ask("DELETE", "/images/imported")
    assert "Untagged" in str(ask("DELETE", "/images/committed"))
    ask("POST", "/images/load", b"no archive", 400)
    assert ask("GET", f"/images/search?term={registry.name}/census&limit=3")[0]["name"] == "census"
    assert ask("POST", "/images/prune")["SpaceReclaimed"] >= 0
    ask("POST", "/build?t=built", _tar("Dockerfile", "FROM busybox\nRUN touch /made\n"))
    ask("DELETE", "/images/built")
    assert ask("POST", "/build/prune?all=1")["CachesDeleted"]
    ask.raw("POST", "/session", H2C, b"101 UPGRADED")


def _others(ask: Asked) -> None:
    ask("GET", "/_ping")
    ask("HEAD", "/_ping")
    assert ask("GET", "/info")["ServerVersion"] == ask("GET", "/version")["Version"]
    assert ask("GET", "/events?since=1&until=2") == ""
    assert ask("GET", "/system/df")
    network = ask("POST", "/networks/create", {"Name": "net"}, 201)["Id"]
    box = ask("POST", "/containers/create", {"Image": "busybox", "Cmd": ["true"]}, 201)["Id"]
    ask("POST", "/networks/net/connect", {"Container": box})
    ask("POST", "/networks/net/disconnect", {"Container": box})
    ask("DELETE", f"/containers/{box}", None, 204)
    assert ask("GET", "/networks/net")["Id"] == network
    assert network in [one["Id"] for one in ask("GET", "/networks")]
    ask("DELETE", "/networks/net", None, 204)
    assert ask("POST", "/networks/prune")["NetworksDeleted"] is None
    assert ask("POST", "/volumes/create", {"Name": "vol"}, 201)["Mountpoint"]
    assert ask("GET", "/volumes/vol")["Name"] == "vol"
    assert [one["Name"] for one in ask("GET", "/volumes")["Volumes"]] == ["vol"]
    ask("DELETE", "/volumes/vol", None, 204)
    assert ask("POST", "/volumes/prune")["VolumesDeleted"] == []
    spec = {"Name": "hidden", "Data": base64.b64encode(b"x").decode()}
    secret = ask("POST", "/secrets/create", spec, 201)["ID"]
    version = ask("GET", f"/secrets/{secret}")["Version"]["Index"]
    ask("POST", f"/secrets/{secret}/update?version={version}",
        {"Name": "hidden", "Labels": {"a": "b"}})  # fmt: skip
    assert ask("GET", "/secrets")[0]["Spec"]["Labels"] == {"a": "b"}
    ask("DELETE", f"/secrets/{secret}", None, 204)


@pytest.mark.parametrize("version", ["1.40", "1.44", "1.56"])
def test_every_operation_by_raw_http(
    engine: Engine, registry: registryrig.Server, version: str
) -> None:
    ask = Asked(engine, version)
    _containers(ask)
    _images(ask, registry)
    _others(ask)
    assert ask.seen == set(operations.ANSWERED)


def test_what_is_not_there_is_told(engine: Engine) -> None:
    for one in operations.ANSWERED:
        method, path = one.split()
        if "{" not in path or "distribution" in path:
            continue
        target = path.replace("{id}", "nosuch").replace("{name}", "nosuch")
        target += "?path=/" if "archive" in target else ""
        target += "?repo=x&tag=y" if "tag" in target else ""
        target += "?name=other" if "rename" in target else ""
        target += "?h=1&w=1" if "resize" in target else ""
        status, answer = unixhttp.ask(
            engine.socket, method, target, {"Cmd": ["x"], "Container": "nosuch"}
        )
        assert status == 404, (one, status, answer)
        if method != "HEAD":
            assert "nosuch" in answer["message"], (one, answer)


def test_what_is_refused_is_told(engine: Engine) -> None:
    for one in sorted(operations.REFUSED):
        method, path = one.split()
        target = path.replace("{id}", "nosuch").replace("{name}", "nosuch")
        status, answer = unixhttp.ask(engine.socket, method, target, {})
        if one == "GET /plugins":
            assert (status, answer) == (200, []), one
        else:
            expected = 503 if "/plugins" not in path else 404 if "{" in path else 501
            assert status == expected, (one, status, answer)
            assert answer["message"], one


COMMANDS = """
version
info
system df
events --since 1h --until 0s
network create net
network ls
network inspect net
volume create vol
volume ls
volume inspect vol
run -d --name one -it --network net -v vol:/v busybox sh -c "echo said; exec sleep 1000"
network disconnect net one
network connect net one
ps
inspect one
top one
stats --no-stream one
logs one
exec one true
exec -d one true
update --pids-limit 50 one
pause one
unpause one
cp Dockerfile one:/v/in
cp one:/v/in out
diff one
export -o exported.tar one
restart -t 0 one
rename one two
commit two committed
kill two
wait two
start two
stop -t 0 two
rm -v two
run --rm busybox true
create --name three busybox true
container prune -f
tag committed REGISTRY/census:1
login -u any -p any REGISTRY
push REGISTRY/census:1
images
image inspect committed
history committed
save -o saved.tar committed
rmi committed REGISTRY/census:1
pull REGISTRY/census:1
rmi REGISTRY/census:1
load -i saved.tar
rmi committed
import exported.tar imported
rmi imported
search --limit 3 REGISTRY/census
image prune -f
build -t legacy .
rmi legacy
builder prune -f
buildx build -t modern .
rmi modern
network rm net
network prune -f
volume rm vol
volume prune -f
secret create hidden Dockerfile
secret ls
secret inspect hidden
secret rm hidden
"""
TYPED = """
run -d --name typed busybox sleep 100
exec -it typed sleep 1
run --rm -it busybox sleep 1
kill typed
"""
"""On a terminal, of which the client tells its size."""


def test_every_operation_by_the_official_client(
    engine: Engine, registry: registryrig.Server, tmp_path: Path
) -> None:
    buildx = cliplugins.find("buildx")
    if shutil.which("docker") is None or buildx is None:
        pytest.skip("the official client or its buildx is not installed")
    plugins = tmp_path / "config" / "cli-plugins"
    plugins.mkdir(parents=True)
    plugins.joinpath("docker-buildx").symlink_to(buildx)
    tmp_path.joinpath("Dockerfile").write_text("FROM busybox\nRUN touch /made\n")
    with recorder.recording(tmp_path / "s", engine.socket) as record:
        environment = {
            **os.environ, "DOCKER_HOST": record.host, "DOCKER_CONFIG": str(tmp_path / "config"),
            "DOCKER_BUILDKIT": "0",
        }  # fmt: skip
        for line in COMMANDS.replace("REGISTRY", registry.name).strip().splitlines():
            _run(f"docker {line}", tmp_path, environment)
        for line in TYPED.strip().splitlines():
            _run(f"script -qec 'stty rows 30; docker {line}' /dev/null", tmp_path, environment)
    seen = {operations.find(method, target) for method, target in record.seen}
    assert set(operations.ANSWERED) - seen == NO_COMMAND


def _run(line: str, directory: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(
        line, shell=True, cwd=directory, env=environment, capture_output=True, text=True,
        timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, (line, done)
