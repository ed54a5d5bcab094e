"""Record what Docker's own client sends for the command lines in ``data/run_cases.txt``.

Run by hand where a ``docker`` client is installed::

    python tests/unit/cli/record_docker.py [--docker /usr/bin/docker]

A little server on a Unix socket stands in for the engine, notes the body of each
``POST /containers/create`` and refuses it, so nothing is ever created. The result goes to
``data/run_recorded.json``, which the tests compare our own bodies with.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import pathlib
import shlex
import socketserver
import subprocess
import tempfile
import threading
from typing import Any

DATA = pathlib.Path(__file__).parent / "data"
API_VERSION = "1.50"
ENVIRONMENT = {"FROM_ENV": "from-env", "HOME": "/home/someone"}


class _Handler(http.server.BaseHTTPRequestHandler):
    """Answers the ping, and an error to everything else after noting what was sent."""

    protocol_version = "HTTP/1.1"
    seen: list[dict[str, Any]] = []

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Api-Version", API_VERSION)
        self.send_header("Ostype", "linux")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self._reply(200, b"OK")

    do_GET = do_HEAD

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        if path.endswith("/containers/create"):
            self.seen.append({"query": query, "body": json.loads(body)})
        self._reply(500, b'{"message": "recorded"}')

    def address_string(self) -> str:
        return "client"

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def record(docker: str, verb: str, cases: list[str]) -> list[dict[str, Any]]:
    """What ``docker <verb> <case>`` does for each case: the body it sends, or its refusal."""
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        socket = os.path.join(scratch, "s")
        server = _Server(socket, _Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {"PATH": os.environ["PATH"], "DOCKER_CONFIG": scratch, **ENVIRONMENT}
        for case in cases:
            _Handler.seen.clear()
            done = subprocess.run(
                [docker, "-H", "unix://" + socket, verb, *shlex.split(case)],
                cwd=DATA,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            result: dict[str, Any] = {"case": case}
            if _Handler.seen:
                result.update(_Handler.seen[-1])
            else:
                result.update(status=done.returncode, error=done.stderr.partition("\n\n")[0])
            results.append(json.loads(json.dumps(result).replace(str(DATA.parent), "$PARENT")))
        server.shutdown()
        server.server_close()
    return results


def cases() -> list[str]:
    lines = (DATA / "run_cases.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docker", default="docker")
    options = parser.parse_args()
    results = record(options.docker, "create", cases())
    target = DATA / "run_recorded.json"
    target.write_text(
        "[\n" + ",\n".join(json.dumps(result, sort_keys=True) for result in results) + "\n]\n"
    )
    print(f"{len(results)} command lines recorded in {target}")


if __name__ == "__main__":
    main()
