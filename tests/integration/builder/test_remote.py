"""What comes from elsewhere: Git repositories, downloads, SSH agents; real servers on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import os
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_client import made, run, write

import rig
import sshrig
from rig import Engine

pytestmark = pytest.mark.root

SHOW = "FROM busybox\nCOPY . /ctx\nRUN ls -A /ctx > /ls\n"
TOKEN = "t0ken"


def git(*words: str, cwd: Path) -> str:
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    for name in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{name}_NAME": "n", f"GIT_{name}_EMAIL": "n@example.org"}
    done = subprocess.run(["git", *words], cwd=cwd, env=env, capture_output=True, check=True)
    return done.stdout.decode().strip()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files; below /moved/ redirects to them, below /private/ only with a token."""

    def do_GET(self) -> None:
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/moved"))
            self.end_headers()
            return
        if self.path.startswith("/private/"):
            if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                self.send_error(401)
                return
            self.path = self.path.removeprefix("/private")
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Quiet."""


class Servers:
    """A repository behind git:// and, as files only, behind http://, beside an archive."""

    def __init__(self, root: Path) -> None:
        work = root / "work"
        write(work, {"Dockerfile": SHOW, "f": "one\n", "sub/Dockerfile": SHOW, "sub/g": "sub\n",
                     "ignored": "", ".dockerignore": "ignored\n"})  # fmt: skip
        git("init", "-q", cwd=work)
        git("add", "-A", cwd=work)
        git("commit", "-qm", "first", cwd=work)
        git("tag", "v1", cwd=work)
        git("branch", "dev", cwd=work)
        self.first = git("rev-parse", "HEAD", cwd=work)
        (work / "f").write_text("two\n")
        git("commit", "-qam", "second", cwd=work)
        git("clone", "-q", "--bare", "work", "repo.git", cwd=root)
        git("update-server-info", cwd=root / "repo.git")
        git("config", "uploadpack.allowReachableSHA1InWant", "true", cwd=root / "repo.git")
        self.archive = io.BytesIO()
        with tarfile.open(fileobj=self.archive, mode="w:gz") as tar:
            tar.add(work / "Dockerfile", "Dockerfile")
            tar.add(work / "f", "f")
        (root / "ctx.tar.gz").write_bytes(self.archive.getvalue())
        (root / "alone").write_text("FROM busybox\nRUN echo alone > /ls\n")
        self.digest = hashlib.sha256(self.archive.getvalue()).hexdigest()
        self.git = self.http = ""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    root = tmp_path_factory.mktemp("servers")
    made = Servers(root)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    daemon = subprocess.Popen(
        ["git", "daemon", "--export-all", "--reuseaddr", f"--base-path={root}",
         "--listen=127.0.0.1", f"--port={port}", root],
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip

    def handler(*given: object) -> Handler:
        return Handler(*given, directory=str(root))  # type: ignore[arg-type]

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        assert rig.settled(lambda: not _refused(port), 20)
        made.git = f"git://127.0.0.1:{port}/repo.git"
        made.http = f"http://127.0.0.1:{web.server_port}"
        yield made
    finally:
        web.shutdown()
        web.server_close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(daemon.pid, 15)
        daemon.wait(10)


def _refused(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) != 0


def shown(engine: Engine, name: str) -> list[str]:
    return engine.out("run", "--rm", name, "sh", "-c", "cat /ls; cat /ctx/f /ctx/g; true").split()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("{git}", ["Dockerfile", "f", "sub", "two"]),
        ("{git}#v1", ["Dockerfile", "f", "sub", "one"]),
        ("{git}#{first}", ["Dockerfile", "f", "sub", "one"]),
        ("{git}#v1:sub", ["Dockerfile", "g", "sub"]),
        ("{git}?ref=v1&subdir=sub", ["Dockerfile", "g", "sub"]),
        ("{http}/repo.git#dev", ["Dockerfile", "f", "sub", "one"]),
        ("{http}/ctx.tar.gz", ["Dockerfile", "f", "two"]),
        ("{http}/moved/ctx.tar.gz", ["Dockerfile", "f", "two"]),
        ("{http}/alone", ["alone"]),
    ],
)
def test_contexts(builds: Engine, servers: Servers, source: str, found: list[str]) -> None:
    made(builds, "-t", "remote", source.format_map(vars(servers)))
    listed = [one for one in shown(builds, "remote") if not one.startswith(".")]
    assert listed == found


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{git}#nope", "couldn't find remote ref nope"),
        ("{git}#v1:none", "has no directory 'none' at v1"),
        ("{git}#v1:../x", "leads out of the repository"),
        ("{http}/nothing", "the server answered 404"),
        ("http://127.0.0.1:1/x", "cannot download http://127.0.0.1:1/x"),
    ],
)
def test_contexts_that_are_none(builds: Engine, servers: Servers, source: str, words: str) -> None:
    done = run(builds, source.format_map(vars(servers)))
    assert done.returncode == 1
    assert words in done.stderr


@pytest.mark.parametrize(
    ("add", "found"),
    [
        ("--keep-git-dir=true {git}#v1", ".dockerignore .git Dockerfile f ignored sub"),
        ("{git}#v1", ".dockerignore Dockerfile f ignored sub"),
        ("{git}#v1:sub", "Dockerfile g"),
        ("--checksum={first} {git}#v1", ".dockerignore Dockerfile f ignored sub"),
        ("--checksum=sha256:{digest} {http}/ctx.tar.gz", "ctx.tar.gz"),
        ("--unpack=true {http}/moved/ctx.tar.gz", "Dockerfile f"),
        ("{http}/private/ctx.tar.gz", "ctx.tar.gz"),
    ],
)
def test_add(builds: Engine, servers: Servers, add: str, found: str) -> None:
    text = f"FROM busybox\nADD {add.format_map(vars(servers))} /r/\nRUN ls -A /r > /ls\n"
    made(builds, "-t", "added", "--secret", "id=HTTP_AUTH_TOKEN_127.0.0.1,env=TOK", "-",
         stdin=text.encode(), env={"TOK": TOKEN})  # fmt: skip
    assert builds.out("run", "--rm", "added", "cat", "/ls").split() == found.split()


@pytest.mark.parametrize(
    ("add", "words"),
    [
        ("--checksum=1234567 {git}", "1234567 was expected"),
        ("--checksum=sha256:" + "0" * 64 + " {http}/ctx.tar.gz", "digest mismatch sha256:"),
        ("{http}/private/ctx.tar.gz", "the server answered 401"),
    ],
)
def test_add_that_fails(builds: Engine, servers: Servers, add: str, words: str) -> None:
    done = run(
        builds, "-", stdin=f"FROM busybox\nADD {add.format_map(vars(servers))} /r/\n".encode()
    )
    assert done.returncode == 1
    assert words in done.stderr


def test_named_contexts_from_elsewhere(builds: Engine, servers: Servers) -> None:
    text = b"FROM busybox\nCOPY --from=g f /g\nCOPY --from=t f /t\n"
    made(builds, "-t", "elsewhere", "--build-context", f"g={servers.git}#v1",
         "--build-context", f"t={servers.http}/ctx.tar.gz", "-", stdin=text)  # fmt: skip
    assert builds.out("run", "--rm", "elsewhere", "cat", "/g", "/t").split() == ["one", "two"]


# SSH agents


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """The socket of an agent with one key, whose comment is firkin-key."""
    with sshrig.agent(tmp_path) as path:
        yield path


def test_an_agent(builds: Engine, tmp_path: Path, agent: str) -> None:
    root = sshrig.context(tmp_path / "c")
    words = ("-t", "agent", "--ssh", "default", "--ssh", f"two={agent}", str(root))
    made(builds, *words, env={"SSH_AUTH_SOCK": agent})
    keys, owner, mode, where = _lines(builds, "agent")
    assert "firkin-key" in keys
    assert (owner, mode, where) == ("1234", "640", "/run/two")
    builds.run("run", "--rm", "agent", "sh", "-c", "! test -e /run")
    assert made(builds, *words, env={"SSH_AUTH_SOCK": agent}).count("CACHED") == 5


def _lines(engine: Engine, name: str) -> list[str]:
    keys, owner, where = engine.out("run", "--rm", name, "cat", "/keys", "/owner", "/where").split(
        "\n"
    )
    return [keys, *owner.split(), where]


def test_agents_that_are_not_there(builds: Engine, tmp_path: Path) -> None:
    text = b"FROM busybox\nRUN --mount=type=ssh,required true\n"
    done = run(builds, "-", stdin=text)
    assert "SSH agent 'default' is not forwarded, and it is required" in done.stderr
    done = run(builds, "--ssh", f"default={tmp_path}/none", "-", stdin=text)
    assert f"no SSH agent answers at {tmp_path}/none" in done.stderr
    assert done.returncode == 1


def test_several_secrets(builds: Engine, tmp_path: Path) -> None:
    (tmp_path / "b").write_text("from a file")
    text = (
        b"FROM busybox\nRUN --mount=type=secret,id=a,env=A --mount=type=secret,id=b "
        b"--mount=type=secret,id=c,target=/c,required=false --mount=type=secret,id=a,target=/a "
        b'test "$A" = first && test "$(cat /run/secrets/b)" = "from a file" && ! test -e /c && '
        b'test "$(cat /a)" = first\nRUN ! test -e /run/secrets && ! test -e /a && test -z "$A"\n'
    )
    made(builds, "--secret", "id=a,env=FIRST", "--secret", f"id=b,src={tmp_path}/b", "-",
         stdin=text, env={"FIRST": "first"})  # fmt: skip
