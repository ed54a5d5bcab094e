"""A client in a real terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from rig import BIN, Engine

_ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")


class Terminal:
    """A command of a client, run in a pseudo-terminal of its own session."""

    def __init__(self, engine: Engine, client: str, *words: str, rows: int = 24, cols: int = 80):
        self.master, slave = pty.openpty()
        self.resize(rows, cols, fd=slave)
        self.before = termios.tcgetattr(slave)
        self.seen = b""
        self._slave = slave  # kept open: the terminal's settings can be looked at afterwards
        program = str(BIN / "firkin") if client == "firkin" else client
        self.process = subprocess.Popen(
            [program, *words], stdin=slave, stdout=slave, stderr=slave, env=engine.environment(),
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def resize(self, rows: int, cols: int, *, fd: int = -1) -> None:
        """Give the terminal a size; the client is told as a terminal would."""
        fcntl.ioctl(fd if fd >= 0 else self.master, termios.TIOCSWINSZ,
                    struct.pack("HHHH", rows, cols, 0, 0))  # fmt: skip
        if fd < 0:
            os.kill(self.process.pid, signal.SIGWINCH)

    def type(self, text: bytes) -> None:
        """Press keys."""
        os.write(self.master, text)

    def expect(self, pattern: str, seconds: float = 20) -> re.Match[bytes]:
        """Wait until the screen shows a match; what it showed until then is forgotten."""
        deadline = time.monotonic() + seconds
        while True:
            plain = _ESCAPES.sub(b"", self.seen)
            if match := re.search(pattern.encode(), plain):
                self.seen = plain[match.end() :]
                return match
            left = deadline - time.monotonic()
            assert left > 0, (pattern, self.seen)
            if select.select([self.master], [], [], min(left, 0.2))[0]:
                self.seen += os.read(self.master, 65536)
            else:
                assert self.process.poll() is None or left > seconds - 3, (pattern, self.seen)

    def wait(self, seconds: float = 20) -> int:
        """The client's exit code; its terminal must be as it was before."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.seen
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 65536)
        assert termios.tcgetattr(self._slave) == self.before
        return self.process.returncode

    def close(self) -> None:
        """End the client, if it has not."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self._slave)
