"""An engine of a test's own, the clients that drive it, and what it may have left behind."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


class Engine:
    """A firkind with its own roots, socket and bridge."""

    def __init__(self, directory: Path, bridge: str) -> None:
        self.directory = directory
        self.bridge = bridge
        self.data = directory / "data"
        self.exec = directory / "exec"
        self.socket = directory / "s.sock"
        self.host = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None
        self.prefix: tuple[str, ...] = ()
        """A command that runs the engine's, such as nsenter."""
        (directory / "daemon.json").write_text("{}")

    def start(self, *words: str) -> None:
        """Start it, with further flags, and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *self.prefix, BIN / "firkind",
                    "--data-root", self.data, "--exec-root", self.exec,
                    "--host", self.host, "--bridge", self.bridge,
                    "--config-file", self.directory / "daemon.json", *words,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while self.run("version", check=False).returncode:
            ended = self.process.poll()
            assert ended is None, (ended, (self.directory / "log").read_text())
            assert time.monotonic() < deadline, "the engine does not answer"
            time.sleep(0.05)

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """A copy of the engine's database, which is the engine's alone while it runs."""
        with tempfile.TemporaryDirectory() as place:
            for name in ("firkin.db", "firkin.db-wal"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copy(self.data / name, place)
            with contextlib.closing(sqlite3.connect(f"{place}/firkin.db")) as copy:
                yield copy

    def end(self, number: int = signal.SIGTERM) -> None:
        """Send the engine this signal and wait for its end."""
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)

    def environment(self) -> dict[str, str]:
        """What makes a client talk to this engine and to no configuration of the user."""
        return {**os.environ, "DOCKER_HOST": self.host, "DOCKER_CONFIG": "/nonexistent"}

    def run(
        self, *words: str, client: str = "firkin", check: bool = True, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a command of a client against it."""
        done = subprocess.run(
            [str(BIN / "firkin") if client == "firkin" else client, *words],
            env=self.environment(), input=stdin, capture_output=True, timeout=300,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done

    def out(self, *words: str, client: str = "firkin", stdin: bytes = b"") -> str:
        """The same, for what it prints."""
        return self.run(*words, client=client, stdin=stdin).stdout.decode().strip()

    def add_busybox(self) -> None:
        """Give it an image named busybox."""
        image = subprocess.run([ROOT / "scripts/busybox-image"], capture_output=True, check=True)
        self.run("import", "--change", 'CMD ["sh"]', "-", "busybox", stdin=image.stdout)

    def table(self) -> str:
        """The name of its nftables table."""
        return "firkin-" + hashlib.sha256(str(self.data).encode()).hexdigest()[:8]

    def processes(self) -> list[int]:
        """Every process whose command line names its directory, the engine itself left out."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and not (self.process and entry.name == str(self.process.pid)):
                with contextlib.suppress(OSError):
                    if os.fsencode(self.directory) in (entry / "cmdline").read_bytes():
                        found.append(int(entry.name))
        return found

    def mounts(self, below: Path) -> list[str]:
        """Mount points under a directory."""
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split()[4] for line in lines]
        return [point for point in points if point.startswith(f"{below}/")]


def settled(true: Callable[[], bool], seconds: float = 10) -> bool:
    """Whether something becomes true within a time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def leftovers(engine: Engine) -> dict[str, list[str]]:
    """What an engine that should have no container has still on the host."""
    for _ in range(100):  # a removal answers before the last helper and file is gone
        with contextlib.suppress(FileNotFoundError):
            if not any((found := _left(engine)).values()):
                break
        time.sleep(0.1)
    return found


def _left(engine: Engine) -> dict[str, list[str]]:
    return {
        "mounts": engine.mounts(engine.exec / "containers"),
        "processes": [
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            for pid in engine.processes()
        ],
        "bundles": [path.name for path in (engine.exec / "containers").iterdir()],
        "homes": [path.name for path in (engine.data / "containers").iterdir()],
    }


@contextlib.contextmanager
def running(directory: Path, bridge: str, *words: str) -> Iterator[Engine]:
    """An engine started with further flags, with a busybox image; at the end nothing of it stays
    on the host."""
    engine = Engine(directory, bridge)
    try:
        engine.start(*words)
        engine.add_busybox()
        yield engine
    finally:
        if engine.process and engine.process.poll() is None:
            if ids := engine.out("ps", "-aq").split():
                engine.run("rm", "-f", "-v", *ids)
            engine.end()
        clear(engine)


def clear(engine: Engine) -> None:
    """Take what an ended engine may have left: its processes, bridge, rules and mounts."""
    for pid in engine.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for words in (["ip", "link", "delete", engine.bridge],
                  ["nft", "delete", "table", "inet", engine.table()]):  # fmt: skip
        subprocess.run(words, check=False, capture_output=True)
    for point in reversed(engine.mounts(engine.directory)):
        subprocess.run(["umount", "-l", point], check=False)
