"""Secrets of one host, by the Engine API's secret operations.

Values are encrypted with AES-256-GCM before they reach the database, bound to the id of their
secret; the key is a file of its own (``secrets.key`` in the data root, mode 0600), so that neither
the database nor a copy of it gives a value away. A value is decrypted only when a container that
asked for it is started, into a tmpfs (``engine.containers.secretfiles``).
"""

from __future__ import annotations

import base64
import binascii
import datetime
import os
import re
import secrets
import time
from typing import TYPE_CHECKING

from firkin import errdefs
from firkin.engine import filters as filtering
from firkin.store import db
from firkin.store import secrets as rows
from firkin.types import secret as types

MAX_SIZE = 500 * 1024
"""Bytes; the Engine API's limit."""

FILTERS = frozenset({"id", "label", "name", "names"})

_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,62}[a-zA-Z0-9])?")
_NONCE = 12

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import aead


def _key(path: str) -> bytes:
    """The key, made at first use. Raises ``System`` for a file that is no key."""
    try:
        with open(path, "rb") as file:
            key = file.read()
    except FileNotFoundError:
        key = secrets.token_bytes(32)
        fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(fd)
        os.rename(path + ".new", path)
    if len(key) != 32:
        raise errdefs.System(
            f"the key of the secrets, {path}, is damaged: put it back from a copy, or remove it "
            "and create the secrets anew"
        )
    return key


def _cipher(path: str) -> aead.AESGCM:
    """The cipher; its library is loaded for those only who have secrets: it takes 9 MB."""
    from cryptography.hazmat.primitives.ciphers import aead

    return aead.AESGCM(_key(path))


class SecretStore:
    """All secrets of this engine."""

    def __init__(self, database: db.Database, key_path: str) -> None:
        self._db = database
        self._path = key_path
        self._secrets: dict[str, rows.Secret] = {}

    async def load(self) -> None:
        """Read what there is; values stay encrypted."""
        self._secrets = {found.id: found for found in await self._db.run(rows.every)}

    def get(self, name: str) -> rows.Secret:
        """The secret of that id, name or unambiguous beginning of an id. Raises ``NotFound``."""
        if name in self._secrets:
            return self._secrets[name]
        found = [one for one in self._secrets.values() if one.name == name]
        found = found or [one for one in self._secrets.values() if one.id.startswith(name)]
        if len(found) != 1 or not name:
            raise errdefs.NotFound(f"secret {name} not found")
        return found[0]

    def listing(self, wanted: filtering.Filters) -> list[rows.Secret]:
        """Those that fit, by name."""
        return [
            one
            for one in sorted(self._secrets.values(), key=lambda one: one.name)
            if wanted.prefix("id", one.id)
            and wanted.labels(one.labels)
            and (not wanted.has("name") or any(v in one.name for v in wanted.get("name")))
            and (not wanted.has("names") or one.name in wanted.get("names"))
        ]

    async def create(self, spec: types.Spec) -> str:
        """Keep a value; returns the id. Raises ``InvalidParameter`` and ``Conflict``."""
        if not _NAME.fullmatch(spec.name):
            raise errdefs.InvalidParameter(
                f"invalid secret name {spec.name[:80]!r}: only 64 [a-zA-Z0-9-_.] characters "
                "allowed, and the start and end character must be [a-zA-Z0-9]"
            )
        if spec.driver is not None and spec.driver.name:
            raise errdefs.InvalidParameter("secret drivers need a swarm: give the value itself")
        if spec.templating is not None and spec.templating.name:
            raise errdefs.InvalidParameter("templates of secrets need a swarm: give the value")
        value = _decode(spec)
        now = time.time()
        secret_id = secrets.token_hex(13)[:25]
        made = rows.Secret(
            id=secret_id,
            name=spec.name,
            labels=spec.labels or {},
            created=now,
            updated=now,
            version=1,
            sealed=self._seal(secret_id, value),
        )
        await self._db.run(lambda c: rows.add(c, made))
        self._secrets[secret_id] = made
        return secret_id

    async def update(self, name: str, version: int, spec: types.Spec) -> None:
        """Change the labels; nothing else of a secret can be. Raises as the Engine API says."""
        old = self.get(name)
        if version != old.version:
            raise errdefs.InvalidParameter("update out of sequence: the secret has changed since")
        if spec.name != old.name or (spec.data and _decode(spec) != self.value(old.id)):
            raise errdefs.InvalidParameter("only updates to Labels are allowed")
        new = rows.Secret(
            id=old.id,
            name=old.name,
            labels=spec.labels or {},
            created=old.created,
            updated=time.time(),
            version=old.version + 1,
            sealed=old.sealed,
        )
        await self._db.run(lambda c: rows.update(c, new))
        self._secrets[old.id] = new

    async def remove(self, name: str) -> None:
        """Forget a secret. Raises ``NotFound``."""
        found = self.get(name)
        await self._db.run(lambda c: rows.delete(c, found.id))
        self._secrets.pop(found.id, None)

    def value(self, secret_id: str) -> bytes:
        """The decrypted value. Raises ``NotFound``, and ``System`` when the key is another."""
        sealed = self.get(secret_id).sealed
        from cryptography.exceptions import InvalidTag

        cipher = _cipher(self._path)
        try:
            return cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], secret_id.encode())
        except InvalidTag:
            raise errdefs.System(
                f"secret {self.get(secret_id).name} can't be decrypted with {self._path}: it was "
                "encrypted with another key"
            ) from None

    def _seal(self, secret_id: str, value: bytes) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + _cipher(self._path).encrypt(nonce, value, secret_id.encode())


def _decode(spec: types.Spec) -> bytes:
    try:
        value = base64.b64decode(spec.data, validate=True)
    except (binascii.Error, ValueError):
        raise errdefs.InvalidParameter("the secret's Data is not base64") from None
    if not 0 < len(value) < MAX_SIZE:
        raise errdefs.InvalidParameter(
            f"secret data must be larger than 0 and less than {MAX_SIZE} bytes"
        )
    return value


def describe(found: rows.Secret) -> types.Secret:
    """The secret as the Engine API shows it."""

    def moment(seconds: float) -> str:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()[:-6] + "Z"

    return types.Secret(
        id=found.id,
        version=types.Version(index=found.version),
        created_at=moment(found.created),
        updated_at=moment(found.updated),
        spec=types.ShownSpec(name=found.name, labels=found.labels),
    )
