"""What SDKs and their users rely on and the API description does not say."""

from __future__ import annotations

import io
import json
import tarfile

import pytest
from test_streams import Hijacked, frames

import unixhttp
from rig import Engine

pytestmark = pytest.mark.root


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize("raw", [False, True])
def test_frames_of_an_exec_are_asked_for_at_its_start(
    engine: Engine, terminal: bool, raw: bool
) -> None:
    engine.run("run", "-d", "--name", "box", "busybox", "sleep", "1000")
    body = {"Cmd": ["echo", "said"], "AttachStdout": True, "Tty": terminal}
    status, made = unixhttp.ask(engine.socket, "POST", "/v1.44/containers/box/exec", body)
    assert status == 201
    start = Hijacked(engine, f"/v1.44/exec/{made['Id']}/start", json.dumps({"Tty": raw}))
    said = b"said\r\n" if terminal else b"said\n"
    assert (start.read() == said) if raw else (frames(start.read()) == [(1, said)])
    assert (b"raw-stream" if raw else b"multiplexed-stream") in start.head


def test_a_variable_without_a_value_is_none(engine: Engine) -> None:
    engine.run("build", "-t", "named", "-", stdin=b"FROM busybox\nENV GONE=here KEPT=1\n")
    body = {"Image": "named", "Env": ["GONE", "NEVER"], "Cmd": ["env"]}
    status, made = unixhttp.ask(engine.socket, "POST", "/v1.44/containers/create?name=box", body)
    assert status == 201
    _, shown = unixhttp.ask(engine.socket, "GET", f"/v1.44/containers/{made['Id']}/json")
    assert {"GONE", "NEVER", "KEPT=1"} <= set(shown["Config"]["Env"])
    printed = engine.out("start", "-a", "box").splitlines()
    assert "KEPT=1" in printed
    assert not any(line.startswith(("GONE", "NEVER")) for line in printed)
    engine.run("rm", "box")
    engine.run("rmi", "named")


def test_a_link_to_a_container_yet_to_come(engine: Engine, client: str) -> None:
    engine.run("network", "create", "linked")
    engine.run("run", "-d", "--name", "box", "--network", "none", "busybox", "sleep", "1000")
    engine.run("network", "disconnect", "none", "box")
    engine.run("network", "connect", "--link", "later:other", "linked", "box", client=client)
    assert engine.run("exec", "box", "ping", "-c1", "other", check=False).returncode
    engine.run("run", "-d", "--name", "later", "--network", "linked", "busybox", "sleep", "1000")
    engine.run("exec", "box", "ping", "-c1", "other", client=client)
    engine.run("rm", "-f", "box", "later")
    engine.run("network", "rm", "linked")


@pytest.mark.parametrize("mode", ["bridge", "none"])
def test_names_resolve_from_the_moment_of_joining(engine: Engine, client: str, mode: str) -> None:
    """A running container of a network without names joins one that has them, and leaves it."""
    engine.run("network", "create", "joined")
    engine.run("run", "-d", "--name", "peer", "--network", "joined", "busybox", "sleep", "1000")
    engine.run("run", "-d", "--name", "box", "--network", mode, "busybox", "sleep", "1000")
    before = engine.out("exec", "box", "cat", "/etc/resolv.conf")
    if mode == "none":
        engine.run("network", "disconnect", "none", "box", client=client)
    engine.run("network", "connect", "joined", "box", client=client)
    engine.run("exec", "box", "ping", "-c1", "peer", client=client)
    engine.run("network", "disconnect", "joined", "box", client=client)
    assert engine.out("exec", "box", "cat", "/etc/resolv.conf") == before
    engine.run("exec", "box", "sh", "-c", "echo mine >/etc/resolv.conf")
    engine.run("network", "connect", "joined", "box", client=client)
    assert engine.out("exec", "box", "cat", "/etc/resolv.conf") == "mine"
    engine.run("rm", "-f", "box", "peer")
    engine.run("network", "rm", "joined")


def test_a_name_with_a_space(engine: Engine, client: str) -> None:
    engine.run("network", "create", "with space", client=client)
    assert engine.out("run", "--rm", "--network", "with space", "busybox", "echo", "in") == "in"
    engine.run("network", "rm", "with space", client=client)


def test_a_mac_address_before_the_start(engine: Engine) -> None:
    address = "02:42:ac:11:65:43"
    engine.run("network", "create", "wired")
    engine.run(
        "create", "--name", "box", "--network", f"name=wired,mac-address={address}", "busybox"
    )
    form = "{{.NetworkSettings.Networks.wired.MacAddress}}"
    assert engine.out("inspect", "-f", form, "box") == address
    engine.run("rm", "box")
    engine.run("network", "rm", "wired")


def _context(**files: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def _classic(engine: Engine, context: bytes, query: str = "") -> list[dict[str, str]]:
    connection = unixhttp.Connection(engine.socket)
    headers = {"Content-Type": "application/x-tar"}
    connection.request("POST", f"/v1.44/build?rm=1&nocache=1{query}", context, headers)
    return [json.loads(line) for line in connection.getresponse().read().splitlines()]


def test_what_had_to_be_sent_is_not_copied(engine: Engine) -> None:
    """The client leaves out what its ignore file names, but for the two that the engine reads."""
    files = {
        "Dockerfile": "FROM busybox\nCOPY . /in/\nRUN ls -A /in\n",
        ".dockerignore": ".dockerignore\nDockerfile\nother\n",
        "kept": "",
    }
    said = "".join(one.get("stream", "") for one in _classic(engine, _context(**files)))
    assert "\nkept\n" in said and ".dockerignore\n" not in said.split("RUN ls")[1]
    assert "\nDockerfile\n" not in said
    files[".dockerignore"] = "nothing\n"
    said = "".join(one.get("stream", "") for one in _classic(engine, _context(**files)))
    assert "\n.dockerignore\nDockerfile\nkept\n" in said


def test_standard_error_is_marked(engine: Engine) -> None:
    file = "FROM busybox\nRUN echo plain; echo marked >&2\n"
    lines = [one.get("stream", "") for one in _classic(engine, _context(Dockerfile=file))]
    assert "plain\n" in lines
    assert "\x1b[91mmarked\n\x1b[0m" in lines


def test_names_resolve_in_a_build_on_a_network(engine: Engine) -> None:
    engine.run("network", "create", "building")
    engine.run("run", "-d", "--name", "target", "--network", "building", "busybox", "sleep", "1000")
    file = "FROM busybox\nRUN ping -c1 target\n"
    last = _classic(engine, _context(Dockerfile=file), "&networkmode=building")[-1]
    assert "Successfully built" in last.get("stream", ""), last
    engine.run("rm", "-f", "target")
    engine.run("network", "rm", "building")
