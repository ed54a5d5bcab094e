"""The methods of the Docker SDK for Python that test_sdk.py leaves out."""

from __future__ import annotations

import contextlib
import functools
import http.server
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import docker.errors
import docker.types
import pytest

import registryrig
import rig
from rig import Engine

pytestmark = pytest.mark.root


@pytest.fixture
def sdk(engine: Engine) -> Iterator[Any]:
    with contextlib.closing(docker.DockerClient(base_url=engine.host)) as client:
        yield client


@pytest.fixture
def box(sdk: Any) -> Iterator[Any]:
    """A container that runs for long."""
    made = sdk.containers.run("busybox", "sleep 1000", name="box", init=True, detach=True)
    yield made
    with contextlib.suppress(docker.errors.NotFound):
        made.remove(force=True, v=True)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry that anyone may write to."""
    with registryrig.serving(tmp_path_factory.mktemp("registry")) as server:
        yield server.name


@pytest.fixture
def files(tmp_path: Path) -> Iterator[str]:
    """The address of a server of the test's files."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def _tar(**files: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def test_files_of_a_container(sdk: Any, box: Any) -> None:
    assert box.put_archive("/tmp", _tar(note=b"from outside"))
    chunks, stat = box.get_archive("/tmp/note", encode_stream=True)
    assert (stat["name"], stat["size"]) == ("note", 12)
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        member = tar.extractfile("note")
        assert member is not None
        assert member.read() == b"from outside"
    assert {"Path": "/tmp/note", "Kind": 1} in box.diff()
    with tarfile.open(fileobj=io.BytesIO(b"".join(box.export()))) as tar:
        assert "tmp/note" in {name.removeprefix("./") for name in tar.getnames()}
    with pytest.raises(docker.errors.NotFound):
        box.get_archive("/nosuch")
    with pytest.raises(docker.errors.NotFound):
        box.put_archive("/nosuch", _tar(x=b""))


def test_a_container_while_it_runs(sdk: Any, box: Any) -> None:
    def sleeps() -> bool:
        top = box.top(ps_args="-o pid,comm")
        assert [title.strip() for title in top["Titles"]] == ["PID", "COMMAND"]
        return any("sleep" in row[-1] for row in top["Processes"])

    assert rig.settled(sleeps)
    once = box.stats(stream=False)
    assert once["memory_stats"]["usage"] > 0
    assert (
        once["precpu_stats"]["cpu_usage"]["total_usage"]
        <= (once["cpu_stats"]["cpu_usage"]["total_usage"])
    )
    assert sdk.api.stats(box.id, stream=False, one_shot=True)["id"] == box.id
    stream = box.stats(decode=True)
    assert next(stream)["name"] == "/box"
    stream.close()

    assert box.update(mem_limit="96m", memswap_limit="96m", cpu_shares=512,
                      restart_policy={"Name": "always"})["Warnings"] in (None, [])  # fmt: skip
    box.reload()
    host = box.attrs["HostConfig"]
    assert (host["Memory"], host["CpuShares"], host["RestartPolicy"]["Name"]) == (
        96 << 20, 512, "always",
    )  # fmt: skip
    box.update(restart_policy={"Name": "no"})

    made = box.commit("committed", "1", message="why", author="who", pause=True,
                      changes=["ENV A=b", 'CMD ["env"]'])  # fmt: skip
    assert b"A=b\n" in sdk.containers.run("committed:1", remove=True)
    assert (made.attrs["Author"], made.attrs["Comment"]) == ("who", "why")
    sdk.images.remove(made.id, force=True)

    box.kill(signal="SIGTERM")
    assert box.wait(condition="not-running", timeout=30)["StatusCode"] == 143
    assert sdk.containers.prune(filters={"label": "nosuch"}) == {
        "ContainersDeleted": None, "SpaceReclaimed": 0,
    } or not sdk.containers.prune(filters={"label": "nosuch"})["ContainersDeleted"]  # fmt: skip
    assert sdk.containers.prune()["ContainersDeleted"] == [box.id]


def test_terminals(sdk: Any) -> None:
    box = sdk.containers.create("busybox", "sh", tty=True, stdin_open=True)
    stream = sdk.api.attach_socket(box.id, {"stdin": 1, "stdout": 1, "stream": 1})
    box.start()
    box.resize(31, 97)
    stream._sock.sendall(b"stty size; exit 5\n")
    output = b""
    while chunk := stream._sock.recv(4096):
        output += chunk
    assert b"31 97" in output
    assert box.wait()["StatusCode"] == 5
    assert b"31 97" in box.attach(logs=True, stream=False)
    box.remove()


def test_attached_streams(sdk: Any) -> None:
    box = sdk.containers.create("busybox", ["sh", "-c", "echo out; echo err >&2"])
    stream = sdk.api.attach(box.id, stream=True, demux=True)
    box.start()
    pairs = list(stream)
    assert b"".join(out for out, _ in pairs if out) == b"out\n"
    assert b"".join(err for _, err in pairs if err) == b"err\n"
    box.wait()
    assert box.logs(stderr=False) == b"out\n"
    assert box.logs(stdout=False, timestamps=True).endswith(b"Z err\n")
    assert box.logs(since=4_000_000_000) == b""
    assert box.logs(until=1) == b""
    box.remove()


def test_executions(sdk: Any, box: Any) -> None:
    made = sdk.api.exec_create(box.id, "sh", tty=True, stdin=True, environment={"A": "b"},
                               privileged=True)  # fmt: skip
    stream = sdk.api.exec_start(made["Id"], tty=True, socket=True)
    sdk.api.exec_resize(made["Id"], height=33, width=99)
    stream._sock.sendall(b"stty size; echo $A-; exit 6\n")
    output = b""
    while chunk := stream._sock.recv(4096):
        output += chunk
    assert b"33 99" in output
    assert b"b-" in output
    found = sdk.api.exec_inspect(made["Id"])
    assert (found["ExitCode"], found["Running"], found["ContainerID"]) == (6, False, box.id)
    assert found["ProcessConfig"]["entrypoint"] == "sh"
    assert box.exec_run("touch /tmp/detached", detach=True).output == ""
    assert rig.settled(lambda: box.exec_run("test -e /tmp/detached").exit_code == 0)
    with pytest.raises(docker.errors.NotFound):
        sdk.api.exec_inspect("nosuch")
    box.stop(timeout=0)
    with pytest.raises(docker.errors.APIError) as refused:
        box.exec_run("true")
    assert refused.value.status_code == 409


def test_every_option_of_a_container(sdk: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("host")
    network = sdk.networks.create("optnet")
    box = sdk.containers.run(
        "busybox", ["sleep", "1000"], detach=True, name="options", auto_remove=False,
        blkio_weight=None, cap_add=["NET_ADMIN"], cap_drop=["CHOWN"], cpu_period=100_000,
        cpu_quota=50_000, cpu_shares=256, cpuset_cpus="0",
        device_cgroup_rules=["c 1:3 rwm"], devices=["/dev/null:/dev/nix:rw"], dns=["192.0.2.1"],
        dns_opt=["ndots:3"], dns_search=["example.test"], domainname="example.test",
        entrypoint=None, environment=["E=1"], extra_hosts={"there": "192.0.2.7"},
        group_add=["12"], healthcheck={"test": ["CMD", "true"], "interval": 1_000_000_000},
        hostname="hosty", init=True, ipc_mode="private", labels=["bare"],
        log_config=docker.types.LogConfig(type="json-file", config={"max-size": "1m"}),
        mac_address=None, mem_limit="64m", mem_reservation="32m", memswap_limit="128m",
        mounts=[docker.types.Mount("/t", None, type="tmpfs", tmpfs_size="1m"),
                docker.types.Mount("/b", str(tmp_path), type="bind", read_only=True)],
        network="optnet", oom_score_adj=100, pids_limit=64, platform="linux/amd64",
        ports={"80/tcp": ("127.0.0.1", None), "90/udp": None}, privileged=False,
        publish_all_ports=True, read_only=True, security_opt=["no-new-privileges"],
        shm_size="8m", stdin_open=True, stop_signal="SIGUSR1", sysctls={"net.core.somaxconn": "77"},
        tmpfs={"/run": "size=1m"}, tty=False, ulimits=[docker.types.Ulimit(name="nofile", soft=99,
        hard=100)], user="1:1", uts_mode=None, version="auto", volumes=["anonymous:/vol"],
        working_dir="/tmp",
    )  # fmt: skip
    try:
        script = (
            "hostname; hostname -f; id; pwd; ulimit -n; cat /b/file /proc/sys/net/core/somaxconn"
            " /etc/resolv.conf /etc/hosts; ls -l /dev/nix; grep NoNewPrivs /proc/self/status;"
            " df -k /dev/shm /t; touch /x"
        )
        code, output = box.exec_run(["sh", "-c", script])
        text = output.decode()
        assert code == 1  # of touch
        for expected in (
            "hosty", "hosty.example.test", "uid=1", ",12", "/tmp\n", "99\n", "host", "77\n",
            "example.test", "ndots:3", "192.0.2.7", "there", "/dev/nix", "NoNewPrivs:\t1", "8192",
            "1024", "Read-only file system",
        ):  # fmt: skip
            assert expected in text, (expected, text)
        box.reload()
        assert set(box.ports) == {"80/tcp", "90/udp"}
        assert box.attrs["NetworkSettings"]["Networks"].keys() == {"optnet"}
        assert sdk.api.port(box.id, 80)[0]["HostIp"] == "127.0.0.1"
        assert box.health in ("starting", "healthy")
    finally:
        box.remove(force=True, v=True)
        network.remove()
        sdk.volumes.get("anonymous").remove()


def test_lists_of_containers(sdk: Any, box: Any) -> None:
    other = sdk.containers.create("busybox", "true", labels={"a": "b"})
    assert [c.id for c in sdk.containers.list()] == [box.id]
    assert {c.id for c in sdk.containers.list(all=True)} == {box.id, other.id}
    assert [c.id for c in sdk.containers.list(limit=1)] == [other.id]
    assert sdk.containers.list(since=box.id) == []
    assert [c.id for c in sdk.containers.list(all=True, since=box.id)] == [other.id]
    assert [c.id for c in sdk.containers.list(all=True, before=other.id)] == [box.id]
    assert [c.id for c in sdk.containers.list(sparse=True, filters={"name": "box"})] == [box.id]
    for filters in ({"status": "created"}, {"label": "a=b"}, {"exited": 0}, {"id": other.id}):
        found = [c.id for c in sdk.containers.list(all=True, filters=filters)]
        assert found == ([] if "exited" in filters else [other.id]), filters
    assert sdk.api.containers(size=True)[0]["SizeRootFs"] > 0
    assert sdk.api.containers(trunc=True, quiet=True)[0]["Id"]
    other.remove()


def test_networks(sdk: Any, box: Any) -> None:
    pool = docker.types.IPAMPool(
        subnet="10.213.7.0/24", gateway="10.213.7.254", iprange="10.213.7.128/25",
        aux_addresses={"x": "10.213.7.130"},
    )  # fmt: skip
    network = sdk.networks.create(
        "sdknet", driver="bridge", ipam=docker.types.IPAMConfig(pool_configs=[pool]),
        internal=True, labels={"a": "b"}, attachable=True, check_duplicate=True,
        options={"com.docker.network.driver.mtu": "1400"}, enable_ipv6=False,
    )  # fmt: skip
    try:
        network.connect(box, aliases=["other"], ipv4_address="10.213.7.200")
        network.reload()
        assert [c.id for c in network.containers] == [box.id]
        assert sdk.containers.run(
            "busybox", "nslookup other", network="sdknet", remove=True
        ).count(b"10.213.7.200")  # fmt: skip
        assert [n.name for n in sdk.networks.list(names=["sdknet"], greedy=True)] == ["sdknet"]
        assert sdk.networks.list(filters={"label": "a=b"}) == [network]
        assert sdk.networks.get("sdknet", scope="local", verbose=True).id == network.id
        with pytest.raises(docker.errors.APIError) as refused:
            network.remove()
        assert refused.value.status_code == 403
        network.disconnect(box, force=True)
        config = sdk.api.create_networking_config({
            "sdknet": sdk.api.create_endpoint_config(
                aliases=["low"], ipv4_address="10.213.7.201", mac_address="02:42:0a:00:00:07"
            )
        })  # fmt: skip
        made = sdk.api.create_container("busybox", "ip link", networking_config=config,
                                        host_config=sdk.api.create_host_config(
                                            network_mode="sdknet"))  # fmt: skip
        sdk.api.start(made["Id"])
        sdk.api.wait(made["Id"])
        assert b"02:42:0a:00:00:07" in sdk.api.logs(made["Id"])
        sdk.api.remove_container(made["Id"])
        unused = sdk.networks.create("unused", labels={"prune": "me"})
        assert sdk.networks.prune(filters={"label": "prune=me"})["NetworksDeleted"] == ["unused"]
        with pytest.raises(docker.errors.NotFound):
            unused.reload()
    finally:
        network.remove()


def test_volumes(sdk: Any) -> None:
    volume = sdk.volumes.create(
        "sdktmp", driver="local", labels={"a": "b"},
        driver_opts={"type": "tmpfs", "device": "tmpfs", "o": "size=1m"},
    )  # fmt: skip
    volume.reload()
    assert volume.attrs["Options"]["type"] == "tmpfs"
    assert b"1024" in sdk.containers.run("busybox", "df -k /v", volumes={
        "sdktmp": {"bind": "/v", "mode": "rw"}}, remove=True)  # fmt: skip
    box = sdk.containers.create("busybox", volumes=["sdktmp:/v"])
    with pytest.raises(docker.errors.APIError) as refused:
        volume.remove()
    assert refused.value.status_code == 409
    box.remove()
    volume.remove(force=True)
    anonymous = sdk.volumes.create()
    assert anonymous.name in sdk.volumes.prune()["VolumesDeleted"]
    with pytest.raises(docker.errors.NotFound):
        sdk.volumes.get(anonymous.name)


def test_images_and_a_registry(sdk: Any, registry: str, tmp_path: Path) -> None:
    name = f"{registry}/sdk/image"
    image = sdk.images.get("busybox")
    image.tag(name, "one")
    image.tag(name, "two")
    for tag in ("one", "two"):
        lines = list(sdk.images.push(name, tag=tag, stream=True, decode=True))
        assert not any("error" in line for line in lines), lines
        assert lines[-1]["aux"]["Tag"] == tag
    data = sdk.images.get_registry_data(f"{name}:one")
    assert data.has_platform("linux/amd64")
    assert not data.has_platform("plan9/vax")
    assert data.attrs["Descriptor"]["digest"] == lines[-1]["aux"]["Digest"]
    for tag in ("one", "two"):
        sdk.images.remove(f"{name}:{tag}")
    assert sdk.images.pull(name, tag="one").tags.count(f"{name}:one") == 1
    assert {tag for found in sdk.images.pull(name, all_tags=True) for tag in found.tags} >= {
        f"{name}:one", f"{name}:two"
    }  # fmt: skip
    by_digest = sdk.images.pull(f"{name}@{data.attrs['Descriptor']['digest']}")
    assert by_digest.id == image.id
    assert data.pull(platform="linux/amd64").id == image.id
    steps = list(sdk.api.pull(name, tag="one", stream=True, decode=True))
    assert any("up to date" in step.get("status", "") for step in steps)
    with pytest.raises(docker.errors.NotFound):
        sdk.images.pull(f"{registry}/sdk/nosuch", tag="one")
    with pytest.raises(docker.errors.NotFound):
        sdk.images.push(f"{registry}/sdk/absent")

    assert sdk.images.list(name=name)[0].id == image.id
    assert sdk.images.list(filters={"reference": f"{name}:t*"})[0].id == image.id
    assert image not in sdk.images.list(all=True, filters={"dangling": True})
    assert image.short_id in [found.short_id for found in sdk.images.list()]
    found = [entry["name"] for entry in sdk.images.search(f"{registry}/sdk", limit=5)]
    assert found == ["sdk/image"], found
    data.reload()
    image.reload()
    assert image.labels == (image.attrs["Config"].get("Labels") or {})
    sdk.api.inspect_distribution(f"{name}:one")
    sdk.images.remove(f"{name}:one", force=True, noprune=True)
    sdk.images.remove(f"{name}:two")
    for left in [tag for tag in sdk.images.get("busybox").attrs["RepoDigests"] if name in tag]:
        sdk.images.remove(left)


def test_imported_images(sdk: Any, tmp_path: Path, files: str) -> None:
    archive = tmp_path / "root.tar"
    archive.write_bytes(_tar(note=b"imported"))
    made = [
        sdk.api.import_image_from_file(str(archive), "sdkimport", "file"),
        sdk.api.import_image_from_data(archive.read_bytes(), "sdkimport", "data"),
        sdk.api.import_image(src=str(archive), repository="sdkimport", tag="any",
                             changes=["ENV K=v"]),
    ]  # fmt: skip
    stream = iter([archive.read_bytes()])
    made.append(sdk.api.import_image_from_stream(stream, "sdkimport", "stream"))
    url = f"{files}/root.tar"
    made.append(sdk.api.import_image_from_url(url, "sdkimport", "url", changes=["USER 7"]))
    assert all("sha256:" in answer for answer in made), made
    assert sdk.images.get("sdkimport:url").attrs["Config"]["User"] == "7"
    assert sdk.images.get("sdkimport:any").attrs["Config"]["Env"] == ["K=v"]
    saved = b"".join(sdk.images.get("sdkimport:file").save(named=True))
    for tag in ("file", "data", "any", "stream", "url"):
        sdk.images.remove(f"sdkimport:{tag}")
    assert sdk.images.load(io.BytesIO(saved))[0].tags == ["sdkimport:file"]
    sdk.api.tag("sdkimport:file", "sdkimport", "again", force=True)
    sdk.images.remove("sdkimport:again")
    sdk.images.remove("sdkimport:file")
    sdk.containers.run("busybox", "true", remove=True)
    dangling = sdk.api.import_image_from_data(_tar(note=b"no name"))
    assert "sha256:" in dangling
    deleted = sdk.images.prune(filters={"dangling": True})["ImagesDeleted"]
    assert json.loads(dangling)["status"] in {entry.get("Deleted") for entry in deleted}


def test_builds(sdk: Any, registry: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox AS base\nARG WHO=nobody\nLABEL of=$WHO\nCOPY file /\nRUN cat /file\n"
        "FROM base AS last\nCMD cat /file\n"
    )
    (tmp_path / "file").write_text("of the context\n")
    (tmp_path / "left-out").write_text("x")
    (tmp_path / ".dockerignore").write_text("left-out\n")
    image, log = sdk.images.build(
        path=str(tmp_path), tag="sdkbuilt:1", buildargs={"WHO": "me"}, labels={"x": "y"},
        target="last", nocache=True, rm=True, forcerm=True, pull=False, shmsize=1 << 20,
        network_mode="none", extra_hosts={"there": "192.0.2.7"}, platform="linux/amd64",
        container_limits={"memory": 64 << 20, "memswap": 64 << 20, "cpushares": 512},
        cache_from=["busybox"],
    )  # fmt: skip
    words = "".join(line.get("stream", "") for line in log)
    assert "of the context" in words
    assert f"Successfully tagged {image.tags[0]}" in words
    assert image.labels == {"of": "me", "x": "y"}
    assert sdk.containers.run("sdkbuilt:1", remove=True) == b"of the context\n"

    made, _ = sdk.images.build(
        fileobj=io.BytesIO(b"FROM busybox\nENV FROM=stdin\n"), tag="sdkbuilt:2"
    )
    assert "FROM=stdin" in made.attrs["Config"]["Env"]
    context = io.BytesIO(_tar(Other=b"FROM busybox\nENV FROM=tar\n"))
    made, _ = sdk.images.build(fileobj=context, custom_context=True, dockerfile="Other")
    assert "FROM=tar" in made.attrs["Config"]["Env"]
    made.remove(force=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/D").write_text("FROM busybox\nRUN exit 9\n")
    with pytest.raises(docker.errors.BuildError) as failed:
        sdk.images.build(path=str(tmp_path), dockerfile=str(tmp_path / "outside/D"), quiet=False)
    assert "non-zero code: 9" in str(failed.value)
    with pytest.raises(docker.errors.APIError, match="unknown instruction: NOSUCH"):
        sdk.images.build(fileobj=io.BytesIO(b"FROM busybox\nNOSUCH x\n"))

    image.tag(f"{registry}/sdk/built", "1")
    assert b"digest" in sdk.images.push(f"{registry}/sdk/built", tag="1").encode()
    for name in ("sdkbuilt:1", "sdkbuilt:2", f"{registry}/sdk/built:1"):
        sdk.images.remove(name)
    assert sdk.images.prune_builds(all=True)["SpaceReclaimed"] >= 0


def test_system(sdk: Any, engine: Engine, registry: str) -> None:
    assert sdk.ping()
    assert sdk.api.version(api_version=False)["Version"]
    assert (
        sdk.api.login("any", "body", registry=f"http://{registry}")["Status"] == "Login Succeeded"
    )
    assert sdk.api.reload_config() is None
    old = docker.DockerClient(base_url=engine.host, version="1.41")
    with contextlib.closing(old):
        assert old.containers.run("busybox", "echo old", remove=True) == b"old\n"
        assert old.api.api_version == "1.41"
    with pytest.raises(docker.errors.APIError) as refused:
        sdk.swarm.reload()
    assert refused.value.status_code == 503
    for nouns in (sdk.services, sdk.nodes, sdk.secrets, sdk.configs):
        with contextlib.suppress(docker.errors.APIError):
            assert nouns.list() == []
