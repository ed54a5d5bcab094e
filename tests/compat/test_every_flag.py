"""Flags of the official client that no other test has, and what it is told of those refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import Engine, settled

pytestmark = pytest.mark.root

DISK = next((f"/dev/{path.name}" for path in sorted(Path("/sys/block").iterdir())
             if Path(f"/dev/{path.name}").exists()), "/dev/null")  # fmt: skip
"""A block device of this host."""

KEPT: list[tuple[list[str], str, object]] = [
    (["--blkio-weight", "300"], "HostConfig.BlkioWeight", 300),
    (["--cpuset-mems", "0"], "HostConfig.CpusetMems", "0"),
    (["--device-read-bps", f"{DISK}:1mb"], "HostConfig.BlkioDeviceReadBps",
     [{"Path": DISK, "Rate": 1 << 20}]),
    (["--device-write-bps", f"{DISK}:2mb"], "HostConfig.BlkioDeviceWriteBps",
     [{"Path": DISK, "Rate": 2 << 20}]),
    (["--device-read-iops", f"{DISK}:100"], "HostConfig.BlkioDeviceReadIOps",
     [{"Path": DISK, "Rate": 100}]),
    (["--device-write-iops", f"{DISK}:200"], "HostConfig.BlkioDeviceWriteIOps",
     [{"Path": DISK, "Rate": 200}]),
    (["--publish-all", "--expose", "80"], "HostConfig.PublishAllPorts", True),
    (["--attach", "stdout"], "Config.AttachStdout", True),
    (["--interactive", "--workdir", "/w"], "Config.WorkingDir", "/w"),
    (["--expose", "80", "--expose", "90-91/udp", "-P"], "Config.ExposedPorts",
     {"80/tcp": {}, "90/udp": {}, "91/udp": {}}),
    (["--health-cmd", "true", "--health-interval", "2s", "--health-retries", "2",
      "--health-start-interval", "1s", "--health-start-period", "3s", "--health-timeout", "4s"],
     "Config.Healthcheck",
     {"Test": ["CMD-SHELL", "true"], "Interval": 2 * 10**9, "Timeout": 4 * 10**9,
      "StartPeriod": 3 * 10**9, "StartInterval": 10**9, "Retries": 2}),
    (["--no-healthcheck"], "Config.Healthcheck", {"Test": ["NONE"]}),
    (["--isolation", "default"], "HostConfig.Isolation", "default"),
    (["--oom-kill-disable", "-m", "64m"], "HostConfig.OomKillDisable", True),
    (["--memory-swappiness", "30"], "HostConfig.MemorySwappiness", 30),
    (["--annotation", "a=b"], "HostConfig.Annotations", {"a": "b"}),
    (["--restart", "on-failure:3"], "HostConfig.RestartPolicy",
     {"Name": "on-failure", "MaximumRetryCount": 3}),
    (["--stop-timeout", "7"], "Config.StopTimeout", 7),
    (["--log-driver", "none"], "HostConfig.LogConfig", {"Type": "none", "Config": {}}),
    (["--security-opt", "seccomp=builtin"], "HostConfig.SecurityOpt", ["seccomp=builtin"]),
    (["--network", "every", "--ip", "10.217.7.9", "--ip6", "fd00:217::9", "--network-alias", "al",
      "--link-local-ip", "169.254.7.7"], "NetworkSettings.Networks.every.IPAMConfig",
     {"IPv4Address": "10.217.7.9", "IPv6Address": "fd00:217::9", "LinkLocalIPs": ["169.254.7.7"]}),
    (["--network", "name=every,ip=10.217.7.8,gw-priority=5"],
     "NetworkSettings.Networks.every.GwPriority", 5),
]  # fmt: skip


@pytest.fixture
def network(engine: Engine) -> Iterator[None]:
    engine.run("network", "create", "--subnet", "10.217.7.0/24", "--ipv6", "--subnet",
               "fd00:217::/64", "every")  # fmt: skip
    yield
    if ids := engine.out("ps", "-aq").split():
        engine.run("rm", "-f", "-v", *ids)
    engine.run("network", "rm", "every")


@pytest.mark.usefixtures("network")
def test_flags_of_create(engine: Engine) -> None:
    for flags, path, expected in KEPT:
        box = engine.out("create", *flags, "busybox", "sleep", "100", client="docker")
        engine.run("start", box, client="docker")
        shown = engine.out("inspect", "-f", f"{{{{json .{path}}}}}", box, client="docker")
        assert json.loads(shown) == expected, flags
        engine.run("rm", "-f", "-v", box, client="docker")


@pytest.mark.usefixtures("network")
def test_a_parameter_of_an_interface(engine: Engine) -> None:
    sysctl = "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"
    way = "/proc/sys/net/ipv4/conf/eth0/log_martians"
    words = ["run", "--rm", "--network", f"name=every,driver-opt={sysctl}", "busybox", "cat", way]
    assert engine.out(*words, client="docker") == "1"


REFUSED: list[tuple[list[str], str]] = [
    (["create", "--storage-opt", "size=1g", "busybox"], "--storage-opt.*not supported"),
    (["create", "--cpu-rt-runtime", "1000", "busybox"], "realtime.*not supported"),
    (["create", "--cpu-rt-period", "1000", "busybox"], "realtime.*not supported"),
    (["create", "--isolation", "hyperv", "busybox"], "isolation.*not supported"),
    (["create", "--volume-driver", "nosuch", "-v", "vol:/x", "busybox"], "nosuch"),
    (["create", "--mount", "type=cluster,src=x,dst=/x", "busybox"], "cluster"),
    (["network", "create", "--ingress", "no"], "swarm"),
    (["network", "create", "--scope", "swarm", "no"], "swarm"),
    (["network", "create", "-d", "overlay", "no"], "swarm"),
    (["network", "create", "--ipam-driver", "nosuch", "no"], "nosuch"),
    (["volume", "create", "--type", "block", "no"], "swarm"),
    (["volume", "create", "-o", "nosuch=1", "no"], "nosuch"),
    (["volume", "create", "-d", "nosuch", "no"], "nosuch"),
    (["history", "--platform", "linux/s390x", "busybox"], "s390x"),
    (["save", "--platform", "linux/s390x", "busybox"], "s390x"),
    (["inspect", "--type", "image", "nosuch"], "No such image"),
    (["plugin", "inspect", "nosuch"], "nosuch"),
    (["plugin", "disable", "nosuch"], "nosuch"),
    (["swarm", "init"], "swarm"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "text"), REFUSED, ids=[" ".join(one)[:40] for one, _ in REFUSED])
def test_refused(engine: Engine, words: list[str], text: str) -> None:
    before = engine.out("volume", "ls", "-q"), engine.out("network", "ls", "-q")
    done = engine.run(*words, client="docker", check=False)
    assert done.returncode != 0
    assert re.search(text, done.stderr.decode()), done
    assert engine.out("ps", "-aq") == ""
    assert (engine.out("volume", "ls", "-q"), engine.out("network", "ls", "-q")) == before


def test_filters_name_one_object(engine: Engine) -> None:
    engine.run("volume", "create", "seen")
    for kind in ("config", "node", "plugin", "secret", "service", "container", "network"):
        assert engine.out("events", "--since", "1h", "--until", "0s", "-f", f"{kind}=seen",
                          client="docker") == "", kind  # fmt: skip
    seen = engine.out("events", "--since", "1h", "--until=-1s", "-f", "volume=seen",
                      client="docker")  # fmt: skip
    assert "volume create seen" in seen
    engine.run("volume", "rm", "seen")


def test_a_prune_by_label_takes_nothing_without_it(engine: Engine) -> None:
    engine.run("create", "--label", "keep=no", "busybox")
    engine.run("create", "busybox")
    engine.run("build", "-t", "built", "-", stdin=b"FROM busybox\nRUN touch /made\n")
    engine.run("rmi", "-f", "built")
    cached = engine.out("system", "df", "--format", "json")
    assert "Deleted Containers" in engine.out(
        "system", "prune", "-af", "--volumes", "--filter", "label=keep=no", client="docker"
    )
    assert len(engine.out("ps", "-aq").split()) == 1
    assert engine.out("images", "-q", "busybox")
    kinds = [json.loads(line) for line in cached.splitlines()]
    now = [json.loads(line) for line in engine.out("system", "df", "--format", "json").splitlines()]
    assert kinds[-1]["Type"] == "Build Cache"
    assert kinds[-1]["TotalCount"] == now[-1]["TotalCount"] != "0"
    engine.run("builder", "prune", "-af")


def test_an_update_warns_of_what_it_is_asked(engine: Engine) -> None:
    box = engine.out("create", "--blkio-weight", "300", "busybox")
    assert "Block I/O" not in engine.out("update", "--pids-limit", "50", box, client="docker")
    assert engine.out("plugin", "ls", "-q", client="docker") == ""


def test_flags_of_networks(engine: Engine) -> None:
    engine.run("network", "create", "--driver", "bridge", "--attachable",
               "--ipam-driver", "default", "--ipam-opt", "kept=yes",
               "--opt", "com.docker.network.bridge.name=flagged0",
               "--label", "a=b", "flagged", client="docker")  # fmt: skip
    (shown,) = json.loads(engine.out("network", "inspect", "flagged", client="docker"))
    assert shown["Attachable"] and shown["IPAM"]["Options"] == {"kept": "yes"}
    assert Path("/sys/class/net/flagged0").exists()
    box = engine.out("run", "-d", "busybox", "sleep", "1000")
    engine.run("network", "connect", "--driver-opt",
               "com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1",
               "--gw-priority", "7", "flagged", box, client="docker")  # fmt: skip
    way = "/proc/sys/net/ipv4/conf/eth1/log_martians"
    assert engine.out("exec", box, "cat", way, client="docker") == "1"
    engine.run("rm", "-f", box)
    engine.run("network", "rm", "flagged", client="docker")


def test_flags_of_containers_that_live(engine: Engine, tmp_path: Path) -> None:
    script = "trap 'echo told; exit 7' USR1; echo out; echo err >&2; while :; do sleep 0.1; done"
    box = engine.out("run", "-d", "busybox", "sh", "-c", script, client="docker")
    engine.run("commit", "--author", "Some One", "--message", "why", "--pause=false",
               "--change", "ENV A=b", box, "flagged:1", client="docker")  # fmt: skip
    (image,) = json.loads(engine.out("image", "inspect", "flagged:1", client="docker"))
    assert (image["Author"], image["Comment"]) == ("Some One", "why")
    assert "A=b" in image["Config"]["Env"]
    plain = engine.out("history", "--human=false", "--no-trunc", "flagged:1", client="docker")
    assert re.search(r"\n.*\d{4}-\d\d-\d\dT", "\n" + plain)
    assert settled(lambda: re.match(r"\d{4}-\d\d-\d\dT\S+Z out", engine.out(
        "logs", "--timestamps", box, client="docker")) is not None)  # fmt: skip
    engine.run("kill", "--signal", "USR1", box, client="docker")
    assert engine.out("wait", box, client="docker") == "7"
    followed = engine.run("logs", "--follow", box, client="docker")
    assert (followed.stdout, followed.stderr) == (b"out\ntold\n", b"err\n")
    started = engine.run("start", "--attach", "--interactive", engine.out(
        "create", "-i", "busybox", "cat"), client="docker", stdin=b"typed")  # fmt: skip
    assert started.stdout == b"typed"
    engine.run("restart", "--time", "0", box, client="docker")
    assert settled(lambda: engine.out("logs", box).count("out") == 2)  # the trap is set by then
    engine.run("stop", "--signal", "USR1", "--time", "10", box, client="docker")
    assert engine.out("inspect", "--size", "-f", "{{.State.ExitCode}}", box, client="docker") == "7"
    engine.run("exec", "-d", engine.out("run", "-d", "busybox", "sleep", "100"), "true")
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("text")
    link.symlink_to(file)
    engine.run("cp", "--archive", "--follow-link", str(link), f"{box}:/copied", client="docker")
    archive = tmp_path / "a.tar"
    engine.run("export", "--output", str(archive), box, client="docker")
    assert b"text" in archive.read_bytes()
    engine.run("save", "--output", str(archive), "flagged:1", client="docker")
    engine.run("rmi", "flagged:1", client="docker")
    engine.run("load", "--quiet", "--input", str(archive), client="docker")
    assert "SIZE" in engine.out("ps", "--size", "--all", client="docker")
    engine.run("rmi", "flagged:1", client="docker")


def test_keep_storage(engine: Engine) -> None:
    engine.run("build", "-t", "built", "-", stdin=b"FROM busybox\nRUN touch /made\n")
    engine.run("rmi", "-f", "built")
    kept = engine.out("builder", "prune", "-af", "--keep-storage", "1gb", client="docker")
    assert "Total reclaimed space: 0B" in kept
    gone = engine.out("builder", "prune", "-af", "--keep-storage", "1", client="docker")
    assert "Deleted build cache objects" in gone
