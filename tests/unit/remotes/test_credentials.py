"""Credentials as clients send them, and what a token service is asked."""

from __future__ import annotations

import base64
import json
import urllib.parse

import pytest

from firkin import errdefs
from firkin.remotes import auth


def header(value: object, *, urlsafe: bool = True, pad: bool = True) -> str:
    data = json.dumps(value).encode()
    text = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(data).decode()
    return text if pad else text.rstrip("=")


@pytest.mark.parametrize("urlsafe", [True, False])
@pytest.mark.parametrize("pad", [True, False])
def test_registry_auth(urlsafe: bool, pad: bool) -> None:
    value = {"username": "jane?>", "password": "s3cr\u00e9t~", "serveraddress": "x"}
    found = auth.from_header(header(value, urlsafe=urlsafe, pad=pad))
    assert (found.username, found.password) == ("jane?>", "s3cr\u00e9t~")
    assert "s3cr" not in repr(found)


def test_auth_member() -> None:
    found = auth.from_config({"auth": base64.b64encode(b"jane:a:b").decode()})
    assert (found.username, found.password) == ("jane", "a:b")


@pytest.mark.parametrize("text", ["%%%", "bm90IGpzb24", header([1]), header("x"), "A" * 100_000])
def test_bad_header(text: str) -> None:
    with pytest.raises(errdefs.InvalidParameter):
        auth.from_header(text)


@pytest.mark.parametrize("text", ["", header({}), header(None)])
def test_nobody(text: str) -> None:
    assert not auth.from_header(text)


def test_registry_config() -> None:
    found = auth.from_header_map(header({"r.example": {"username": "u", "password": "p"}}))
    assert found["r.example"].basic == "Basic " + base64.b64encode(b"u:p").decode()


def test_token_by_get() -> None:
    who = auth.Credentials(username="u", password="p")
    asked = auth.token_request("https://a.example/t?x=1", "reg", ["s:1", "s:2"], who, offline=True)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(asked.url).query)
    assert query == {
        "x": ["1"], "service": ["reg"], "scope": ["s:1", "s:2"], "account": ["u"],
        "offline_token": ["true"], "client_id": ["firkin"],
    }  # fmt: skip
    assert asked.headers == {"Authorization": who.basic}
    assert asked.form is None


def test_token_by_identity() -> None:
    who = auth.Credentials(username="u", identity="long")
    asked = auth.token_request("https://a.example/t", "reg", ["s:1"], who)
    assert asked.form is not None
    assert asked.form["grant_type"] == "refresh_token"
    assert asked.form["refresh_token"] == "long"
    assert "Authorization" not in asked.headers


def test_anonymous_token() -> None:
    assert (
        auth.token_request("https://a.example/t", "", [], auth.NOBODY).url == "https://a.example/t"
    )


@pytest.mark.parametrize(
    ("answer", "value"),
    [({"token": "a"}, "a"), ({"access_token": "b", "expires_in": 300}, "b"),
     ({"token": "c", "expires_in": "soon"}, "c")],
)  # fmt: skip
def test_token_answers(answer: dict[str, object], value: str) -> None:
    token = auth.token_answer(json.dumps(answer).encode(), "r")
    assert token.value == value
    assert token.fresh


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"token": 1}', b'{"token": "a\\r\\nX: b"}']
)
def test_no_token(answer: bytes) -> None:
    with pytest.raises(errdefs.System):
        auth.token_answer(answer, "r")
