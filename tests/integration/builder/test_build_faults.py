"""Builds that are cut, and steps that misbehave: nothing stays behind, and the cache is whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cases
import pytest

import rig
import unixhttp
from conftest import Answer, build
from rig import Engine

pytestmark = pytest.mark.root


def context(dockerfile: str) -> bytes:
    case = cases.Case.__new__(cases.Case)
    case.parts = {"Dockerfile": dockerfile}
    return case.context()


def until(what: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)


def clean(engine: Engine) -> None:
    """Nothing of a build is left in the engine's directories or among its processes."""
    until(lambda: not any(rig.leftovers(engine).values()))
    until(lambda: not list((engine.exec / "build").iterdir()))
    assert not engine.mounts(engine.exec / "build")
    assert not list((engine.data / "build" / "outputs").iterdir())
    assert not [p for p in (engine.data / "build" / "contexts").iterdir() if "archive" in p.name]


def running(engine: Engine, word: str) -> list[int]:
    """Processes with a word in their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and word.encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.fixture
def word() -> Iterator[str]:
    """A word that only the processes of this test have."""
    yield f"97{os.getpid()}.{time.monotonic_ns() % 10**6}"


def begin(
    engine: Engine, tar: bytes, query: str = ""
) -> tuple[unixhttp.Connection, threading.Thread]:
    connection = unixhttp.Connection(engine.socket, timeout=120)
    connection.request("POST", f"/build?{query}", tar, {"Content-Type": "application/x-tar"})

    def read() -> None:
        try:
            connection.getresponse().read()
        except (OSError, ValueError, AttributeError):
            pass

    thread = threading.Thread(target=read)
    thread.start()
    return connection, thread


def test_a_client_that_leaves_ends_its_build(builds: Engine, word: str) -> None:
    tar = context(f"FROM busybox\nRUN sleep {word}\n")
    connection, thread = begin(builds, tar)
    until(lambda: running(builds, word))
    assert connection.sock is not None
    connection.sock.shutdown(2)
    thread.join(30)
    until(lambda: not running(builds, word))
    clean(builds)


def test_cancel_by_id(builds: Engine, word: str) -> None:
    tar = context(f"FROM busybox\nRUN sleep {word}\n")
    _, thread = begin(builds, tar, "buildid=one")
    until(lambda: running(builds, word))
    assert unixhttp.ask(builds.socket, "POST", "/build/cancel?id=one")[0] == 204
    thread.join(30)
    assert not running(builds, word)
    clean(builds)
    assert unixhttp.ask(builds.socket, "POST", "/build/cancel?id=one")[0] == 204
    assert unixhttp.ask(builds.socket, "POST", "/build/cancel")[0] == 400


def test_the_engine_is_killed(builds: Engine, word: str) -> None:
    tar = context(
        f"FROM busybox\nRUN echo {word} > /first\n"
        f"RUN --mount=type=cache,target=/c touch /c/x && sleep {word}\n"
    )
    _, thread = begin(builds, tar)
    until(lambda: running(builds, f"sleep\0{word}"))
    builds.end(signal.SIGKILL)
    thread.join(30)
    builds.start()
    assert not running(builds, f"sleep\0{word}")
    clean(builds)
    answer = build(builds, context(f"FROM busybox\nRUN echo {word} > /first\nRUN cat /first\n"))
    assert answer.image, answer.error
    assert answer.cached == 1  # what was whole before the kill still is
    assert word in answer.log


def test_killed_while_the_context_arrives(builds: Engine) -> None:
    connection = unixhttp.Connection(builds.socket)
    connection.connect()
    assert connection.sock is not None
    connection.sock.sendall(
        b"POST /build HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-tar\r\n"
        b"Content-Length: 1000000\r\n\r\n" + context("FROM busybox\n")[:700]
    )
    until(lambda: [p for p in (builds.data / "build/contexts").iterdir() if "archive" in p.name])
    builds.end(signal.SIGKILL)
    connection.close()
    builds.start()
    clean(builds)


def test_a_step_that_leaves_a_daemon(builds: Engine, word: str) -> None:
    answer = build(builds, context(
        f"FROM busybox\nRUN (setsid sleep {word} &) ; echo left > /f\nRUN cat /f\n"))  # fmt: skip
    assert answer.image, answer.error
    assert not running(builds, word)
    clean(builds)


def test_a_step_that_fills_its_log(builds: Engine) -> None:
    answer = build(builds, context(
        "FROM busybox\nRUN yes 0123456789abcdef | head -c 40000000; echo done > /f\n"))  # fmt: skip
    assert answer.image, answer.error
    assert len(answer.log) < 20_000_000
    assert "output clipped" in answer.log


@pytest.mark.parametrize("script", ["tail /dev/zero", "tail /dev/zero; echo survived; exit 3"])
def test_a_step_without_memory(builds: Engine, script: str) -> None:
    """Whether the shell or its child is killed, the log says why."""
    file = f"FROM busybox\nRUN {script}\n"
    done = builds.run("build", "--memory", "16m", "-", stdin=file.encode(), check=False)
    assert done.returncode == 1
    assert b"for lack of memory: the limit is the build's (--memory)" in done.stderr
    clean(builds)


def test_equal_work_at_one_time_is_done_once(builds: Engine, word: str) -> None:
    root = f"FROM busybox\nRUN sleep 1; cat /proc/sys/kernel/random/uuid > /{word}\n"
    answers: list[Answer] = []

    def one(last: str) -> None:
        answers.append(build(builds, context(f"{root}{last}")))

    threads = [
        threading.Thread(target=one, args=(f"RUN cat /{word} > /n{at}; echo u=$(cat /n{at})\n",))
        for at in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    said = {line for a in answers for line in a.log.splitlines() if line.startswith("u=")}
    assert all(answer.image for answer in answers), [a.error for a in answers]
    assert len(said) == 1


def test_stages_run_at_the_same_time(builds: Engine, word: str) -> None:
    stages = "".join(
        f"FROM busybox AS s{at}\nRUN date +%s%N > /t; sleep 1; date +%s%N >> /t; echo {word}\n"
        for at in range(3)
    )
    copies = "".join(f"COPY --from=s{at} /t /t{at}\n" for at in range(3))
    answer = build(builds, context(f"{stages}FROM busybox\n{copies}RUN cat /t0 /t1 /t2\n"))
    assert answer.image, answer.error
    times = [int(line[:10]) for line in answer.log.split("RUN cat")[1].splitlines()
             if line[:2] == "17"]  # fmt: skip
    begins, ends = times[0::2], times[1::2]
    assert max(begins) <= min(ends)


def test_locked_cache_mounts_wait(builds: Engine, word: str) -> None:
    step = (
        f"RUN --mount=type=cache,id={word},target=/c,sharing=locked "
        "test ! -e /c/lock && touch /c/lock && sleep 1 && rm /c/lock && echo {at} > /out\n"
    )
    text = "".join(f"FROM busybox AS s{at}\n{step.format(at=at)}" for at in range(2))
    answer = build(builds, context(
        f"{text}FROM busybox\nCOPY --from=s0 /out /a\nCOPY --from=s1 /out /b\n"))  # fmt: skip
    assert answer.image, answer.error


def test_a_full_disk(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", disk], check=True)
    engine = Engine(disk, f"fkf{os.getpid()}")
    try:
        engine.start()
        engine.add_busybox()
        answer = build(engine, context(
            "FROM busybox\nRUN echo kept > /kept\nRUN dd if=/dev/zero of=/big bs=1M count=100\n"
        ))  # fmt: skip
        assert "returned a non-zero code" in answer.error, answer.error
        assert "No space left" in answer.log
        clean(engine)
        tar = context("FROM busybox\nRUN echo kept > /kept\nRUN cat /kept\n")
        answer = build(engine, tar)
        assert answer.image, answer.error
        assert answer.cached == 1
    finally:
        if engine.process and engine.process.poll() is None:
            engine.end()
        rig.clear(engine)
        subprocess.run(["umount", "-l", disk], check=True)


def test_hostile_contexts(builds: Engine) -> None:
    import io
    import tarfile

    def tar(*members: tuple[str, bytes, str]) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as made:
            for name, kind, text in members:
                info = tarfile.TarInfo(name)
                info.type = kind
                if kind == tarfile.SYMTYPE:
                    info.linkname, text = text, ""
                info.size = len(text)
                made.addfile(info, io.BytesIO(text.encode()))
        return out.getvalue()

    reg, sym = tarfile.REGTYPE, tarfile.SYMTYPE
    answer = build(builds, tar(("Dockerfile", reg, "FROM scratch\n"), ("../x", reg, "x")))
    assert "leads out" in answer.error
    answer = build(builds, tar(("Dockerfile", sym, "/etc/passwd")))
    assert "failed to read dockerfile" in answer.error
    answer = build(builds, tar(
        ("Dockerfile", reg, "FROM scratch\nCOPY l/passwd /\n"), ("l", sym, "/etc"),
    ))  # fmt: skip
    assert "not found" in answer.error
    answer = build(builds, b"this is no tar at all, whatever it says")
    assert "context" in answer.error
    assert answer.status == 400
    for query in ("buildargs=[]", "labels=x", "memory=abc", "t=UPPER/Case:x", "dockerfile=../../x"):
        status, text = unixhttp.ask(builds.socket, "POST", f"/build?{query}",
                                    tar(("Dockerfile", reg, "FROM scratch\n")))  # fmt: skip
        assert status == 400, (query, status, text)
        assert json.dumps(text)
    clean(builds)
