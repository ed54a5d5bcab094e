"""Specs run by the real runtimes: what the container sees is what the spec means."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from firkin.oci import capabilities, hostdevs, process, seccomp, security, spec
from firkin.oci import user as users
from firkin.types import container
from firkin.types.mount import Mount

BUSYBOX = "/bin/busybox"
RUNTIMES = [name for name in ("crun", "runc") if shutil.which(name)]
PARENT = f"firkin-oci-test-{os.getpid()}"
V2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
# on v1 the runtimes mount a small tmpfs of their own there, and the hierarchies below
CGROUP = "/sys/fs/cgroup" if V2 else "/sys/fs/cgroup/memory"
OWN_CAPS = capabilities.from_mask(
    next(
        line.split()[1]
        for line in pathlib.Path("/proc/self/status").read_text().splitlines()
        if line.startswith("CapBnd")
    )
)
_counter = itertools.count()

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(not RUNTIMES, reason="needs crun or runc"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="needs a static busybox"),
]

Run = Callable[..., str]


@pytest.fixture(scope="module", autouse=True)
def _no_cgroups_left() -> Iterator[None]:
    yield
    for root, directories, _ in os.walk("/sys/fs/cgroup"):
        if PARENT in directories:
            for path, _, _ in os.walk(os.path.join(root, PARENT), topdown=False):
                os.rmdir(path)
            directories.remove(PARENT)


@pytest.fixture(params=RUNTIMES)
def run(request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> Iterator[Run]:
    """Runs a shell script in a container and returns what it prints, errors included."""
    runtime = str(request.param)
    root = tmp_path / "rootfs"
    for directory in ("bin", "sbin", "proc", "sys", "dev", "tmp", "etc", "usr"):
        (root / directory).mkdir(parents=True, exist_ok=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    (root / "bin/sh").symlink_to("busybox")
    for library in ("lib", "lib64"):
        if os.path.islink(f"/{library}"):
            (root / library).symlink_to(f"usr/{library}")
    started: list[str] = []
    state = str(tmp_path / "state")

    def invoke(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [runtime, "--root", state, *arguments],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            # a detached container keeps the pipe open
            stdout=subprocess.DEVNULL if "--detach" in arguments else subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )

    def start(
        script: str,
        host: container.HostConfig | None = None,
        *,
        detach: bool = False,
        fails: bool = False,
        **changes: object,
    ) -> str:
        name = f"firkin-oci-{os.getpid()}-{next(_counter)}"
        given = spec.SpecInput(
            container_id=name,
            config=container.Config(domainname=str(changes.pop("domainname", ""))),
            host=host or container.HostConfig(),
            args=["/bin/sh", "-c", script],
            env=process.environment(["PATH=/bin:/sbin:/usr/bin"], hostname="box", tty=False),
            user=users.User(additional_gids=(0,)),
            rootfs=str(root),
            hostname="box",
            # perl is part of every Debian and can make any system call
            mounts=(
                Mount(destination="/usr", type="bind", source="/usr", options=("rbind", "ro")),
            ),
            namespaces=spec.Namespaces(cgroup="private" if V2 else "host"),
            cgroups_path=f"/{PARENT}/{name}",
            cgroup_v2=V2,
            lookup_device=hostdevs.lookup,
            kernel_caps=OWN_CAPS,
            kernel=seccomp.kernel_version(platform.release()),
            arch=platform.machine(),
        )
        document = spec.build(dataclasses.replace(given, **changes))  # type: ignore[arg-type]
        (tmp_path / "config.json").write_text(json.dumps(document))
        started.append(name)
        result = invoke("run", *(["--detach"] if detach else []), name)
        if not fails:
            assert result.returncode == 0, result.stdout
        return name if detach else result.stdout

    start.invoke = invoke  # type: ignore[attr-defined]
    yield start
    for name in started:
        invoke("delete", "--force", name)


def _status(text: str) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def _mask(names: list[str]) -> str:
    return f"{sum(1 << capabilities.ALL.index(name) for name in names):016x}"


def _syscall(*numbers: int) -> str:
    arguments = ", ".join(map(str, numbers))
    return f"perl -e '$! = 0; $r = syscall({arguments}); print $r < 0 ? $! + 0 : 0, qq(\\n)'"


def test_default_process(run: Run) -> None:
    status = _status(run("cat /proc/self/status"))
    expected = _mask(capabilities.resolve(None, None))
    assert status["CapEff"] == status["CapBnd"] == status["CapPrm"] == expected
    assert status["CapInh"] == status["CapAmb"] == "0" * 16
    assert status["Seccomp"] == "2"
    assert status["NoNewPrivs"] == "0"


def test_other_user_has_no_effective_capabilities(run: Run) -> None:
    status = _status(
        run("cat /proc/self/status", user=users.User(uid=1000, gid=50, additional_gids=(50, 7)))
    )
    assert status["CapEff"] == status["CapPrm"] == "0" * 16
    assert status["CapBnd"] == _mask(capabilities.resolve(None, None))
    assert status["Uid"].split() == ["1000"] * 4
    assert set(status["Groups"].split()) == {"7", "50"}


def test_capabilities_and_no_new_privileges(run: Run) -> None:
    host = container.HostConfig(
        cap_drop=["ALL"], cap_add=["net_admin"], security_opt=["no-new-privileges"]
    )
    status = _status(run("cat /proc/self/status", host))
    assert status["CapEff"] == _mask(["CAP_NET_ADMIN"])
    assert status["NoNewPrivs"] == "1"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of x86_64 system calls")
@pytest.mark.parametrize(
    ("numbers", "error"),
    [
        ((250, 0, 0), 1),  # keyctl
        ((135, 0x40000), 1),  # personality(ADDR_NO_RANDOMIZE)
        ((135, 0xFFFFFFFF), 0),  # personality, query
        ((272, 0x10000000), 1),  # unshare(CLONE_NEWUSER)
        ((56, 0x10000000 | 17, 0, 0, 0, 0), 1),  # clone(CLONE_NEWUSER | SIGCHLD)
        ((435, 0, 0), 38),  # clone3: ENOSYS
        ((425, 1, 0), 1),  # io_uring_setup
        ((323, 0), 1),  # userfaultfd
        ((41, 2, 1, 0), 0),  # socket(AF_INET)
        ((41, 40, 1, 0), 1),  # socket(AF_VSOCK)
        ((41, 38, 5, 0), 1),  # socket(AF_ALG)
        ((101, 0x4206, 999999, 0, 0), 3),  # ptrace(SEIZE): ESRCH, so it got through
        ((161, 0), 14),  # chroot(NULL): EFAULT, so it got through
    ],
)
def test_default_filter(run: Run, numbers: tuple[int, ...], error: int) -> None:
    assert run(_syscall(*numbers)).strip() == str(error)


def test_filter_opens_with_capability(run: Run) -> None:
    refused = run(
        "unshare -m true 2>&1 || echo refused", args=_shell("unshare -m true"), fails=True
    )
    assert "not permitted" in refused
    host = container.HostConfig(cap_add=["SYS_ADMIN"])
    assert run("", host, args=_shell("unshare -m echo worked")).strip() == "worked"


def _shell(script: str) -> list[str]:
    return ["/bin/busybox", *script.split()]


def test_user_profile(run: Run) -> None:
    profile = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {
                "names": ["chmod", "fchmodat", "fchmodat2"],
                "action": "SCMP_ACT_ERRNO",
                "includes": {"caps": ["CAP_SYS_ADMIN"]},
            },
        ],
    }
    host = container.HostConfig(security_opt=["seccomp=" + json.dumps(profile)])
    output = run("busybox mkdir /tmp/x 2>&1; busybox chmod 700 /tmp && echo changed", host)
    assert "No space left" in output
    assert "changed" in output


def test_unconfined(run: Run) -> None:
    host = container.HostConfig(security_opt=["seccomp=unconfined"])
    assert _status(run("cat /proc/self/status", host))["Seccomp"] == "0"


def _mount_table(text: str) -> dict[str, tuple[str, set[str]]]:
    table = {}
    for line in text.splitlines():
        _, point, kind, options, *_ = line.split()
        table[point] = (kind, set(options.split(",")))
    return table


def test_default_mounts_and_masks(run: Run) -> None:
    table = _mount_table(run("cat /proc/mounts"))
    assert table["/proc"][0] == "proc"
    assert table["/dev"][0] == "tmpfs"
    assert table["/dev/pts"][0] == "devpts"
    assert table["/dev/mqueue"][0] == "mqueue"
    kind, options = table["/dev/shm"]
    assert kind == "tmpfs"
    assert {"nosuid", "noexec", "nodev", "size=65536k"} <= options
    for point in ("/sys", CGROUP, *filter(os.path.exists, security.READONLY)):
        assert "ro" in table[point][1], point
    for path in filter(os.path.exists, security.MASKED):
        assert path in table, path
    assert "ro" in table["/sys/firmware"][1]
    assert run("wc -c < /proc/interrupts; wc -c < /proc/timer_list 2>/dev/null || echo 0") == (
        "0\n0\n"
    )
    nodes = set(run("ls /dev").split())
    assert {"null", "zero", "full", "random", "urandom", "tty", "ptmx", "shm"} <= nodes
    assert not {"vda", "kmsg", "mem", "fuse"} & nodes


def test_system_paths_unconfined(run: Run) -> None:
    host = container.HostConfig(security_opt=["systempaths=unconfined"])
    table = _mount_table(run("cat /proc/mounts", host))
    assert not [point for point in table if point.startswith("/proc/")]


def test_devices_are_limited(run: Run) -> None:
    script = (
        "mkdir /tmp/$$; cd /tmp/$$; mknod mem c 1 1 && head -c0 mem 2>&1;"
        "mknod fuse c 10 229 && head -c0 fuse 2>&1; mknod zero c 1 5 && head -c3 zero | wc -c"
    )
    output = run(script)
    assert "mem: Operation not permitted" in output
    assert "fuse: Operation not permitted" in output
    assert output.splitlines()[-1] == "3"
    allowed = run(
        script.replace("$$", "second"), container.HostConfig(device_cgroup_rules=["c 10:229 r"])
    )
    assert "mem: Operation not permitted" in allowed
    assert "fuse: Operation not permitted" not in allowed


@pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="needs /dev/fuse")
def test_device_given(run: Run) -> None:
    host = container.HostConfig(
        devices=[container.DeviceMapping(path_on_host="/dev/fuse", path_in_container="/dev/mine")]
    )
    output = run("head -c0 /dev/mine 2>&1; stat -c '%t:%T' /dev/mine; ls /dev", host)
    assert "not permitted" not in output
    assert "a:e5" in output.splitlines()
    assert "fuse" not in output.splitlines()


def test_privileged(run: Run) -> None:
    host = container.HostConfig(privileged=True)
    output = run(
        "cat /proc/self/status; cat /proc/mounts | sed 's/^/M /'; ls /dev | sed 's/^/D /'",
        host,
        host_devices=tuple(hostdevs.every()),
    )
    status = _status(output)
    assert status["CapEff"] == _mask(list(OWN_CAPS))
    assert status["Seccomp"] == "0"
    table = _mount_table("\n".join(x[2:] for x in output.splitlines() if x.startswith("M ")))
    assert "rw" in table["/sys"][1]
    assert "rw" in table[CGROUP][1]
    assert not set(security.MASKED) & set(table)
    assert "D kmsg" in output.splitlines()


def test_limits_and_sysctls(run: Run) -> None:
    host = container.HostConfig(
        ulimits=[
            container.Ulimit(name="nofile", soft=100, hard=200),
            container.Ulimit(name="core", soft=-1, hard=-1),
        ],
        sysctls={"kernel.shmmax": "12345678", "net/ipv4/ip_default_ttl": "77"},
        oom_score_adj=321,
        shm_size=3 << 20,
    )
    output = run(
        "ulimit -n; ulimit -Hn; ulimit -c; cd /proc/sys; cat kernel/shmmax "
        "net/ipv4/ip_default_ttl net/ipv4/ip_unprivileged_port_start kernel/domainname "
        "kernel/hostname; cat /proc/self/oom_score_adj; grep /dev/shm /proc/mounts",
        host,
        domainname="example.org",
    ).split("\n")
    assert output[:9] == [
        "100",
        "200",
        "unlimited",
        "12345678",
        "77",
        "0",
        "example.org",
        "box",
        "321",
    ]
    assert "size=3072k" in output[9]


def test_readonly_rootfs_and_tmpfs(run: Run) -> None:
    host = container.HostConfig(readonly_rootfs=True, tmpfs={"/tmp": "size=1m,mode=1777,exec"})
    output = run(
        "touch /x 2>&1; touch /tmp/y /dev/shm/z && echo wrote; grep ' /tmp ' /proc/mounts", host
    )
    assert "Read-only file system" in output
    assert "wrote" in output
    options = _mount_table(output.splitlines()[-1])["/tmp"][1]
    assert {"nosuid", "nodev", "size=1024k"} <= options
    assert "noexec" not in options


@pytest.mark.skipif(V2, reason="cgroup v1 file names")
def test_resources_v1(run: Run) -> None:
    host = container.HostConfig(
        memory=32 << 20,
        memory_reservation=16 << 20,
        memory_swappiness=0,
        nano_cpus=500_000_000,
        cpu_shares=1,
        cpuset_cpus="0",
        pids_limit=50,
    )
    output = run(
        "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes "
        "memory/memory.soft_limit_in_bytes memory/memory.swappiness cpu/cpu.cfs_quota_us "
        "cpu/cpu.cfs_period_us cpu/cpu.shares cpuset/cpuset.cpus pids/pids.max",
        host,
    )
    assert output.split() == [
        str(32 << 20),
        str(64 << 20),
        str(16 << 20),
        "0",
        "50000",
        "100000",
        "2",
        "0",
        "50",
    ]


def test_init_is_process_one(run: Run) -> None:
    tini = next((p for p in ("/usr/bin/tini-static", "/usr/bin/tini") if os.path.exists(p)), "")
    if not tini:
        pytest.skip("needs tini")
    output = run("cat /proc/1/cmdline | tr '\\0' ' '; echo $$", init_path=tini)
    assert output.startswith("/sbin/docker-init -- /bin/sh -c")
    assert output.splitlines()[-1] != "1"


def test_host_namespaces(run: Run) -> None:
    output = run(
        "for kind in net ipc uts pid; do readlink /proc/self/ns/$kind; done",
        container.HostConfig(network_mode="host"),
        namespaces=spec.Namespaces(
            network="host", ipc="host", uts="host", pid="host", cgroup="host"
        ),
    )
    assert output.split() == [
        os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "ipc", "uts", "pid")
    ]


def test_exec(run: Run, tmp_path: pathlib.Path) -> None:
    host = container.HostConfig(ulimits=[container.Ulimit(name="nofile", soft=64, hard=64)])
    name = run("sleep 60", host, detach=True)
    base = json.loads((tmp_path / "config.json").read_text())["process"]
    invoke = run.invoke  # type: ignore[attr-defined]

    def execute(request: container.ExecCreateRequest, user: users.User | None = None) -> str:
        document = process.exec_process(base, request, user, kernel_caps=OWN_CAPS)
        (tmp_path / "process.json").write_text(json.dumps(document))
        return str(invoke("exec", "--process", str(tmp_path / "process.json"), name).stdout)

    script = "cat /proc/self/status; echo $A $PATH; ulimit -n; pwd"
    command = ["/bin/sh", "-c", script]
    output = execute(container.ExecCreateRequest(cmd=command, env=["A=b"], working_dir="/tmp"))
    assert _status(output)["CapEff"] == _mask(capabilities.resolve(None, None))
    assert output.splitlines()[-3:] == ["b /bin:/sbin:/usr/bin", "64", "/tmp"]
    other = _status(execute(container.ExecCreateRequest(cmd=command), users.User(uid=9, gid=8)))
    assert other["CapEff"] == "0" * 16
    assert other["Uid"].split()[0] == "9"
    privileged = execute(container.ExecCreateRequest(cmd=command, privileged=True))
    assert _status(privileged)["CapEff"] == _mask(list(OWN_CAPS))
