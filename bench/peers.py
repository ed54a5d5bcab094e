"""The engines that are compared: ours, and dockerd and podman where Debian's packages are there."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import source

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent


class Peer:
    """An engine with roots and a socket of its own, driven by the official client."""

    name = ""
    #: Length of the prefix of the bridge's subnet: room for how many containers.
    prefix = 24

    def __init__(self, directory: Path) -> None:
        self.directory = directory / self.name
        self.directory.mkdir()
        self.socket = self.directory / "s.sock"
        self.process: subprocess.Popen[bytes] | None = None
        self.turns: dict[str, int] = {}

    def argv(self) -> list[str]:
        """The command that starts the engine."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """The environment of the engine."""
        return dict(os.environ)

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.argv(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
            )
        deadline = time.monotonic() + 60
        while self.client("version", check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.directory / "log").read_text()[-2000:])
            time.sleep(0.1)

    def client(self, *words: str, check: bool = True, stdin: int = subprocess.DEVNULL,
               stdout: int = subprocess.PIPE, data: bytes | None = None,
               ) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        """Run the official client against it."""
        given: dict[str, Any] = {"input": data} if data is not None else {"stdin": stdin}
        return subprocess.run(
            ["docker", "-H", f"unix://{self.socket}", *words],
            check=check, stdout=stdout, stderr=subprocess.PIPE, timeout=300, **given,
        )  # fmt: skip

    def stop(self) -> None:
        """Remove what is left and end the engine."""
        if self.process is None:
            return
        ids = self.client("ps", "-aq", check=False).stdout.decode().split()
        if ids:
            self.client("rm", "-f", "-v", *ids, check=False)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def pids(self) -> list[int]:
        """The engine's process and those of its helpers that are recognisable by its directory."""
        running = self.process is not None and self.process.poll() is None
        found = {self.process.pid} if self.process is not None and running else set()
        wanted = os.fsencode(self.directory)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if wanted in (entry / "cmdline").read_bytes():
                        found.add(int(entry.name))
                except OSError:
                    continue
        return sorted(found)

    def memory(self) -> int:
        """Proportional set size of the engine and all its helpers, in KiB."""
        total = 0
        for pid in self.pids():
            try:
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
            except OSError:
                continue
        return total


class Firkin(Peer):
    """firkind from this checkout."""

    name = "firkin"

    def argv(self) -> list[str]:
        return [
            str(BIN / "firkind"), "--data-root", f"{self.directory}/data", "--exec-root",
            f"{self.directory}/exec", "--host", f"unix://{self.socket}", "--bridge", "fkbench0",
            "--bip", f"10.213.0.1/{self.prefix}",
        ]  # fmt: skip

    def stop(self) -> None:
        super().stop()
        digest = hashlib.sha256(f"{self.directory}/data".encode()).hexdigest()[:8]
        for words in (["ip", "link", "delete", "fkbench0"],
                      ["nft", "delete", "table", "inet", f"firkin-{digest}"]):  # fmt: skip
            subprocess.run(words, check=False, capture_output=True)


class Dockerd(Peer):
    """Debian's docker.io."""

    name = "dockerd"

    def start(self) -> None:
        self._rules = {
            tool: subprocess.run([f"{tool}-save"], check=False, capture_output=True).stdout
            for tool in ("iptables", "ip6tables")
        }
        self._bridged = Path("/sys/class/net/docker0").exists()
        super().start()

    def stop(self) -> None:
        super().stop()
        for tool, rules in self._rules.items():  # it leaves its rules and its bridge behind
            subprocess.run([f"{tool}-restore"], check=False, input=rules, capture_output=True)
        if not self._bridged:
            subprocess.run(["ip", "link", "del", "docker0"], check=False, capture_output=True)

    def argv(self) -> list[str]:
        return [
            "dockerd", "--data-root", f"{self.directory}/data", "--exec-root",
            f"{self.directory}/exec", "--host", f"unix://{self.socket}", "--pidfile",
            f"{self.directory}/pid", "--bip", f"10.214.0.1/{self.prefix}",
        ]  # fmt: skip


class Podman(Peer):
    """Debian's podman, as a service."""

    name = "podman"

    def argv(self) -> list[str]:
        return [
            "podman", "--root", f"{self.directory}/data", "--runroot", f"{self.directory}/run",
            "--cgroup-manager", "cgroupfs", "--log-level", "error", "system", "service",
            "--time", "0", f"unix://{self.socket}",
        ]  # fmt: skip

    def environment(self) -> dict[str, str]:
        # Its default asks for more open files than a host with a low hard limit allows.
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limits = [f"nofile={files}:{files}", "nproc=32768:32768"]
        path = self.directory / "containers.conf"
        quoted = ", ".join(f'"{limit}"' for limit in limits)
        path.write_text(f"[containers]\ndefault_ulimits = [{quoted}]\n")
        registries = self.directory / "registries.conf"
        registries.write_text(f'[[registry]]\nlocation = "{source.HOST}"\ninsecure = true\n')
        return {
            **os.environ,
            "CONTAINERS_CONF": str(path),
            "CONTAINERS_REGISTRIES_CONF": str(registries),
        }


def available(directory: Path, names: list[str]) -> list[Peer]:
    """The peers of these names whose programs are installed."""
    programs = {"firkin": str(BIN / "firkind"), "dockerd": "dockerd", "podman": "podman"}
    kinds = {kind.name: kind for kind in (Firkin, Dockerd, Podman)}
    return [kinds[name](directory) for name in names if shutil.which(programs[name])]


@contextlib.contextmanager
def workspace(parent: Path) -> Iterator[Path]:
    """A directory for all peers; ``parent`` should be on a disk, not in memory."""
    directory = Path(tempfile.mkdtemp(prefix="fkbench-", dir=parent))
    try:
        yield directory
    finally:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
        points = [line.split()[4] for line in lines]
        for point in reversed([p for p in points if p.startswith(f"{directory}/")]):
            subprocess.run(["umount", "-l", point], check=False)
        shutil.rmtree(directory, ignore_errors=True)
