"""The engine of another host by way of ssh, which authenticates and encrypts.

Each stream is an ``ssh`` process that runs a client there, whose ``system dial-stdio`` copies
between its standard streams and its own engine. That host may have Firkin's client or Docker's.
Here the process holds one end of a socket pair, so the rest of the client sees a socket like any
other.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

from firkin.client import transport

_TAIL = 4096

REMOTE = "firkin system dial-stdio"
FALLBACK = "docker system dial-stdio"


class SshTransport:
    """``ssh`` as the user has it set up: keys, agents, jumps and the rest are ssh's own matter."""

    base = ""
    host_header = "docker.example.com"

    def __init__(self, user: str, host: str, port: int | None, path: str = "") -> None:
        self.user = user
        self.host = host
        self.port = port
        self.path = path
        shown = f"{user}@{host}" if user else host
        self.address = f"ssh://{shown}" + (f":{port}" if port else "") + path

    def command(self) -> list[str]:
        """The words that start ssh; neither host nor user can be taken for a flag of it."""
        words = ["ssh", "-T", "-o", "ConnectTimeout=30"]
        if self.user:
            words += ["-l", self.user]
        if self.port:
            words += ["-p", str(self.port)]
        return [*words, "--", self.host, self._remote()]

    def _remote(self) -> str:
        host = ""
        if self.path:
            import shlex

            host = " --host " + shlex.quote("unix://" + self.path)
        ours = REMOTE.replace(" ", host + " ", 1)
        theirs = FALLBACK.replace(" ", host + " ", 1)
        return f"if command -v firkin >/dev/null 2>&1; then exec {ours}; else exec {theirs}; fi"

    def connect(self) -> transport.Channel:
        if not hasattr(socket, "AF_UNIX") or sys.platform == "win32":
            raise OSError("ssh:// addresses need a system with Unix sockets")
        ours, theirs = socket.socketpair()
        try:
            process = subprocess.Popen(
                self.command(),
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            ours.close()
            raise OSError(f"cannot run ssh to reach {self.host}: {error.strerror}") from None
        finally:
            theirs.close()
        return _Channel(ours, process)


class _Channel:
    """Our end of the pair; when it ends without a word, ssh's own words say why."""

    def __init__(self, sock: socket.socket, process: subprocess.Popen[bytes]) -> None:
        self._sock = sock
        self._process = process
        self._heard = False
        self._said = b""
        self._listener = threading.Thread(target=self._listen, name="ssh", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        while data := os.read(self._process.stderr.fileno(), _TAIL):
            self._said = (self._said + data)[-_TAIL:]

    def recv(self, size: int, /) -> bytes:
        try:
            data = self._sock.recv(size)
        except ConnectionResetError:
            if self._heard:
                raise
            data = b""
        self._heard = self._heard or bool(data)
        if not data and not self._heard:
            raise OSError(self._why())
        return data

    def sendall(self, data: bytes, /) -> None:
        try:
            self._sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            if self._heard:
                raise
            raise OSError(self._why()) from None

    def _why(self) -> str:
        status = self._process.wait()
        self._listener.join(1)
        words = self._said.decode("utf-8", "replace").strip()
        shown = "".join(char if char.isprintable() or char == "\n" else "?" for char in words)
        return f"ssh ended with status {status} before the engine answered: {shown or 'no reason'}"

    def shutdown(self, how: int, /) -> None:
        self._sock.shutdown(how)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        """End the stream, and with it ssh."""
        self._sock.close()
        if self._process.poll() is None:
            self._process.terminate()


def parse(address: str) -> SshTransport:
    """``ssh://[user@]host[:port][/path/of/the/socket]``. Raises ``BadAddress``."""
    place, slash, path = address.partition("://")[2].partition("/")
    user, _, host = place.rpartition("@")
    if ":" in user:
        raise transport.BadAddress(
            "the engine address holds a password: ssh takes none from there; use a key or an agent"
        )
    port: int | None = None
    if host.startswith("["):
        host, closed, tail = host[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")):
            raise transport.BadAddress(
                f"engine address {address!r}: the IPv6 address is not closed by ']'"
            )
        port = transport.parse_port(address, tail[1:]) if tail else None
    elif ":" in host:
        host, _, text = host.partition(":")
        port = transport.parse_port(address, text)
    for what, text in (("host", host), ("user", user)):
        if text.startswith("-") or any(char.isspace() or not char.isprintable() for char in text):
            raise transport.BadAddress(f"engine address {address!r}: {text!r} is not a {what}")
    if not host:
        raise transport.BadAddress(f"engine address {address!r} names no host")
    if "?" in path or "#" in path:
        raise transport.BadAddress(f"engine address {address!r}: only a socket's path may follow")
    return SshTransport(user, host, port, slash + path if path else "")
