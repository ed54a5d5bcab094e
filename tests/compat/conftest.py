"""An engine of its own for these tests, and the clients that judge it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


class Engine:
    """A firkind with its own roots, socket and bridge."""

    def __init__(self, directory: Path, bridge: str) -> None:
        self.directory = directory
        self.bridge = bridge
        self.socket = directory / "s.sock"
        self.host = f"unix://{self.socket}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        log = (self.directory / "log").open("ab")
        self.process = subprocess.Popen(
            [
                BIN / "firkind", "--data-root", self.directory / "data",
                "--exec-root", self.directory / "exec", "--host", self.host,
                "--bridge", self.bridge, "--config-file", self.directory / "daemon.json",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        deadline = time.monotonic() + 30
        while self.run("version", check=False).returncode:
            assert self.process.poll() is None, (self.directory / "log").read_text()
            assert time.monotonic() < deadline, "the engine does not answer"
            time.sleep(0.05)

    def end(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)

    def run(
        self, *words: str, client: str = "firkin", check: bool = True, stdin: bytes = b""
    ) -> subprocess.CompletedProcess[bytes]:
        program = str(BIN / "firkin") if client == "firkin" else client
        done = subprocess.run(
            [program, *words],
            env={**os.environ, "DOCKER_HOST": self.host, "DOCKER_CONFIG": "/nonexistent"},
            input=stdin, capture_output=True, timeout=120,
        )  # fmt: skip
        if check:
            assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done

    def out(self, *words: str, client: str = "firkin", stdin: bytes = b"") -> str:
        return self.run(*words, client=client, stdin=stdin).stdout.decode().strip()


def leftovers(engine: Engine) -> dict[str, list[str]]:
    """What of an engine without containers is still on the host."""
    mounts = [
        line.split()[4]
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if line.split()[4].startswith(f"{engine.directory}/exec/containers")
    ]
    monitors = []
    for entry in Path("/proc").iterdir():
        try:
            if (
                b"conmon" in (words := (entry / "cmdline").read_bytes())
                and os.fsencode(engine.directory) in words
            ):
                monitors.append(entry.name)
        except OSError:
            continue
    bundles = [path.name for path in (engine.directory / "exec/containers").iterdir()]
    homes = [path.name for path in (engine.directory / "data/containers").iterdir()]
    return {"mounts": mounts, "monitors": monitors, "bundles": bundles, "homes": homes}


@pytest.fixture(scope="session")
def session_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    engine = Engine(tmp_path_factory.mktemp("engine"), "fkcompat0")
    (engine.directory / "daemon.json").write_text("{}")
    engine.start()
    image = subprocess.run([ROOT / "scripts/busybox-image"], capture_output=True, check=True)
    engine.run("import", "--change", 'CMD ["sh"]', "-", "busybox", stdin=image.stdout)
    yield engine
    try:
        found = leftovers(engine)
        assert not any(found.values()), found
    finally:
        engine.end()
        subprocess.run(["ip", "link", "delete", engine.bridge], check=False)
        tables = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
        import hashlib

        digest = hashlib.sha256(str(engine.directory / "data").encode()).hexdigest()[:8]
        for line in tables.splitlines():
            if line.endswith(f" firkin-{digest}"):
                subprocess.run(["nft", "delete", *line.split()], check=False)
        for point in Path("/proc/self/mountinfo").read_text().splitlines():
            if (path := point.split()[4]).startswith(str(engine.directory)):
                subprocess.run(["umount", "-l", path], check=False)


@pytest.fixture(params=["firkin", "docker"])
def client(request: pytest.FixtureRequest) -> str:
    """The client to use: ours, or the official one where it is installed."""
    name: str = request.param
    if name == "docker" and shutil.which("docker") is None:
        pytest.skip("the official client is not installed")
    return name


@pytest.fixture
def engine(session_engine: Engine) -> Iterator[Engine]:
    """The engine, without containers before and after."""
    yield session_engine
    ids = session_engine.out("ps", "-aq").split()
    if ids:
        session_engine.run("rm", "-f", "-v", *ids)
