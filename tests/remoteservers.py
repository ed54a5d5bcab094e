"""Servers on loopback with what builds take from elsewhere: repositories, archives, files."""

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

import rig

SHOW = "FROM busybox\nCOPY . /ctx\nRUN ls -A /ctx > /ls\n"
BAKE = 'target "default" {\n  tags = ["baked/far:1"]\n}\n'
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
        files = {
            "Dockerfile": SHOW, "f": "one\n", "sub/Dockerfile": SHOW, "sub/g": "sub\n",
            "ignored": "", ".dockerignore": "ignored\ndocker-bake.hcl\n",
        }  # fmt: skip
        for name, text in files.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text(text)
        git("init", "-q", cwd=work)
        git("add", "-A", cwd=work)
        git("commit", "-qm", "first", cwd=work)
        git("tag", "v1", cwd=work)
        git("branch", "dev", cwd=work)
        self.first = git("rev-parse", "HEAD", cwd=work)
        (work / "f").write_text("two\n")
        (work / "docker-bake.hcl").write_text(BAKE)
        git("add", "-A", cwd=work)
        git("commit", "-qm", "second", cwd=work)
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


@contextlib.contextmanager
def serving(root: Path) -> Iterator[Servers]:
    """The servers, with what they serve below an empty directory."""
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
