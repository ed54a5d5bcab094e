"""What the engine knows of an exec."""

from __future__ import annotations

import asyncio
import secrets
import time

from firkin.engine.containers import model
from firkin.runtime import conmon
from firkin.types import container as wire
from firkin.wire import detachkeys


class Session:
    """One exec. ``exit_code`` is ``None`` until it ended."""

    def __init__(self, container: model.Container, request: wire.ExecCreateRequest) -> None:
        self.id = secrets.token_hex(32)
        self.container = container
        self.request = request
        self.keys = detachkeys.parse(request.detach_keys)
        self.running = False
        self.started = False
        self.settled = asyncio.Event()
        """Set when the process runs, or the start has failed."""
        self.pid = 0
        self.exit_code: int | None = None
        self.path = ""
        self.created = time.monotonic()
        self.ready: asyncio.Task[conmon.ConmonExec | None] | None = None
