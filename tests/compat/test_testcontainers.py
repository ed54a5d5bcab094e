"""Testcontainers for Python, unchanged, against the engine."""

from __future__ import annotations

import shutil
import urllib.request
from pathlib import Path

import pytest

import cliplugins
from rig import Engine

pytest.importorskip("testcontainers.core", reason="testcontainers is not installed")

from testcontainers.community.nginx import NginxContainer
from testcontainers.compose import DockerCompose
from testcontainers.core import config
from testcontainers.core.container import DockerContainer
from testcontainers.core.image import DockerImage
from testcontainers.core.network import Network
from testcontainers.core.wait_strategies import (
    HealthcheckWaitStrategy,
    HttpWaitStrategy,
    LogMessageWaitStrategy,
)

pytestmark = pytest.mark.root

SERVE = ["sh", "-c", "mkdir /www; echo $PAGE >/www/index.html; echo ready; httpd -f -h /www"]


@pytest.fixture(autouse=True)
def environment(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine as the one to use, without the container that reaps what tests leave."""
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setattr(config.testcontainers_config, "ryuk_disabled", True)


def test_a_container_that_is_waited_for(engine: Engine, tmp_path: Path) -> None:
    served = (
        DockerContainer("busybox")
        .with_env("PAGE", "tested")
        .with_command(SERVE)
        .with_exposed_ports(80)
        .with_volume_mapping(str(tmp_path), "/host", "ro")
        .with_kwargs(init=True)
        .waiting_for(LogMessageWaitStrategy("ready").with_startup_timeout(60))
    )
    with served as box:
        HttpWaitStrategy(80).for_status_code(200).with_startup_timeout(60).wait_until_ready(box)
        address = f"http://{box.get_container_host_ip()}:{box.get_exposed_port(80)}/"
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert answer.read() == b"tested\n"
        assert box.exec("cat /www/index.html") == (0, b"tested\n")
        assert box.get_logs()[0] == b"ready\n"
    assert engine.out("ps", "-aq") == ""


def test_an_image_and_a_network(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nHEALTHCHECK --interval=1s CMD true\nCMD exec sleep 1000\n"
    )
    with DockerImage(tmp_path, tag="tested:1") as image, Network() as network:
        named = (
            DockerContainer(str(image))
            .with_network(network)
            .with_network_aliases("other")
            .with_kwargs(init=True)
            .waiting_for(HealthcheckWaitStrategy().with_startup_timeout(60))
        )
        asking = DockerContainer("busybox").with_network(network).with_command("sleep 1000")
        with named as box, asking.with_kwargs(init=True) as asker:
            assert box.get_wrapped_container().health == "healthy"
            assert asker.exec("ping -c 1 other").exit_code == 0
    assert "tested" not in engine.out("images", "--format", "{{.Repository}}").split()


@pytest.mark.slow
def test_nginx_of_debian(engine: Engine, tools: str) -> None:
    with NginxContainer(tools).with_command(["nginx", "-g", "daemon off;"]) as served:
        address = f"http://{served.get_container_host_ip()}:{served.get_exposed_port(80)}/"
        with urllib.request.urlopen(address, timeout=30) as answer:
            assert b"nginx" in answer.read()
    assert engine.out("ps", "-aq") == ""


def test_an_application_of_compose(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin = cliplugins.find("compose")
    if plugin is None or shutil.which("docker") is None:
        pytest.skip("docker compose is not installed")
    (tmp_path / "config/cli-plugins").mkdir(parents=True)
    (tmp_path / "config/cli-plugins/docker-compose").symlink_to(plugin)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    (tmp_path / "compose.yaml").write_text(
        "services:\n  web:\n    image: busybox\n    init: true\n    ports: ['127.0.0.1::80']\n"
        "    command: sh -c 'mkdir /www; echo page > /www/index.html; httpd -f -h /www'\n"
        "    healthcheck: {test: [CMD, test, -e, /www/index.html], interval: 1s}\n"
    )
    with DockerCompose(tmp_path, wait=True) as application:
        host, port = application.get_service_host_and_port("web", 80)
        with urllib.request.urlopen(f"http://{host}:{port}/", timeout=30) as answer:
            assert answer.read() == b"page\n"
        said, _, code = application.exec_in_container(["hostname"], "web")
        assert code == 0 and said.strip() in engine.out("ps", "-q", "--no-trunc")
    assert engine.out("ps", "-aq") == ""
