"""Security options, mounts, exec processes, and whole specs."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from firkin import errdefs
from firkin.oci import capabilities, mounts, process, security, spec
from firkin.oci import user as users
from firkin.types import container
from firkin.types.mount import Mount


def _input(**changes: Any) -> spec.SpecInput:
    base = spec.SpecInput(
        container_id="c1",
        config=container.Config(),
        host=container.HostConfig(),
        args=["sh"],
        env=["A=b", "C"],
        user=users.User(additional_gids=(0,)),
        rootfs="/r",
        hostname="box",
        cgroups_path="/firkin/c1",
    )
    return dataclasses.replace(base, **changes)


def _build(host: container.HostConfig | None = None, **changes: Any) -> dict[str, Any]:
    return spec.build(_input(host=host or container.HostConfig(), **changes))


def _points(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {mount["destination"]: mount for mount in document["mounts"]}


def _kinds(document: dict[str, Any]) -> dict[str, str]:
    return {n["type"]: n.get("path", "") for n in document["linux"]["namespaces"]}


def test_default_spec() -> None:
    document = _build()
    json.dumps(document)
    assert document["ociVersion"] == "1.0.2"
    assert document["hostname"] == "box"
    assert document["root"] == {"path": "/r", "readonly": False}
    p = document["process"]
    assert (p["args"], p["env"], p["cwd"]) == (["sh"], ["A=b"], "/")
    assert p["user"] == {"uid": 0, "gid": 0, "additionalGids": [0]}
    assert set(p["capabilities"]["effective"]) == capabilities.DEFAULT
    assert (p["noNewPrivileges"], p["terminal"]) == (False, False)
    linux = document["linux"]
    assert set(_kinds(document)) == {"mount", "network", "ipc", "pid", "uts", "cgroup"}
    assert linux["cgroupsPath"] == "/firkin/c1"
    assert "/proc/kcore" in linux["maskedPaths"]
    assert "/proc/sys" in linux["readonlyPaths"]
    assert linux["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert "rootfsPropagation" not in linux
    points = _points(document)
    assert list(points)[:3] == ["/proc", "/dev", "/sys"]
    assert "ro" in points["/sys"]["options"]
    assert "ro" in points["/sys/fs/cgroup"]["options"]
    assert "size=67108864" in points["/dev/shm"]["options"]


def test_privileged_spec() -> None:
    document = _build(container.HostConfig(privileged=True, masked_paths=["/proc/x"]))
    linux = document["linux"]
    assert not {"seccomp", "maskedPaths", "readonlyPaths"} & set(linux)
    assert set(document["process"]["capabilities"]["bounding"]) == set(capabilities.ALL)
    points = _points(document)
    assert "ro" not in points["/sys"]["options"]
    assert "rw" in points["/sys/fs/cgroup"]["options"]
    confined = container.HostConfig(privileged=True, security_opt=["seccomp=builtin"])
    assert "seccomp" in _build(confined)["linux"]


def test_namespaces() -> None:
    document = _build(
        namespaces=spec.Namespaces(
            network="/run/netns/x", ipc="shareable", pid="/proc/7/ns/pid", uts="host", cgroup="host"
        ),
        config=container.Config(domainname="lan"),
    )
    assert _kinds(document) == {
        "mount": "",
        "network": "/run/netns/x",
        "ipc": "",
        "pid": "/proc/7/ns/pid",
    }
    assert "hostname" not in document
    assert "kernel.domainname" not in document["linux"]["sysctl"]
    with pytest.raises(errdefs.InvalidParameter, match="invalid pid namespace"):
        _build(namespaces=spec.Namespaces(pid="container:x"))
    with pytest.raises(errdefs.InvalidParameter, match="invalid network namespace"):
        _build(namespaces=spec.Namespaces(network="private"))


@pytest.mark.parametrize(("mode", "kind"), [("host", "bind"), ("none", None), ("private", "tmpfs")])
def test_shm(mode: str, kind: str | None) -> None:
    found = _points(_build(namespaces=spec.Namespaces(ipc=mode))).get("/dev/shm", {})
    assert found.get("type") == kind


def test_init() -> None:
    document = _build(init_path="/usr/bin/tini")
    assert document["process"]["args"] == ["/sbin/docker-init", "--", "sh"]
    assert _points(document)["/sbin/docker-init"]["source"] == "/usr/bin/tini"
    host_pid = _build(init_path="/usr/bin/tini", namespaces=spec.Namespaces(pid="host"))
    assert host_pid["process"]["args"] == ["sh"]


def test_other_containers_network_keeps_its_sysctls() -> None:
    host = container.HostConfig(network_mode="container:abc")
    assert "sysctl" not in _build(host)["linux"]


def test_terminal_and_limits() -> None:
    document = _build(
        container.HostConfig(
            console_size=[24, 80],
            oom_score_adj=5,
            annotations={"a": "b"},
            security_opt=["no-new-privileges=true"],
        ),
        config=container.Config(tty=True),
    )
    assert document["process"]["consoleSize"] == {"height": 24, "width": 80}
    assert document["process"]["oomScoreAdj"] == 5
    assert document["process"]["noNewPrivileges"] is True
    assert document["annotations"] == {"a": "b"}
    off = container.HostConfig(security_opt=["no-new-privileges:false"])
    assert _build(off, no_new_privileges=True)["process"]["noNewPrivileges"] is False
    assert _build(no_new_privileges=True)["process"]["noNewPrivileges"] is True


@pytest.mark.parametrize(
    "changes",
    [
        {"args": []},
        {"args": [""]},
        {"args": ["a\0b"]},
        {"env": ["A=\0"]},
        {"env": ["=x"]},
        {"cwd": "relative"},
        {"hostname": "h" * 65},
        {"host": container.HostConfig(annotations={"": "x"})},
        {"host": container.HostConfig(masked_paths=["proc/x"])},
        {"host": container.HostConfig(readonly_paths=["/proc/../etc"])},
        {
            "host": container.HostConfig(console_size=[70000, 1]),
        },
        {"mounts": (Mount(destination="/", type="bind", source="/x"),)},
        {"mounts": (Mount(destination="x", type="bind", source="/x"),)},
        {"mounts": (Mount(destination="/x", type="bind", source="x"),)},
        {
            "mounts": (
                Mount(destination="/x", type="tmpfs", source="tmpfs"),
                Mount(destination="/x/", type="tmpfs", source="tmpfs"),
            )
        },
    ],
)
def test_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(errdefs.InvalidParameter):
        spec.build(_input(**changes))


def test_user_mounts() -> None:
    document = _build(
        container.HostConfig(readonly_rootfs=True, tmpfs={"/run": "", "/a/b": "size=1m"}),
        mounts=(
            Mount(destination="/a/b/c", type="bind", source="/s", options=("rbind", "rshared")),
            Mount(destination="/a/b", type="bind", source="/t", options=("ro",)),
            Mount(destination="/dev/shm", type="bind", source="/shm", options=("bind",)),
            Mount(destination="/a", type="tmpfs", source="tmpfs"),
        ),
    )
    points = _points(document)
    order = list(points)
    assert order.index("/a") < order.index("/a/b") < order.index("/a/b/c")
    assert len(order) == len(document["mounts"])
    assert points["/a/b"]["type"] == "bind"  # the resolved mount wins over HostConfig.Tmpfs
    assert points["/a/b"]["options"] == ["rbind", "ro", "rprivate"]
    assert points["/run"]["options"] == ["rw", "noexec", "nosuid", "nodev"]
    assert points["/dev/shm"]["source"] == "/shm"
    assert "ro" in points["/sys"]["options"]
    assert "ro" not in points["/dev/shm"]["options"]
    assert "ro" not in points["/proc"]["options"]
    assert document["root"]["readonly"] is True
    assert document["linux"]["rootfsPropagation"] == "shared"


def test_user_dev_replaces_what_is_below() -> None:
    bind = Mount(destination="/dev", type="bind", source="/dev", options=("rbind", "rslave"))
    document = _build(mounts=(bind,))
    assert [p for p in _points(document) if p.startswith("/dev")] == ["/dev"]
    assert document["linux"]["rootfsPropagation"] == "rslave"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", {"rw", "noexec", "nosuid", "nodev"}),
        ("exec,suid,dev,ro", {"ro", "exec", "suid", "dev"}),
        ("size=64m,mode=1777", {"rw", "noexec", "nosuid", "nodev", "size=64m", "mode=1777"}),
        ("size=1k,size=50%,exec,noexec", {"rw", "noexec", "nosuid", "nodev", "size=50%"}),
    ],
)
def test_tmpfs(options: str, expected: set[str]) -> None:
    assert set(mounts.tmpfs("/t", options).options) == expected


@pytest.mark.parametrize(
    "options", ["bogus", "size=", "size=1x", "mode=9", "uid=-1", "bind", "x=1"]
)
def test_tmpfs_refused(options: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="invalid tmpfs option"):
        mounts.tmpfs("/t", options)


def test_tmpfs_mount() -> None:
    found = mounts.tmpfs_mount(
        "/t", read_only=True, size_bytes=5, mode=0o700, options=[["exec"], ["uid", "7"]]
    )
    assert set(found.options) == {"ro", "exec", "nosuid", "nodev", "size=5", "mode=700", "uid=7"}


@pytest.mark.parametrize(
    ("option", "field", "value"),
    [
        ("no-new-privileges", "no_new_privileges", True),
        ("no-new-privileges:true", "no_new_privileges", True),
        ("no-new-privileges=false", "no_new_privileges", False),
        ("seccomp=unconfined", "seccomp", "unconfined"),
        ("seccomp:unconfined", "seccomp", "unconfined"),
        ('seccomp={"a":"b=c"}', "seccomp", '{"a":"b=c"}'),
        ("systempaths=unconfined", "system_paths_unconfined", True),
        ("writable-cgroups=true", "writable_cgroups", True),
        ("apparmor=unconfined", "apparmor", ""),
        ("label=disable", "apparmor", ""),
    ],
)
def test_security_options(option: str, field: str, value: object) -> None:
    assert getattr(security.parse([option]), field) == value


@pytest.mark.parametrize(
    "option",
    [
        "",
        "bogus",
        "bogus=1",
        "seccomp",
        "seccomp=/a/file.json",
        "no-new-privileges=maybe",
        "apparmor=mine",
        "label=type:x",
        "systempaths=x",
    ],
)
def test_security_options_refused(option: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="invalid --security-opt"):
        security.parse([option])


def test_apparmor_profile() -> None:
    host = container.HostConfig(security_opt=["apparmor=mine"])
    assert _build(host, apparmor_available=True)["process"]["apparmorProfile"] == "mine"


def test_system_paths() -> None:
    host = container.HostConfig(masked_paths=[], readonly_paths=["/proc/fs"])
    assert security.system_paths(host, security.Options()) == ([], ["/proc/fs"])
    masked, _ = security.system_paths(container.HostConfig(), security.Options(), (0, 3))
    assert masked[-1] == "/sys/devices/system/cpu/cpu3/thermal_throttle"
    unconfined = security.Options(system_paths_unconfined=True)
    assert security.system_paths(container.HostConfig(), unconfined) == ([], [])


def test_user_seccomp_profile_in_spec() -> None:
    profile = '{"defaultAction":"SCMP_ACT_LOG"}'
    host = container.HostConfig(security_opt=["seccomp=" + profile])
    assert _build(host)["linux"]["seccomp"] == {"defaultAction": "SCMP_ACT_LOG", "syscalls": []}
    assert _build(default_seccomp=profile)["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_LOG"
    assert "seccomp" not in _build(default_seccomp="unconfined")["linux"]


def test_environment() -> None:
    env = process.environment(["PATH=/x", "A=1", "A=2", "GONE=1", "GONE"], hostname="h", tty=True)
    assert env == ["PATH=/x", "HOSTNAME=h", "TERM=xterm", "A=2"]


def test_exec_process() -> None:
    base = _build(
        container.HostConfig(
            ulimits=[container.Ulimit(name="core", soft=0, hard=0)],
            security_opt=["no-new-privileges"],
        ),
        cwd="/w",
    )["process"]
    request = container.ExecCreateRequest(cmd=["ls"], tty=True, env=["A=c"], console_size=[1, 2])
    found = process.exec_process(base, request)
    assert found["args"] == ["ls"]
    assert found["env"] == ["A=c", "TERM=xterm"]
    assert found["cwd"] == "/w"
    assert found["consoleSize"] == {"height": 1, "width": 2}
    assert found["noNewPrivileges"] is True
    assert found["rlimits"] == base["rlimits"]
    assert found["user"] == base["user"]
    assert found["capabilities"] == base["capabilities"]
    larger = process.exec_process(base, request, size=[3, 4])
    assert larger["consoleSize"] == {"height": 3, "width": 4}


def test_exec_process_of_others() -> None:
    base = _build()["process"]
    other = users.User(uid=5, gid=6, additional_gids=(6,))
    found = process.exec_process(base, container.ExecCreateRequest(cmd=["x"]), other)
    assert found["user"]["uid"] == 5
    assert found["capabilities"] == base["capabilities"]
    request = container.ExecCreateRequest(cmd=["x"], privileged=True)
    found = process.exec_process(base, request, other)
    assert set(found["capabilities"]["effective"]) == set(capabilities.ALL)
    for bad in (
        container.ExecCreateRequest(),
        container.ExecCreateRequest(cmd=["x"], working_dir="x"),
    ):
        with pytest.raises(errdefs.InvalidParameter):
            process.exec_process(base, bad)
