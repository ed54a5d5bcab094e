"""System commands against a fake engine."""

from __future__ import annotations

import io
import json
import pathlib

import fake_engine
import pytest

import firkin

EVENT = {
    "Type": "container",
    "Action": "die",
    "Actor": {"ID": "abc", "Attributes": {"name": "web", "exitCode": "3"}},
    "scope": "local",
    "time": 1700000000,
    "timeNano": 1700000000000000123,
}
VERSION = {
    "Platform": {"Name": "Firkin"},
    "Version": "0.1",
    "ApiVersion": "1.56",
    "MinAPIVersion": "1.40",
    "Os": "linux",
    "Arch": "amd64",
    "Components": [
        {
            "Name": "Engine",
            "Version": "0.1",
            "Details": {
                "ApiVersion": "1.56",
                "MinAPIVersion": "1.40",
                "Os": "linux",
                "Arch": "amd64",
                "BuildTime": "2026-05-07T21:09:36.000000000+00:00",
            },
        },
        {"Name": "crun", "Version": "1.8", "Details": {"GitCommit": "f00"}},
    ],
}


@pytest.fixture
def directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.delenv("DOCKER_API_VERSION", raising=False)
    return tmp_path


def test_events(directory: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = json.dumps(EVENT).encode() + b"\n"
    with fake_engine.FakeEngine(directory, {"GET /events": raw}) as engine:
        assert (
            engine.run("events", "--since", "5", "--until", "2024-05-06Z", "-f", "type=container")
            == 0
        )
        assert capsys.readouterr().out == (
            "2023-11-14T22:13:20.000000123Z container die abc (exitCode=3, name=web)\n"
        )
        engine.run("events", "--format", "{{.ID}}{{.Actor.Attributes.name}} {{.Time}}")
        assert capsys.readouterr().out == "web 1700000000\n"
        engine.run("events", "--format", "json")
        assert json.loads(capsys.readouterr().out) == EVENT
        assert engine.run("events", "--format", "{{") == 64
        assert engine.run("events", "--format", "{{.Foo}}") == 64
        assert engine.run("events", "--since", "soon") == 1
    query = engine.requests[0][2]
    assert (query["since"], query["until"]) == (["5"], ["1714953600.000000000"])
    assert json.loads(query["filters"][0]) == {"type": ["container"]}
    assert '"soon"' in capsys.readouterr().err


def test_an_event_that_is_no_object(
    directory: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with fake_engine.FakeEngine(directory, {"GET /events": b"[1]\n"}) as engine:
        assert engine.run("events") == 1
    assert "no JSON object" in capsys.readouterr().err


def test_version(directory: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_engine.FakeEngine(directory, {"GET /version": VERSION}) as engine:
        assert engine.run("version") == 0
        text = capsys.readouterr().out
        engine.run("version", "-f", "{{.Server.APIVersion}} {{.Client.Version}} {{.Server.Os}}")
        assert capsys.readouterr().out == f"1.56 {firkin.__version__} linux\n"
        engine.run("version", "--format", "json")
        assert json.loads(capsys.readouterr().out)["Server"] == VERSION
        assert engine.run("version", "-f", "{{.Nope}}") == 1
    assert f"Client:\n Version:           {firkin.__version__}\n API version:       1.56\n" in text
    assert text.endswith(
        "\nServer: Firkin\n Engine:\n  Version:          0.1\n"
        "  API version:      1.56 (minimum version 1.40)\n"
        "  Built:            Thu May  7 21:09:36 2026\n"
        "  OS/Arch:          linux/amd64\n  Experimental:     false\n"
        " crun:\n  Version:          1.8\n  GitCommit:        f00\n"
    )


def test_without_an_engine_the_client_is_still_shown(
    directory: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from firkin.cli import main

    for command in ("version", "info"):
        assert main.run(["-H", f"unix://{directory}/none", command]) == 1
        out, err = capsys.readouterr()
        assert firkin.__version__ in out
        assert "Cannot connect to the Docker daemon at unix://" in err


def test_info(directory: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    info = {
        "Containers": 3,
        "ContainersRunning": 1,
        "ContainersPaused": 0,
        "ContainersStopped": 2,
        "Driver": "overlay",
        "DriverStatus": [["Backing Filesystem", "ext4"]],
        "Plugins": {"Volume": ["local"], "Network": ["bridge", "host"], "Log": ["json-file"]},
        "Runtimes": {"runc": {}, "crun": {}},
        "DefaultRuntime": "crun",
        "OSType": "linux",
        "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"],
        "MemTotal": 25275000000,
        "NCPU": 2,
        "Warnings": ["WARNING: No swap limit support"],
        "RegistryConfig": {"InsecureRegistryCIDRs": ["127.0.0.0/8"], "IndexConfigs": {}},
    }
    with fake_engine.FakeEngine(directory, {"GET /info": info}) as engine:
        assert engine.run("info") == 0
        out, err = capsys.readouterr()
        assert err == "WARNING: No swap limit support\n"
        for part in (
            " Containers: 3\n  Running: 1\n  Paused: 0\n  Stopped: 2\n",
            " Storage Driver: overlay\n  Backing Filesystem: ext4\n",
            " Plugins:\n  Volume: local\n  Network: bridge host\n  Log: json-file\n",
            " Runtimes: crun runc\n Default Runtime: crun\n",
            " Security Options:\n  seccomp\n   Profile: builtin\n  cgroupns\n",
            " Total Memory: 23.54GiB\n",
            " Insecure Registries:\n  127.0.0.0/8\n",
        ):
            assert part in out
        engine.run("info", "-f", "{{.Driver}} {{.NCPU}} {{json .Plugins}}")
        assert capsys.readouterr().out == (
            'overlay 2 {"Volume":["local"],"Network":["bridge","host"],"Log":["json-file"]}\n'
        )
        assert engine.run("info", "-f", "{{.Nope}}") == 1
        assert "can't evaluate field Nope" in capsys.readouterr().err


USAGE = {
    "LayersSize": 1000,
    "Images": [
        {"Id": "sha256:1", "RepoTags": ["a:1"], "Size": 600, "SharedSize": 200, "Containers": 1},
        {"Id": "sha256:2", "RepoTags": ["b:1"], "Size": 400, "SharedSize": 0, "Containers": 0},
    ],
    "Containers": [
        {"Id": "1" * 64, "State": "running", "SizeRw": 30, "Command": "sh", "Names": ["/w"]},
        {"Id": "2" * 64, "State": "exited", "SizeRw": 70, "Command": "sh", "Names": ["/x"]},
    ],
    "Volumes": [
        {"Name": "v", "UsageData": {"RefCount": 1, "Size": 10}},
        {"Name": "w", "UsageData": {"RefCount": 0, "Size": 30}},
        {"Name": "u", "UsageData": {"RefCount": 0, "Size": -1}},
    ],
    "BuildCache": None,
}


def test_disk_usage(directory: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_engine.FakeEngine(directory, {"GET /system/df": USAGE}) as engine:
        assert engine.run("system", "df") == 0
        assert capsys.readouterr().out == (
            "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n"
            "Images          2         1         1kB       600B (60%)\n"
            "Containers      2         1         100B      70B (70%)\n"
            "Local Volumes   3         1         40B       30B (75%)\n"
            "Build Cache     0         0         0B        0B\n"
        )
        assert engine.run("system", "df", "-v") == 0
        out = capsys.readouterr().out
        assert "VOLUME NAME   LINKS     SIZE\nv             1         10B\n" in out
        assert '111111111111   <no image>   "sh"      0 ' in out
        assert engine.run("system", "df", "-v", "--format", "json") == 0
        assert capsys.readouterr().out.startswith('{"Images":[{"Containers":"1",')


def test_prune(
    directory: pathlib.Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {
        "POST /containers/prune": {"ContainersDeleted": ["abc"], "SpaceReclaimed": 10},
        "POST /networks/prune": {"NetworksDeleted": None},
        "POST /volumes/prune": {"VolumesDeleted": ["v"], "SpaceReclaimed": 5},
        "POST /images/prune": {"ImagesDeleted": [{"Deleted": "sha256:1"}], "SpaceReclaimed": 2000},
        "POST /build/prune": (501, {"message": "no builder"}),
    }
    with fake_engine.FakeEngine(directory, answers) as engine:
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        assert engine.run("system", "prune", "--volumes", "--filter", "label=x") == 0
        out = capsys.readouterr().out
        assert "all anonymous volumes not used" in out
        assert "  Items to be pruned will be filtered with:\n  - label=x\n" in out
        assert engine.requests == []
        assert engine.run("system", "prune", "-f", "--volumes", "--filter", "label=x") == 0
        assert capsys.readouterr().out == (
            "Deleted Containers:\nabc\n\nDeleted Volumes:\nv\n\n"
            "Deleted Images:\ndeleted: sha256:1\n\nTotal reclaimed space: 2.015kB\n"
        )
        filters = {path: json.loads(query["filters"][0]) for _, path, query, _ in engine.requests}
        assert filters["/containers/prune"] == {"label": ["x"]}
        assert filters["/images/prune"] == {"label": ["x"], "dangling": ["true"]}
        assert engine.run("system", "prune", "-f", "--volumes", "--filter", "until=1h") == 1
        assert engine.run("system", "prune", "-f") == 0
        assert "/volumes/prune" not in [path for _, path, _, _ in engine.requests[5:]]
