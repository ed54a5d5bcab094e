"""How groups are named for either driver."""

from __future__ import annotations

import pytest

from firkin import errdefs
from firkin.linux import cgroup, cgroupdriver

V1 = cgroup.Layout(1, False, ("memory",), ())
HYBRID = cgroup.Layout(1, True, ("memory",), ())
V2 = cgroup.Layout(2, False, (), ("memory",))


@pytest.mark.parametrize(
    ("wanted", "layout", "systemd", "chosen"),
    [
        ("", V2, True, "systemd"),
        ("", V2, False, "cgroupfs"),
        ("", V1, True, "cgroupfs"),
        ("", HYBRID, True, "cgroupfs"),
        ("cgroupfs", V2, True, "cgroupfs"),
        ("systemd", V1, True, "systemd"),
    ],
)
def test_choice(wanted: str, layout: cgroup.Layout, systemd: bool, chosen: str) -> None:
    assert cgroupdriver.choose(wanted, layout, systemd=systemd) == chosen


@pytest.mark.parametrize("wanted", ["systemd", "cgroups"])
def test_unusable_driver(wanted: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="use cgroupfs"):
        cgroupdriver.choose(wanted, V2, systemd=False)


@pytest.mark.parametrize(
    ("driver", "parent", "path", "spec"),
    [
        ("cgroupfs", "", "/firkin/abc", "/firkin/abc"),
        ("cgroupfs", "a/b/", "/a/b/abc", "/a/b/abc"),
        ("systemd", "", "/system.slice/firkin-abc.scope", "system.slice:firkin:abc"),
        ("systemd", "-.slice", "/firkin-abc.scope", "-.slice:firkin:abc"),
        (
            "systemd",
            "a-b-c.slice",
            "/a.slice/a-b.slice/a-b-c.slice/firkin-abc.scope",
            "a-b-c.slice:firkin:abc",
        ),
    ],
)
def test_group(driver: str, parent: str, path: str, spec: str) -> None:
    assert cgroupdriver.group(driver, parent, "abc") == (path, spec)


@pytest.mark.parametrize(
    ("driver", "parent"),
    [
        ("cgroupfs", "/a/../../b"),
        ("cgroupfs", "///"),
        ("cgroupfs", "a\0b"),
        ("cgroupfs", "made.slice"),
        ("systemd", "/a"),
        ("systemd", "a"),
        ("systemd", "a--b.slice"),
        ("systemd", "-a.slice"),
        ("systemd", "a/b.slice"),
        ("systemd", "a:b.slice"),
        ("systemd", f"{'a' * 300}.slice"),
    ],
)
def test_unusable_parent(driver: str, parent: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="cgroup-parent"):
        cgroupdriver.check_parent(driver, parent)


@pytest.mark.parametrize(
    ("driver", "parent"),
    [("cgroupfs", ""), ("cgroupfs", "/a/b"), ("systemd", "-.slice"), ("systemd", "a-b.slice")],
)
def test_usable_parent(driver: str, parent: str) -> None:
    cgroupdriver.check_parent(driver, parent)
