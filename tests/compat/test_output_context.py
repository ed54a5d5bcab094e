"""Contexts: both clients read and write the same files, and say the same of them."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(
    not (shutil.which("docker") and shutil.which("openssl")),
    reason="needs the official client and openssl",
)

PROGRAMS = {"firkin": str(Path(sys.executable).parent / "firkin"), "docker": "docker"}
VARIABLES = ("DOCKER_HOST", "FIRKIN_HOST", "DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY")


class Home:
    """A configuration directory that both clients use, and a directory to work in."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config"
        self.config.mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=x",
             "-keyout", path / "key.pem", "-out", path / "cert.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        shutil.copy(path / "cert.pem", path / "ca.pem")

    def run(self, client: str, line: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
        environment |= {"DOCKER_CONFIG": str(self.config), **variables}
        return subprocess.run(
            [PROGRAMS[client], *shlex.split(line)], cwd=self.path, env=environment,
            capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def said(self, client: str, line: str, **variables: str) -> tuple[str, str, int]:
        done = self.run(client, line, **variables)
        streams = (
            text.replace("firkin", "docker")
            .replace("/run/docker/docker.sock", "/var/run/docker.sock")
            .replace("Failed to initialize: unable to resolve docker endpoint: ", "")
            for text in (done.stdout, done.stderr)
        )
        stdout, stderr = streams
        lines = [" ".join(line.split()) for line in stdout.splitlines()]
        return "\n".join(lines), stderr, done.returncode


CREATE = (
    "context create aa --description 'desc x' "
    "--docker host=tcp://h:2376,skip-tls-verify=true,ca=ca.pem,cert=cert.pem,key=key.pem"
)
STEPS = """
context create bb --docker host=unix:///x.sock
context create bb
context create default
context create a!
context create ee --docker foo=bar
context create ee --docker ca=/nonexistent,host=tcp://x:1
context create ee --docker skip-tls-verify=zz,host=tcp://x:1
context create ee --docker from=nosuch
context create ee --from nosuch
context create ee --from aa --docker host=unix:///x
context create ee --from aa
context create ef --docker from=aa
context create cc
context ls
context ls -q
context ls --format json
context ls --format '{{.Name}} {{.Current}} {{.Description}} {{.DockerEndpoint}}'
context inspect aa bb
context inspect
context inspect aa nosuch
context inspect aa -f '{{.Name}} {{.Endpoints.docker.Host}} {{.Storage.TLSPath}}'
context inspect aa -f '{{json .TLSMaterial}}'
context update aa --description other
context update bb --docker host=tcp://z:1
context update nosuch
context update default --description x
context use bb
context show
context ls
context rm bb
context use nosuch
context export aa
context export aa
context import copy aa.dockercontext
context import copy aa.dockercontext
context import x /nonexistent-file
context inspect copy -f '{{json .TLSMaterial}} {{.Endpoints.docker.Host}}'
context rm nosuch
context rm default
context rm -f bb nosuch
context show
context rm aa copy ee ef
context use default
context ls
-c nosuch ps
-H x -c ef ps
"""


def test_a_session_with_each(tmp_path: Path) -> None:
    """The same commands in two homes lead to the same texts and files."""
    said = {}
    for number, client in enumerate(PROGRAMS):
        (tmp_path / str(number)).mkdir()
        home = Home(tmp_path / str(number))
        steps = [CREATE, *STEPS.strip().split("\n")]
        said[client] = [
            (line, *[
                part.replace(str(home.path), "HOME") if isinstance(part, str) else part
                for part in home.said(client, line)
            ])
            for line in steps
        ]  # fmt: skip
        files = sorted(path for path in home.config.rglob("*") if path.is_file())
        said[client] += [
            (
                str(path.relative_to(home.config)),
                path.read_text().replace("/run/firkin/firkin.sock", "/var/run/docker.sock")
                if path.suffix == ".json"
                else "",
                path.stat().st_mode,
            )
            for path in files
        ]
    paths = [[entry[0] for entry in said[client]] for client in PROGRAMS]
    assert paths[0] == paths[1]
    for ours, theirs in zip(said["firkin"], said["docker"], strict=True):
        assert ours == theirs


def test_what_one_writes_the_other_reads(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.run("firkin", CREATE).returncode == 0
    assert home.run("docker", "context create bb --from aa").returncode == 0
    home.run("docker", "context use bb")
    assert home.run("firkin", "context show").stdout == "bb\n"
    for line in ("context ls", "context inspect aa bb", "context inspect"):
        assert home.said("firkin", line) == home.said("docker", line)
    for writer, reader in (("firkin", "docker"), ("docker", "firkin")):
        assert home.run(writer, f"context export aa {writer}.tar").returncode == 0
        assert home.run(reader, f"context import by-{reader} {writer}.tar").returncode == 0
        line = f"context inspect by-{reader} -f '{{{{json .TLSMaterial}}}}{{{{.Endpoints}}}}'"
        assert home.said("firkin", line) == home.said("docker", line)
        assert "cert.pem" in home.run("firkin", line).stdout


@pytest.mark.parametrize(
    "variables",
    [{"DOCKER_HOST": "tcp://1.2.3.4:5"}, {"DOCKER_CONTEXT": "aa"}, {"DOCKER_CONTEXT": "zz"}],
    ids=str,
)
def test_variables(tmp_path: Path, variables: dict[str, str]) -> None:
    home = Home(tmp_path)
    home.run("docker", CREATE)
    for line in ("context ls", "context show", "context use aa", "context inspect"):
        assert home.said("firkin", line, **variables) == home.said("docker", line, **variables)
