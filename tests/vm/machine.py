"""A virtual machine and a line to the agent in it."""

from __future__ import annotations

import base64
import contextlib
import os
import queue
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

MEMORY = "2048M"
CPUS = "2"
#: Software emulation works everywhere, also where a test machine is virtual itself; or "kvm".
ACCEL = os.environ.get("FIRKIN_VM_ACCEL", "tcg,thread=multi")
BOOT = 600.0


class Done(NamedTuple):
    """What a command in the machine printed (both streams) and its exit code."""

    code: int
    output: str


class Lost(Exception):
    """The machine did not answer in time, or has ended."""


class Machine:
    """qemu with a disk on top of an image, user networking and a second disk that is a tar."""

    def __init__(self, work: Path, *, kernel: Path, initrd: Path, disk: Path, source: Path) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.console = work / "console.log"
        line = work / "agent.sock"
        with contextlib.suppress(FileNotFoundError):
            line.unlink()
        words = [
            "nice", "-n", "5", "qemu-system-x86_64", "-machine", "q35", "-accel", ACCEL,
            "-cpu", "max", "-smp", CPUS, "-m", MEMORY, "-display", "none", "-nodefaults",
            "-kernel", kernel, "-initrd", initrd,
            "-append", "root=/dev/vda rw console=ttyS0 systemd.show_status=0",
            "-drive", f"file={disk},if=virtio,format=raw,cache=unsafe",
            "-drive", f"file={source},if=virtio,format=raw,readonly=on",
            "-nic", "user,model=virtio-net-pci",
            "-chardev", f"file,id=console,path={self.console}", "-serial", "chardev:console",
            "-chardev", f"socket,id=agent,path={line},server=on,wait=off",
            "-serial", "chardev:agent",
        ]  # fmt: skip
        self._process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=sys.stderr)
        self._line = self._connect(line)
        threading.Thread(target=self._read, daemon=True).start()

    def _connect(self, path: Path) -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        deadline = time.monotonic() + 30
        while True:
            try:
                line.connect(str(path))
            except OSError as error:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    self.end()
                    raise Lost(f"qemu does not start: {error}") from error
                time.sleep(0.1)
            else:
                return line

    def _read(self) -> None:
        with self._line.makefile("r", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                self._lines.put(line.rstrip("\r\n"))
        self._lines.put(None)

    def _next(self, deadline: float) -> str:
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            raise Lost("no answer in time") from None
        if line is None:
            raise Lost("the machine has ended")
        return line

    def ready(self, after: str = "") -> str:
        """Wait until the agent has started in a boot other than ``after``; returns the boot id."""
        deadline = time.monotonic() + BOOT
        while True:
            word, _, boot = self._next(deadline).partition(" ")
            if word == "ready" and boot != after:
                return boot

    def run(
        self, script: str, *, timeout: float = 600.0, show: bool = False, env: Sequence[str] = ()
    ) -> Done:
        """Run a shell script as root, and wait. Raises ``Lost``."""
        exports = "".join(
            f"export {name}='{os.environ[name]}'\n" for name in env if name in os.environ
        )
        text = f"export HOME=/root LANG=C.UTF-8\n{exports}{script}\n"
        self._line.sendall(base64.b64encode(text.encode()) + b"\n")
        deadline = time.monotonic() + timeout
        output = []
        while not (line := self._next(deadline)).startswith("="):
            if show:
                print(f"    {line[1:]}", flush=True)
            output.append(line[1:])
        return Done(int(line[1:]), "\n".join(output))

    def reboot(self, before: str, script: str = "systemctl reboot") -> str:
        """Reboot, as an administrator does or by another script; returns the new boot's id.

        Nothing but the new boot is waited for: the old one may end before it has answered.
        """
        self._line.sendall(base64.b64encode(script.encode()) + b"\n")
        return self.ready(after=before)

    def end(self) -> None:
        """Switch it off. Its disk is as after a power cut."""
        self._process.kill()
        self._process.wait()
