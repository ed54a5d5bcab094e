"""Notifications: an HTTP POST to each endpoint for every push and deletion.

An event is queued in the same transaction as the change that it tells of, so it is lost by no kill
and never tells of what did not happen. The envelope is that of Docker's registry. An endpoint gets
its events in order and at least once; while it fails they wait, longer from try to try.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
import uuid
from typing import Any

import aiohttp
import msgspec

import firkin
from firkin.registry import call, config, db
from firkin.registry.access import access

log = logging.getLogger(__name__)

_TYPE = "application/vnd.docker.distribution.events.v2+json"
_IDLE = 1.0  # seconds between looks at an empty queue
_BATCH = 50


class Event(msgspec.Struct, frozen=True):
    """What happened: "push" or "delete" of a manifest or a tag."""

    action: str
    repository: str
    digest: str
    tag: str = ""
    media_type: str = ""
    size: int = 0


def describe(one: call.Call, event: Event) -> dict[str, Any]:
    """An event as endpoints get it."""
    target: dict[str, Any] = {"repository": event.repository, "digest": event.digest}
    if event.media_type:
        target |= {"mediaType": event.media_type, "size": event.size, "length": event.size}
    if event.tag:
        target["tag"] = event.tag
    place = event.digest or event.tag
    target["url"] = f"{one.access.url(one.request)}/v2/{event.repository}/manifests/{place}"
    return {
        "id": str(uuid.uuid4()),
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "action": event.action,
        "target": target,
        "request": {
            "addr": access.address(one.request),
            "host": one.header("Host"),
            "method": one.request.method,
            "useragent": one.header("User-Agent")[:300],
        },
        "actor": {"name": one.identity.user},
    }


def queue(c: sqlite3.Connection, one: call.Call, *events: Event) -> None:
    """Let the endpoints know of ``events``, which are part of this transaction."""
    endpoints = one.registry.config.notifications
    if not endpoints:
        return
    payload = msgspec.json.encode({"events": [describe(one, event) for event in events]})
    now = time.time()
    c.executemany(
        "INSERT INTO deliveries (endpoint, payload, due, tries) VALUES (?, ?, ?, 0)",
        [(endpoint.url, payload, now) for endpoint in endpoints],
    )


class Deliverer:
    """Delivers what is queued. One per registry, in one of its workers."""

    def __init__(self, index: db.Database, endpoints: list[config.Endpoint]) -> None:
        self._db = index
        self._endpoints = endpoints

    async def run(self) -> None:
        """Deliver until cancelled."""
        known = [endpoint.url for endpoint in self._endpoints]
        await self._db.write(_forget_others, known)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
            for endpoint in self._endpoints:
                group.create_task(self._serve(session, endpoint), name=f"notify {endpoint.url}")

    async def _serve(self, session: aiohttp.ClientSession, endpoint: config.Endpoint) -> None:
        while True:
            waiting = await self._db.read(_waiting, endpoint.url)
            if not waiting:
                await asyncio.sleep(_IDLE)
            for identity, payload, due, tries in waiting:
                await asyncio.sleep(max(0.0, due - time.time()))
                problem = await self._post(session, endpoint, payload)
                if not problem:
                    await self._db.write(_done, identity)
                    continue
                wait = min(endpoint.longest_wait, 2.0**tries)
                log.warning("%s: %s; next try in %.0f s", endpoint.url, problem, wait)
                due = time.time() + wait
                await self._db.write(_later, identity, due)
                break  # the later ones wait for it

    async def _post(
        self, session: aiohttp.ClientSession, endpoint: config.Endpoint, payload: bytes
    ) -> str:
        headers = {"Content-Type": _TYPE, "User-Agent": f"firkin/{firkin.__version__}"}
        headers |= endpoint.headers
        try:
            async with session.post(
                endpoint.url, data=payload, headers=headers, allow_redirects=False
            ) as response:
                return "" if response.status < 300 else f"it answered {response.status}"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return str(error) or type(error).__name__


def _waiting(c: sqlite3.Connection, endpoint: str) -> list[tuple[int, bytes, float, int]]:
    return c.execute(
        "SELECT id, payload, due, tries FROM deliveries WHERE endpoint = ? ORDER BY id LIMIT ?",
        (endpoint, _BATCH),
    ).fetchall()


def _done(c: sqlite3.Connection, identity: int) -> None:
    c.execute("DELETE FROM deliveries WHERE id = ?", (identity,))


def _later(c: sqlite3.Connection, identity: int, due: float) -> None:
    c.execute("UPDATE deliveries SET due = ?, tries = tries + 1 WHERE id = ?", (due, identity))


def _forget_others(c: sqlite3.Connection, known: list[str]) -> None:
    """Drop what waits for endpoints that are no longer configured."""
    marks = ", ".join("?" * len(known))
    c.execute(f"DELETE FROM deliveries WHERE endpoint NOT IN ({marks})", known)
