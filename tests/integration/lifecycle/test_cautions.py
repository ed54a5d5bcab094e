"""A create that is done, but not all of what was asked for, says so."""

from __future__ import annotations

import pytest

import rig

pytestmark = pytest.mark.root

DISCARDED = b"WARNING: Published ports are discarded when using host network mode\n"


def test_ports_of_the_host_network(engine: rig.Engine, client: str) -> None:
    create = ("create", "--network", "host")
    assert engine.run(*create, "-p", "1:2", "busybox", client=client).stderr == DISCARDED
    assert engine.run(*create, "busybox", client=client).stderr == b""


def test_an_image_of_another_machine(engine: rig.Engine, client: str) -> None:
    root = engine.run("export", engine.out("create", "busybox")).stdout
    engine.run("import", "--platform", "linux/s390x", "-", "elsewhere", stdin=root)
    said = engine.run("create", "elsewhere", "true", client=client).stderr.decode()
    assert said.startswith(
        "WARNING: The requested image's platform (linux/s390x) does not match the detected host "
        "platform (linux/"
    )
    asked = engine.run("create", "--platform", "linux/s390x", "elsewhere", "true", client=client)
    assert asked.stderr == b""
