"""What users of the official client's commands expect, beyond their help texts."""

from __future__ import annotations

import http.server
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import unixhttp
from rig import Engine, settled

pytestmark = pytest.mark.root


def run(engine: Engine, *words: str, status: int = 0) -> str:
    done = engine.run(*words, client="docker", check=False)
    assert done.returncode == status, done
    return (done.stdout + done.stderr).decode()


def test_networks_of_networks(engine: Engine) -> None:
    run(engine, "run", "-d", "--name", "first", "-h", "first", "busybox", "sleep", "1000")
    run(engine, "run", "-d", "--name", "second", "--net", "container:first", "busybox", "sleep",
        "1000")  # fmt: skip
    seen = run(engine, "run", "--rm", "--net", "container:second", "busybox", "sh", "-c",
               "hostname; cat /etc/hostname; grep -c first /etc/hosts")  # fmt: skip
    assert seen.split() == ["first", "first", "1"]


@pytest.mark.parametrize("kind", ["net", "ipc", "pid"])
def test_nobody_joins_itself(engine: Engine, kind: str) -> None:
    seen = run(engine, "create", "--name", "me", f"--{kind}", "container:me", "busybox", status=1)
    assert "cannot join own" in seen


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--dns", "1.2.3.4"], "dns and the network mode"),
        (["--add-host", "a:1.2.3.4"], "custom host-to-IP mapping and the network mode"),
        (["--expose", "80"], "port exposing and the container type network mode"),
        (["-p", "80:80"], "port publishing and the container type network mode"),
        (["--link", "first"], "container type network can't be used with links"),
    ],
)
def test_what_another_s_network_has(engine: Engine, flags: list[str], said: str) -> None:
    run(engine, "run", "-d", "--name", "first", "busybox", "sleep", "1000")
    words = ["create", "--net", "container:first", *flags, "busybox"]
    assert f"conflicting options: {said}" in run(engine, *words, status=1)


def test_an_image_s_ports_do_not_hinder_joining(engine: Engine) -> None:
    engine.run("build", "-t", "exposes", "-", stdin=b"FROM busybox\nEXPOSE 80\n")
    run(engine, "run", "-d", "--name", "first", "busybox", "sleep", "1000")
    run(engine, "run", "--rm", "--net", "container:first", "exposes", "true")
    run(engine, "rmi", "exposes")


def test_the_host_s_name(engine: Engine) -> None:
    seen = run(engine, "run", "--rm", "--net", "host", "busybox", "sh", "-c",
               "hostname; cat /etc/hostname")  # fmt: skip
    assert seen.split() == [socket.gethostname()] * 2
    seen = run(engine, "run", "--rm", "--net", "host", "-h", "own", "busybox", "hostname")
    assert seen == "own\n"
    seen = run(engine, "run", "--rm", "-h", "box.example.com", "busybox", "cat", "/etc/hosts")
    assert "\tbox.example.com box\n" in seen


def test_links_to_what_is_yet_to_come(engine: Engine) -> None:
    run(engine, "network", "create", "later")
    run(engine, "run", "-d", "--name", "one", "--net", "later", "--link", "two:other", "busybox",
        "sleep", "1000")  # fmt: skip
    run(engine, "run", "-d", "--name", "two", "--net", "later", "busybox", "sleep", "1000")
    assert settled(
        lambda: engine.run("exec", "one", "ping", "-c1", "other", check=False).returncode == 0
    )
    assert "No such container" in run(engine, "create", "--link", "none", "busybox", status=1)
    run(engine, "rm", "-f", "one", "two")
    run(engine, "network", "rm", "later")


def test_filters_of_ps(engine: Engine, tmp_path: Path) -> None:
    engine.run("build", "-t", "above", "-", stdin=b"FROM busybox\nLABEL a=b\n")
    plain = run(engine, "create", "-v", f"{tmp_path}:/bound", "busybox").strip()
    over = run(engine, "create", "-v", "named:/vol", "above").strip()
    listed = ("ps", "-aq", "--no-trunc", "--filter")
    for wanted, found in (
        ("ancestor=above", {over}),
        ("ancestor=busybox", {plain, over}),
        (f"volume={tmp_path}", {plain}),
        ("volume=/bound", {plain}),
        ("volume=named", {over}),
        ("volume=/vol", {over}),
    ):
        assert set(run(engine, *listed, wanted).split()) == found, wanted
    run(engine, "rm", plain, over)
    run(engine, "rmi", "above")
    run(engine, "volume", "rm", "named")


def test_the_last_of_volumes_from_wins(engine: Engine) -> None:
    for name in ("data1", "data2"):
        run(engine, "run", "--name", name, "-v", f"{name}:/data", "busybox", "true")
    shown = ("inspect", "-f", "{{(index .Mounts 0).Name}}", "app")
    line = ("create", "--name", "app", "--volumes-from", "data1", "--volumes-from", "data2")
    run(engine, *line, "busybox")
    assert run(engine, *shown) == "data2\n"
    run(engine, "rm", "app")
    run(engine, *line, "-v", "data1:/data", "busybox")
    assert run(engine, *shown) == "data1\n"
    run(engine, "rm", "-v", "app", "data1", "data2")
    run(engine, "volume", "rm", "data1", "data2")


def test_mounts_into_proc(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "uptime").write_text("1.00 2.00\n")
    for place in ("/proc//sys", "/proc/sys/kernel", "/proc/1", "/proc"):
        for flags in (["-v", f"{tmp_path}:{place}"], ["-v", place], ["--privileged", "-v", place]):
            assert "inside /proc" in run(engine, "create", *flags, "busybox", status=1)
    seen = run(engine, "run", "--rm", "-v", f"{tmp_path}/uptime:/proc/uptime", "busybox", "cat",
               "/proc/uptime")  # fmt: skip
    assert seen == "1.00 2.00\n"
    run(engine, "run", "--rm", "-v", "/proc:/proc", "busybox", "true")


def test_an_exec_without_a_terminal_has_no_term(engine: Engine) -> None:
    run(engine, "run", "-dt", "--name", "tty", "busybox", "sleep", "1000")
    assert "TERM=" not in run(engine, "exec", "tty", "env")
    run(engine, "run", "-dt", "--name", "own", "-e", "TERM=xterm", "busybox", "sleep", "1000")
    assert "TERM=xterm" in run(engine, "exec", "own", "env")


def test_an_exec_is_shown_after_its_end(engine: Engine) -> None:
    run(engine, "run", "-d", "--name", "box", "busybox", "sleep", "1000")
    _, made = unixhttp.ask(engine.socket, "POST", "/v1.50/containers/box/exec", {"Cmd": ["true"]})
    start = f"/v1.50/exec/{made['Id']}/start"
    assert unixhttp.ask(engine.socket, "POST", start, {"Detach": True})[0] == 200

    def shown() -> dict[str, Any]:
        answer: dict[str, Any] = unixhttp.ask(
            engine.socket, "GET", f"/v1.50/exec/{made['Id']}/json"
        )[1]
        return answer

    assert settled(lambda: not shown()["Running"])
    assert shown()["Pid"] > 1 and shown()["ExitCode"] == 0


def test_an_upgrade_is_taken_by_its_name(engine: Engine) -> None:
    run(engine, "run", "-d", "--name", "box", "busybox", "sleep", "1000")
    head = b"POST /v1.50/containers/box/attach?stream=1 HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n\r\n"
    assert unixhttp.exchange(engine.socket, head).startswith(b"HTTP/1.1 101 ")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("COPY none /", 1),
        ("ADD none /", 1),
        ("RUN exit 7", 7),
        ("RUN nosuch-command", 127),
        ("VOLUME $v", 1),
    ],
)
def test_exit_statuses_of_builds(
    engine: Engine, tmp_path: Path, line: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    (tmp_path / "Dockerfile").write_text(f"FROM busybox\n{line}\n")
    run(engine, "build", str(tmp_path), status=status)


def test_a_commit_keeps_what_its_config_leaves_open(engine: Engine) -> None:
    run(engine, "run", "--name", "box", "-e", "A=b", "-w", "/srv", "busybox", "touch", "/made")
    config = {"Labels": {"k": "v"}}
    target = "/v1.50/commit?container=box&repo=kept"
    assert unixhttp.ask(engine.socket, "POST", target, config)[0] == 201
    shown = json.loads(run(engine, "inspect", "-f", "{{json .Config}}", "kept"))
    assert shown["Labels"] == {"k": "v"} and shown["Cmd"] == ["touch", "/made"]
    assert (shown["WorkingDir"], "A=b" in shown["Env"]) == ("/srv", True)
    run(engine, "rm", "box")
    run(engine, "rmi", "kept")


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    """A web server that has a Dockerfile under another name."""
    (tmp_path / "other").write_text("FROM busybox\nLABEL from=web\n")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: Any, **more: Any) -> None:
            super().__init__(*args, directory=str(tmp_path), **more)

        def log_message(self, *args: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_dockerfiles_by_other_names(engine: Engine, tmp_path: Path, web: str) -> None:
    target = f"/v1.50/build?dockerfile=named&remote={web}/other&t=fromweb"
    status, answer = unixhttp.ask(engine.socket, "POST", target)
    assert (status, "Successfully built" in json.dumps(answer)) == (200, True), answer
    assert run(engine, "inspect", "-f", "{{.Config.Labels.from}}", "fromweb") == "web\n"
    (tmp_path / "context").mkdir()
    (tmp_path / "context" / "dockerfile").write_text("FROM busybox\n")
    for client in ("docker", "firkin"):
        engine.run("build", "-q", str(tmp_path / "context"), client=client)
    run(engine, "rmi", "fromweb")
