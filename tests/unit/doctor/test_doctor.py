"""The doctor on hosts that lack one thing each."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
from collections.abc import Callable

import pytest

from firkin import doctor
from firkin.doctor import findings, hosts

DEBIAN = 'ID=debian\nNAME="Debian"'
HEALTHY = {
    "/proc/self/limits": "Max open files            1048576              1048576     files",
    "/proc/sys/net/ipv4/ip_forward": "1",
    "/proc/sys/fs/inotify/max_user_instances": "8192",
    "/proc/sys/kernel/keys/maxkeys": "20000",
    "/proc/sys/kernel/pid_max": "4194304",
    "/proc/sys/kernel/seccomp/actions_avail": "kill_process errno allow",
    "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids",
    "/etc/resolv.conf": "search example\nnameserver 192.0.2.53",
    "/etc/os-release": DEBIAN,
    **dict.fromkeys(
        [f"/proc/self/ns/{n}" for n in ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user")], ""
    ),
}  # fmt: skip


class FakeHost(hosts.Host):
    """A host on which all is well, until a test takes something away."""

    def __init__(self) -> None:
        self.files = dict(HEALTHY)
        self.programs = {"crun", "conmon", "tini", "unshare", "nft", "ip"}
        self.missing: set[str] = set()
        self.refused: set[str] = set()
        self.chains: list[dict[str, str]] = []
        self.release = "6.1.0"
        self.space = 1 << 40

    def is_root(self) -> bool:
        return True

    def system(self) -> str:
        return "Linux"

    def kernel(self) -> str:
        return self.release

    def read(self, path: str) -> str:
        return self.files.get(path, "")

    def exists(self, path: str) -> bool:
        return path in self.files

    def program(self, *names: str) -> str:
        return next((f"/usr/bin/{name}" for name in names if name in self.programs), "")

    def library(self, name: str) -> bool:
        return name not in self.missing

    def python_module(self, name: str) -> bool:
        return name not in self.missing

    def free_space(self, path: str) -> int:
        return self.space

    def succeeds(self, *words: str) -> bool | None:
        return not self.refused.intersection(words)

    def output(self, *words: str) -> str:
        return json.dumps({"nftables": [{"chain": chain} for chain in self.chains]})


def _complaints(host: FakeHost) -> list[findings.Finding]:
    return [one for one in doctor.diagnose(host) if one.level is not findings.Level.OK]


def test_a_healthy_host_has_no_complaint(tmp_path: pathlib.Path) -> None:
    host = FakeHost()
    host.data_root = str(tmp_path)
    assert _complaints(host) == []


def _without_program(name: str) -> Callable[[FakeHost], None]:
    return lambda host: host.programs.discard(name)


def _without(name: str) -> Callable[[FakeHost], None]:
    return lambda host: host.missing.add(name)


def _refusing(word: str) -> Callable[[FakeHost], None]:
    return lambda host: host.refused.add(word)


def _with_file(path: str, text: str) -> Callable[[FakeHost], None]:
    return lambda host: host.files.__setitem__(path, text)


def _without_file(path: str) -> Callable[[FakeHost], None]:
    return lambda host: host.files.__delitem__(path)


def _aged(host: FakeHost) -> None:
    host.release = "4.19.0-27"


def _full(host: FakeHost) -> None:
    host.space = 1 << 20


def _dropping(host: FakeHost) -> None:
    ours = {"family": "inet", "table": "firkin", "name": "forward"}
    theirs = {"family": "ip", "table": "filter", "name": "FORWARD"}
    host.chains = [{**chain, "hook": "forward", "policy": "drop"} for chain in (ours, theirs)]


def _zoned(host: FakeHost) -> None:
    host.chains = [
        {"family": "inet", "table": "firewalld", "name": "filter_FORWARD", "hook": "forward",
         "policy": "accept"}
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("spoil", "level", "subject", "remedy"),
    [
        (_without_program("crun"), "fail", "OCI runtime", "apt-get install -y crun"),
        (_without_program("conmon"), "fail", "monitor", "apt-get install -y conmon"),
        (_without_program("tini"), "warn", "init", "apt-get install -y tini"),
        (_without("libnftables.so.1"), "fail", "libnftables.so.1",
         "apt-get install -y libnftables1"),
        (_without("msgspec"), "fail", "Python packages", "pip install 'firkin[engine]'"),
        (_refusing("bridge"), "fail", "network devices", "modprobe bridge"),
        (_refusing("nft"), "fail", "firewall", "modprobe nf_tables"),
        (_refusing("--mount"), "warn", "overlay", "modprobe overlay"),
        (_with_file("/proc/sys/net/ipv4/ip_forward", "0"), "warn", "forwarding",
         "net.ipv4.ip_forward=1"),
        (_with_file("/etc/resolv.conf", "options ndots:1"), "warn", "names", "--dns"),
        (_with_file("/proc/sys/user/max_net_namespaces", "0"), "fail", "namespaces",
         "sysctl -w user.max_net_namespaces="),
        (_with_file("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu pids"), "warn",
         "cgroup controllers", "cgroup_enable=memory"),
        (_with_file("/proc/sys/kernel/keys/maxkeys", "200"), "warn", "kernel.keys.maxkeys",
         "sysctl -w kernel.keys.maxkeys=8000"),
        (_with_file("/proc/self/limits", "Max open files 1024 4096 files"), "warn", "open files",
         "LimitNOFILE"),
        (_without_file("/proc/self/ns/user"), "warn", "namespaces", "CONFIG_USER_NS"),
        (_without_file("/sys/fs/cgroup/cgroup.controllers"), "fail", "cgroups", "CONFIG_CGROUPS"),
        (_aged, "fail", "kernel", "newer kernel"),
        (_full, "warn", "disk", "--data-root"),
        (_dropping, "warn", "firewall", "insert rule ip filter FORWARD"),
        (_zoned, "warn", "firewall", "--zone=trusted --add-interface=firkin0"),
    ],
)  # fmt: skip
def test_what_is_missing_is_named_with_its_remedy(
    tmp_path: pathlib.Path,
    spoil: Callable[[FakeHost], None],
    level: str,
    subject: str,
    remedy: str,
) -> None:
    host = FakeHost()
    host.data_root = str(tmp_path)
    spoil(host)
    first = _complaints(host)[0]
    assert (first.level, first.subject) == (level, subject)
    assert remedy in first.remedy


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ('ID="fedora"', "dnf install -y crun"),
        ('ID=rocky\nID_LIKE="rhel centos fedora"', "dnf install -y crun"),
        ("ID=alpine", "apk add crun"),
        ("ID=arch", "pacman -S --needed crun"),
        ('ID="opensuse-leap"\nID_LIKE="suse opensuse"', "zypper install -y crun"),
        ("ID=ubuntu\nID_LIKE=debian", "apt-get install -y crun"),
        ("ID=other", "install the package crun of your distribution"),
    ],
)
def test_the_distribution_decides_the_command(release: str, command: str) -> None:
    host = FakeHost()
    host.files["/etc/os-release"] = release
    assert host.install({"": "crun"}) == command


def test_the_command_on_this_host() -> None:
    """The engine's tests run here, so nothing may be said to keep containers from running."""
    firkin = pathlib.Path(sys.executable).parent / "firkin"
    done = subprocess.run([firkin, "doctor"], capture_output=True, text=True, check=False)
    assert "FAIL" not in done.stdout
    assert done.returncode == 0
    assert "ok    kernel: Linux" in done.stdout
    lines = subprocess.run(
        [firkin, "doctor", "--format", "json"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {"Level", "Subject", "What", "Remedy"} == set(json.loads(lines[0]))
