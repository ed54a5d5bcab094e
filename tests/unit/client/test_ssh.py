"""Engines behind ssh: what is run, what its words become when it fails, and what is refused."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from fake_engine import FakeEngine

from firkin.client import addresses, api, ssh, system, transport


def test_the_command() -> None:
    way = ssh.parse("ssh://me@host:2222")
    words = way.command()
    assert words[:-1] == [
        "ssh", "-T", "-o", "ConnectTimeout=30", "-l", "me", "-p", "2222", "--", "host",
    ]  # fmt: skip
    assert "exec firkin system dial-stdio; else exec docker system dial-stdio" in words[-1]
    assert "firkin --host 'unix:///a b/s'" in ssh.parse("ssh://h/a b/s").command()[-1]
    assert ssh.parse("ssh://[::1]:22").command()[-4:-1] == ["22", "--", "::1"]


@pytest.mark.parametrize(
    "address",
    ["ssh://", "ssh://-oProxyCommand=x", "ssh://-l@host", "ssh://a b", "ssh://u:secret@h",
     "ssh://h:x", "ssh://h:99999", "ssh://h/x?y", "ssh://[::1", "ssh://h\n"],
)  # fmt: skip
def test_refused(address: str) -> None:
    with pytest.raises(transport.BadAddress) as error:
        addresses.parse(address)
    assert "secret" not in str(error.value)


@pytest.fixture
def fake_ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ``ssh`` that runs its command here, with this client as the only one."""
    directory = tmp_path / "bin"
    directory.mkdir()
    (directory / "firkin").symlink_to(Path(sys.executable).parent / "firkin")
    program = directory / "ssh"
    program.write_text('#!/bin/sh\nfor last; do :; done\nexec /bin/sh -c "$last"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    return program


def test_a_conversation(tmp_path: Path, fake_ssh: Path) -> None:
    with FakeEngine(tmp_path, {"GET /version": {"Version": "9"}}) as engine:
        client = api.Client(addresses.parse(f"ssh://me@host{engine.socket}"))
        assert system.version(client) == {"Version": "9"}
        assert system.version(client) == {"Version": "9"}
        client.close()


def test_the_words_of_a_failing_ssh(fake_ssh: Path) -> None:
    fake_ssh.write_text("#!/bin/sh\necho 'host: Permission denied (publickey).' >&2\nexit 255\n")
    client = api.Client(addresses.parse("ssh://host"))
    with pytest.raises(api.ConnectionFailed, match=r"status 255.*Permission denied \(publickey\)"):
        client.call("GET", "/version")


def test_no_ssh_at_all(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(api.ConnectionFailed, match="cannot run ssh"):
        api.Client(addresses.parse("ssh://host")).call("GET", "/version")
