"""A container may make its /etc/hosts as large as it likes; the engine does not read it whole."""

from __future__ import annotations

import os
import pathlib

from firkin.engine.containers import etcfiles
from firkin.types import container, network


def _endpoint() -> network.Endpoint:
    return network.Endpoint(
        id="e",
        container_id="c",
        network_id="n",
        network_name="net",
        netns="",
        ipv4_address="10.0.0.2",
    )


def test_a_huge_hosts_file_is_left_alone(tmp_path: pathlib.Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.touch()
    os.truncate(hosts, 1 << 40)
    etcfiles.add_address(str(tmp_path), container.Config(hostname="h"), _endpoint())
    etcfiles.drop_address(str(tmp_path), _endpoint())
    assert hosts.stat().st_size == 1 << 40
    assert len(etcfiles.read(str(tmp_path), "hosts")) == 1 << 20


def test_a_usual_one_follows(tmp_path: pathlib.Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1\tlocalhost\n")
    etcfiles.add_address(str(tmp_path), container.Config(hostname="h"), _endpoint())
    assert hosts.read_text() == "127.0.0.1\tlocalhost\n10.0.0.2\th\n"
    etcfiles.drop_address(str(tmp_path), _endpoint())
    assert hosts.read_text() == "127.0.0.1\tlocalhost\n"
