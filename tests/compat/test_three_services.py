"""An application of three services, built and brought up by both generations of Compose.

A web server (nginx) in front of an application (Python) that counts in a database (redis), all of
Debian's packages, on two networks and a volume, each started when the one before is healthy.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import cliplugins
from rig import Engine

pytestmark = [pytest.mark.root, pytest.mark.slow]

FILES = {
    "docker-compose.yml": """
version: "3.8"
services:
  web:
    build: ./web
    ports: ["127.0.0.1::80"]
    depends_on: {app: {condition: service_healthy}}
    networks: [front]
  app:
    build: {context: ./app, args: {GREETING: visit}}
    environment: {DATABASE: store}
    depends_on: {db: {condition: service_healthy}}
    healthcheck: {test: [CMD, python3, /app.py, check], interval: 1s, timeout: 5s, retries: 60}
    networks: [front, back]
  db:
    image: tools
    command: redis-server --bind 0.0.0.0 --protected-mode no --dir /data --appendonly yes
    volumes: ["data:/data"]
    healthcheck: {test: [CMD, redis-cli, ping], interval: 1s, timeout: 5s, retries: 60}
    networks: {back: {aliases: [store]}}
    restart: unless-stopped
networks:
  front: {}
  back: {internal: true}
volumes:
  data: {}
""",
    "web/Dockerfile": """
FROM tools
COPY site.conf /etc/nginx/sites-enabled/default
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
""",
    "web/site.conf": """
server {
  listen 80;
  resolver 127.0.0.11 valid=1s;  # a service that is made anew has another address
  set $app app;
  location / { proxy_pass http://$app:8000; }
}
""",
    "app/Dockerfile": """
FROM tools
ARG GREETING
ENV GREETING=$GREETING
COPY app.py /
STOPSIGNAL SIGKILL
CMD ["python3", "-u", "/app.py"]
""",
    "app/app.py": """
import http.server, os, socket, sys, time, urllib.request

def count():
    while True:
        with socket.create_connection((os.environ["DATABASE"], 6379), 5) as db:
            db.sendall(b"INCR visits\\r\\n")
            answer = db.recv(100).decode().strip()
        if not answer.startswith("-LOADING"):  # its dataset, after a start
            return answer.lstrip(":")
        time.sleep(0.1)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = "fine" if self.path == "/health" else f"{os.environ['GREETING']} {count()}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(f"{text}\\n".encode())

if sys.argv[1:] == ["check"]:
    urllib.request.urlopen("http://127.0.0.1:8000/health", timeout=5).read()
else:
    print("listening", flush=True)
    http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
""",
}


class Compose:
    """One generation of Compose in the application's directory."""

    def __init__(self, engine: Engine, words: list[str], directory: Path, config: Path) -> None:
        self._words = words
        self.newer = words[0] == "docker"
        self.directory = directory
        self._environment = {
            **engine.environment(), "DOCKER_CONFIG": str(config), "COMPOSE_HTTP_TIMEOUT": "120",
        }  # fmt: skip

    def __call__(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            [*self._words, *words], cwd=self.directory, env=self._environment, text=True,
            capture_output=True, timeout=240,
        )  # fmt: skip
        assert done.returncode == 0 or not check, (words, done.stdout, done.stderr)
        return done.stdout.strip()


@pytest.fixture(params=["docker-compose 1", "compose 2"])
def compose(
    request: pytest.FixtureRequest, engine: Engine, tools: str, tmp_path: Path
) -> Iterator[Compose]:
    config = tmp_path / "config"
    (config / "cli-plugins").mkdir(parents=True)
    directory = tmp_path / "three"
    for name, text in FILES.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    if request.param == "compose 2":
        plugin = cliplugins.find("compose")
        if plugin is None or shutil.which("docker") is None:
            pytest.skip("the plug-in compose is not installed: see scripts/cli-plugins")
        (config / "cli-plugins" / "docker-compose").symlink_to(plugin)
        if (buildx := cliplugins.find("buildx")) is not None:
            (config / "cli-plugins" / "docker-buildx").symlink_to(buildx)
        words = ["docker", "compose"]
    else:
        if shutil.which("docker-compose") is None:
            pytest.skip("docker-compose is not installed")
        words = ["docker-compose"]
    made = Compose(engine, words, directory, config)
    yield made
    made("down", "-v", "-t", "1", "--rmi", "local", check=False)


def _page(address: str) -> str:
    return subprocess.run(
        ["curl", "-fsS", "--retry", "30", "--retry-delay", "1", "--retry-all-errors",
         f"http://{address}/"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


def test_it_comes_up_scales_and_goes(engine: Engine, compose: Compose) -> None:
    compose("build")
    compose("up", "-d")
    address = compose("port", "web", "80")
    assert _page(address) == "visit 1"
    assert _page(address) == "visit 2"
    assert "listening" in compose("logs", "app")
    assert "PONG" in compose("exec", "-T", "db", "redis-cli", "ping")

    compose("up", "-d", "--scale", "app=2", "--no-recreate")
    assert len(compose("ps", "-q", "app").split()) == 2
    assert re.search("three[-_]app[-_]2", compose("ps"))
    compose("restart", "-t", "5", "db")
    assert _page(address) == "visit 3"  # the database kept it

    compose("stop", "-t", "5")
    assert engine.out("ps", "-q") == ""
    compose("start")
    assert _page(compose("port", "web", "80")) == "visit 4"

    source = compose.directory / "app/app.py"
    source.write_text(source.read_text().replace("{count()}", "number {count()}"))
    compose("up", "-d", "--build", "--scale", "app=1", "-t", "5")
    assert _page(compose("port", "web", "80")) == "visit number 5"
    if compose.newer:
        compose("cp", "app:/app.py", "copied")
        assert (compose.directory / "copied").read_text() == source.read_text()

    compose("down", "-v", "-t", "1")
    assert engine.out("ps", "-aq") == ""
    assert "three_" not in engine.out("network", "ls") + engine.out("volume", "ls")
