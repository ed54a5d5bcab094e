"""The engine's command line and daemon.json: what is accepted, refused, and what contradicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firkin import errdefs
from firkin.engine import config, doors, flags, refused
from firkin.types import container


def parsed(tmp_path: Path, text: str, *words: str) -> config.Config:
    (tmp_path / "daemon.json").write_text(text)
    found = flags.parse(["--config-file", str(tmp_path / "daemon.json"), *words])
    assert found is not None
    return found


def test_both_places(tmp_path: Path) -> None:
    found = parsed(
        tmp_path,
        json.dumps({"labels": ["a=b"], "tlsverify": True, "registry-mirrors": ["https://m"]}),
        "-D", "-H", "tcp://:7777", "--authorization-plugin", "x", "--authorization-plugin=y",
        "--feature", "containerd-snapshotter=false", "--feature=other", "--tlscacert", "/ca.pem",
        "--max-concurrent-downloads", "7", "--live-restore", "--log-format=json",
    )  # fmt: skip
    assert found.debug and found.labels == ["a=b"] and found.policy.verify
    assert found.authorization_plugins == ["x", "y"]
    assert found.features == {"containerd-snapshotter": False, "other": True}
    assert (found.certificate("ca"), found.max_concurrent_downloads) == ("/ca.pem", 7)
    assert found.registry_mirrors == ["https://m"]


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ('{"nonsense": 1, "mtu": 5}', [], "don't match any configuration option: nonsense"),
        ('{"debug": "yes"}', [], r"Expected `bool`, got `str`"),
        ('{"debug": false}', ["-D"], r"debug is given both as a flag \(True\)"),
        ('{"rootless": true}', [], r"rootless in .*daemon.json: not supported by this version"),
        ("{}", ["--rootless"], "--rootless: not supported"),
        ("{}", ["--bip", "10.9.0.0/24"], "is the network or broadcast address of 10.9.0.0/24"),
        ("{}", ["--bip6", "fd00::1/64"], "add --ipv6"),
        ("{}", ["--ipv6", "--bip6", "10.0.0.1/8"], "not an IPv6 address in CIDR form"),
        ("{}", ["--fixed-cidr", "fd00::/64"], "--fixed-cidr fd00::/64: not a subnet of IPv4"),
        ("{}", ["--bip", "10.9.0.1/24", "--fixed-cidr", "10.8.0.0/24"], "outside of the bridge's"),
        ("{}", ["--bip", "10.9.0.1/24", "--default-gateway", "10.8.0.1"], "--default-gateway 10.8"),
        ("{}", ["--ipv6", "--default-gateway-v6", "10.8.0.1"], "not an address of IPv6"),
        ("{}", ["--ip-forward-no-drop=false"], "Firkin sets no policy"),
        ("{}", ["--default-network-opt", "bridge=mtu"], "use DRIVER=OPTION=VALUE"),
        ("{}", ["--icc=maybe"], "'maybe' is not true or false"),
        ("{}", ["--debug", "false"], "unrecognized arguments: false"),
        ("{}", ["--default-ulimit", "nofile=few"], "--default-ulimit nofile=few: use NAME=SOFT:"),
        ("{}", ["--default-ulimit", "nofiles=1"], "--default-ulimit: invalid ulimit type: nofiles"),
        ('{"default-ulimits": {"nofile": {"Soft": 9, "Hard": 5}}}', [], "less than or equal"),
        ("{}", ["--default-ipc-mode", "host"], "--default-ipc-mode host: use private or shareable"),
        ("{}", ["--default-cgroupns-mode", "x"], "--default-cgroupns-mode x: use private or host"),
        ("{}", ["--default-shm-size", "big"], "--default-shm-size: invalid size 'big'"),
        ('{"default-shm-size": -1}', [], "--default-shm-size: invalid size '-1'"),
        ("{}", ["--init-path", "/nonexistent"], "--init-path /nonexistent: not an executable"),
        ("{}", ["--cdi-spec-dir", "etc"], "--cdi-spec-dir 'etc' must be an absolute path"),
        ("{}", ["--seccomp-profile", "/nonexistent"], "--seccomp-profile /nonexistent: .*No such"),
        ("{}", ["--seccomp-profile", "/etc/passwd"], "--seccomp-profile /etc/passwd: .*as JSON"),
        ("{}", ["--containerd=/run/c.sock"], "without containerd"),
        ("{}", ["--log-format", "xml"], "use text or json"),
        ("{}", ["--metrics-addr", "9323"], "--metrics-addr 9323"),
        ("{}", ["--label", "novalue"], "use KEY=VALUE"),
        ("{}", ["--max-concurrent-uploads", "0"], "must be 1 or more"),
        ('{"data-root-quota": "lots"}', [], "--data-root-quota: 'lots': use bytes with a unit"),
        ("{}", ["--data-root-reserve", "120%"], "a share is from 1% to 100%"),
        ("{}", ["--data-root-collect", "volumes"], "use dangling, all or none"),
        ('{"builder": {"gc": {"nonsense": 1}}}', [], "unknown field `nonsense`"),
        (
            '{"builder": {"entitlements": {"network-host": true}}}',
            [],
            "builder.entitlements: not supported: .*--allow",
        ),
        ("{}", ["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
        ("[]", [], "daemon.json"),
    ],
)
def test_refused(tmp_path: Path, text: str, words: list[str], message: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match=message):
        parsed(tmp_path, text, *words)


def test_defaults_of_containers(tmp_path: Path) -> None:
    words = ("--default-ulimit", "nofile=5:6", "--default-ulimit=core=0", "--init",
             "--default-shm-size=1g", "--cdi-spec-dir=/a", "--cdi-spec-dir", "/b")  # fmt: skip
    found = parsed(tmp_path, '{"seccomp-profile": "unconfined"}', *words)
    own = [container.Ulimit(name="core", soft=1, hard=1)]
    assert found.ulimits(own) == [*own, container.Ulimit(name="nofile", soft=5, hard=6)]
    assert found.init and found.shm_size == 1 << 30 and found.seccomp() == "unconfined"
    assert found.cdi_directories == ("/a", "/b")
    plain = parsed(tmp_path, "{}")
    assert plain.shm_size == 64 << 20 and plain.seccomp() == "builtin" and not plain.ulimits(None)


def test_what_happens_anyway_is_accepted(tmp_path: Path) -> None:
    same = {o.key: o.accepted[-1] for o in refused.OPTIONS if o.key and o.accepted}
    assert parsed(tmp_path, json.dumps(same)) == parsed(tmp_path, "{}")
    parsed(tmp_path, "{}", "--icc", "--init=false", "--iptables=true", "--userland-proxy=false")


def test_no_option_is_both_had_and_refused() -> None:
    ours = set(config.Config.__struct_encode_fields__)
    assert not ours & {option.key for option in refused.OPTIONS}


@pytest.mark.parametrize(
    ("text", "policy", "expected"),
    [
        ("unix:///run/x.sock", (), doors.Address("unix", path="/run/x.sock")),
        ("tcp://", (), doors.Address("tcp", host="127.0.0.1", port=2375)),
        ("tcp://", (True,), doors.Address("tcp", host="127.0.0.1", port=2376)),
        ("tcp://:80", (), doors.Address("tcp", host="", port=80)),
        ("tcp://0.0.0.0", (None, True), doors.Address("tcp", host="0.0.0.0", port=2376)),
        ("tcp://[::1]:1", (), doors.Address("tcp", host="::1", port=1)),
        ("tcp://[::1]", (), doors.Address("tcp", host="::1", port=2375)),
        ("tcp://h:0", (), doors.Address("tcp", host="h", port=0)),
        ("fd://", (), doors.Address("fd")),
    ],
)
def test_addresses(text: str, policy: tuple[bool | None, ...], expected: doors.Address) -> None:
    assert doors.parse(text, doors.Policy(*policy)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "npipe://x", "unix://relative", "tcp://h:p", "tcp://::1:2", "tcp://h:70000", "tcp://h/x",
     "http://h:1", "tcp://h:-1"],
)  # fmt: skip
def test_bad_addresses(text: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match=f"--host {text}:"):
        doors.parse(text, doors.Policy())


@pytest.mark.parametrize(
    ("tls", "verify", "open_", "secure"),
    [
        (None, None, False, False),
        (True, None, False, True),
        (None, True, True, True),
        (True, True, True, True),
        (False, True, True, True),
        (False, None, True, False),
        (None, False, True, False),
        (True, False, True, True),
    ],
)
def test_who_may_come_in(tls: bool | None, verify: bool | None, open_: bool, secure: bool) -> None:
    policy = doors.Policy(tls, verify)
    assert policy.secure is secure
    if open_:
        policy.check("tcp://x")
    else:
        with pytest.raises(errdefs.InvalidParameter, match="everybody who can reach it is root"):
            policy.check("tcp://x")
