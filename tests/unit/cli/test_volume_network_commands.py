"""Volume and network commands against a fake engine, without the way through the registry."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import fake_engine
import pytest

from firkin.cli import context, errors, flags, ordering, program
from firkin.cli.commands.network import connect
from firkin.cli.commands.network import create as network_create
from firkin.cli.commands.network import inspect as network_inspect
from firkin.cli.commands.network import ls as network_ls
from firkin.cli.commands.network import rm as network_rm
from firkin.cli.commands.volume import create as volume_create
from firkin.cli.commands.volume import ls as volume_ls
from firkin.cli.commands.volume import prune as volume_prune
from firkin.cli.commands.volume import rm as volume_rm


@pytest.fixture
def directory(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def _run(engine: fake_engine.FakeEngine, module: Any, *words: str) -> int:
    top, _ = flags.parse(program.GLOBAL_FLAGS, ["-H", f"unix://{engine.socket}"])
    values, args = flags.parse(module.COMMAND.flags, words)
    return int(module.run(context.Cli(top), values, args))


def _body(*words: str) -> dict[str, Any]:
    values, args = flags.parse(network_create.COMMAND.flags, words)
    return network_create.body(args[0], values)


def test_volume_list(directory: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("v10", "v2", "a")
    found = [{"Name": name, "Driver": "local", "Labels": {"k": name}} for name in names]
    with fake_engine.FakeEngine(directory, {"GET /volumes": {"Volumes": found}}) as engine:
        _run(engine, volume_ls, "-f", "dangling=true")
        assert capsys.readouterr().out == (
            "DRIVER    VOLUME NAME\nlocal     a\nlocal     v2\nlocal     v10\n"
        )
        _run(engine, volume_ls, "--format", '{{.Name}} {{.Label "k"}}{{.Label "x"}} {{.Links}}')
        assert capsys.readouterr().out == "a a N/A\nv2 v2 N/A\nv10 v10 N/A\n"
    assert json.loads(engine.requests[0][2]["filters"][0]) == {"dangling": ["true"]}


def test_volume_create_and_remove(
    directory: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = {"POST /volumes/create": {"Name": "v"}, "DELETE /volumes/v": b""}
    with fake_engine.FakeEngine(directory, answers) as engine:
        _run(engine, volume_create, "v", "--label", "a=b=c", "--label", "d", "-o", "type=tmpfs")
        with pytest.raises(errors.CliError, match="nothing at /volumes/gone"):
            _run(engine, volume_rm, "gone", "v", "-f")
    assert capsys.readouterr().out == "v\nv\n"
    assert json.loads(engine.requests[0][3]) == {
        "Name": "v",
        "Driver": "local",
        "DriverOpts": {"type": "tmpfs"},
        "Labels": {"a": "b=c", "d": ""},
    }
    assert engine.requests[-1][2] == {"force": ["1"]}


def test_volume_prune(directory: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = {"VolumesDeleted": ["v"], "SpaceReclaimed": 1500}
    with fake_engine.FakeEngine(directory, {"POST /volumes/prune": report}) as engine:
        _run(engine, volume_prune, "-a", "-f")
        with pytest.raises(errors.CliError, match="conflicting options"):
            _run(engine, volume_prune, "-a", "-f", "--filter", "all=1")
    assert json.loads(engine.requests[0][2]["filters"][0]) == {"all": ["true"]}
    assert capsys.readouterr().out == "Deleted Volumes:\nv\n\nTotal reclaimed space: 1.5kB\n"


def test_network_list_and_inspect(
    directory: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = {
        "Id": "ab" * 32,
        "Name": "n",
        "Driver": "bridge",
        "Scope": "local",
        "EnableIPv6": True,
        "Created": "2023-11-14T22:13:20.500Z",
    }
    answers = {"GET /networks": [network], "GET /networks/n": network}
    with fake_engine.FakeEngine(directory, answers) as engine:
        _run(engine, network_ls)
        assert capsys.readouterr().out == (
            "NETWORK ID     NAME      DRIVER    SCOPE\nabababababab   n         bridge    local\n"
        )
        _run(engine, network_ls, "--format", "{{.IPv6}} {{.IPv4}} {{.CreatedAt}}")
        assert capsys.readouterr().out == "true false 2023-11-14 22:13:20.5 +0000 UTC\n"
        _run(engine, network_inspect, "-f", "{{.ID}} {{.Containers}} {{.IPAM.Config}}", "n")
        assert capsys.readouterr().out == f"{'ab' * 32} map[] []\n"


def test_network_remove(directory: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fake_engine.FakeEngine(directory, {"DELETE /networks/n": b""}) as engine:
        assert _run(engine, network_rm, "-f", "gone", "n") == 0
        assert capsys.readouterr() == ("n\n", "")
        with pytest.raises(errors.Quiet):
            _run(engine, network_rm, "gone", "n")
        assert capsys.readouterr().err.startswith("Error response from daemon: nothing at")


def test_network_create_sorts_addresses_into_subnets() -> None:
    request = _body(
        "n", "--subnet", "10.9.0.0/24,fd00::/64", "--gateway", "fd00::1", "--gateway", "10.9.0.1",
        "--ip-range", "10.9.0.128/25", "--aux-address", "a=10.9.0.5", "--internal", "--ipv6",
        "-o", "x=y",
    )  # fmt: skip
    assert request["IPAM"]["Config"] == [
        {
            "Subnet": "10.9.0.0/24",
            "IPRange": "10.9.0.128/25",
            "Gateway": "10.9.0.1",
            "AuxiliaryAddresses": {"a": "10.9.0.5"},
        },
        {"Subnet": "fd00::/64", "Gateway": "fd00::1"},
    ]
    assert (request["Driver"], request["Internal"], request["EnableIPv6"]) == ("bridge", True, True)
    assert "EnableIPv4" not in request
    assert request["Options"] == {"x": "y"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--subnet", "10.9.0.0/24", "--gateway", "10.9.1.1"], "no matching subnet for gateway"),
        (["--gateway", "10.9.1.1"], "must have a corresponding subnet"),
        (["--subnet", "10.0.0.0/8,10.9.0.0/24"], "multiple overlapping subnet"),
        (["--subnet", "10.0.0.0/99"], "invalid subnet '10.0.0.0/99'"),
        (["--subnet", "10.0.0.0/8", "--aux-address", "a"], "invalid aux-address ''"),
        (["--subnet", "10.0.0.0/8", "--gateway", "10.0.0.1,10.0.0.2"], "two values for Gateway"),
    ],
)
def test_network_create_refuses(words: list[str], message: str) -> None:
    with pytest.raises(errors.CliError, match=message):
        _body("n", *words)


def test_network_connect_sends_only_what_was_given() -> None:
    values, _ = flags.parse(
        connect.COMMAND.flags, ["--ip", "1.2.3.4", "--alias", "a,b", "--gw-priority", "5"]
    )
    assert connect.endpoint(values) == {
        "IPAMConfig": {"IPv4Address": "1.2.3.4"},
        "Aliases": ["a", "b"],
        "GwPriority": 5,
    }


def test_natural_order() -> None:
    names = ["n10", "n2", "1", "a-b", "A", "n2b", ""]
    assert sorted(names, key=ordering.natural) == ["", "1", "A", "a-b", "n2", "n2b", "n10"]
