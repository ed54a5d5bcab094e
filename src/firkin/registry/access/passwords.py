"""Names and passwords: an htpasswd file, or the users in the index; bcrypt hashes in both.

bcrypt is slow on purpose. It runs in threads, two at a time, so that strangers cannot take all
processors with it; a password that was right is remembered for a while, as a keyed hash, because
clients send it with every request.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import hmac
import ipaddress
import logging
import os
import secrets
import time

import bcrypt

from firkin import errdefs
from firkin.registry import config, core, errors, rights
from firkin.registry.index import users

log = logging.getLogger(__name__)

FREE = 5
"""Wrong passwords of one address for one user before it has to wait."""

LONGEST = 300.0
"""Seconds of the longest wait."""

_REMEMBER = 300.0
_REMEMBERED = 4096
_COST = 10
# The hash of a password that nobody knows: unknown users take as long as known ones.
_NOBODY = bcrypt.hashpw(secrets.token_bytes(16), bcrypt.gensalt(_COST)).decode()


def make_hash(password: str) -> str:
    """The bcrypt hash to store; ``InvalidParameter`` for a password that bcrypt would cut."""
    data = password.encode()
    if not data or len(data) > 72:
        raise errdefs.InvalidParameter("a password has 1 to 72 bytes")
    return bcrypt.hashpw(data, bcrypt.gensalt(_COST)).decode()


def _check(password: str, stored: str) -> bool:
    try:
        return bcrypt.checkpw(password.encode()[:72], stored.encode())
    except ValueError:
        return False


class Htpasswd:
    """A file of ``user:hash`` lines, read again when it changes."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._hashes: dict[str, str] = {}
        self.find("")

    def find(self, name: str) -> str | None:
        """The hash of a user."""
        try:
            found = os.stat(self._path)
            stamp = (found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                with open(self._path, encoding="utf-8") as file:
                    self._hashes = dict(self._entries(file.read()))
                self._stamp = stamp
        except (OSError, UnicodeDecodeError) as error:
            raise errdefs.System(f"cannot read the htpasswd file {self._path}: {error}") from error
        return self._hashes.get(name)

    def _entries(self, text: str) -> list[tuple[str, str]]:
        entries = []
        for number, line in enumerate(text.splitlines(), 1):
            name, colon, stored = line.strip().partition(":")
            if not colon or line.startswith("#"):
                continue
            if not stored.startswith(("$2y$", "$2b$", "$2a$")):
                log.warning("%s:%d: only bcrypt counts: htpasswd -B", self._path, number)
                continue
            entries.append((name, stored))
        return entries


class Passwords:
    """Tells who somebody is by name and password."""

    def __init__(self, registry: core.Registry) -> None:
        self._registry = registry
        self._settings: config.Auth = registry.config.auth
        path = self._settings.htpasswd
        self._file = Htpasswd(path) if self._settings.mode == "htpasswd" else None
        self._key = secrets.token_bytes(32)
        self._known: collections.OrderedDict[bytes, float] = collections.OrderedDict()
        self._turns = asyncio.Semaphore(2)

    async def identify(self, user: str, password: str, address: str) -> rights.Identity:
        """The identity of a user whose password is right.

        Raises ``UNAUTHORIZED``, and ``TOOMANYREQUESTS`` for an address that has guessed too often.
        """
        stored, identity = await self._find(user)
        mark = hmac.digest(self._key, f"{user}\0{stored}\0{password}".encode(), hashlib.sha256)
        if self._known.get(mark, 0.0) > time.monotonic():
            return identity
        key = f"{user[:100]}@{_network(address)}"
        db = self._registry.db
        if wait := await db.read(users.blocked, key):
            raise errors.Failure(
                "TOOMANYREQUESTS",
                "too many wrong passwords: wait before the next try",
                headers={"Retry-After": str(int(wait) + 1)},
            )
        async with self._turns:
            right = await self._registry.run(_check, password, stored or _NOBODY)
        if not right or not stored:
            await db.note(users.failed, key, FREE, LONGEST)
            raise errors.Failure("UNAUTHORIZED", "the user name or the password is wrong")
        await db.note(users.succeeded, key)
        self._known[mark] = time.monotonic() + _REMEMBER
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return identity

    async def current(self, user: str) -> rights.Identity:
        """What a user may do now."""
        return (await self._find(user))[1]

    async def redeem(self, token: str) -> rights.Identity | None:
        """The identity behind a refresh token."""
        lifetime = float(self._settings.refresh_lifetime)
        user = await self._registry.db.write(users.redeem, token, lifetime)
        return self._of(user) if user else None

    async def _find(self, name: str) -> tuple[str, rights.Identity]:
        if self._file is not None:
            stored = await self._registry.run(self._file.find, name) or ""
            return stored, rights.Identity(name, self._configured(name))
        user = await self._registry.db.read(users.find, name)
        return (user.password, self._of(user)) if user else ("", rights.Identity(name, ()))

    def _of(self, user: users.User) -> rights.Identity:
        return rights.Identity(user.name, user.rights, user.admin)

    def _configured(self, name: str) -> tuple[rights.Right, ...]:
        if not self._settings.rights:
            return (rights.Right("*", rights.ALL),)
        return tuple(
            rights.Right(rule.repositories, rights.actions(",".join(rule.actions)))
            for rule in self._settings.rights
            if rule.user in ("*", name)
        )


def _network(address: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 network that IPv6 users have."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
