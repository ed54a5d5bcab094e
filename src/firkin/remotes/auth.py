"""Credentials, and the tokens that a registry's token service gives for them.

A registry that wants to know who asks answers 401 with a challenge. For ``Basic`` the user's name
and password go with each request. For ``Bearer`` a token service (the challenge's realm) is asked
for a token with a scope such as ``repository:library/busybox:pull``; with an identity token (a
long-lived one that stands for the password) by POST as OAuth 2 does, else by GET. Sources: the
distribution project's token and OAuth 2 specifications.
"""

from __future__ import annotations

import base64
import binascii
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import msgspec

from firkin import errdefs

CLIENT_ID = "firkin"
_LIFE = 60
_MAX_CREDENTIALS = 64 << 10


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks. ``identity`` and ``token`` stand for name and password where they are given."""

    username: str = ""
    password: str = ""
    identity: str = ""
    token: str = ""

    def __repr__(self) -> str:
        return f"Credentials({self.username!r}, ...)"

    def __bool__(self) -> bool:
        return bool(self.username or self.identity or self.token)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        pair = f"{self.username}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode()


NOBODY = Credentials()


def from_config(values: Mapping[str, Any]) -> Credentials:
    """An AuthConfig of the Engine API; ``auth`` is base64 of "name:password"."""

    def text(name: str) -> str:
        value = values.get(name)
        return value if isinstance(value, str) else ""

    username, password = text("username"), text("password")
    if not username and text("auth"):
        try:
            plain = base64.b64decode(text("auth"), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise errdefs.InvalidParameter(
                "the credentials' member auth is not base64 of name:password: log in again"
            ) from None
        username, _, password = plain.partition(":")
        password = password.rstrip("\0")
    return Credentials(
        username=username,
        password=password,
        identity=text("identitytoken"),
        token=text("registrytoken"),
    )


def _decoded(header: str, name: str) -> Mapping[str, Any]:
    if len(header) > _MAX_CREDENTIALS:
        raise errdefs.InvalidParameter(f"the header {name} is too long")
    try:
        # Clients differ in the alphabet and in whether they pad.
        text = header.translate(_STANDARD).rstrip("=")
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        values = msgspec.json.decode(data or b"{}")
    except (binascii.Error, ValueError) as error:
        raise errdefs.InvalidParameter(
            f"the header {name} must be base64url of a JSON object: {error}"
        ) from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise errdefs.InvalidParameter(f"the header {name} must be base64url of a JSON object")
    return values


def from_header(header: str) -> Credentials:
    """X-Registry-Auth. Raises ``InvalidParameter`` for what can't be read."""
    return from_config(_decoded(header, "X-Registry-Auth")) if header else NOBODY


def from_header_map(header: str) -> dict[str, Credentials]:
    """X-Registry-Config: credentials by registry, for builds."""
    if not header:
        return {}
    found = _decoded(header, "X-Registry-Config")
    return {host: from_config(values) for host, values in found.items() if isinstance(values, dict)}


_STANDARD = str.maketrans("-_", "+/")


class Token(msgspec.Struct, frozen=True):
    """A token and the moment (monotonic) from which it is too old."""

    value: str
    until: float
    identity: str = ""

    @property
    def fresh(self) -> bool:
        return time.monotonic() < self.until


class Request(msgspec.Struct, frozen=True):
    """What to ask a token service; ``form`` is None for a GET."""

    url: str
    headers: dict[str, str]
    form: dict[str, str] | None = None


def token_request(
    realm: str,
    service: str,
    scopes: list[str],
    credentials: Credentials,
    *,
    offline: bool = False,
) -> Request:
    """The request for a token. ``offline`` asks for an identity token too, as a login does."""
    if credentials.identity:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": credentials.identity,
            "client_id": CLIENT_ID,
            "service": service,
            "scope": " ".join(scopes),
        }
        return Request(realm, {}, form)
    query = [("service", service)] if service else []
    query += [("scope", scope) for scope in scopes]
    headers = {}
    if credentials.username:
        query.append(("account", credentials.username))
        headers["Authorization"] = credentials.basic
    if offline:
        query += [("offline_token", "true"), ("client_id", CLIENT_ID)]
    parts = urllib.parse.urlsplit(realm)
    joined = "&".join(filter(None, (parts.query, urllib.parse.urlencode(query))))
    return Request(urllib.parse.urlunsplit(parts._replace(query=joined, fragment="")), headers)


def token_answer(data: bytes, realm: str) -> Token:
    """The token in a token service's answer. Raises ``System`` when there is none."""
    try:
        values = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        values = {}
    value = values.get("token") or values.get("access_token")
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise errdefs.System(f"the token service {realm} answered without a token")
    life = values.get("expires_in")
    seconds = life if isinstance(life, int) and life >= _LIFE else _LIFE
    identity = values.get("refresh_token")
    return Token(
        value,
        time.monotonic() + seconds * 0.8,
        identity if isinstance(identity, str) else "",
    )
