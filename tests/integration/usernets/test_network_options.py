"""What a network's options and a container's kernel parameters do to addresses and packets."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import rig
from rig import Engine

_SERVER = """
import socket
with socket.create_server(("10.228.0.2", 28600)) as server:
    print("ready", flush=True)
    print(server.accept()[1][0], flush=True)
"""


def test_packets_leave_with_the_address_given(tmp_path: pathlib.Path) -> None:
    wire = f"fkno{os.getpid()}"[:15]
    with rig.running(tmp_path, "fkno0") as engine:
        there = subprocess.Popen(["unshare", "-n", "sleep", "100"])
        enter = ["nsenter", f"--net=/proc/{there.pid}/ns/net"]
        own = f"/proc/{os.getpid()}/ns/net"
        assert rig.settled(lambda: os.readlink(f"/proc/{there.pid}/ns/net") != os.readlink(own))
        try:
            for words in (
                f"ip link add {wire} type veth peer name wire netns {there.pid}",
                f"ip addr add 10.228.0.1/24 dev {wire}",
                f"ip addr add 10.228.0.5/24 dev {wire}",
                f"ip link set {wire} up",
            ):
                subprocess.run(words.split(), check=True)
            for words in ("ip addr add 10.228.0.2/24 dev wire", "ip link set wire up"):
                subprocess.run([*enter, *words.split()], check=True)
            option = "com.docker.network.host_ipv4=10.228.0.5"
            engine.run("network", "create", "-o", option, "leaving")
            engine.run("network", "create", "plain")
            for network, seen in (("leaving", b"10.228.0.5\n"), ("plain", b"10.228.0.1\n")):
                with subprocess.Popen(
                    [*enter, sys.executable, "-c", _SERVER], stdout=subprocess.PIPE
                ) as server:
                    assert server.stdout is not None
                    assert server.stdout.readline() == b"ready\n"
                    engine.run("run", "--rm", "--network", network, "busybox", "nc", "-w", "3",
                               "10.228.0.2", "28600")  # fmt: skip
                    assert server.stdout.readline() == seen
        finally:
            there.kill()
            there.wait()
            subprocess.run(["ip", "link", "del", wire], check=False)
        done = engine.run("network", "create", "-o", option + "x", "no", check=False)
        assert b"not an IPv4 address" in done.stderr
        engine.run("network", "rm", "leaving", "plain")


def test_routed_containers_answer_a_ping(engine: Engine) -> None:
    for mode, answers in (("routed", True), ("nat-unprotected", True), ("nat", False)):
        option = f"com.docker.network.bridge.gateway_mode_ipv4={mode}"
        engine.run("network", "create", "-o", option, f"a-{mode}")
        engine.run("run", "-d", "--name", mode, "--network", f"a-{mode}", "-p", "80", "busybox",
                   "sleep", "1000")  # fmt: skip
        networks = json.loads(engine.out("inspect", "-f", "{{json .NetworkSettings}}", mode))
        address = networks["Networks"][f"a-{mode}"]["IPAddress"]
        done = engine.run("run", "--rm", "busybox", "ping", "-c1", "-W1", address, check=False)
        assert (done.returncode == 0) is answers, (mode, done)
        if mode == "routed":
            assert [one["HostPort"] for one in networks["Ports"]["80/tcp"]] == [""]
            assert "80/tcp" in engine.out("ps", "--format", "{{.Ports}}", client="docker")


def test_kernel_parameters_that_switch_ipv6_off(engine: Engine) -> None:
    engine.run("network", "create", "--ipv6", "both")
    shown = '{{(index .NetworkSettings.Networks "both").GlobalIPv6Address}}'
    off = "com.docker.network.endpoint.sysctls=net.ipv6.conf.IFNAME.disable_ipv6=1"
    for name, flags in (
        ("all", ["--network", "both", "--sysctl", "net.ipv6.conf.all.disable_ipv6=1"]),
        ("one", ["--network", f"name=both,driver-opt={off}"]),
    ):
        engine.run("run", "-d", "--name", name, *flags, "busybox", "sleep", "1000")
        assert engine.out("inspect", "-f", shown, name) == ""
        assert "inet6" not in engine.out("exec", name, "ip", "addr", "show", "eth0")
        hosts = engine.out("exec", name, "cat", "/etc/hosts")
        assert ("::1" in hosts) is (name == "one") and "fd" not in hosts
        asked = engine.run("exec", name, "nslookup", "-type=AAAA", name, check=False)
        assert b"fd" not in asked.stdout
    off = "net.ipv6.conf.all.disable_ipv6=1"
    words = ["run", "--network", "both", "--ip6", "fd00::9", "--sysctl", off, "busybox", "true"]
    done = engine.run(*words, check=False)
    assert done.returncode != 0 and b"switch IPv6 off" in done.stderr


def test_no_default_bridge(tmp_path: pathlib.Path) -> None:
    with rig.running(tmp_path, "none") as engine:
        for flags in ([], ["--network", "bridge"], ["--network", "default"]):
            seen = engine.out("run", "--rm", *flags, "busybox", "ip", "-o", "link", client="docker")
            assert "eth0" not in seen
        (tmp_path / "Dockerfile").write_text("FROM busybox\nRUN ! ip link show eth0\n")
        engine.run("build", str(tmp_path))
        assert "bridge" not in engine.out("network", "ls", "--format", "{{.Name}}").split()
