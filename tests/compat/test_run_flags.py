"""Flags of ``run``, each judged by what the process in the container sees of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rig import Engine

pytestmark = pytest.mark.root

_DEFAULT_CAPS = "00000000a80425fb"

INSIDE: list[tuple[list[str], str, str]] = [
    # process
    (["-e", "A=1", "-e", "B=two words"], 'echo "$A $B"', "1 two words"),
    (["-w", "/var/new/dir"], "pwd", "/var/new/dir"),
    (["-u", "1000:2000"], "id -u; id -g", "1000\n2000"),
    (["-u", "1000"], "id -g", "0"),
    (["--group-add", "555", "--group-add", "666"], "id -G", "0 555 666|0 .*555 666"),
    (["-h", "inner", "--domainname", "example.org"], "hostname; cat /proc/sys/kernel/domainname",
     "inner\nexample.org"),
    (["--entrypoint", "echo", "--label", "a=b"], "x", "-c x"),
    (["--init"], "cat /proc/1/comm", "(docker-init|tini|catatonit)"),
    (["--stop-signal", "SIGUSR1", "--annotation", "a=b"], "echo fine", "fine"),
    (["-t"], "tty", "/dev/pts/0"),
    # isolation
    ([], "grep CapBnd /proc/self/status", f"CapBnd:\\s+{_DEFAULT_CAPS}"),
    (["--cap-drop", "ALL"], "grep CapBnd /proc/self/status", "CapBnd:\\s+0{16}"),
    (["--cap-drop", "ALL", "--cap-add", "CHOWN"], "grep CapEff /proc/self/status",
     "CapEff:\\s+0{15}1"),
    (["--cap-add", "NET_ADMIN"], "ip link add d0 type bridge && echo made", "made"),
    ([], "ip link add d0 type bridge 2>&1 || echo refused", "[^$]*refused"),
    ([], "grep Seccomp: /proc/self/status", "Seccomp:\\s+2"),
    (["--security-opt", "seccomp=unconfined"], "grep Seccomp: /proc/self/status", "Seccomp:\\s+0"),
    (["--security-opt", "no-new-privileges"], "grep NoNewPrivs /proc/self/status",
     "NoNewPrivs:\\s+1"),
    (["--security-opt", "no-new-privileges:true"], "grep NoNewPrivs /proc/self/status",
     "NoNewPrivs:\\s+1"),
    ([], "echo x 2>/dev/null > /proc/sys/kernel/domainname || echo ro", "ro"),
    ([], "ls /sys/firmware | wc -l; wc -c < /proc/keys", "0\n0"),
    (["--security-opt", "systempaths=unconfined"], "grep -c /proc/kcore /proc/mounts", "0"),
    (["--privileged"], "echo x > /proc/sys/kernel/domainname && grep Seccomp: /proc/self/status",
     "Seccomp:\\s+0"),
    (["--privileged"], "ls /dev | grep -c loop-control", "1"),
    (["--read-only", "--tmpfs", "/scratch:size=1m,mode=700"],
     "touch /x 2>/dev/null || echo ro; touch /scratch/x && stat -c %a /scratch; "
     "grep -o ' /scratch .*size=[0-9]*k' /proc/mounts | grep -o '[0-9]*k$'", "ro\n700\n1024k"),
    (["--shm-size", "8m"], "df -k /dev/shm | tail -1 | awk '{print $2}'", "8192"),
    ([], "df -k /dev/shm | tail -1 | awk '{print $2}'", "65536"),
    (["--device", "/dev/null:/dev/mine:r"], "test -c /dev/mine && echo there", "there"),
    (["--device", "/dev/kmsg:/dev/mine:r", "--cap-add", "SYSLOG"],
     "head -c 0 /dev/mine && echo opens", "opens"),
    (["--device-cgroup-rule", "c 1:11 rwm", "--cap-add", "MKNOD", "--cap-add", "SYSLOG"],
     "mknod /k c 1 11 && head -c 0 /k && echo opens", "opens"),
    (["--cap-add", "MKNOD"], "mknod /k c 1 11 && head -c 1 /k 2>&1 | tail -1", ".*not permitted"),
    (["--ulimit", "nofile=123:456", "--ulimit", "core=0"], "ulimit -Sn; ulimit -Hn; ulimit -c",
     "123\n456\n0"),
    (["--sysctl", "net.ipv4.ip_forward=0", "--sysctl", "kernel.msgmax=5555"],
     "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax", "0\n5555"),
    (["--oom-score-adj", "333"], "cat /proc/self/oom_score_adj", "333"),
    ([], "ls /dev | sort | tr '\\n' ' '",
     "core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero"),
    # mounts
    (["-v", "/data"], "touch /data/x; grep -c ' /data ' /proc/mounts", "1"),
    (["--mount", "type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=1777"],
     "df -k /t | tail -1 | awk '{print $2}'; stat -c %a /t", "2048\n1777"),
    (["--mount", "type=volume,dst=/v,readonly"], "touch /v/x 2>/dev/null || echo ro", "ro"),
    # network
    (["--network", "none"], "ls /sys/class/net", "lo"),
    (["--dns", "192.0.2.1", "--dns-search", "example.org", "--dns-option", "ndots:3"],
     "grep -v '^#' /etc/resolv.conf", "nameserver 192.0.2.1\nsearch example.org\noptions ndots:3"),
    (["--add-host", "there:192.0.2.7"], "grep there /etc/hosts", "192.0.2.7\\s+there"),
    (["--add-host", "me:host-gateway"], "grep me$ /etc/hosts", "\\d+\\.\\d+\\.\\d+\\.1\\s+me"),
    (["--mac-address", "02:aa:bb:cc:dd:ee"], "cat /sys/class/net/eth0/address",
     "02:aa:bb:cc:dd:ee"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "script", "expected"), INSIDE)
def test_inside(engine: Engine, flags: list[str], script: str, expected: str) -> None:
    words = ["busybox", "sh", "-c", script]
    if "--entrypoint" in flags:
        words = ["busybox", "-c", script]
    done = engine.run("run", "--rm", *flags, *words, client="docker", check=False)
    text = done.stdout.decode().replace("\r", "").strip()
    assert re.fullmatch(expected, text), (text, done.stderr)


LIMITS: list[tuple[list[str], str, str, str, str]] = [
    (["--memory", "64m"], "memory", "memory.limit_in_bytes", "memory.max", "67108864"),
    (["--memory", "64m", "--memory-reservation", "32m"], "memory",
     "memory.soft_limit_in_bytes", "memory.low", "33554432"),
    (["--memory", "64m", "--memory-swap", "64m"], "memory", "memory.memsw.limit_in_bytes",
     "memory.swap.max", "67108864|0"),
    (["--cpus", "1.5"], "cpu", "cpu.cfs_quota_us", "cpu.max", "150000( 100000)?"),
    (["--cpu-quota", "5000", "--cpu-period", "10000"], "cpu", "cpu.cfs_quota_us", "cpu.max",
     "5000( 10000)?"),
    (["--cpu-shares", "512"], "cpu", "cpu.shares", "cpu.weight", "512|20"),
    (["--cpuset-cpus", "0"], "cpuset", "cpuset.cpus", "cpuset.cpus", "0"),
    (["--pids-limit", "77"], "pids", "pids.max", "pids.max", "77"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "controller", "v1", "v2", "expected"), LIMITS)
def test_limits(
    engine: Engine, flags: list[str], controller: str, v1: str, v2: str, expected: str
) -> None:
    box = engine.out("run", "-d", *flags, "busybox", "sleep", "100", client="docker")
    old = Path("/sys/fs/cgroup", controller, "firkin", box, v1)
    new = Path("/sys/fs/cgroup/firkin", box, v2)
    text = (old if old.exists() else new).read_text().strip()
    assert re.fullmatch(expected, text)


REFUSED: list[tuple[list[str], int, str]] = [
    (["--memory", "4m"], 125, "6MB"),
    (["--memory", "nonsense"], 125, "nonsense"),
    (["--cpus", "1000"], 125, "CPUs"),
    (["--cpuset-cpus", "999"], 125, "999"),
    (["-v", "relative/path:/x"], 125, "relative/path"),
    (["-v", "/a:relative"], 125, "relative"),
    (["--mount", "type=bind,src=/nonexistent/dir,dst=/x"], 125, "/nonexistent/dir"),
    (["--mount", "type=wrong,dst=/x"], 125, "wrong"),
    (["-p", "70000:80"], 125, "70000"),
    (["-p", "80:80:80:80"], 125, "80:80"),
    (["--network", "nosuchnet"], 125, "nosuchnet"),
    (["--network", "container:nosuch"], 125, "nosuch"),
    (["--ip", "192.0.2.99"], 125, "192.0.2.99"),
    (["--cap-add", "NOT_A_CAP"], 125, "NOT_A_CAP"),
    (["--ulimit", "nofile=5:2"], 125, "nofile|soft"),
    (["--sysctl", "kernel.hostname=x"], 125, "kernel.hostname"),
    (["--security-opt", "seccomp=/nonexistent.json"], 125, "nonexistent"),
    (["--device", "/dev/nosuch"], 127, "/dev/nosuch"),
    (["--user", "nosuchuser"], 125, "nosuchuser"),
    (["--runtime", "nosuch"], 125, "nosuch"),
    (["--platform", "linux/s390x", "--pull", "never"], 125, "s390x|platform"),
    (["--name", "../x"], 125, "name"),
    (["--restart", "always"], 125, "[Cc]onflict|restart"),
    (["--pid", "container:nosuch"], 125, "nosuch"),
    (["--stop-signal", "SIGNOPE"], 125, "SIGNOPE"),
    (["--env-file", "/nonexistent.env"], 125, "nonexistent.env"),
]  # fmt: skip


@pytest.mark.parametrize(("flags", "status", "text"), REFUSED)
def test_refused(engine: Engine, client: str, flags: list[str], status: int, text: str) -> None:
    done = engine.run("run", "--rm", *flags, "busybox", "true", client=client, check=False)
    assert done.returncode == status, done
    assert re.search(text, done.stderr.decode()), done.stderr
    assert engine.out("ps", "-aq") == ""


def test_files_given_to_run(engine: Engine, client: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# comment\nFROM_FILE=yes\nPATH_LIKE=a=b\n")
    (tmp_path / "labels").write_text("l1=one\n")
    out = engine.out(
        "run", "--env-file", str(tmp_path / "env"), "--label-file", str(tmp_path / "labels"),
        "--cidfile", str(tmp_path / "cid"), "busybox", "sh", "-c", "echo $FROM_FILE $PATH_LIKE",
        client=client,
    )  # fmt: skip
    assert out == "yes a=b"
    box = (tmp_path / "cid").read_text()
    assert engine.out("ps", "-aq", "--no-trunc", "--filter", "label=l1=one") == box
    again = engine.run(
        "run", "--cidfile", str(tmp_path / "cid"), "busybox", client=client, check=False
    )
    assert again.returncode == 125


def test_namespaces_of_others(engine: Engine, client: str) -> None:
    engine.run("run", "-d", "--name", "first", "--ipc", "shareable", "-h", "first", "busybox",
               "sleep", "100", client=client)  # fmt: skip

    def namespace(kind: str, *flags: str) -> str:
        return engine.out("run", "--rm", *flags, "busybox", "readlink", f"/proc/self/ns/{kind}",
                          client=client)  # fmt: skip

    def of_first(kind: str) -> str:
        return engine.out("exec", "first", "readlink", f"/proc/1/ns/{kind}")

    for kind, flag in (("net", "--network"), ("pid", "--pid"), ("ipc", "--ipc")):
        assert namespace(kind, flag, "container:first") == of_first(kind)
        assert namespace(kind) != of_first(kind)
    host = {kind: str(Path(f"/proc/self/ns/{kind}").readlink())
            for kind in ("net", "pid", "ipc", "uts", "cgroup", "user")}  # fmt: skip
    for kind, flag in (("net", "--network"), ("pid", "--pid"), ("ipc", "--ipc"), ("uts", "--uts"),
                       ("cgroup", "--cgroupns"), ("user", "--userns")):  # fmt: skip
        assert namespace(kind, flag, "host") == host[kind]


def test_mounts_of_the_host(engine: Engine, client: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("outside")
    bind = f"{tmp_path}:/b"
    script = "cat /b/file; touch /b/x 2>/dev/null && echo written"
    assert engine.out("run", "--rm", "-v", bind, "busybox", "sh", "-c", script, client=client) == (
        "outsidewritten"
    )
    file = tmp_path / "file"
    file.write_text("of the host")
    for words in (["-v", f"{file}:/f:ro"], ["--mount", f"type=bind,src={file},dst=/f,readonly"]):
        assert engine.out("run", "--rm", *words, "busybox", "cat", "/f", client=client) == (
            "of the host"
        )
    done = engine.run("run", "--rm", "-v", f"{bind}:ro", "busybox", "touch", "/b/y", client=client,
                      check=False)  # fmt: skip
    assert b"Read-only" in done.stderr
    shared = engine.out("run", "--rm", "-v", f"{bind}:rslave", "busybox", "grep", " /b ",
                        "/proc/self/mountinfo", client=client)  # fmt: skip
    assert "master:" in shared or "shared:" not in shared
    missing = tmp_path / "made"
    engine.run("run", "--rm", "-v", f"{missing}:/m", "busybox", "true", client=client)
    assert missing.is_dir()


def test_named_volume_gets_the_image_s_files(engine: Engine, client: str) -> None:
    engine.run("run", "--rm", "-v", "copied:/etc", "busybox", "touch", "/etc/mine", client=client)
    seen = engine.out("run", "--rm", "-v", "copied:/look", "busybox", "ls", "/look", client=client)
    assert "mine" in seen.split()
    assert "passwd" in seen.split()
    engine.run("run", "--rm", "-v", "empty:/etc:nocopy", "busybox", "ls", "/etc", client=client)
    seen = engine.out("run", "--rm", "-v", "empty:/look", "busybox", "ls", "/look", client=client)
    assert "passwd" not in seen.split()
    engine.run("volume", "rm", "copied", "empty", client=client)


def test_pull_policy(engine: Engine, client: str) -> None:
    done = engine.run("run", "--rm", "--pull", "never", "nosuch:1", client=client, check=False)
    assert done.returncode == 125
    assert b"nosuch:1" in done.stderr


def test_the_engine_s_socket_inside(engine: Engine, client: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        '{"auths": {"r.example": {"auth": "dTpw"}}, "HttpHeaders": {"X-Mine": "alone"}}'
    )
    script = "stat -c %F /var/run/docker.sock; stat -c %a $DOCKER_CONFIG/config.json; "
    script += "cat $DOCKER_CONFIG/config.json"
    words = ("run", "--rm", "--use-api-socket", "busybox", "sh", "-c", script)
    kind, mode, *config = engine.out("--config", str(tmp_path), *words, client=client).split("\n")
    assert (kind, mode) == ("socket", "600")
    assert json.loads("".join(config)) == {"auths": {"r.example": {"auth": "dTpw"}}}
    bare = ("run", "--rm", "--use-api-socket", "busybox", "env")
    assert "DOCKER_CONFIG" not in engine.out(*bare, client=client)
