"""Record what Docker's own client prints for the templates in ``data/templates.txt``.

Run by hand where a ``docker`` client is installed::

    python tests/unit/cli/record_templates.py [--docker /usr/bin/docker]

A little server on a Unix socket stands in for the engine: it has one container, whose inspection
is ``data/template_container.json``. Standard output and the status of ``docker container inspect
--format`` go to ``data/templates_recorded.json``, which the tests compare our own with. Templates
whose output holds a memory address (a pointer inside of something) don't belong in the list.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import pathlib
import socketserver
import subprocess
import tempfile
import threading

DATA = pathlib.Path(__file__).parent / "data"
API_VERSION = "1.50"


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    body = b""

    def do_GET(self) -> None:
        """Answer the ping and the inspection."""
        body = self.body if self.path.endswith("/json") else b"OK"
        self.send_response(200)
        self.send_header("Api-Version", API_VERSION)
        self.send_header("Ostype", "linux")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def address_string(self) -> str:
        return "local"


def record(docker: str, socket: str, template: str) -> dict[str, object]:
    """One template's outcome."""
    done = subprocess.run(
        [docker, "-H", f"unix://{socket}", "container", "inspect", "--format", template, "web"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DOCKER_HOST": "", "DOCKER_CONFIG": "/nonexistent"},
    )
    return {"template": template, "stdout": done.stdout, "status": done.returncode}


def main() -> None:
    """Record everything."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--docker", default="docker")
    docker = arguments.parse_args().docker
    _Handler.body = (DATA / "template_container.json").read_bytes()
    lines = (DATA / "templates.txt").read_text().splitlines()
    with tempfile.TemporaryDirectory() as directory:
        socket = f"{directory}/engine.sock"
        server = socketserver.ThreadingUnixStreamServer(socket, _Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        results = [record(docker, socket, line) for line in lines]
        server.shutdown()
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    (DATA / "templates_recorded.json").write_text(text)


if __name__ == "__main__":
    main()
