"""RUN --device with specifications of CDI, RUN --security, and what has to be allowed first."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_client import made, run

from rig import Engine

pytestmark = pytest.mark.root

VENDOR = f"firkin{os.getpid()}.test"
SPEC = {
    "cdiVersion": "0.6.0",
    "kind": f"{VENDOR}/device",
    "containerEdits": {"env": ["EVERY=1"]},
    "devices": [
        {
            "name": "zero",
            "containerEdits": {
                "env": ["ZERO=2"],
                "deviceNodes": [{"path": "/dev/other-zero", "hostPath": "/dev/zero"}],
                "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/vendor/name"}],
            },
        },
        {
            "name": "gone",
            "containerEdits": {"deviceNodes": [{"path": "/dev/firkin-none"}]},
        },
        {
            "name": "free",
            "annotations": {
                "org.mobyproject.buildkit.device.autoallow": True,
                "org.mobyproject.buildkit.device.class": f"class-of-{VENDOR}",
            },
            "containerEdits": {"env": ["FREE=3"]},
        },
    ],
}


@pytest.fixture(params=["json", "yaml"])
def vendor(request: pytest.FixtureRequest) -> Iterator[str]:
    """A vendor whose devices this host has meanwhile."""
    directory = Path("/etc/cdi")
    there = directory.exists()
    directory.mkdir(exist_ok=True)
    path = directory / f"{VENDOR}.{request.param}"
    # JSON is YAML, too; what makes the difference is which reader the name leads to.
    path.write_text(json.dumps(SPEC))
    yield VENDOR
    path.unlink()
    if not there:
        directory.rmdir()


def test_a_device(builds: Engine, vendor: str) -> None:
    text = (
        f"FROM busybox\nRUN --device={vendor}/device=zero,required "
        "head -c 3 /dev/other-zero | wc -c > /n; cat /vendor/name > /name; "
        "echo $EVERY $ZERO > /env\nRUN ! test -e /dev/other-zero && ! test -e /vendor/name\n"
    ).encode()
    done = run(builds, "-", stdin=text)
    assert f"the device {vendor}/device=zero is not allowed: build with --allow" in done.stderr
    for allowed in ("device", f"device={vendor}/device=zero", f"device={vendor}/device"):
        made(builds, "--no-cache", "--allow", allowed, "-t", "device", "-", stdin=text)
    shown = builds.out("run", "--rm", "device", "cat", "/n", "/name", "/env").split("\n")
    assert shown == ["3", Path("/etc/hostname").read_text().strip(), "1 2"]


def test_one_that_needs_no_permission_by_its_class(builds: Engine, vendor: str) -> None:
    text = f"FROM busybox\nRUN --device=class-of-{vendor} test $FREE$EVERY = 31\n".encode()
    made(builds, "--no-cache", "-", stdin=text)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobody.test/x=y,required", "unresolvable CDI devices nobody.test/x=y: there are "),
        (f"{VENDOR}/device=gone,required", "needs /dev/firkin-none, which this host does not have"),
        ("a,b", "unexpected 'b' in --device=a,b: write NAME[,required]"),
        ("required", "--device needs a name"),
    ],
)
def test_devices_that_are_not_there(builds: Engine, vendor: str, name: str, words: str) -> None:
    text = f"FROM busybox\nRUN --device={name} true\n".encode()
    done = run(builds, "--allow", "device", "-", stdin=text)
    assert done.returncode == 1
    assert words in done.stderr


def test_one_that_may_be_missing(builds: Engine) -> None:
    text = b"FROM busybox\nRUN --device=nobody.test/x=y true\n"
    assert "the device nobody.test/x=y is not on this host: going on" in made(
        builds, "--no-cache", "-", stdin=text
    )


def test_containers_have_them_too(builds: Engine, vendor: str) -> None:
    for client in ("firkin", "docker"):
        found = builds.out(
            "run", "--rm", "--device", f"{vendor}/device=zero", "busybox", "sh", "-c",
            "head -c 2 /dev/other-zero | wc -c; echo $ZERO", client=client,
        )  # fmt: skip
        assert found.split() == ["2", "2"]
    done = builds.run("run", "--rm", "--device", f"{vendor}/device=none", "busybox", check=False)
    assert b"unresolvable CDI devices" in done.stderr


def test_insecure_steps_have_to_be_allowed_even_from_the_cache(builds: Engine) -> None:
    text = b"FROM busybox\nRUN --security=insecure mkdir /m && mount -t tmpfs x /m && umount /m\n"
    made(builds, "--allow", "security.insecure", "-", stdin=text)
    done = run(builds, "-", stdin=text)
    assert done.returncode == 1
    assert "security.insecure is not allowed: build with --allow security.insecure" in done.stderr
