"""Clients at a terminal, and clients whose streams are pipes."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
import terminal

from rig import BIN, Engine

pytestmark = pytest.mark.root


@contextlib.contextmanager
def at_terminal(engine: Engine, client: str, *words: str) -> Iterator[terminal.Terminal]:
    made = terminal.Terminal(engine, client, *words)
    try:
        yield made
    finally:
        made.close()


def _client(engine: Engine, client: str, *words: str) -> subprocess.Popen[bytes]:
    program = str(BIN / "firkin") if client == "firkin" else client
    return subprocess.Popen([program, *words], env=engine.environment(), stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip


def test_shell(engine: Engine, client: str) -> None:
    with at_terminal(engine, client, "run", "-it", "--rm", "busybox") as screen:
        screen.expect("# ")
        screen.type(b"tty; stty size; echo $((20+3))\n")
        screen.expect(r"/dev/pts/0\r\n24 80\r\n23\r\n")
        screen.resize(40, 100)
        time.sleep(0.5)
        screen.type(b"stty size\n")
        screen.expect(r"\n40 100\r\n")
        screen.type(b"sleep 100\n")
        time.sleep(0.3)
        screen.type(b"\x03")
        screen.expect(r"\^C")
        screen.type(b"exit 11\n")
        assert screen.wait() == 11


def test_detach_and_attach_again(engine: Engine, client: str) -> None:
    with at_terminal(engine, client, "run", "-it", "--name", "tty", "busybox") as screen:
        screen.expect("# ")
        screen.type(b"mine=kept\n")
        screen.expect("# ")
        screen.type(b"\x10\x11")
        assert screen.wait() == 0
    assert engine.out("inspect", "-f", "{{.State.Running}}", "tty") == "true"
    with at_terminal(engine, client, "attach", "--detach-keys", "ctrl-x,x", "tty") as screen:
        time.sleep(0.5)
        screen.type(b"echo still $mine\n")
        screen.expect(r"\nstill kept\r\n")
        screen.type(b"\x18x")
        screen.wait()
    assert engine.out("inspect", "-f", "{{.State.Running}}", "tty") == "true"
    with at_terminal(engine, client, "attach", "tty") as screen:
        time.sleep(0.5)
        screen.type(b"exit 5\n")
        assert screen.wait() == 5


def test_exec_at_a_terminal(engine: Engine, client: str) -> None:
    engine.run("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    with at_terminal(engine, client, "exec", "-it", "-e", "X=y", "box", "sh") as screen:
        screen.expect("# ")
        screen.type(b"stty size; echo [$X]\n")
        screen.expect(r"24 80\r\n\[y\]")
        screen.resize(33, 99)
        time.sleep(0.5)
        screen.type(b"stty size\n")
        screen.expect(r"33 99")
        screen.type(b"exit 6\n")
        assert screen.wait() == 6


def test_start_attached_at_a_terminal(engine: Engine, client: str) -> None:
    engine.run(
        "create", "-it", "--name", "later", "busybox", "sh", "-c", "echo up; read x; echo got $x"
    )
    with at_terminal(engine, client, "start", "-ai", "later") as screen:
        screen.expect("up")
        screen.type(b"words\n")
        screen.expect("got words")
        assert screen.wait() == 0


def test_container_that_fails_leaves_the_terminal_as_it_was(engine: Engine, client: str) -> None:
    with at_terminal(engine, client, "run", "-it", "--rm", "busybox", "nosuch") as screen:
        assert screen.wait() == 127


def test_signals_reach_the_process(engine: Engine, client: str) -> None:
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    run = _client(engine, client, "run", "--rm", "busybox", "sh", "-c", script)
    assert run.stdout
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(signal.SIGTERM)
    out, _ = run.communicate(timeout=20)
    assert out == b"caught\n"
    assert run.returncode == 9


def test_signals_stay_with_the_client(engine: Engine, client: str) -> None:
    script = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    words = ("run", "--sig-proxy=false", "--name", "deaf", "busybox", "sh", "-c", script)
    run = _client(engine, client, *words)
    assert run.stdout
    assert run.stdout.readline() == b"ready\n"
    run.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    run.kill()
    assert run.communicate(timeout=20)[0] == b""
    assert engine.out("inspect", "-f", "{{.State.Running}}", "deaf") == "true"


def test_end_of_input_reaches_the_process_only(engine: Engine, client: str) -> None:
    run = _client(
        engine, client, "run", "--rm", "-i", "busybox", "sh", "-c", "cat; echo; echo done"
    )
    assert run.stdin
    run.stdin.write(b"abc")
    run.stdin.close()
    run.stdin = None
    assert run.communicate(timeout=20)[0] == b"abc\ndone\n"


def test_attach_sees_what_comes(engine: Engine, client: str) -> None:
    engine.run("run", "-d", "-i", "--name", "talks", "busybox", "sh", "-c",
               "while read x; do echo out $x; echo err $x >&2; done; exit 4")  # fmt: skip
    one, two = (_client(engine, client, "attach", *more, "talks") for more in ([], ["--no-stdin"]))
    assert one.stdin
    assert one.stdout
    time.sleep(1)
    one.stdin.write(b"first\n")
    one.stdin.flush()
    assert one.stdout.readline() == b"out first\n"
    assert two.stdout
    assert two.stdout.readline() == b"out first\n"
    one.stdin.write(b"second\n")
    one.stdin.close()  # the container's input stays open for others
    one.stdin = None
    assert two.stdout.readline() == b"out second\n"
    engine.run("stop", "-t", "0", "talks")
    assert one.communicate(timeout=20) == (b"out second\n", b"err first\nerr second\n")
    two.communicate(timeout=20)


def test_tty_without_a_terminal_is_refused(engine: Engine, client: str) -> None:
    done = engine.run("run", "--rm", "-it", "busybox", "true", client=client, check=False)
    assert done.returncode == 1
    assert b"not a TTY" in done.stderr or b"not a terminal" in done.stderr
