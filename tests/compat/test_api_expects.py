"""What clients of the Engine API expect of it and its description leaves open."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Iterator
from typing import Any

import pytest

import rig
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root


@pytest.fixture
def box(engine: Engine) -> Iterator[str]:
    yield engine.out("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    engine.run("rm", "-f", "box")


def asked(
    engine: Engine, target: str, body: Any = None, method: str = "POST", version: str = "1.52",
    kind: str = "application/json",
) -> tuple[int, Any]:  # fmt: skip
    return unixhttp.ask(engine.socket, method, f"/v{version}{target}", body, kind)


@pytest.mark.parametrize(
    "target",
    ["/containers/create", "/containers/none/update", "/containers/none/exec", "/exec/none/start",
     "/commit", "/networks/create", "/networks/none/connect", "/volumes/create"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("{}", "text/plain", r"unsupported Content-Type header (text/plain)"),
        ("{invalid", "application/json", "invalid JSON: "),
        ("{}{}", "application/json", "unexpected content after JSON"),
    ],
)
def test_bodies_are_judged_first(
    engine: Engine, target: str, body: str, kind: str, said: str
) -> None:
    status, answer = asked(engine, target, body, kind=kind)
    assert (status, said in answer["message"]) == (400, True), answer


def test_sizes_of_terminals(engine: Engine, box: str) -> None:
    _, made = asked(engine, f"/containers/{box}/exec", {"Cmd": ["sh"], "Tty": True})
    for what in (f"/containers/{box}", f"/exec/{made['Id']}"):
        for h, said in (
            ("h=x&", 'invalid resize height "x": invalid syntax'),
            ("", 'invalid resize height "": invalid syntax'),
            ("h=-1&", 'invalid resize height "-1": value out of range'),
            ("h=4294967296&", "value out of range"),
        ):
            status, answer = asked(engine, f"{what}/resize?{h}w=10")
            assert (status, said in answer["message"]) == (400, True), answer
    assert asked(engine, f"/containers/{box}/resize?h=10&w=10")[0] == 200


@pytest.mark.parametrize("signal", ["0", "SIG42", "SIGNONE", "-1"])
def test_no_signal(engine: Engine, box: str, signal: str) -> None:
    status, answer = asked(engine, f"/containers/{box}/kill?signal={signal}")
    assert (status, f"invalid signal: {signal}" in answer["message"]) == (400, True)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"Env": ["=x"]}, "invalid environment variable: =x"),
        ({"Env": [""]}, "invalid environment variable"),
        ({"HostConfig": {"Annotations": {"": "x"}}}, "not permitted as an annotation key"),
        ({"Image": ""}, "config cannot be empty in order to create a container"),
        ({"HostConfig": {"Binds": ["{data}:/x:rprivate"]}}, '"rslave" or "rshared"'),
        ({"HostConfig": {"Binds": ["{data}/volumes:/x:shared"]}}, "within the daemon root"),
    ],
)
def test_no_such_container(engine: Engine, fields: dict[str, Any], said: str) -> None:
    text = json.dumps({"Image": "busybox", **fields}).replace("{data}", str(engine.data))
    status, answer = asked(engine, "/containers/create", text)
    assert (status, said in answer["message"]) == (400, True), answer
    assert engine.out("ps", "-aq") == ""


def test_one_network_before_1_44(engine: Engine) -> None:
    body = {"Image": "busybox", "NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}}
    status, answer = asked(engine, "/containers/create", body, version="1.43")
    assert (status, "multiple network endpoints" in answer["message"]) == (400, True)


def test_what_a_container_is_shown_with(engine: Engine, box: str) -> None:
    host = {"MaskedPaths": [], "ReadonlyPaths": [], "PidsLimit": -2, "Links": ["box:db"],
            "Binds": [f"{engine.data}:/data", "/:/host"]}  # fmt: skip
    body = {"Image": "busybox", "Cmd": ["true"], "WorkingDir": "/tmp/../srv/", "HostConfig": host}
    status, made = asked(engine, "/containers/create?name=other", body)
    assert status == 201, made
    _, shown = asked(engine, "/containers/other/json", method="GET")
    assert (shown["HostConfig"]["MaskedPaths"], shown["HostConfig"]["ReadonlyPaths"]) == ([], [])
    assert shown["HostConfig"]["PidsLimit"] is None
    assert shown["Config"]["WorkingDir"] == "/srv"
    assert {one["Propagation"] for one in shown["Mounts"]} == {"rslave"}
    assert shown["ImageManifestDescriptor"]["platform"]["os"] == "linux"
    _, listed = asked(engine, "/containers/json?all=1", method="GET")
    names = {one["Id"]: one["Names"] for one in listed}
    assert names[box] == ["/box", "/other/db"] and names[made["Id"]] == ["/other"]
    assert all(one["ImageManifestDescriptor"]["platform"]["os"] == "linux" for one in listed)
    for target in ("/containers/json?all=1", "/containers/json?all=1&size=1"):
        _, old = asked(engine, target, method="GET", version="1.47")
        assert not any("ImageManifestDescriptor" in one for one in old)
        assert {"/box", "/other/db"} in [set(one["Names"]) for one in old]
    engine.run("start", "-a", "other")


def test_limits_are_lifted(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "box", "--cpu-quota", "20000", "--pids-limit", "20",
               "busybox", "sleep", "1000")  # fmt: skip
    group = "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null"
    quota = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null"

    def seen() -> tuple[str, str]:
        found = [engine.run("exec", "box", "sh", "-c", text, check=False).stdout.decode().split()[0]
                 for text in (group, quota)]  # fmt: skip
        return found[0], found[1]

    assert seen() == ("20", "20000")
    engine.run("update", "--pids-limit", "-1", "--cpu-quota", "-1", "box", client="docker")
    assert seen() in (("max", "-1"), ("max", "max"))
    assert engine.out("inspect", "-f", "{{.HostConfig.PidsLimit}}", "box") == "0"
    engine.run("rm", "-f", "box")


def test_an_exec_of_nobody(engine: Engine, box: str) -> None:
    body = {"Cmd": ["id"], "User": "nobody-here"}
    status, answer = asked(engine, f"/containers/{box}/exec", body)
    assert (status, "unable to find user nobody-here" in answer["message"]) == (400, True)


def test_containers_are_called_as_they_were(engine: Engine, box: str) -> None:
    for called in ("box", box, box[:12]):
        done = engine.run("cp", f"{called}:/none", "-", client="docker", check=False)
        assert f"Could not find the file /none in container {called}" in done.stderr.decode()


@pytest.mark.parametrize("client", ["firkin", "docker"])
def test_only_the_names_asked_for(engine: Engine, client: str) -> None:
    for name in ("asked:1", "asked:2", "unasked:1", "deep/asked:1"):
        engine.run("tag", "busybox", name)
    line = ["images", "--format", "{{.Repository}}:{{.Tag}}"]
    assert set(engine.out(*line, "asked", client=client).split()) == {"asked:1", "asked:2"}
    found = engine.out(*line, "--filter", "reference=*asked:1", client=client)
    assert set(found.split()) == {"asked:1", "unasked:1"}
    found = engine.out(*line, "-f", "reference=asked:2", "-f", "reference=deep/*", client=client)
    assert set(found.split()) == {"asked:2", "deep/asked:1"}
    engine.run("rmi", "asked:1", "asked:2", "unasked:1", "deep/asked:1")


def archive(**files: str) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name.replace("__", "/../"))
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return data.getvalue()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("\n\n\n", "file with no instructions"),
        ("# only a comment", "file with no instructions"),
    ],
)
def test_nothing_to_build(engine: Engine, text: str, said: str) -> None:
    status, answer = asked(engine, "/build", archive(Dockerfile=text), kind="application/x-tar")
    assert (status, said in answer["message"]) == (400, True), answer
    done = engine.run("build", "-", stdin=text.encode(), check=False)
    assert done.returncode == 1 and said in done.stderr.decode()
    assert engine.out("version", "-f", "{{.Server.Os}}") == "linux"


def test_names_of_a_context_that_go_up_and_down(engine: Engine) -> None:
    sent = archive(Dockerfile="FROM busybox\nCOPY foo /\nRUN cat /foo\n", dir__foo="inside")
    for version in ("1", "2"):  # BuildKit's with an archive too
        target = f"/build?version={version}&t=upanddown"
        status, answer = asked(engine, target, sent, kind="application/x-tar")
        assert (status, "Successfully built" in json.dumps(answer)) == (200, True), answer
    status, answer = asked(
        engine, "/build", archive(Dockerfile="FROM busybox", a____b=""), kind="application/x-tar"
    )
    assert (status, "leads out" in answer["message"]) == (400, True)
    engine.run("rmi", "upanddown")


def events(answer: Any) -> list[dict[str, Any]]:
    lines = answer.splitlines() if isinstance(answer, str) else answer
    return [json.loads(one) if isinstance(one, str) else one for one in lines]


def test_events_of_images_that_are_made(engine: Engine, box: str) -> None:
    made = engine.out("commit", box, "made:1")
    seen = ("events", "--since", "1m", "--until", "0s", "--format", "{{.Action}} {{.Actor.ID}}")
    assert rig.settled(lambda: f"create {made}" in engine.out(*seen, "-f", "type=image"))
    until = f"/events?since=0&until={int(time.time())}"
    _, old = asked(engine, until, method="GET", version="1.45")
    assert ("image", "create") not in {(one["Type"], one["Action"]) for one in events(old)}
    engine.run("rmi", "made:1")


def test_capabilities_of_files_under_no_new_privileges(engine: Engine) -> None:
    """They stay with what may have them, and nothing else gets any."""
    seen = ("grep", "CapEff", "/proc/self/status")
    nobody = engine.out("run", "--rm", "-u", "1000", "--cap-add", "SYS_ADMIN", "busybox", *seen)
    assert int(nobody.split()[1], 16) == 0
    assert int(engine.out("run", "--rm", "busybox", *seen).split()[1], 16) != 0
