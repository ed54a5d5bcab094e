"""Both clients over ``ssh://``: a real sshd on loopback, a context, streams, what goes wrong."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import cliplugins
import remoteservers
import rig
import sshrig
from rig import BIN, Engine

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not shutil.which("sshd"), reason="needs openssh-server"),
]


class Host:
    """An sshd whose sessions find an engine, and the way of a client to it."""

    def __init__(self, directory: Path, engine: Engine) -> None:
        self.directory = directory
        self.engine = engine
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True
            )
        shutil.copy(directory / "user.pub", directory / "authorized")
        public = (directory / "host.pub").read_text().split()
        (directory / "known").write_text(f"[127.0.0.1]:{self.port} {public[0]} {public[1]}\n")
        (directory / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1:{self.port}\nHostKey {directory}/host\nPidFile none\n"
            f"AuthorizedKeysFile {directory}/authorized\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nPermitRootLogin prohibit-password\nMaxStartups 100\n"
            f"SetEnv PATH={BIN}:{os.environ['PATH']} DOCKER_HOST={engine.host}\n"
        )
        (directory / "ssh_config").write_text(
            f"IdentityFile {directory}/user\nIdentitiesOnly yes\n"
            f"UserKnownHostsFile {directory}/known\nStrictHostKeyChecking yes\nBatchMode yes\n"
        )
        wrapper = directory / "bin" / "ssh"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {directory}/ssh_config "$@"\n')
        wrapper.chmod(0o755)
        os.makedirs("/run/sshd", exist_ok=True)
        self.process = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", directory / "sshd_config"],
            stderr=(directory / "sshd.log").open("wb"),
        )

        def listens() -> bool:
            with contextlib.suppress(OSError), socket.socket() as sock:
                sock.connect(("127.0.0.1", self.port))
                return True
            return False

        assert rig.settled(listens), (directory / "sshd.log").read_text()

    @property
    def address(self) -> str:
        return f"ssh://root@127.0.0.1:{self.port}"

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ, "PATH": f"{self.directory}/bin:{os.environ['PATH']}",
            "DOCKER_HOST": self.address, "DOCKER_CONFIG": str(self.directory / "config"), **more,
        }  # fmt: skip

    def run(
        self, client: str, *words: str, stdin: bytes = b"", **more: str
    ) -> subprocess.CompletedProcess[bytes]:
        program = str(BIN / "firkin") if client == "firkin" else client
        return subprocess.run(
            [program, *words], env=self.environment(**more), input=stdin, capture_output=True,
            timeout=60,
        )  # fmt: skip

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory, session_engine: Engine) -> Iterator[Host]:
    made = Host(tmp_path_factory.mktemp("ssh"), session_engine)
    yield made
    made.close()


def test_commands(host: Host, engine: Engine, client: str) -> None:
    done = host.run(client, "run", "--rm", "-i", "busybox", "sh", "-c",
                    "cat; echo err >&2; exit 5", stdin=b"in" * 50_000)  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (5, b"in" * 50_000, b"err\n")
    assert (
        host.run(client, "run", "-d", "--name", "far", "busybox", "sleep", "1000").returncode == 0
    )
    assert host.run(client, "ps", "--format", "{{.Names}}").stdout == b"far\n"
    assert host.run(client, "exec", "far", "echo", "hi").stdout == b"hi\n"
    there = engine.out("ps", "--format", "{{.Names}}")
    assert there == "far"
    missing = host.run(client, "inspect", "nosuch")
    assert (missing.returncode, missing.stdout) == (1, b"[]\n")


def test_a_stream_goes_on(host: Host, engine: Engine, client: str) -> None:
    engine.run("run", "-d", "--name", "counts", "busybox", "sh", "-c", "seq 1 5000; sleep 1")
    done = host.run(client, "logs", "-f", "counts")
    assert done.stdout.split() == [b"%d" % number for number in range(1, 5001)]


def test_a_context(host: Host, engine: Engine, client: str) -> None:
    name = f"over-{client}"
    made = host.run(client, "context", "create", name, "--docker", f"host={host.address}")
    assert made.returncode == 0, made.stderr
    other = "docker" if client == "firkin" and shutil.which("docker") else "firkin"
    for one in {client, other}:
        shown = host.run(one, "--context", name, "info", "-f", "{{.DockerRootDir}}", DOCKER_HOST="")
        assert shown.stdout.decode().strip() == str(engine.data), shown.stderr


def test_nobody_without_the_key(host: Host, client: str, tmp_path: Path) -> None:
    config = (host.directory / "ssh_config").read_text().replace("/user\n", "/host\n")
    (tmp_path / "ssh_config").write_text(config)
    wrapper = tmp_path / "bin" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {tmp_path}/ssh_config "$@"\n')
    wrapper.chmod(0o755)
    done = host.run(client, "ps", PATH=f"{wrapper.parent}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert b"Permission denied" in done.stderr


def test_no_process_stays(host: Host) -> None:
    """Sessions end with the client, also one that is interrupted while it follows."""
    follower = subprocess.Popen(
        [BIN / "firkin", "events"], env=host.environment(), stdout=subprocess.DEVNULL
    )

    def remote() -> bool:
        shown = subprocess.run(["pgrep", "-f", f"^sshd: .*@notty|{host.directory}/ssh_config"],
                               capture_output=True, check=False)  # fmt: skip
        return bool(shown.stdout)

    assert rig.settled(remote)
    time.sleep(0.3)
    follower.send_signal(signal.SIGINT)
    follower.wait()
    assert rig.settled(lambda: not remote(), 20)


@pytest.mark.parametrize("builder", ["firkin build", "docker buildx build"])
def test_a_private_repository_is_a_context(
    host: Host, engine: Engine, tmp_path: Path, builder: str
) -> None:
    """Its key is in an agent of the client's, which lends it for the build."""
    program, *verbs = builder.split()
    plugin = cliplugins.find("buildx")
    if program == "docker" and (plugin is None or not shutil.which("docker")):
        pytest.skip("docker buildx is not installed")
    (tmp_path / "config/cli-plugins").mkdir(parents=True)
    (tmp_path / "config/cli-plugins/docker-buildx").symlink_to(plugin or "/nonexistent")
    repository = tmp_path / "private.git"
    repository.mkdir()
    remoteservers.git("init", "-q", "-b", "main", cwd=repository)
    (repository / "Dockerfile").write_text("FROM busybox\nCOPY secret.txt /\n")
    (repository / "secret.txt").write_text("private\n")
    remoteservers.git("add", ".", cwd=repository)
    remoteservers.git("commit", "-q", "-m", "first", cwd=repository)
    url = f"{host.address}{repository}#main"
    added = f"FROM busybox\nADD {url} /\n".encode()

    def built(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [str(BIN / "firkin") if program == "firkin" else program, *verbs, "--no-cache",
             "-t", "private:1", *words],
            env={**engine.environment(), "DOCKER_CONFIG": str(tmp_path / "config")},
            input=stdin, capture_output=True, timeout=60,
        )  # fmt: skip

    with sshrig.agent(tmp_path) as agent:
        with (host.directory / "authorized").open("a") as file:
            file.write((tmp_path / "key.pub").read_text())
        for words, stdin in (((url,), b""), (("-",), added)):
            done = built("--ssh", f"default={agent}", *words, stdin=stdin)
            assert done.returncode == 0, done.stderr
            assert engine.out("run", "--rm", "private:1", "cat", "/secret.txt") == "private"
        done = built("-", stdin=added)
        assert done.returncode == 1 and b"ermission denied" in done.stderr, done.stderr
    engine.run("rmi", "-f", "private:1")
