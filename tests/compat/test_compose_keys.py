"""Every key of a Compose file that means something on one host, and its effect."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import cliplugins
from rig import Engine, settled

pytestmark = pytest.mark.root

FILES = Path(__file__).with_name("composekeys")
PLUGIN = cliplugins.find("compose")

INSPECTED: dict[str, object] = {
    "Config.Domainname": "d1.test",
    "Config.StopSignal": "SIGINT",
    "Config.StopTimeout": 1,
    "Config.Tty": True,
    "Config.OpenStdin": True,
    "Config.ExposedPorts": {"7000/tcp": {}, "80/tcp": {}, "81/udp": {}},
    "HostConfig.Annotations": {"note": "x"},
    "HostConfig.CapAdd": ["NET_ADMIN"],
    "HostConfig.CapDrop": ["MKNOD"],
    "HostConfig.CgroupnsMode": "private",
    "HostConfig.CpuShares": 512,
    "HostConfig.CpusetCpus": "0",
    "HostConfig.DeviceCgroupRules": ["c 1:3 rw"],
    "HostConfig.IpcMode": "private",
    "HostConfig.LogConfig": {
        "Type": "json-file", "Config": {"max-size": "1m", "max-file": "2"},
    },
    "HostConfig.Memory": 64 << 20,
    "HostConfig.MemoryReservation": 32 << 20,
    "HostConfig.MemorySwap": 128 << 20,
    "HostConfig.NanoCpus": 500_000_000,
    "HostConfig.OomScoreAdj": 100,
    "HostConfig.PidMode": "host",
    "HostConfig.PidsLimit": 77,
    "HostConfig.RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
    "HostConfig.ShmSize": 32 << 20,
    "HostConfig.UsernsMode": "host",
    "NetworkSettings.Networks.keys_one.IPAddress": "10.218.3.9",
    "NetworkSettings.Networks.keys_one.MacAddress": "02:42:0a:da:03:09",
    "NetworkSettings.Networks.keys_two.IPAMConfig": {"LinkLocalIPs": ["169.254.9.9"]},
    "State.Health.Status": "healthy",
}  # fmt: skip

SEEN = """
id -u = 1000
id -G = 1000 44
hostname = h1
pwd = /tmp
echo $A $C $FROMFILE $OVER = b d e 1 file
cat /bound /etc/conf.txt /run/secrets/sec /run/secrets/other = conf conf secret secret
grep -c '10.9.8.7.somewhere' /etc/hosts = 1
grep -c gate /etc/hosts = 1
cat /etc/resolv.conf = nameserver 127.0.0.11 search ex.test options ndots:2
ulimit -n = 1000
ulimit -Hn = 2000
ulimit -u = 100
cat /proc/sys/net/core/somaxconn = 1024
cat /sys/class/net/eth0/mtu = 1400
touch /scratch/x && echo made = made
touch /new 2>&1 = touch: /new: Read-only file system
touch /ctx/new 2>&1 = touch: /ctx/new: Read-only file system
stat -c %a /tm = 1777
df -k /tm | tail -1 | awk '{print $2}' = 2048
echo x > /dev/mynull && echo made = made
grep NoNewPrivs /proc/self/status | cut -f 2 = 1
ls /data = kept
wget -qO- http://al:1 2>&1 | grep -o 10.218.3.9 = 10.218.3.9
"""
"""Commands in the container, and what they print, blanks made equal."""


class Compose:
    """``docker compose`` in a directory of its own."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        self.directory = directory / "keys"
        shutil.copytree(FILES, self.directory)
        (self.directory / "conf.txt").write_text("conf\n")
        (self.directory / "secret.txt").write_text("secret\n")
        (self.directory / "env.list").write_text("FROMFILE=1\nOVER=file\n")
        (directory / "config/cli-plugins").mkdir(parents=True)
        for name in ("compose", "buildx"):
            if (plugin := cliplugins.find(name)) is not None:
                (directory / f"config/cli-plugins/docker-{name}").symlink_to(plugin)
        self.environment = {
            **engine.environment(), "DOCKER_CONFIG": str(directory / "config"),
            "SECRET_IN_ENV": "sesame",
        }  # fmt: skip

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            ["docker", "compose", *words], cwd=self.directory, env=self.environment, text=True,
            capture_output=True, timeout=180,
        )  # fmt: skip
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        self.told = done.stderr
        return done.stdout.strip()


@pytest.fixture
def compose(engine: Engine, tmp_path: Path) -> Iterator[Compose]:
    if PLUGIN is None or shutil.which("docker") is None:
        pytest.skip("docker compose is not installed")
    made = Compose(engine, tmp_path)
    yield made
    made("--profile", "debug", "down", "-v", "-t", "0", "--rmi", "local")


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document[name]
    return document


def test_every_key(engine: Engine, compose: Compose) -> None:
    compose("up", "-d", "--quiet-pull")
    (one,) = json.loads(engine.out("inspect", "keys-all", client="docker"))
    for kind in ("CapAdd", "CapDrop"):  # newer clients write the prefix
        one["HostConfig"][kind] = [name.removeprefix("CAP_") for name in one["HostConfig"][kind]]
    assert {path: _at(one, path) for path in INSPECTED} == INSPECTED
    for line in SEEN.strip().splitlines():
        command, _, expected = line.rpartition(" = ")
        seen = engine.out("exec", "keys-all", "sh", "-c", f"{command}; true", client="docker")
        assert seen.split() == expected.split(), line

    assert compose("exec", "-T", "dep", "cat", "/run/secrets/env_sec") == "sesame"
    assert compose("logs", "--no-log-prefix", "extended").endswith("yes child")
    assert compose("logs", "--no-log-prefix", "built").endswith("built for me")
    assert engine.out("inspect", "-f", "{{.Config.Labels.built}}", "keys-extra:1") == "1"
    addresses = engine.out("exec", "keys-shared-1", "ip", "addr")
    assert "10.218.3.9/24" in addresses
    limits = "{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}"
    found = engine.out("inspect", "-f", limits, "keys-limited-1", "keys-limited-2")
    assert found.splitlines() == [f"250000000 {50 << 20} 40"] * 2
    (network,) = json.loads(engine.out("network", "inspect", "keys_one"))
    assert network["IPAM"]["Config"][0]["AuxiliaryAddresses"] == {"res": "10.218.3.200"}
    assert json.loads(engine.out("network", "inspect", "keys_two"))[0]["Internal"]
    assert engine.out("volume", "inspect", "-f", "{{.Labels.v}}", "keys_data") == "data"

    # Nothing has changed: nothing is made anew, not even what was built.
    compose("up", "-d")
    assert "Recreate" not in compose.told
    assert compose("ps", "-aq", "other") == ""
    compose("--profile", "debug", "up", "-d", "other")
    assert engine.out("exec", "keys-other-1", "ls", "/data") == "kept"
    compose("scale", "scaled=1")
    assert compose("ps", "--format", "{{.Name}}", "scaled") == "keys-scaled-1"


def test_watching_files(engine: Engine, compose: Compose) -> None:
    (compose.directory / "compose.yml").write_text(
        "name: keys\nservices:\n  app:\n    build: context\n    command: sleep 1000\n"
        "    init: true\n"
        "    develop: {watch: [{action: sync, path: ./context, target: /copy}]}\n"
    )
    compose("up", "-d", "--build")
    file = compose.directory / "context/new"
    watch = subprocess.Popen(
        ["docker", "compose", "watch", "--no-up"], cwd=compose.directory, env=compose.environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:

        def copied() -> bool:
            file.write_text("content")  # again, until the watch has begun
            time.sleep(2)  # it waits for the end of a series of changes
            found = engine.run("exec", "keys-app-1", "cat", "/copy/new", check=False)
            return found.stdout == b"content"

        assert settled(copied, 60)
    finally:
        watch.terminate()
        watch.wait(30)
