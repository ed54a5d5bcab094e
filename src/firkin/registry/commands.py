"""The commands beside ``serve``: they work on the data directory, while a server runs or not."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

from firkin import errdefs
from firkin.registry import config, core, gc, rights, scrub
from firkin.registry.access import passwords
from firkin.registry.index import users

T = TypeVar("T")


def _with(settings: config.Config, work: Callable[[core.Registry], Awaitable[T]]) -> T:
    registry = core.Registry(settings)

    async def run() -> T:
        return await work(registry)

    try:
        return asyncio.run(run())
    finally:
        registry.close()


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:.3g}TB"


def collect(settings: config.Config, *, dry: bool) -> int:
    """``gc``."""
    report = _with(settings, lambda registry: gc.collect(registry, dry=dry))
    for tag in report.tags:
        print(f"Untagged: {tag}")
    for digest in report.manifests:
        print(f"Deleted: {digest}")
    verb = "Would delete" if dry else "Deleted"
    print(
        f"{verb} {report.blobs + report.orphans} blobs ({_size(report.bytes)}), "
        f"{len(report.manifests)} manifests, {len(report.tags)} tags, {report.uploads} uploads"
    )
    return 0


def scrubbing(settings: config.Config, *, repair: bool) -> int:
    """``scrub``; the exit status is 1 if anything was found."""
    report = _with(settings, lambda registry: scrub.scrub(registry, repair=repair))
    for problem in report.problems:
        print(problem)
    print(
        f"{report.blobs} blobs ({_size(report.bytes)}) and {report.manifests} manifests read, "
        f"{len(report.problems)} problems found, {report.repaired} repaired"
    )
    return 1 if report.problems else 0


def user_list(settings: config.Config) -> int:
    """``user ls``."""
    found = _with(settings, lambda registry: registry.db.read(users.listing))
    print(f"{'NAME':<24} {'ADMIN':<6} RIGHTS")
    for user in found:
        granted = " ".join(f"{right.pattern}:{rights.text(right.actions)}" for right in user.rights)
        print(f"{user.name:<24} {'yes' if user.admin else 'no':<6} {granted}")
    return 0


def user_add(
    settings: config.Config, name: str, granted: list[str], *, admin: bool, from_stdin: bool
) -> int:
    """``user add``: also gives an existing user a new password and new rights."""
    if not name or ":" in name or not name.isprintable() or len(name) > 128:
        raise errdefs.InvalidParameter(f"{name!r} is not a user name: no colon, 128 characters")
    parsed = [rights.parse(text) for text in granted]
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = getpass.getpass()
        if getpass.getpass("Again: ") != password:
            raise errdefs.InvalidParameter("the passwords differ")
    stored = passwords.make_hash(password)
    _with(
        settings,
        lambda registry: registry.db.write(users.put, name, stored, admin, parsed),
    )
    if settings.auth.mode != "users":
        print(
            f'note: the server asks for these users only with auth.mode = "users", '
            f'it is "{settings.auth.mode}"',
            file=sys.stderr,
        )
    return 0


def user_remove(settings: config.Config, name: str) -> int:
    """``user rm``."""
    _with(settings, lambda registry: registry.db.write(users.remove, name))
    return 0
