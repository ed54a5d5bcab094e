"""The field's own clients push to and pull from the registry, with its token service before it."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import registryrig as rig

ROOT = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.root


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"needs {program}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Server]:
    config = '[auth]\nmode = "users"\n'
    with rig.serving(tmp_path_factory.mktemp("peers"), config, "--workers", "2") as server:
        done = server.run("user", "--admin", "--password-stdin", "--", "add", "ann", stdin="pw\n")
        assert done.returncode == 0, done.stderr
        server.http = rig.Http("127.0.0.1", server.port, rig.basic("ann", "pw"))
        push_busybox(server.http)
        yield server
        assert server.run("scrub").returncode == 0
        assert "Traceback" not in server.log()


def push_busybox(http: rig.Http) -> None:
    """A real image, made by hand."""
    tar = subprocess.run([ROOT / "scripts/busybox-image"], capture_output=True, check=True).stdout
    layer = gzip.compress(tar, 1, mtime=0)
    config = rig.encode(
        {
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [rig.digest(tar)]},
        }
    )  # fmt: skip
    for blob in (config, layer):
        http.push_blob("src/busybox", blob)
    document = rig.image(config, layer)
    document["layers"][0]["mediaType"] += "+gzip"
    http.push_manifest("src/busybox", "v1", document)


def run(*words: str | Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=240, check=False,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


@needs("skopeo")
def test_skopeo(server: rig.Server, tmp_path: Path) -> None:
    source = f"docker://{server.name}/src/busybox:v1"
    run("skopeo", "login", "--tls-verify=false", "-u", "ann", "-p", "pw", server.name,
        f"--authfile={tmp_path}/auth.json")  # fmt: skip
    auth = f"--authfile={tmp_path}/auth.json"
    run("skopeo", "copy", auth, "--src-tls-verify=false", source, f"dir:{tmp_path}/image")
    for name, words in (("oci", ("--format=oci",)), ("v2s2", ("--format=v2s2",))):
        target = f"docker://{server.name}/skopeo/{name}:v1"
        run("skopeo", "copy", auth, "--dest-tls-verify=false", *words, f"dir:{tmp_path}/image",
            target)  # fmt: skip
        seen = json.loads(run("skopeo", "inspect", auth, "--tls-verify=false", target))
        assert (seen["Os"], seen["RepoTags"]) == ("linux", ["v1"])
    run("skopeo", "copy", auth, "--src-tls-verify=false", "--dest-tls-verify=false", source,
        f"docker://{server.name}/skopeo/mounted:v1")  # fmt: skip
    run("skopeo", "delete", auth, "--tls-verify=false", f"docker://{server.name}/skopeo/mounted:v1")
    assert server.http.get("/v2/skopeo/mounted/manifests/v1").status == 404


@needs("podman")
def test_podman(server: rig.Server, tmp_path: Path) -> None:
    podman = ("podman", "--root", tmp_path / "root", "--runroot", tmp_path / "run",
              "--storage-driver", "vfs", "--log-level", "error")  # fmt: skip
    flags = ("--tls-verify=false", "--creds=ann:pw", "-q")
    run(*podman, "pull", *flags, f"{server.name}/src/busybox:v1")
    run(*podman, "tag", f"{server.name}/src/busybox:v1", f"{server.name}/podman/busybox:v2")
    run(*podman, "push", *flags, f"{server.name}/podman/busybox:v2")
    run(*podman, "rmi", "-a", "-f")
    run(*podman, "pull", *flags, f"{server.name}/podman/busybox:v2")
    auth = f"--authfile={tmp_path}/auth.json"
    run(*podman, "login", "--tls-verify=false", "-u", "ann", "-p", "pw", auth, server.name)
    found = run(*podman, "search", "--tls-verify=false", auth, f"{server.name}/busy")
    assert "src/busybox" in found
    subprocess.run([*podman, "system", "reset", "-f"], capture_output=True, check=False)


@needs("buildah")
def test_buildah(server: rig.Server, tmp_path: Path) -> None:
    buildah = ("buildah", "--root", tmp_path / "root", "--runroot", tmp_path / "run",
               "--storage-driver", "vfs")  # fmt: skip
    flags = ("--tls-verify=false", "--creds=ann:pw")
    name = run(*buildah, "from", "-q", *flags, f"{server.name}/src/busybox:v1").strip()
    run(*buildah, "config", "--label", "made=here", name)
    run(*buildah, "commit", "-q", name, "built")
    run(*buildah, "push", "-q", *flags, "built", f"docker://{server.name}/buildah/built:v1")
    run(*buildah, "rm", name)
    run(*buildah, "rmi", "-a", "-f")
    answer = server.http.get("/v2/buildah/built/manifests/v1")
    config = server.http.get(f"/v2/buildah/built/blobs/{answer.json['config']['digest']}")
    assert config.json["config"]["Labels"]["made"] == "here"


def test_oras(server: rig.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = pytest.importorskip("oras.client")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "notes.txt").write_text("an artifact")
    oras = client.OrasClient(insecure=True, auth_backend="basic", tls_verify=False)
    oras.auth.set_basic_auth("ann", "pw")
    target = f"{server.name}/oras/notes:v1"
    assert oras.push(files=["notes.txt"], target=target).status_code == 201
    (found,) = oras.pull(target=target, outdir=str(tmp_path / "out"))
    assert Path(found).read_text() == "an artifact"
    assert oras.get_tags(f"{server.name}/oras/notes") == ["v1"]


@pytest.fixture
def dockerd(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Docker's engine without a network: nothing of the host is changed."""
    socket = tmp_path / "docker.sock"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            ["dockerd", "--data-root", tmp_path / "data", "--exec-root", tmp_path / "exec",
             "--host", f"unix://{socket}", "--pidfile", tmp_path / "pid", "--bridge", "none",
             "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    env = {"DOCKER_HOST": f"unix://{socket}", "DOCKER_CONFIG": str(tmp_path / "config")}
    try:
        for _ in range(300):
            done = subprocess.run(
                ["docker", "version"], env={**os.environ, **env}, capture_output=True, check=False
            )
            if done.returncode == 0:
                break
            if process.poll() is not None:
                pytest.skip("dockerd does not run here: " + (tmp_path / "log").read_text()[-300:])
            time.sleep(0.1)
        yield env
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@needs("docker")
@needs("dockerd")
def test_docker(server: rig.Server, dockerd: dict[str, str]) -> None:
    image = f"{server.name}/src/busybox:v1"
    login = subprocess.run(
        ["docker", "login", "-u", "ann", "--password-stdin", server.name], input=b"wrong",
        env={**os.environ, **dockerd}, capture_output=True, check=False,
    )  # fmt: skip
    assert login.returncode != 0
    run("docker", "login", "-u", "ann", "-p", "pw", server.name, env=dockerd)
    run("docker", "pull", image, env=dockerd)
    run("docker", "tag", image, f"{server.name}/docker/busybox:v1", env=dockerd)
    run("docker", "push", f"{server.name}/docker/busybox:v1", env=dockerd)
    again = run("docker", "push", f"{server.name}/docker/busybox:v1", env=dockerd)
    assert "Layer already exists" in again
    run("docker", "rmi", image, f"{server.name}/docker/busybox:v1", env=dockerd)
    run("docker", "pull", f"{server.name}/docker/busybox:v1", env=dockerd)
    run("docker", "logout", server.name, env=dockerd)
    done = subprocess.run(
        ["docker", "pull", image], env={**os.environ, **dockerd}, capture_output=True, check=False
    )
    assert done.returncode != 0
