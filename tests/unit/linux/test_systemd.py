"""What a service manager hands over and is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from firkin.linux import systemd


def test_variables_for_another_process_are_taken_away() -> None:
    environ = {"LISTEN_PID": "1", "LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b", "HOME": "/"}
    assert systemd.listening(environ) == []
    assert environ == {"HOME": "/"}


def test_none() -> None:
    assert systemd.listening({}) == []
    assert systemd.listening({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "-1"}) == []


def test_notify(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news:
        news.settimeout(5)
        news.bind(str(tmp_path / "n"))
        assert systemd.notify("READY=1", "STATUS=x", environ={"NOTIFY_SOCKET": str(tmp_path / "n")})
        assert news.recv(100) == b"READY=1\nSTATUS=x"
    assert not systemd.notify("READY=1", environ={})
    assert not systemd.notify("READY=1", environ={"NOTIFY_SOCKET": str(tmp_path / "gone")})
