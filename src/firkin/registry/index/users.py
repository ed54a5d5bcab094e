"""Users, their rights, their refresh tokens, and wrong passwords."""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import time
from typing import NamedTuple

from firkin import errdefs
from firkin.registry import rights


class User(NamedTuple):
    """A user of the built-in token service. ``password`` is a bcrypt hash."""

    name: str
    password: str
    admin: bool
    rights: tuple[rights.Right, ...]


def find(c: sqlite3.Connection, name: str) -> User | None:
    """A user with all rights."""
    row = c.execute("SELECT password, admin FROM users WHERE name = ?", (name,)).fetchone()
    if row is None:
        return None
    found = c.execute(
        "SELECT pattern, actions FROM rights WHERE user = ? ORDER BY pattern", (name,)
    )
    granted = tuple(rights.Right(pattern, rights.actions(words)) for pattern, words in found)
    return User(name, row[0], bool(row[1]), granted)


def listing(c: sqlite3.Connection) -> list[User]:
    """All users by name."""
    names = [row[0] for row in c.execute("SELECT name FROM users ORDER BY name")]
    return [user for name in names if (user := find(c, name))]


def put(
    c: sqlite3.Connection, name: str, password: str, admin: bool, granted: list[rights.Right]
) -> None:
    """Make a user, or give one a new password and new rights; ends all of the user's sessions."""
    c.execute(
        "INSERT INTO users VALUES (?, ?, ?, ?) ON CONFLICT (name) "
        "DO UPDATE SET password = excluded.password, admin = excluded.admin",
        (name, password, int(admin), time.time()),
    )
    c.execute("DELETE FROM grants WHERE user = ?", (name,))
    c.execute("DELETE FROM rights WHERE user = ?", (name,))
    for right in granted:
        c.execute(
            "INSERT INTO rights VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET actions = "
            "excluded.actions",
            (name, right.pattern, rights.text(right.actions)),
        )


def remove(c: sqlite3.Connection, name: str) -> None:
    """Remove a user, or ``NotFound``."""
    if not c.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount:
        raise errdefs.NotFound(f"there is no user {name!r}")


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def grant(c: sqlite3.Connection, name: str) -> str:
    """A new refresh token of a user. Only its hash is kept."""
    token = secrets.token_urlsafe(32)
    now = time.time()
    c.execute("INSERT INTO grants VALUES (?, ?, ?, ?)", (_hashed(token), name, now, now))
    return token


def redeem(c: sqlite3.Connection, token: str, lifetime: float) -> User | None:
    """Whose refresh token this is, if it was used in the last ``lifetime`` seconds."""
    now = time.time()
    c.execute("DELETE FROM grants WHERE used < ?", (now - lifetime,))
    row = c.execute("SELECT user FROM grants WHERE id = ?", (_hashed(token),)).fetchone()
    if row is None:
        return None
    c.execute("UPDATE grants SET used = ? WHERE id = ?", (now, _hashed(token)))
    return find(c, row[0])


def blocked(c: sqlite3.Connection, key: str) -> float:
    """Seconds for which no password is accepted from this source."""
    row = c.execute("SELECT until FROM failures WHERE key = ?", (key,)).fetchone()
    return max(0.0, float(row[0]) - time.time()) if row else 0.0


def failed(c: sqlite3.Connection, key: str, free: int, longest: float) -> None:
    """Count a wrong password: beyond ``free`` of them each doubles the wait, up to ``longest``."""
    now = time.time()
    c.execute("DELETE FROM failures WHERE until < ?", (now - longest,))
    row = c.execute("SELECT count FROM failures WHERE key = ?", (key,)).fetchone()
    count = (int(row[0]) if row else 0) + 1
    wait = min(longest, 2.0 ** min(count - free, 30)) if count >= free else 0.0
    c.execute(
        "INSERT INTO failures VALUES (?, ?, ?) ON CONFLICT (key) "
        "DO UPDATE SET count = excluded.count, until = excluded.until",
        (key, count, now + wait),
    )


def succeeded(c: sqlite3.Connection, key: str) -> None:
    """A right password: forget the wrong ones."""
    c.execute("DELETE FROM failures WHERE key = ?", (key,))
