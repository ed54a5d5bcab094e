"""Secrets of one host: kept encrypted, given as files, shown nowhere."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import rig
import unixhttp

pytestmark = pytest.mark.root

VALUE = b"correct horse battery staple \x00\xff"


@pytest.fixture
def secrets(engine: rig.Engine) -> Iterator[rig.Engine]:
    yield engine
    if ids := engine.out("ps", "-aq").split():
        engine.run("rm", "-f", "-v", *ids)
    if ids := engine.out("secret", "ls", "-q").split():
        engine.run("secret", "rm", *ids)


def _found_in(directory: Path, value: bytes) -> list[Path]:
    """Files below a directory, not below mounts, that have the value in them."""
    words = ["grep", "-rlaF", "--exclude-dir=rootfs", value.split(b"\x00")[0].decode(), directory]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [
        Path(path)
        for path in done.stdout.split()
        if not any(path.startswith(f"{m}/") for m in mounted if m.startswith(str(directory)))
    ]


@pytest.mark.parametrize("client", ["firkin", "docker"])
def test_life(secrets: rig.Engine, client: str, tmp_path: Path) -> None:
    engine = secrets
    made = engine.out("secret", "create", "-l", "k=v", "pass", "-", client=client, stdin=VALUE)
    (tmp_path / "file").write_bytes(b"other")
    engine.run("secret", "create", "other", str(tmp_path / "file"), client=client)
    again = engine.run("secret", "create", "pass", "-", client=client, stdin=b"x", check=False)
    assert again.returncode and b"already exists" in again.stderr
    table = engine.out("secret", "ls", client=client)
    assert table.split("\n")[0].split() == ["ID", "NAME", "DRIVER", "CREATED", "UPDATED"]
    assert engine.out("secret", "ls", "-q", "-f", "name=pass", client=client) == made
    (shown,) = json.loads(engine.out("secret", "inspect", "pass", client=client))
    assert shown["ID"] == made and shown["Spec"] == {"Name": "pass", "Labels": {"k": "v"}}
    engine.run("secret", "rm", "pass", "other", client=client)
    assert engine.out("secret", "ls", "-q", client=client) == ""


def test_api(secrets: rig.Engine) -> None:
    def ask(method: str, path: str, body: object = None) -> tuple[int, object]:
        status, answer = unixhttp.ask(secrets.socket, method, f"/v1.44/secrets{path}", body)
        return status, answer

    data = base64.b64encode(VALUE).decode()
    status, made = ask("POST", "/create", {"Name": "one", "Data": data, "Labels": {"a": "b"}})
    assert status == 201 and isinstance(made, dict)
    assert ask("POST", "/create", {"Name": "one", "Data": data})[0] == 409
    for wrong in ({"Name": "-x", "Data": data}, {"Name": "xx", "Data": "%"}, {"Name": "xx"},
                  {"Name": "xx", "Data": "A" * (800 << 10)}):  # fmt: skip
        assert ask("POST", "/create", wrong)[0] == 400
    new = {"Name": "one", "Labels": {"c": "d"}}
    assert ask("POST", "/one/update?version=1", new)[0] == 200
    assert ask("POST", "/one/update?version=1", new)[0] == 400
    assert ask("POST", "/one/update?version=2", {"Name": "two"})[0] == 400
    status, shown = ask("GET", "/one")
    assert isinstance(shown, dict) and shown["Version"] == {"Index": 2}
    assert shown["Spec"]["Labels"] == {"c": "d"} and "Data" not in shown["Spec"]
    assert ask("DELETE", f"/{made['ID']}")[0] == 204
    assert ask("GET", "/one")[0] == ask("DELETE", "/one")[0] == 404


def test_a_container_gets_files(secrets: rig.Engine) -> None:
    engine = secrets
    engine.run("secret", "create", "pass", "-", stdin=VALUE)
    engine.run("run", "-d", "--name", "box", "--secret", "pass", "--secret",
               "pass,target=deep/er,uid=5,gid=6,mode=0440", "--secret",
               "source=pass,target=/etc/abs,uid=nobody", "busybox", "sleep", "999")  # fmt: skip
    script = (
        "cat /run/secrets/pass; stat -c '%a %u %g' /run/secrets/pass /run/secrets/deep/er /etc/abs"
    )
    out = engine.run("exec", "box", "sh", "-c", script).stdout
    assert out == VALUE + b"444 0 0\n440 5 6\n444 65534 0\n"
    assert engine.run(
        "exec", "box", "sh", "-c", "echo x >/run/secrets/pass", check=False
    ).returncode
    assert "tmpfs" in engine.out("exec", "box", "grep", "/run/secrets/pass", "/proc/mounts")
    shown = engine.out("inspect", "box")
    assert base64.b64encode(VALUE).decode() not in shown and "horse" not in shown
    assert json.loads(engine.out("inspect", "-f", "{{json .HostConfig.FirkinSecrets}}", "box"))
    in_use = engine.run("secret", "rm", "pass", check=False)
    assert b"in use by box" in in_use.stderr
    assert _found_in(engine.directory, VALUE) == []
    engine.run("stop", "-t", "0", "box")
    engine.end(9)
    engine.start()
    engine.run("start", "box")
    assert engine.run("exec", "box", "cat", "/run/secrets/pass").stdout == VALUE
    assert _found_in(engine.directory, VALUE) == []
    assert oct((engine.data / "secrets.key").stat().st_mode & 0o777) == "0o600"
    changes = engine.out("diff", "box")
    assert "A /run/secrets/pass" in changes  # an empty mount point, no value
    engine.run("commit", "box", "leak")
    engine.run("rmi", "leak")


def test_what_is_refused(secrets: rig.Engine) -> None:
    engine = secrets
    engine.run("secret", "create", "pass", "-", stdin=VALUE)
    for flag in ("nope", "pass,target=/", "pass,uid=nosuchuser", "pass,mode=9", "pass,bogus=1"):
        done = engine.run("run", "--rm", "--secret", flag, "busybox", "true", check=False)
        assert done.returncode, flag
        assert done.stderr
    twice = ["--secret", "pass", "--secret", "pass"]
    assert engine.run("run", "--rm", *twice, "busybox", "true", check=False).returncode
    assert engine.out("ps", "-aq") == ""


def test_another_key_gives_an_error_and_no_value(secrets: rig.Engine) -> None:
    engine = secrets
    engine.run("secret", "create", "pass", "-", stdin=VALUE)
    key = engine.data / "secrets.key"
    old = key.read_bytes()
    key.write_bytes(bytes(32))
    done = engine.run(
        "run", "--rm", "--secret", "pass", "busybox", "cat", "/run/secrets/pass", check=False
    )
    assert done.returncode and b"another key" in done.stderr
    key.write_bytes(old)
