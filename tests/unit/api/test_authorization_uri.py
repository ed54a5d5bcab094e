"""What authorization plug-ins see of a request's target."""

from __future__ import annotations

import pytest
import yarl

from firkin.api import authorization


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("/v1.41/containers/create?name=a%20b", "/v1.41/containers/create?name=a%20b"),
        ("/containers/create/", "/containers/create"),
        ("/containers/create//?x", "/containers/create?x"),
        ("http://host/containers/create", "/containers/create"),
        ("/images/a%2Fb/json", "/images/a%2Fb/json"),
        ("/", "/"),
    ],
)
def test_one_spelling(target: str, shown: str) -> None:
    assert authorization.uri(yarl.URL(target, encoded=True)) == shown
