"""Users and capabilities."""

from __future__ import annotations

import pytest

from firkin import errdefs
from firkin.oci import capabilities, user

PASSWD = """root:x:0:0:root:/root:/bin/sh
# comment:x:5:5::/:
broken
bad:x:-1:3::/:
huge:x:99999999999:3::/:
www:x:33:33:www:/var/www:/bin/false
1000:x:77:78::/numbered:
nohome:x:50:51
"""
GROUP = """root:x:0:
wheel:x:10:root,www
bad:x:zz:www
www:x:33:
video:x:44:www
"""


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", (0, 0, (0, 10), "/root")),
        ("root", (0, 0, (0, 10), "/root")),
        ("0", (0, 0, (0, 10), "/root")),
        ("www", (33, 33, (33, 10, 44), "/var/www")),
        ("33", (33, 33, (33, 10, 44), "/var/www")),
        ("www:video", (33, 44, (44,), "/var/www")),
        ("www:7", (33, 7, (7,), "/var/www")),
        ("1234", (1234, 0, (0,), "/")),
        ("1234:wheel", (1234, 10, (10,), "/")),
        ("1234:99", (1234, 99, (99,), "/")),
        ("1000", (77, 78, (78,), "/numbered")),
        (":wheel", (0, 10, (10,), "/root")),
        ("nohome", (50, 51, (51,), "/")),
    ],
)
def test_resolve(spec: str, expected: tuple[int, int, tuple[int, ...], str]) -> None:
    found = user.resolve(spec, PASSWD, GROUP, [])
    assert (found.uid, found.gid, found.additional_gids, found.home) == expected


def test_resolve_without_files() -> None:
    assert user.resolve("", "", "", []) == user.User(additional_gids=(0,))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("nobody", "unable to find user nobody: no matching entries in passwd file"),
        ("bad", "unable to find user bad"),
        ("-1", "unable to find user -1"),
        ("٣", "unable to find user"),
        ("root:nothing", "unable to find group nothing: no matching entries in group file"),
        ("2147483648", "range 0-2147483647"),
        ("1:2147483648", "range 0-2147483647"),
    ],
)
def test_resolve_refuses(spec: str, message: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match=message):
        user.resolve(spec, PASSWD, GROUP, [])


def test_group_add() -> None:
    found = user.resolve("www:video", PASSWD, GROUP, ["wheel", "999", "44"])
    assert found.additional_gids == (44, 10, 999)
    with pytest.raises(errdefs.InvalidParameter, match="unable to find group nix"):
        user.resolve("", PASSWD, GROUP, ["nix"])


def test_with_home() -> None:
    www = user.resolve("www", PASSWD, GROUP)
    assert user.with_home(["A=b"], www) == ["A=b", "HOME=/var/www"]
    assert user.with_home(["HOME=/x"], www) == ["HOME=/x"]
    assert user.with_home(["HOME="], www) == ["HOME=/var/www"]


def test_default_capabilities() -> None:
    assert len(capabilities.DEFAULT) == 14
    assert len(capabilities.ALL) == 41
    assert capabilities.ALL.index("CAP_SYS_ADMIN") == 21
    assert capabilities.ALL.index("CAP_BPF") == 39
    assert set(capabilities.resolve(None, None)) == capabilities.DEFAULT


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (["net_admin"], None, capabilities.DEFAULT | {"CAP_NET_ADMIN"}),
        (["CAP_Net_Admin"], ["all"], {"CAP_NET_ADMIN"}),
        (None, ["ALL"], set()),
        (None, ["chown", "KILL"], capabilities.DEFAULT - {"CAP_CHOWN", "CAP_KILL"}),
        (["chown"], ["chown"], capabilities.DEFAULT),
        (["ALL"], ["sys_admin"], set(capabilities.ALL) - {"CAP_SYS_ADMIN"}),
        (["ALL"], ["ALL"], set(capabilities.ALL)),
        ("SYS_TIME", None, capabilities.DEFAULT | {"CAP_SYS_TIME"}),
    ],
)
def test_resolve_capabilities(
    add: list[str] | str | None, drop: list[str] | None, expected: set[str]
) -> None:
    assert set(capabilities.resolve(add, drop)) == expected


def test_capability_errors() -> None:
    with pytest.raises(errdefs.InvalidParameter, match='invalid CapAdd: unknown capability: "FLY"'):
        capabilities.resolve(["FLY"], None)
    with pytest.raises(errdefs.InvalidParameter, match="invalid CapDrop"):
        capabilities.resolve(None, ["x" * 1000])
    with pytest.raises(errdefs.InvalidParameter, match="can not give CAP_BPF"):
        capabilities.resolve(["BPF"], None, kernel=capabilities.DEFAULT)


def test_privileged_gets_what_the_host_has() -> None:
    kernel = capabilities.from_mask("0000000000000003\n")
    assert capabilities.resolve(None, ["ALL"], privileged=True, kernel=kernel) == [
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
    ]


def test_sets() -> None:
    found = capabilities.sets(["CAP_KILL"])
    assert found["bounding"] == found["effective"] == found["permitted"] == ["CAP_KILL"]
    assert found["inheritable"] == found["ambient"] == []
