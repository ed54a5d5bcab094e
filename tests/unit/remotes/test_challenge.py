"""WWW-Authenticate headers, good and bad."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firkin.remotes import challenge

CASES = [
    (
        'Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull,push"',
        [("bearer", {"realm": "https://auth.example/token", "service": "reg",
                     "scope": "repository:a/b:pull,push"})],
    ),
    ('Basic realm="a, b"', [("basic", {"realm": "a, b"})]),
    ("basic", [("basic", {})]),
    ('Basic realm=plain, charset="UTF-8"', [("basic", {"realm": "plain", "charset": "UTF-8"})]),
    (
        'Negotiate, Basic realm="x", Bearer realm="y"',
        [("negotiate", {}), ("basic", {"realm": "x"}), ("bearer", {"realm": "y"})],
    ),
    ('NTLM TlRMTVNTUAAC==, Basic realm="x"', [("ntlm", {}), ("basic", {"realm": "x"})]),
    (r'Basic realm="quo\"te"', [("basic", {"realm": 'quo"te'})]),
    ('Bearer REALM = "x" , Service= y', [("bearer", {"realm": "x", "service": "y"})]),
    ("", []),
    ("= , =", []),
]  # fmt: skip


@pytest.mark.parametrize(("header", "expected"), CASES)
def test_headers(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    found = [(one.scheme, one.parameters) for one in challenge.parse([header])]
    assert found == expected


def test_several_headers() -> None:
    found = challenge.parse(["Basic realm=a", "Bearer realm=b"])
    assert [one.scheme for one in found] == ["basic", "bearer"]


@given(st.text(max_size=300))
def test_anything_ends(header: str) -> None:
    challenge.parse([header])
