"""The client on a system that is not Linux, as far as one can be played here.

A child interpreter in which nothing Linux-only or Unix-only can be imported, and in which ``os``,
``signal`` and ``socket`` lack what Windows lacks, imports every module of the client, shows every
help page and talks to an engine over TCP, attached streams included.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from firkin.wire import stdcopy

PRELUDE = """
import os, sys, _signal, _socket
GONE = {
    "fcntl", "termios", "tty", "pty", "resource", "grp", "pwd", "syslog", "crypt", "spwd",
    "pyroute2", "uvloop", "aiohttp", "httptools", "isal", "zstandard", "firkin.linux",
    "firkin.engine", "firkin.api", "firkin.daemon", "firkin.store", "cryptography", "docker",
}

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in GONE or name.partition(".")[0] in GONE:
            raise ModuleNotFoundError(f"No module named {name!r} on this system", name=name)

for name in [name for name in sys.modules if name in GONE]:
    del sys.modules[name]
sys.meta_path.insert(0, Finder())
for name in ("fork", "forkpty", "openpty", "getuid", "geteuid", "getgid", "chown", "fchown",
             "mkfifo", "setsid", "getpgid", "killpg", "pidfd_open", "memfd_create", "sendfile"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGWINCH", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGTSTP", "SIGCONT",
             "SIGALRM", "SIGPIPE", "SIGIO", "SIGPWR", "SIGSYS", "SIGXCPU", "SIGXFSZ", "SIGVTALRM",
             "SIGPROF", "SIGKILL", "pthread_sigmask", "setitimer", "alarm"):
    if hasattr(_signal, name):
        delattr(_signal, name)
if hasattr(_socket, "AF_UNIX"):
    del _socket.AF_UNIX
"""


def portable(code: str, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *argv],
        capture_output=True, text=True, timeout=60, input=stdin,
    )  # fmt: skip


def test_every_module_can_be_imported() -> None:
    code = """
import importlib, pkgutil, firkin.cli, firkin.client, firkin.wire
count = 0
for package in (firkin.cli, firkin.client, firkin.wire):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
        count += 1
print(count)
"""
    done = portable(code)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 80


def test_every_help_page() -> None:
    code = """
from firkin.cli import main, registry
for group, (_, verbs) in registry.GROUPS.items():
    assert main.run([group, "--help"]) == 0
    for verb in verbs:
        assert main.run([group, verb, "--help"]) == 0
assert main.run(["--help"]) == 0
"""
    done = portable(code)
    assert done.returncode == 0, done.stderr
    assert "Usage:  firkin container ls" in done.stdout


RUN = "from firkin.cli import main; main.main()"


@pytest.fixture
def engine() -> Iterator[str]:
    """An engine on TCP that knows one container and one kind of exec."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener,), daemon=True).start()
    yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()


def _accept(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=_serve, args=(connection,), daemon=True).start()


def _serve(connection: socket.socket) -> None:
    with connection, connection.makefile("rb") as lines:
        while line := lines.readline():
            method, target, _ = line.decode().split()
            length = 0
            while (header := lines.readline().strip().lower()) != b"":
                if header.startswith(b"content-length:"):
                    length = int(header.partition(b":")[2])
            lines.read(length)
            path = target.split("?")[0].partition("/v1.56")[2]
            if path == "/exec/e1/start":
                connection.sendall(
                    b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                    b"Content-Type: application/vnd.docker.multiplexed-stream\r\n\r\n"
                )
                echoed = lines.read()
                connection.sendall(stdcopy.encode(1, echoed.upper()) + stdcopy.encode(2, b"err"))
                return
            body = json.dumps(ANSWERS.get(f"{method} {path}", {"message": "no " + path})).encode()
            status = 200 if f"{method} {path}" in ANSWERS else 404
            connection.sendall(
                b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)
            )


ANSWERS = {
    "GET /containers/json": [
        {"Id": "a" * 64, "Image": "busybox", "Command": "sh", "Names": ["/box"], "Created": 1}
    ],
    "GET /version": {"Version": "1", "ApiVersion": "1.56", "Components": []},
    "POST /containers/box/exec": {"Id": "e1"},
    "GET /containers/box/json": {"Id": "a" * 64, "State": {"Running": True}, "Config": {}},
    "GET /exec/e1/json": {"ExitCode": 7},
}


def test_lists_and_errors(engine: str) -> None:
    done = portable(RUN, "-H", engine, "ps", "-q")
    assert (done.stdout, done.stderr, done.returncode) == ("a" * 12 + "\n", "", 0)
    done = portable(RUN, "-H", engine, "version", "--format", "{{.Server.Version}}")
    assert (done.stdout, done.stderr) == ("1\n", "")
    done = portable(RUN, "-H", engine, "kill", "nosuch")
    assert done.returncode == 1 and "no /containers/nosuch/kill" in done.stderr


def test_attached_streams(engine: str) -> None:
    done = portable(RUN, "-H", engine, "exec", "-i", "box", "tr", stdin="abc")
    assert (done.stdout, done.stderr, done.returncode) == ("ABC", "err", 7)


def test_unix_sockets_are_refused_with_a_reason() -> None:
    done = portable(RUN, "-H", "unix:///run/x.sock", "ps")
    assert done.returncode == 1
    assert "no Unix sockets" in done.stderr


WINDOWS = """
import ntpath, types, ctypes
sys.platform = "win32"
os.sep, os.altsep, os.name = "\\\\", "/", "nt"
os.environ.pop("HOME", None)
os.environ["USERPROFILE"] = "C:\\\\Users\\\\me"
os.path = sys.modules["os.path"] = ntpath
"""


def test_paths_of_windows() -> None:
    code = """
from firkin.cli import context, copying
from firkin.cli.commands.container import cp
from firkin.cli.opts import mounts
win = "C:\\\\Temp\\\\dir"
assert cp._split(win) == ("", win)
assert cp._split("box:/etc/hosts") == ("box", "/etc/hosts")
assert cp._split("box:C:\\\\x") == ("box", "C:\\\\x")
assert copying.local(win + "\\\\a b") == "C:/Temp/dir/a b"
assert copying.split("C:/Temp/dir/") == ("C:/Temp", "dir")
assert copying.split("/etc/hosts") == ("/etc", "hosts")
assert copying.join_link("/etc/x", "../y") == "/y"
assert copying.join_link("C:/a/x", "D:/y") == "D:/y"
assert copying.keep_end("C:/a", copying.local("C:\\\\a\\\\.")) == "C:/a/."
assert mounts.volumes([win + ":/d:ro"]) == ([win + ":/d:ro"], [])
assert os.path.expanduser("~") == "C:\\\\Users\\\\me"
"""
    done = portable(WINDOWS + code)
    assert done.returncode == 0, done.stderr


def test_the_console_of_windows() -> None:
    """Its modes change for the time of a raw terminal, and are put back."""
    code = """
modes, calls = {10: 0x1F7, 11: 0x3}, []
class Kernel:
    def GetConsoleMode(self, handle, mode):
        mode._obj.value = modes[handle]
        return 1
    def SetConsoleMode(self, handle, mode):
        calls.append((handle, mode))
        return 1
ctypes.windll = types.SimpleNamespace(kernel32=Kernel())
sys.modules["msvcrt"] = types.SimpleNamespace(get_osfhandle=lambda fd: 10 + fd)
from firkin.cli import terminal
terminal.is_terminal = lambda fd: True
with terminal.Raw():
    assert calls == [(10, 0x3F0), (11, 0xF)], calls
    calls.clear()
assert calls == [(10, 0x1F7), (11, 0x3)], calls
ended = terminal.on_resize(lambda: None)
ended()
"""
    done = portable(WINDOWS + code)
    assert done.returncode == 0, done.stderr
