"""Builds of real things from Debian's packages; each runs afterwards."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rig import Engine

pytestmark = [pytest.mark.root, pytest.mark.slow]

SITE = """
FROM tools
COPY --chmod=644 index.html /var/www/html/
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
"""

PYTHON = """
FROM tools
WORKDIR /src
COPY app app
COPY setup.py .
RUN --mount=type=cache,target=/root/.cache/pip \\
    pip install --break-system-packages --no-index --no-build-isolation . && rm -r /src/*
WORKDIR /
ENTRYPOINT ["python3", "-m", "app"]
"""

PROGRAM = """
FROM tools AS build
COPY hello.c .
ARG WORD=world
RUN gcc -O2 -static "-DWORD=\\"$WORD\\"" -o /hello hello.c
FROM scratch
COPY --from=build /hello /
ENTRYPOINT ["/hello"]
"""

NODE = """
FROM tools
COPY <<EOF /server.js
require("http").createServer((q, a) => a.end("page " + q.url)).listen(3000)
EOF
USER www-data
CMD ["node", "/server.js"]
"""

STAGES = 40
GRAPH = "\n".join(
    [
        *(f"FROM busybox AS s{n}\nRUN echo {n} >/n{n}" for n in range(STAGES)),
        "FROM busybox",
        *(f"COPY --from=s{n} /n{n} /all/" for n in range(STAGES)),
        "RUN cat /all/* | wc -l >/count\n",
    ]
)


def _build(engine: Engine, directory: Path, text: str, *words: str) -> None:
    (directory / "Dockerfile").write_text(text)
    engine.run("build", "-t", "real", *words, str(directory))


def _page(engine: Engine, port: str, path: str = "/") -> str:
    address = engine.out("port", "real", port)
    return subprocess.run(
        ["curl", "-sS", "--retry", "10", "--retry-connrefused", f"http://{address}{path}"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def test_a_static_site(engine: Engine, tools: str, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<h1>built</h1>\n")
    _build(engine, tmp_path, SITE)
    engine.run("run", "-d", "--name", "real", "-p", "127.0.0.1::80", "real")
    assert _page(engine, "80") == "<h1>built</h1>\n"
    engine.run("stop", "-t", "20", "real")
    assert engine.out("inspect", "-f", "{{.State.ExitCode}}", "real") == "0"


def test_a_python_application(engine: Engine, tools: str, tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("")
    (tmp_path / "app" / "__main__.py").write_text("import sys; print('app', *sys.argv[1:])\n")
    (tmp_path / "setup.py").write_text(
        "from setuptools import setup; setup(name='app', version='1', packages=['app'])\n"
    )
    _build(engine, tmp_path, PYTHON)
    assert engine.out("run", "--rm", "real", "one", "two") == "app one two"


def test_a_program_alone(engine: Engine, tools: str, tmp_path: Path) -> None:
    (tmp_path / "hello.c").write_text(
        '#include <stdio.h>\nint main(void) { puts("hello " WORD); return 0; }\n'
    )
    _build(engine, tmp_path, PROGRAM, "--build-arg", "WORD=cask")
    assert engine.out("run", "--rm", "real") == "hello cask"
    assert engine.out("inspect", "-f", "{{len .RootFS.Layers}}", "real") == "1"


def test_a_node_page(engine: Engine, tools: str, tmp_path: Path) -> None:
    _build(engine, tmp_path, NODE)
    engine.run("run", "-d", "--init", "--name", "real", "-p", "127.0.0.1::3000", "real")
    assert _page(engine, "3000", "/x") == "page /x"


def test_forty_stages(engine: Engine, tmp_path: Path) -> None:
    _build(engine, tmp_path, GRAPH)
    assert engine.out("run", "--rm", "real", "cat", "/count") == str(STAGES)
    first = engine.out("inspect", "-f", "{{.Id}}", "real")
    _build(engine, tmp_path, GRAPH)
    assert engine.out("inspect", "-f", "{{.Id}}", "real") == first
