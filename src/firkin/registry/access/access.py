"""The door: who sends a request, whether they may, and how a client is told to say who it is.

Clients learn from the answer to ``GET /v2/`` how to identify themselves and do only that later on.
So where nobody may do anything without a name that answer asks for one, with Basic where there is
only an htpasswd file; where something is public it leads to the token service, which gives tokens
to the nameless as well.
"""

from __future__ import annotations

import base64
import binascii
import os
import re

from aiohttp import web

from firkin.registry import core, errors, rights
from firkin.registry.access import passwords, tokens

_HOST = re.compile(r"[a-zA-Z0-9.\-\[\]:_]{1,255}")


class Access:
    """Decides for one registry."""

    def __init__(self, registry: core.Registry) -> None:
        settings = registry.config.auth
        self.open = settings.mode == "none"
        self._config = registry.config
        anonymous = settings.anonymous or ("all" if self.open else "none")
        granted = {"all": rights.ALL, "pull": frozenset({"pull"}), "none": rights.NONE}[anonymous]
        self.anonymous = rights.Identity("", (rights.Right("*", granted),) if granted else ())
        self._bearer = settings.mode == "users" or bool(granted)
        self.passwords: passwords.Passwords | None = None
        self.tokens: tokens.Tokens | None = None
        if not self.open:
            self.passwords = passwords.Passwords(registry)
            key = tokens.load_key(os.path.join(registry.config.data, "keys", "token.pem"))
            self.tokens = tokens.Tokens(key, settings.service, settings.token_lifetime)

    async def identify(self, request: web.BaseRequest) -> rights.Identity | None:
        """Who sends this request; ``None`` for one that does not say. Raises ``UNAUTHORIZED``."""
        header = request.headers.get("Authorization", "")
        if self.passwords is None or self.tokens is None or not header:
            return None
        scheme, _, rest = header.partition(" ")
        if scheme.lower() == "bearer":
            return self.tokens.identify(rest.strip())
        if scheme.lower() == "basic":
            user, password = basic(rest)
            return await self.passwords.identify(user, password, address(request))
        raise errors.Failure("UNAUTHORIZED", "the Authorization header is neither Basic nor Bearer")

    async def admit(self, request: web.BaseRequest, action: str, name: str) -> rights.Identity:
        """Let a request in, or raise ``UNAUTHORIZED`` with the challenge, or ``DENIED``.

        ``action`` is one on the repository ``name``, or "" for being there at all.
        """
        try:
            given = await self.identify(request)
        except errors.Failure as error:
            if error.code == "UNAUTHORIZED":
                error.headers |= self.challenge(request, action, name)
            raise
        identity = given or self.anonymous
        if action in identity.allowed(name) if name else self.open or given is not None:
            return identity
        if given is None or request.headers["Authorization"][:6].lower() == "bearer":
            raise errors.Failure(
                "UNAUTHORIZED",
                f"to {action} {name} is not allowed without a name: log in" if name else "log in",
                detail=[{"Type": "repository", "Name": name, "Action": action}] if name else None,
                headers=self.challenge(request, action, name, known=given is not None),
            )
        raise errors.Failure("DENIED", f"user {given.user} may not {action} {name}")

    async def visit(self, request: web.BaseRequest, *, named: bool = False) -> rights.Identity:
        """Who looks at the web page; ``named``: only with a name. Browsers know Basic alone."""
        try:
            given = await self.identify(request)
            wanted = named or not self.anonymous.rights
            if given is None and not self.open and wanted:
                raise errors.Failure("UNAUTHORIZED", "log in to see this page")
        except errors.Failure as error:
            if error.code == "UNAUTHORIZED":
                error.headers |= self._basic()
            raise
        return given or self.anonymous

    async def whole(self, identity: rights.Identity) -> rights.Identity:
        """All rights of somebody who may have come with a token for some of them."""
        if self.passwords is None or not identity.user:
            return self.anonymous
        return await self.passwords.current(identity.user)

    def challenge(
        self, request: web.BaseRequest, action: str, name: str, *, known: bool = False
    ) -> dict[str, str]:
        """The header that tells a client how to identify itself; ``known``: for more than now."""
        settings = self._config.auth
        if not self._bearer:
            return self._basic()
        text = f'Bearer realm="{self.url(request)}/token",service="{settings.service}"'
        if name:
            wanted = "pull,push" if action == "push" else action
            text += f',scope="repository:{name}:{wanted}"'
        if known:
            text += ',error="insufficient_scope"'
        return {"WWW-Authenticate": text}

    def _basic(self) -> dict[str, str]:
        return {"WWW-Authenticate": f'Basic realm="{self._config.auth.realm}", charset="UTF-8"'}

    def url(self, request: web.BaseRequest) -> str:
        """The registry's own address, as the client knows it."""
        if self._config.url:
            return self._config.url.rstrip("/")
        host = request.headers.get("Host", "")
        if not _HOST.fullmatch(host):
            host = "localhost"
        return f"{'https' if request.secure else 'http'}://{host}"


def basic(text: str) -> tuple[str, str]:
    """Name and password of a Basic header."""
    try:
        decoded = base64.b64decode(text.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        decoded = ""
    user, colon, password = decoded.partition(":")
    if not colon:
        raise errors.Failure("UNAUTHORIZED", "the Authorization header is damaged")
    return user, password


def address(request: web.BaseRequest) -> str:
    """Where a request comes from."""
    return request.remote or "unknown"
