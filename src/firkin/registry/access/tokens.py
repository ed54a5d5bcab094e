"""Bearer tokens: JSON web tokens that say who may do what for some minutes.

They are signed with a key of the registry's own (ES256), which is made at the first start and kept
in the data directory, so all workers trust each other's tokens.
"""

from __future__ import annotations

import collections
import os
import secrets
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from firkin import errdefs
from firkin.registry import errors, rights

_ALGORITHM = "ES256"
_REMEMBERED = 4096


def load_key(path: str) -> ec.EllipticCurvePrivateKey:
    """The signing key in this file, which is made if there is none."""
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        if not os.path.exists(path):
            made = ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            part = f"{path}.{secrets.token_hex(8)}"
            fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(made)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(part, path)  # the first one counts
            except FileExistsError:
                pass
            os.unlink(part)
        with open(path, "rb") as file:
            key = serialization.load_pem_private_key(file.read(), None)
    except (OSError, ValueError) as error:
        raise errdefs.System(f"cannot use the signing key {path}: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise errdefs.System(f"the signing key {path} is not one for {_ALGORITHM}")
    return key


class Tokens:
    """Issues and checks tokens for one service."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, service: str, lifetime: int) -> None:
        self._key = key
        self._service = service
        self.lifetime = lifetime
        self._known: collections.OrderedDict[str, tuple[float, rights.Identity]] = (
            collections.OrderedDict()
        )

    def issue(self, user: str, access: list[dict[str, Any]], *, admin: bool) -> str:
        """A token for ``user`` with this ``access`` claim."""
        now = int(time.time())
        claims = {
            "iss": self._service, "aud": self._service, "sub": user, "admin": admin,
            "iat": now, "nbf": now - 10, "exp": now + self.lifetime,
            "jti": secrets.token_hex(16), "access": access,
        }  # fmt: skip
        return jwt.encode(claims, self._key, _ALGORITHM)

    def identify(self, token: str) -> rights.Identity:
        """Whom a token speaks for, with the rights that it carries; ``UNAUTHORIZED`` for none."""
        known = self._known.get(token)
        if known and known[0] > time.time():
            return known[1]
        try:
            claims = jwt.decode(
                token, self._key.public_key(), [_ALGORITHM],
                audience=self._service, issuer=self._service,
                options={"require": ["exp", "sub", "aud", "iss"]},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise errors.Failure("UNAUTHORIZED", "the token has expired") from None
        except jwt.PyJWTError:
            raise errors.Failure("UNAUTHORIZED", "the token is not one of this registry") from None
        granted = tuple(
            rights.Right(str(entry["name"]), frozenset(entry["actions"]) & rights.ALL)
            for entry in claims.get("access", ())
            if entry.get("type") == "repository"
        )
        identity = rights.Identity(str(claims["sub"]), granted)
        self._known[token] = (float(claims["exp"]), identity)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return identity
