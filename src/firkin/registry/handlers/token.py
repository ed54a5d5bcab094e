"""``/token``: the token service, as Docker's clients and the OAuth2 flavour of it ask for it."""

from __future__ import annotations

import re
import time
from typing import Any

from aiohttp import web

from firkin.registry import call, errors, names, rights
from firkin.registry.access import access
from firkin.registry.index import users

_SCOPE = re.compile(r"([a-z]+)(?:\([a-z]+\))?:(.+):([a-z,*]*)")
_FORM_LIMIT = 64 * 1024
_SCOPES = 100


async def get(one: call.Call) -> web.StreamResponse:
    """GET: scopes in the query, name and password by Basic, or neither.

    A token buys no other one: it would outlive its time, and a refresh token stands for all that
    its user may do, while the token was given for a part of that.
    """
    if one.header("Authorization").partition(" ")[0].lower() == "bearer":
        raise errors.Failure("UNAUTHORIZED", "a token is given for a password, not for a token")
    identity = await one.access.identify(one.request) or one.access.anonymous
    scopes = [part for text in one.request.query.getall("scope", ()) for part in text.split()]
    offline = one.query("offline_token") in ("true", "1")
    return await _answer(one, identity, scopes, offline)


async def post(one: call.Call) -> web.StreamResponse:
    """POST: a form, with a password or with a refresh token."""
    form = await _form(one.request)
    if one.access.passwords is None:
        raise _closed()
    if form.get("grant_type") == "password":
        identity = await one.access.passwords.identify(
            form.get("username", ""), form.get("password", ""), access.address(one.request)
        )
    elif form.get("grant_type") == "refresh_token":
        found = await one.access.passwords.redeem(form.get("refresh_token", ""))
        if found is None:
            raise errors.Failure("UNAUTHORIZED", "the refresh token is not valid: log in again")
        identity = found
    else:
        raise errors.Failure("UNSUPPORTED", "grant_type is password or refresh_token", status=400)
    offline = form.get("access_type") == "offline"
    return await _answer(one, identity, form.get("scope", "").split(), offline)


async def _answer(
    one: call.Call, identity: rights.Identity, scopes: list[str], offline: bool
) -> web.StreamResponse:
    tokens = one.access.tokens
    if tokens is None:
        raise _closed()
    if len(scopes) > _SCOPES:
        raise errors.Failure("UNSUPPORTED", f"more than {_SCOPES} scopes at once", status=400)
    granted: list[dict[str, Any]] = []
    for scope in scopes:
        match = _SCOPE.fullmatch(scope)
        if match is None or match[1] != "repository" or not names.is_name(match[2]):
            continue
        allowed = identity.allowed(match[2])
        wanted = allowed if "*" in match[3].split(",") else allowed & set(match[3].split(","))
        if wanted:
            granted.append({"type": "repository", "name": match[2], "actions": sorted(wanted)})
    token = tokens.issue(identity.user, granted, admin=identity.admin)
    answer: dict[str, Any] = {
        "token": token,
        "access_token": token,
        "expires_in": tokens.lifetime,
        "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    if offline and identity.user and one.registry.config.auth.mode == "users":
        answer["refresh_token"] = await one.registry.db.write(users.grant, identity.user)
    return call.json(answer, {"Cache-Control": "no-store"})


def _closed() -> errors.Failure:
    return errors.Failure("UNSUPPORTED", "this registry is open: it gives no tokens", status=404)


async def _form(request: web.BaseRequest) -> dict[str, str]:
    from urllib.parse import parse_qsl

    data = bytearray()
    while part := await request.content.readany():
        data += part
        if len(data) > _FORM_LIMIT:
            raise errors.Failure("UNSUPPORTED", "the form is too long", status=413)
    return dict(parse_qsl(data.decode("utf-8", "replace")))
