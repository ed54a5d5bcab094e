"""A real distribution: packages from its mirror by NAT, a commit, a published port."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from rig import Engine

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def committed(session_engine: Engine) -> Iterator[None]:
    """What is committed here goes with these tests."""
    yield
    session_engine.run("rmi", "-f", "nginx:test", check=False)


def test_install_commit_publish(engine: Engine, debian: str) -> None:
    script = "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q nginx-light"
    engine.run("run", "--name", "installs", debian, "bash", "-c", script, client="docker")
    changes = engine.out("diff", "installs", client="docker")
    engine.run(
        "commit", "-c", 'CMD ["nginx", "-g", "daemon off;"]', "-c", "EXPOSE 80", "-m", "nginx",
        "installs", "nginx:test", client="docker",
    )  # fmt: skip
    assert "A /usr/sbin/nginx" in changes.splitlines()
    engine.run("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "nginx:test", client="docker")
    address = engine.out("port", "web", "80", client="docker")
    page = subprocess.run(
        ["curl", "-sS", "--retry", "10", "--retry-connrefused", f"http://{address}/"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "Welcome to nginx" in page
    asked = ["run", "--rm", "--network", "container:web", "busybox", "wget", "-qO-", "127.0.0.1"]
    assert engine.out(*asked) == page.strip()
    assert "GET / HTTP" in engine.out("exec", "web", "cat", "/var/log/nginx/access.log")


def test_users_of_the_image(engine: Engine, debian: str, client: str) -> None:
    out = engine.out("run", "--rm", "-u", "www-data", debian, "id", client=client)
    assert out == "uid=33(www-data) gid=33(www-data) groups=33(www-data)"
    out = engine.out("run", "--rm", "-u", "1000:adm", debian, "id", "-g", "-n", client=client)
    assert out == "adm"
