"""How the engine is reached and told things: handed-over sockets, notifications, SIGHUP."""

from __future__ import annotations

import grp
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import rig
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root

_ACTIVATE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True); "
    "os.environ['LISTEN_PID'] = str(os.getpid()); os.environ['LISTEN_FDS'] = '1'; "
    "os.execv(sys.argv[2], sys.argv[2:])"
)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Engine]:
    engine = Engine(tmp_path, f"fkd{os.getpid()}")
    yield engine
    if engine.process and engine.process.poll() is None:
        engine.end()
    rig.clear(engine)


def _words(engine: Engine, *more: str | Path) -> list[str | Path]:
    return [rig.BIN / "firkind", "--data-root", engine.data, "--exec-root", engine.exec,
            "--bridge", engine.bridge, "--config-file", engine.directory / "daemon.json",
            *more]  # fmt: skip


def test_socket_activation_and_notification(home: Engine, tmp_path: Path) -> None:
    news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    news.settimeout(30)
    news.bind(str(tmp_path / "notify"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(home.socket))
        listening.listen(5)
        with (home.directory / "log").open("ab") as log:
            home.process = subprocess.Popen(
                [sys.executable, "-c", _ACTIVATE, str(listening.fileno()),
                 *_words(home, "-H", "fd://")],
                pass_fds=[listening.fileno()], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
            )  # fmt: skip
    # The socket is there before the engine is: a client may come at once.
    assert unixhttp.ask(home.socket, "GET", "/_ping") == (200, "OK")
    assert news.recv(4096).decode().split("\n") == ["READY=1", f"MAINPID={home.process.pid}"]
    home.end()
    assert news.recv(4096) == b"STOPPING=1"
    assert home.socket.exists()  # it belongs to the service manager
    news.close()


def test_without_a_handed_over_socket(home: Engine) -> None:
    done = subprocess.run(_words(home, "-H", "fd://"), capture_output=True, timeout=30)
    assert done.returncode == 1
    assert b"firkin.socket" in done.stderr


def test_hosts_that_are_not_served(home: Engine) -> None:
    for host in ("tcp://0.0.0.0:2375", "tcp://h:x", "npipe://x", "unix://relative", "nonsense"):
        done = subprocess.run(_words(home, "-H", host), capture_output=True, timeout=30)
        assert done.returncode == 1
        assert host.encode() in done.stderr


def test_whose_the_socket_is(home: Engine) -> None:
    for group, gid in (("daemon", grp.getgrnam("daemon").gr_gid), ("4711", 4711), ("", 0)):
        home.start("--group", group)
        found = home.socket.stat()
        assert (found.st_uid, found.st_gid) == (0, gid)
        assert stat.S_IMODE(found.st_mode) == (0o660 if gid else 0o600)
        home.end()
        assert not home.socket.exists()
    done = subprocess.run(_words(home, "--group", "nobodyhas", "-H", home.host),
                          capture_output=True, timeout=30)  # fmt: skip
    assert (done.returncode, b"--group nobodyhas" in done.stderr) == (1, True)


def test_reload(home: Engine) -> None:
    home.start()
    assert home.process
    file = home.directory / "daemon.json"

    def after_reload(text: str) -> dict[str, object]:
        count = (home.directory / "log").read_text().count("reload: ")
        file.write_text(text)
        assert home.process
        home.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while (home.directory / "log").read_text().count("reload: ") == count:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        answer: dict[str, object] = unixhttp.ask(home.socket, "GET", "/info")[1]
        return answer

    since = time.time()
    info = after_reload(json.dumps({"debug": True, "labels": ["a=b"], "mtu": 1400}))
    assert (info["Debug"], info["Labels"]) == (True, ["a=b"])
    assert "mtu keeps 1500" in (home.directory / "log").read_text()
    info = after_reload('{"debug": false,')
    assert (info["Debug"], info["Labels"]) == (True, ["a=b"])
    info = after_reload(json.dumps({"runtimes": {"other": {"path": "/usr/bin/crun"}},
                                    "default-runtime": "other"}))  # fmt: skip
    assert (info["DefaultRuntime"], "other" in info["Runtimes"]) == ("other", True)  # type: ignore[operator]
    info = after_reload(json.dumps({"default-runtime": "nonsense"}))
    assert info["DefaultRuntime"] == "other"
    info = after_reload("{}")
    assert (info["Debug"], info["Labels"]) == (False, [])
    assert info["DefaultRuntime"] == "crun"
    events = home.out("events", "--since", str(since), "--until", "0s", "--filter", "event=reload")
    assert len(events.splitlines()) == 4
