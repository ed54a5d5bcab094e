"""Restart policies, waits, removals, pauses, links and slow stops."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rig
import unixhttp
from firkin.linux import kmsg
from rig import Engine

pytestmark = pytest.mark.root


def until(condition: Callable[[], Any], what: object = "") -> Any:
    deadline = time.monotonic() + 60
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.1)
    return found


def inspect(engine: Engine, name: str) -> Any:
    return json.loads(engine.out("inspect", name))[0]


def restarts(engine: Engine, name: str) -> int:
    return int(inspect(engine, name)["RestartCount"])


def status(engine: Engine, name: str) -> str:
    return str(inspect(engine, name)["State"]["Status"])


def test_on_failure_counts_and_gives_up(engine: Engine, client: str) -> None:
    engine.run("run", "-d", "--name", "of", "--restart", "on-failure:2", "busybox", "sh", "-c",
               "echo ran; exit 3", client=client)  # fmt: skip
    until(lambda: status(engine, "of") == "exited")
    assert restarts(engine, "of") == 2
    assert engine.out("logs", "of", client=client).split() == ["ran"] * 3
    engine.run("start", "of", client=client)  # by hand: the count begins again
    until(lambda: status(engine, "of") == "exited" and len(engine.out("logs", "of").split()) == 6)
    assert restarts(engine, "of") == 2
    engine.run("run", "-d", "--name", "ok", "--restart", "on-failure", "busybox", "true")
    until(lambda: status(engine, "ok") == "exited")
    assert restarts(engine, "ok") == 0


def test_the_pauses_double(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "bo", "--restart", "always", "busybox", "false")
    until(lambda: restarts(engine, "bo") >= 4)
    said = engine.out("events", "--since", "1h", "--until", "0s", "--filter", "container=bo",
                      "--format", "{{.TimeNano}} {{.Action}}")  # fmt: skip
    times: dict[str, list[int]] = {"start": [], "die": []}
    for line in said.splitlines():
        nano, action = line.split()[:2]
        if action in times:
            times[action].append(int(nano))
    pauses = [(a - b) / 1e9 for a, b in zip(times["start"][1:], times["die"], strict=False)]
    for number, pause in enumerate(pauses[:4]):
        assert pause >= 0.1 * 2**number, pauses


def test_always_and_unless_stopped_over_engines(engine: Engine) -> None:
    for name, policy in (("al", "always"), ("us", "unless-stopped"), ("no", "no")):
        engine.run("run", "-d", "--name", name, "--restart", policy, "-t", "busybox", "cat")
    engine.run("run", "-d", "--name", "live", "--restart", "unless-stopped", "busybox", "sleep",
               "1000")  # fmt: skip
    engine.run("stop", "-t", "0", "al", "us", "no")
    assert {status(engine, name) for name in ("al", "us", "no")} == {"exited"}
    started = inspect(engine, "live")["State"]["StartedAt"]
    engine.end(9)
    engine.start()
    until(lambda: status(engine, "al") == "running")
    assert (status(engine, "us"), status(engine, "no")) == ("exited", "exited")
    assert inspect(engine, "live")["State"]["StartedAt"] == started  # it never noticed
    engine.run("stop", "-t", "0", "al")


def test_it_ends_while_no_engine_runs(engine: Engine) -> None:
    for name, more in (("again", ("--restart", "on-failure")), ("gone", ("--rm",)), ("stay", ())):
        engine.run("run", "-d", "--name", name, *more, "busybox", "sleep", "1000")
    pids = [inspect(engine, name)["State"]["Pid"] for name in ("again", "gone", "stay")]
    engine.end(9)
    subprocess.run(["kill", "-9", *map(str, pids)], check=True)
    time.sleep(0.5)
    engine.start()
    until(lambda: status(engine, "again") == "running")
    until(lambda: not engine.out("ps", "-aq", "--filter", "name=gone"))
    state = inspect(engine, "stay")["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)


def test_update_ends_a_loop_of_restarts(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "loop", "--restart", "always", "busybox", "false")
    until(lambda: restarts(engine, "loop") >= 3)
    engine.run("update", "--restart", "no", "loop")
    until(lambda: status(engine, "loop") == "exited")
    time.sleep(1)
    assert status(engine, "loop") == "exited"


def test_a_restart_that_cannot_start_is_tried_again(engine: Engine, tmp_path: rig.Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    engine.run("run", "-d", "--name", "try", "--restart", "always", "--mount",
               f"type=bind,src={source},dst=/source", "busybox", "sleep", "1000")  # fmt: skip
    source.rename(tmp_path / "away")
    engine.run("kill", "-s", "SEGV", "try", check=False)
    engine.run("exec", "try", "kill", "-9", "-1", check=False)
    subprocess.run(["kill", "-9", str(inspect(engine, "try")["State"]["Pid"])], check=False)
    until(lambda: restarts(engine, "try") >= 2)
    assert "source" in inspect(engine, "try")["State"]["Error"]
    (tmp_path / "away").rename(source)
    until(lambda: status(engine, "try") == "running")


def test_out_of_memory(engine: Engine) -> None:
    engine.run("run", "--name", "oom", "-m", "16m", "--memory-swap", "16m", "busybox", "sh", "-c",
               "x=$(head -c 64m /dev/zero | tr '\\0' x); echo ${#x}", check=False)  # fmt: skip
    state = inspect(engine, "oom")["State"]
    assert state["OOMKilled"] is True or state["ExitCode"] == 0, state


def test_the_kernels_log_tells_of_a_kill_for_lack_of_memory(engine: Engine) -> None:
    """What is left when systemd has removed the group before the monitor could look into it."""
    began = time.monotonic()
    engine.run("run", "-d", "--name", "ate", "-m", "16m", "--memory-swap", "16m", "busybox", "sh",
               "-c", "sleep 1; x=a; while :; do x=$x$x; done")  # fmt: skip
    pid = inspect(engine, "ate")["State"]["Pid"]
    groups = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    group = next(line.rpartition(":")[2] for line in groups if ":memory:" in line or "0::" in line)
    assert engine.out("wait", "ate") == "137"
    assert inspect(engine, "ate")["State"]["OOMKilled"] is True
    assert kmsg.oom_killed(group, since=began)
    assert not kmsg.oom_killed(group, since=time.monotonic())
    assert not kmsg.oom_killed(group[:-1], since=began)


@pytest.mark.parametrize("condition", ["", "not-running", "next-exit", "removed"])
def test_waits_end_with_a_removal(engine: Engine, condition: str) -> None:
    engine.run("run", "-d", "--name", "wt", "busybox", "sleep", "1000")
    found: list[Any] = []

    def wait() -> None:
        found.append(
            unixhttp.ask(engine.socket, "POST", f"/containers/wt/wait?condition={condition}")
        )

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.3)
    engine.run("rm", "-f", "wt")
    waiting.join(30)
    assert not waiting.is_alive()
    assert found[0][0] == 200 and json.loads(found[0][1])["StatusCode"] == 137 \
        if isinstance(found[0][1], str) else found[0][1]["StatusCode"] == 137  # fmt: skip


def test_a_wait_for_what_never_runs_ends_with_its_removal(engine: Engine) -> None:
    engine.run("create", "--name", "never", "busybox")
    done = threading.Event()

    def wait() -> None:
        unixhttp.ask(engine.socket, "POST", "/containers/never/wait?condition=next-exit")
        done.set()

    threading.Thread(target=wait, daemon=True).start()
    time.sleep(0.3)
    assert not done.is_set()
    engine.run("rm", "never")
    assert done.wait(30)


def test_pause_by_both_clients(engine: Engine, client: str) -> None:
    engine.run("run", "-d", "--name", "pa", "busybox", "sh", "-c",
               "while :; do date >>/ticks; sleep 0.1; done")  # fmt: skip
    path = rig.Path(f"/proc/{inspect(engine, 'pa')['State']['Pid']}/root/ticks")
    until(path.exists)
    engine.run("pause", "pa", client=client)
    assert status(engine, "pa") == "paused"
    assert "(Paused)" in engine.out("ps", client=client)
    size = path.stat().st_size
    time.sleep(0.5)
    assert path.stat().st_size == size
    twice = engine.run("pause", "pa", client=client, check=False)
    assert b"already paused" in twice.stderr
    engine.run("unpause", "pa", client=client)
    until(lambda: path.stat().st_size > size)
    assert b"not paused" in engine.run("unpause", "pa", client=client, check=False).stderr


def test_only_one_of_many_gets_a_name(engine: Engine) -> None:
    for number in range(6):
        engine.run("create", "--name", f"old{number}", "busybox")
    clients = [
        subprocess.Popen([rig.BIN / "firkin", "rename", f"old{n}", "wanted"],
                         env=engine.environment(), stderr=subprocess.DEVNULL)
        for n in range(6)
    ]  # fmt: skip
    assert sorted(one.wait(60) for one in clients) == [0, 1, 1, 1, 1, 1]
    names = engine.out("ps", "-a", "--format", "{{.Names}}").split()
    assert len(names) == 6 and names.count("wanted") == 1


def test_a_slow_stop_is_explained(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "slow", "busybox", "sleep", "1000")
    done = engine.run("stop", "-t", "1", "slow")
    assert done.stdout == b"slow\n"
    assert b"WARNING: container slow did not end within 1 s of SIGTERM" in done.stderr
    assert b"has no handler for SIGTERM" in done.stderr and b"--init" in done.stderr
    said = engine.out("events", "--since", "1h", "--until", "0s", "--filter", "event=stop_timeout")
    assert "has no handler for SIGTERM" in said
    engine.run("start", "slow")
    assert engine.run("stop", "-t", "0", "slow").stderr == b""
    engine.run("run", "-d", "--name", "busy", "busybox", "sh", "-c",
               "trap 'sleep 30' TERM; while :; do sleep 0.1; done")  # fmt: skip
    time.sleep(0.3)
    done = engine.run("stop", "-t", "1", "busy")
    assert b"has a handler for SIGTERM but took longer" in done.stderr
    engine.run("run", "-d", "--name", "quick", "--init", "busybox", "sleep", "1000")
    assert engine.run("stop", "quick").stderr == b""
    engine.run("start", "quick")
    engine.run("stop", "-t", "1", "quick", client="docker")


def test_links_on_the_default_bridge(engine: Engine, client: str) -> None:
    engine.run("run", "-d", "--name", "db", "-e", "PASS=x", "--expose", "5432", "busybox", "sleep",
               "1000")  # fmt: skip
    engine.run("run", "-d", "--name", "web", "--link", "db:data-base", "--link", "db", "busybox",
               "sleep", "1000", client=client)  # fmt: skip
    env = engine.out("exec", "web", "env").splitlines()
    address = engine.out("exec", "db", "hostname", "-i")
    for line in ("DATA_BASE_NAME=/web/data-base", f"DATA_BASE_PORT=tcp://{address}:5432",
                 f"DATA_BASE_PORT_5432_TCP_ADDR={address}", "DATA_BASE_ENV_PASS=x",
                 "DB_NAME=/web/db"):  # fmt: skip
        assert line in env, env
    assert inspect(engine, "web")["HostConfig"]["Links"] == ["/db:/web/data-base", "/db:/web/db"]
    engine.run("exec", "web", "ping", "-c", "1", "data-base")
    engine.run("rm", "--link", "web/db", client=client)
    assert inspect(engine, "web")["HostConfig"]["Links"] == ["/db:/web/data-base"]
    assert engine.run("rm", "--link", "/web/db", client=client, check=False).returncode == 1
    engine.run("stop", "-t", "0", "db")
    engine.run("run", "-d", "--name", "squatter", "busybox", "sleep", "1000")
    engine.run("start", "db")  # with another address now, perhaps
    engine.run("exec", "web", "ping", "-c", "1", "data-base")
    engine.run("stop", "-t", "0", "db", "web")
    failed = engine.run("start", "web", client=client, check=False)
    assert b"Cannot link to a non running container: /db AS /web/data-base" in failed.stderr
    missing = engine.run("create", "--link", "nosuch", "busybox", client=client, check=False)
    assert b"could not get container for nosuch" in missing.stderr


def test_linked_containers_come_back_in_order(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "first", "--restart", "always", "busybox", "sleep", "1000")
    engine.run("run", "-d", "--name", "second", "--restart", "always", "--link", "first",
               "busybox", "sleep", "1000")  # fmt: skip
    engine.run("run", "-d", "--name", "third", "--restart", "always", "--network",
               "container:second", "busybox", "sleep", "1000")  # fmt: skip
    pids = [str(inspect(engine, n)["State"]["Pid"]) for n in ("third", "first", "second")]
    engine.end(9)
    subprocess.run(["kill", "-9", *pids], check=True)
    time.sleep(0.5)
    engine.start()
    for name in ("first", "second", "third"):
        until(lambda name=name: status(engine, name) == "running", name)
    engine.run("exec", "third", "ping", "-c", "1", "first", check=False)
    engine.run("rm", "-f", "third", "second", "first")


def test_replace_and_exists(engine: Engine) -> None:
    def exists(noun: str, name: str) -> int:
        return engine.run(noun, "exists", name, check=False).returncode

    engine.run("volume", "create", "vol")
    engine.run("run", "-d", "--name", "app", "busybox", "sleep", "1000")
    first = engine.out("inspect", "-f", "{{.Id}}", "app")
    taken = engine.run("run", "-d", "--name", "app", "busybox", "true", check=False)
    assert taken.returncode == 125
    engine.run("run", "-d", "--name", "app", "--replace", "busybox", "sleep", "1000")
    assert engine.out("inspect", "-f", "{{.Id}}", "app") != first
    wrong = engine.run("run", "-d", "--name", "app", "--replace", "--memory", "1", "busybox",
                       check=False)  # fmt: skip
    assert wrong.returncode == 125
    assert status(engine, "app") == "running"  # a mistake replaces nothing
    assert engine.run("run", "--replace", "busybox", check=False).returncode == 125
    for noun, name in (("container", "app"), ("image", "busybox"), ("network", "bridge"),
                       ("volume", "vol")):  # fmt: skip
        assert (exists(noun, name), exists(noun, "no-such-thing")) == (0, 1)
    engine.run("volume", "rm", "vol")


def test_a_restart_is_no_end_for_one_that_removes_itself(engine: Engine, client: str) -> None:
    engine.run("run", "-d", "--rm", "--name", "rm", "busybox", "sleep", "1000")
    engine.run("restart", "-t", "0", "rm", client=client)
    assert status(engine, "rm") == "running"
    engine.run("stop", "-t", "0", "rm", client=client)
    until(lambda: not engine.out("ps", "-aq"))
    engine.run("create", "--rm", "--name", "cut", "busybox")
    engine.end(9)  # perhaps in the middle of its start
    engine.start()
    until(lambda: not engine.out("ps", "-aq"))


@pytest.mark.parametrize("verb", ["stop", "kill"])
def test_who_waits_is_told_that_there_is_no_further_restart(engine: Engine, verb: str) -> None:
    engine.run("run", "-d", "--name", "wr", "--restart", "always", "busybox", "false")
    until(lambda: restarts(engine, "wr") >= 4 and status(engine, "wr") == "restarting")
    waiting = subprocess.Popen([rig.BIN / "firkin", "wait", "wr"], env=engine.environment())
    time.sleep(0.3)
    until(lambda: engine.run(verb, "wr", check=False).returncode == 0)
    assert waiting.wait(60) == 0
    assert status(engine, "wr") == "exited"


def test_the_stop_signal_ends_for_good(engine: Engine) -> None:
    script = "trap 'exit 3' USR1 HUP; while :; do sleep 0.1; done"
    engine.run("run", "-d", "--name", "sig", "--restart", "always", "--stop-signal", "USR1",
               "busybox", "sh", "-c", script)  # fmt: skip
    time.sleep(0.5)
    engine.run("kill", "-s", "HUP", "sig")  # a signal like others: it comes back
    until(lambda: restarts(engine, "sig") == 1 and status(engine, "sig") == "running")
    time.sleep(0.5)
    engine.run("kill", "-s", "USR1", "sig")
    until(lambda: status(engine, "sig") == "exited")
    time.sleep(1)
    assert status(engine, "sig") == "exited"


def test_files_of_a_container_that_ends_and_comes_back(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "blink", "--restart", "always", "busybox", "sleep", "0.05")
    found = {
        unixhttp.ask(engine.socket, "HEAD" if n % 2 else "GET",
                     "/containers/blink/archive?path=/etc/passwd")[0]
        for n in range(60)
    }  # fmt: skip
    assert found == {200}
