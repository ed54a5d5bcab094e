"""What is looked at in the machine, in this order; each check relies on those before it.

The engine first runs as the README's first command leaves it, then as a systemd service with either
cgroup driver, on the pure v2 hierarchy that Debian boots with.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from vm import machine

#: How this host's pip and apt reach their indexes; the same for those in the machine.
ENV = ("PIP_CERT", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST",
       "PIP_DEFAULT_TIMEOUT", "http_proxy", "https_proxy", "no_proxy")  # fmt: skip
CLONE = "/root/firkin"
FIRKIN = f"{CLONE}/.venv/bin/firkin"

Check = Callable[["Vm"], None]
ALL: list[tuple[str, Check]] = []


class Failed(Exception):
    """What a check found wrong."""


def expect(condition: object, *facts: object) -> None:
    """Raise ``Failed`` with the facts unless the condition holds."""
    if not condition:
        raise Failed(" ".join(str(fact) for fact in facts) or "not so")


def check(name: str) -> Callable[[Check], Check]:
    """Add a check."""

    def add(function: Check) -> Check:
        ALL.append((name, function))
        return function

    return add


class Vm:
    """The machine with a clone in it, and short ways to use both."""

    def __init__(self, made: machine.Machine) -> None:
        self.machine = made
        self.boot = ""

    def begin(self) -> None:
        """Wait for the boot, and lay the clone."""
        self.boot = self.machine.ready()
        self.out(f"mkdir -p {CLONE} && tar -x -f /dev/vdb -C {CLONE}")

    def out(self, script: str, *, timeout: float = 300.0, show: bool = False) -> str:
        """The output of a script that succeeds."""
        done = self.machine.run(script, timeout=timeout, show=show, env=ENV)
        expect(done.code == 0, f"exit code {done.code} of: {script[:200]}\n{done.output[-3000:]}")
        return done.output.strip()

    def firkin(self, words: str, *, timeout: float = 120.0) -> str:
        """The output of a client's command."""
        return self.out(f"{FIRKIN} {words}", timeout=timeout)

    def inspect(self, name: str) -> dict[str, object]:
        """A container as inspect shows it."""
        return dict(json.loads(self.firkin(f"inspect {name}"))[0])

    def clear(self) -> None:
        """Remove all containers."""
        self.out(f'ids=$({FIRKIN} ps -aq); [ -z "$ids" ] || {FIRKIN} rm -f -v $ids')

    def until(self, script: str, *, seconds: float = 120.0) -> None:
        """Wait until a script succeeds."""
        deadline = time.monotonic() + seconds
        while (done := self.machine.run(script)).code:
            expect(time.monotonic() < deadline, f"never succeeded: {script}\n{done.output[-1000:]}")
            time.sleep(0.5)

    def engine(self, *flags: str) -> None:
        """Run the engine as the service with further flags."""
        drop = "/etc/systemd/system/firkin.service.d"
        words = " ".join(flags)
        self.out(
            f"mkdir -p {drop}\n"
            f"printf '[Service]\\nExecStart=\\nExecStart=/usr/bin/firkind -H fd:// {words}\\n'"
            f" >{drop}/flags.conf\n"
            "systemctl daemon-reload && systemctl restart firkin.service"
        )


@check("a newcomer's first command installs all and runs a container")
def first_command(vm: Vm) -> None:
    output = vm.out(f"cd {CLONE} && sudo -E scripts/run", timeout=3000)
    expect("hello from a container" in output, output[-2000:])


@check("the same again does nothing but run a container")
def first_command_again(vm: Vm) -> None:
    output = vm.out(f"cd {CLONE} && sudo -E scripts/run")
    expect("firkind runs already" in output and "hello from" in output, output)
    expect("installing" not in output, output)
    vm.out("kill $(cat /var/lib/firkin/lock)")


@check("the systemd units start the engine, by its socket too")
def units(vm: Vm) -> None:
    vm.out(
        "getent group docker >/dev/null || groupadd --system docker\n"
        f"ln -sf {CLONE}/.venv/bin/firkind /usr/bin/firkind\n"
        f"cp {CLONE}/packaging/systemd/* /etc/systemd/system/\n"
        "systemctl daemon-reload && systemctl enable -q firkin.socket firkin.service\n"
        "systemctl start firkin.socket"
    )
    vm.firkin("version")
    expect(vm.out("systemctl is-active firkin.service") == "active")
    mode = vm.out("stat -c '%a %G' /run/firkin/firkin.sock")
    expect(mode == "660 docker", mode)


@check("a reload by systemctl reaches the engine")
def reload(vm: Vm) -> None:
    vm.out("mkdir -p /etc/firkin; echo '{\"labels\": [\"a=b\"]}' >/etc/firkin/daemon.json; "
           "systemctl reload firkin.service")  # fmt: skip
    vm.until(f"{FIRKIN} info --format '{{{{.Labels}}}}' | grep -q a=b")


@check("the host's own cgroup driver is systemd, on v2")
def default_driver(vm: Vm) -> None:
    shown = vm.firkin("info --format '{{.CgroupDriver}} {{.CgroupVersion}}'")
    expect(shown == "systemd 2", shown)


def _group(vm: Vm, name: str) -> str:
    """The directory of a container's cgroup, as its process says."""
    pid = vm.firkin(f"inspect -f '{{{{.State.Pid}}}}' {name}")
    own = vm.out(f"cat /proc/{pid}/cgroup")
    expect(own.startswith("0::/"), own)
    return "/sys/fs/cgroup" + own.removeprefix("0::")


def _limits(vm: Vm) -> None:
    vm.firkin(
        "run -d --name limited --memory 64m --memory-swap 96m --cpus 0.5 --pids-limit 40 "
        "--cpuset-cpus 1 --cpu-shares 512 busybox sleep 1000"
    )
    group = _group(vm, "limited")
    names = "memory.max memory.swap.max cpu.max pids.max cpuset.cpus"
    found = vm.out(f"cd {group} && cat {names}").splitlines()
    expect(found == ["67108864", "33554432", "50000 100000", "40", "1"], group, found)
    inside = vm.firkin("exec limited cat /sys/fs/cgroup/memory.max /proc/self/cgroup").splitlines()
    expect(inside == ["67108864", "0::/"], inside)


def _devices(vm: Vm) -> None:
    """The machine's disk: nobody needs more than the device group's leave to read it."""
    numbers = vm.out("stat -c '%Hr %Lr' /dev/vda").strip()
    refused = vm.machine.run(
        f"{FIRKIN} run --rm --cap-add MKNOD busybox sh -c "
        f"'mknod /tmp/disk b {numbers} && head -c 1 /tmp/disk'"
    )
    expect(refused.code and "not permitted" in refused.output, refused)
    vm.firkin("run --rm --device /dev/vda:/dev/disk:r busybox head -c 512 /dev/disk >/dev/null")


def _pause(vm: Vm) -> None:
    vm.firkin("run -d --name held busybox sh -c 'while :; do date +%s%N >/now; done'")
    group = _group(vm, "held")
    vm.firkin("pause held")
    expect(vm.out(f"cat {group}/cgroup.freeze") == "1", group)
    state = vm.firkin("inspect -f '{{.State.Status}}' held")
    expect(state == "paused", state)
    vm.firkin("unpause held")
    expect(vm.out(f"cat {group}/cgroup.freeze") == "0", group)
    vm.firkin("exec held true")
    vm.firkin("stop -t 0 held")


def _oom(vm: Vm) -> None:
    done = vm.machine.run(
        f"{FIRKIN} run --name eater --memory 24m --memory-swap 24m busybox sh -c "
        "'x=a; while :; do x=$x$x; done'"
    )
    expect(done.code == 137, done)
    state = vm.firkin("inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' eater")
    expect(state == "true 137", state)


def _stats(vm: Vm) -> None:
    vm.firkin("run -d --name busy --memory 64m busybox sh -c 'while :; do :; done'")
    shown = json.loads(vm.firkin("stats --no-stream --format json busy"))
    expect("64MiB" in shown["MemUsage"] and float(shown["CPUPerc"].rstrip("%")) > 5, shown)
    expect(int(shown["PIDs"]) >= 1, shown)


def _update(vm: Vm) -> None:
    group = _group(vm, "limited")
    vm.firkin("update --memory 80m --memory-swap 160m --pids-limit 50 limited")
    found = vm.out(f"cd {group} && cat memory.max memory.swap.max pids.max").split()
    expect(found == ["83886080", "83886080", "50"], found)


def _parent(vm: Vm, given: str, expected: str) -> None:
    vm.firkin(f"run -d --name child --cgroup-parent {given} busybox sleep 1000")
    group = _group(vm, "child")
    expect(group.startswith(f"/sys/fs/cgroup{expected}/"), group)
    vm.firkin("rm -f child")
    vm.until(f"! test -e {group}")


def _wrong_parent(vm: Vm, given: str) -> None:
    done = vm.machine.run(f"{FIRKIN} create --cgroup-parent {given} busybox")
    expect(done.code == 1 and "cgroup-parent" in done.output, done)


def _clean(vm: Vm) -> None:
    """What a removed container leaves goes soon, not at once."""
    vm.clear()
    vm.until("! systemctl list-units --all --plain --no-legend 'firkin-*' | grep .")
    vm.until("! find /sys/fs/cgroup -type d | grep -E '[0-9a-f]{64}'")


def _for_each_driver() -> None:
    works: tuple[tuple[str, Check], ...] = (
        ("limits reach the kernel and are seen inside", _limits),
        ("devices are those allowed", _devices),
        ("pause freezes", _pause),
        ("an out-of-memory kill is known as one", _oom),
        ("stats", _stats),
        ("update of a running container", _update),
    )  # fmt: skip
    for name, work in works:
        check(f"systemd: {name}")(work)
    check("systemd: --cgroup-parent is a slice")(
        lambda vm: _parent(vm, "made-here.slice", "/made.slice/made-here.slice")
    )
    check("systemd: --cgroup-parent that is no slice is refused")(
        lambda vm: _wrong_parent(vm, "/made")
    )
    check("systemd: a container's unit is a delegated scope")(_scope)
    check("systemd: containers go on through a restart and a kill of the service")(_service_ends)
    check("systemd: no unit and no group stays")(_clean)
    check("cgroupfs: chosen by --exec-opt")(_cgroupfs)
    for name, work in works:
        check(f"cgroupfs: {name}")(work)
    check("cgroupfs: --cgroup-parent is a path")(lambda vm: _parent(vm, "/made/here", "/made/here"))
    check("cgroupfs: no group stays")(_clean)


def _scope(vm: Vm) -> None:
    name = vm.firkin("inspect -f '{{.Id}}' limited")
    group = _group(vm, "limited")
    expect(group == f"/sys/fs/cgroup/system.slice/firkin-{name}.scope", group)
    shown = vm.out(f"systemctl show -p Delegate,MemoryMax,ActiveState firkin-{name}.scope").split()
    expect({"Delegate=yes", "ActiveState=active"} <= set(shown), shown)


def _service_ends(vm: Vm) -> None:
    vm.firkin("run -d --name counts -p 8090:80 busybox sh -c "
              "'echo web >index.html; httpd; i=0; while ! [ -e /enough ]; do echo $i; i=$((i+1)); "
              "usleep 50000; done; exit 9'")  # fmt: skip
    pid = vm.firkin("inspect -f '{{.State.Pid}}' counts")
    # The monitors are processes of the service too: only the engine is to be killed.
    for verb in ("restart", "kill --kill-whom=main -s KILL"):
        vm.out(f"systemctl {verb} firkin.service")
        vm.until(f"{FIRKIN} version")
        found = vm.firkin("inspect -f '{{.State.Pid}}' counts")
        expect(found == pid, verb, found, "was", pid)
        expect(vm.out("busybox wget -q -O - http://127.0.0.1:8090") == "web", verb)
    vm.firkin("exec counts touch /enough")
    expect(vm.firkin("wait counts") == "9")
    lines = vm.firkin("logs counts").split()
    expect(
        lines == [str(n) for n in range(len(lines))], f"{len(lines)} lines", lines[:3], lines[-3:]
    )
    expect(len(lines) > 10, lines)


def _cgroupfs(vm: Vm) -> None:
    vm.engine("--exec-opt native.cgroupdriver=cgroupfs")
    shown = vm.firkin("info --format '{{.CgroupDriver}} {{.CgroupVersion}}'")
    expect(shown == "cgroupfs 2", shown)


_for_each_driver()


@check("a container of one driver is known, stopped and removed under the other")
def driver_changes(vm: Vm) -> None:
    vm.firkin("run -d --name stays busybox sleep 1000")
    group = _group(vm, "stays")
    vm.engine("--exec-opt native.cgroupdriver=systemd")
    vm.firkin("pause stays")
    vm.firkin("unpause stays")
    vm.firkin("exec stays true")
    vm.firkin("rm -f stays")
    vm.until(f"! test -e {group}")
    _clean(vm)


@check("the journal takes a container's log, and gives it back")
def journal(vm: Vm) -> None:
    vm.firkin(
        "run --name told --log-driver journald --log-opt tag={{.Name}} busybox echo to the journal"
    )
    vm.until("journalctl -o cat CONTAINER_NAME=told CONTAINER_TAG=told | grep -qx 'to the journal'")
    vm.until(f"{FIRKIN} logs told | grep -qx 'to the journal'")
    vm.firkin("rm told")


@check("a published port answers, by rules in a table of our own only")
def published(vm: Vm) -> None:
    vm.out(
        "nft add table inet mine; nft add chain inet mine all; nft -s list table inet mine >/tmp/m"
    )
    vm.firkin("run -d --name web -p 8091:80 busybox sh -c 'echo web >index.html; httpd -f'")
    vm.until("busybox wget -q -O - http://127.0.0.1:8091 | grep -q web")
    address = vm.out("ip -4 -o addr show dev enp0s1 | tr -s ' /' ' ' | cut -d' ' -f4")
    expect(vm.out(f"busybox wget -q -O - http://{address}:8091") == "web")
    tables = vm.out("nft list tables").splitlines()
    expect(sorted(tables) == ["table inet firkin", "table inet mine"], tables)
    vm.out("nft -s list table inet mine | diff - /tmp/m")
    vm.firkin("rm -f web")
    expect(vm.machine.run("busybox wget -q -T 3 -O - http://127.0.0.1:8091").code)


@check("what came back from a reboot is what the restart policies say")
def reboot(vm: Vm) -> None:
    for name, policy in (
        ("always", "always"), ("unless", "unless-stopped"), ("plain", "no"),
        ("stopped", "unless-stopped"), ("stopped-always", "always"), ("fails", "on-failure"),
    ):  # fmt: skip
        given = f"--name {name} --restart {policy} -v {name}:/data -p 80"
        vm.firkin(
            f"run -d {given} busybox sh -c "
            "'echo began >>/data/log; echo web >index.html; httpd; sleep 100000'"
        )
    vm.firkin("stop -t 0 stopped stopped-always")
    vm.firkin("network create --subnet 10.77.0.0/24 made")
    server = "sh -c 'echo from the server >index.html; httpd -f'"
    vm.firkin(
        f"run -d --name server --restart always --network made --ip 10.77.0.9 busybox {server}"
    )
    vm.firkin("run -d --name asker --restart always --network made busybox sleep 100000")
    vm.boot = vm.machine.reboot(vm.boot)
    vm.until(f"{FIRKIN} version")
    wanted = {"server": "running", "asker": "running",
              "always": "running", "unless": "running", "plain": "exited", "stopped": "exited",
              "stopped-always": "running", "fails": "running"}  # fmt: skip
    deadline = time.monotonic() + 60
    while (shown := _states(vm)) != wanted and time.monotonic() < deadline:
        time.sleep(1)
    expect(shown == wanted, shown)
    began = vm.firkin("exec always cat /data/log").split()
    expect(began == ["began", "began"], began)
    where = vm.firkin("port always 80").splitlines()[0].rpartition(":")[2]
    vm.until(f"busybox wget -q -O - http://127.0.0.1:{where} | grep -q web", seconds=30)
    vm.until(f"{FIRKIN} exec asker wget -q -O - http://server | grep -q 'from the server'")
    address = "{{.NetworkSettings.Networks.made.IPAddress}}"
    expect(vm.firkin(f"inspect -f '{address}' server") == "10.77.0.9")
    vm.firkin("start plain")
    vm.clear()
    vm.firkin("network rm made")


def _states(vm: Vm) -> dict[str, str]:
    lines = vm.firkin("ps -a --format '{{.Names}} {{.State}}'").splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


@check("a power cut while containers start and end loses and leaks nothing")
def power_cut(vm: Vm) -> None:
    vm.clear()
    vm.firkin("run -d --name kept --restart always -v kept:/data busybox sleep 100000")
    vm.boot = vm.machine.reboot(
        vm.boot,
        f"sync; (while :; do {FIRKIN} run --rm -v /x busybox true; done) >/dev/null 2>&1 &"
        " sleep 5; echo b >/proc/sysrq-trigger",
    )
    vm.until(f"{FIRKIN} version")
    vm.until(f"{FIRKIN} ps --format '{{{{.Names}}}}' | grep -q kept")
    vm.until(f"[ $({FIRKIN} ps -aq | wc -l) = 1 ]", seconds=30)
    vm.clear()
    left = vm.firkin("volume ls -q").split()
    expect(all(len(name) < 64 for name in left), "anonymous volumes left:", left)


@check("the integration tests that need a host of their own")
def integration(vm: Vm) -> None:
    vm.out("systemctl stop firkin.service firkin.socket")
    tests = ("tests/integration/oci/test_runtime.py tests/integration/network/test_reach.py "
             "tests/integration/faults/test_reboot.py tests/unit/linux "
             "tests/integration/storage/test_disk_usage.py")  # fmt: skip
    vm.out(f"cd {CLONE} && scripts/setup --tests && .venv/bin/python -m pytest -q -x {tests}",
           timeout=3600)  # fmt: skip
