"""Calling plug-ins.

A plug-in is an HTTP server that answers ``POST /SUBSYSTEM.METHOD`` with JSON. The first call is
the handshake ``/Plugin.Activate``, which tells the subsystems that it implements. A plug-in is a
process of somebody else: it may be slow, gone, restarted or hostile. So each call has a time limit
and a limit of the answer's size, uses a connection of its own, and is tried again only while nobody
listens yet.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, TypeVar

import aiohttp
import msgspec

from firkin import errdefs
from firkin.plugins import discovery
from firkin.types import base

T = TypeVar("T")

TIMEOUT = 30.0
"""Seconds that a call may take, unless its caller says otherwise."""

CONNECT = 5.0
MAX_ANSWER = 16 << 20

_MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json"
_RETRIES = (0.1, 0.3, 0.6)


class Failed(errdefs.System):
    """The plug-in was reached, and answered that it could not do what it was asked."""


class _Manifest(base.Wire):
    implements: list[str] = []


class _Error(base.Wire):
    err: str = ""


class Plugin:
    """One plug-in. Made by :class:`Registry`."""

    def __init__(self, name: str, address: discovery.Address) -> None:
        self.name = name
        self.address = address
        self.implements: frozenset[str] = frozenset()
        """The subsystems that it has said to implement, such as ``VolumeDriver``."""
        self._loop = asyncio.get_running_loop()
        if address.url.startswith("unix://"):
            self._base = "http://plugin"
        else:
            self._base = address.url

    async def activate(self) -> None:
        """The handshake. Raises as :meth:`call` does."""
        manifest = await self.call("Plugin.Activate", None, _Manifest, timeout=CONNECT)
        self.implements = frozenset(manifest.implements)

    async def call(
        self, method: str, arguments: Any, kind: type[T], *, timeout: float = TIMEOUT
    ) -> T:
        """Call ``SUBSYSTEM.METHOD`` with ``arguments`` (JSON-like); the answer as a ``kind``.

        Raises ``Unavailable`` when the plug-in can't be reached or does not answer within
        ``timeout`` seconds, and :class:`Failed` with its own words when it answers with an error.
        """
        body = b"" if arguments is None else base.encode(arguments)
        try:
            async with asyncio.timeout(timeout):
                status, data = await self._post(method, body)
        except TimeoutError:
            raise errdefs.Unavailable(
                f"plugin {self.name}: {method} got no answer within {timeout:g} seconds"
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise errdefs.Unavailable(
                f"plugin {self.name} does not answer at {self.address.url}: {error}"
            ) from error
        said = _said(data)
        if status != 200 or said:
            raise Failed(said or f"{method}: {data[:1000].decode('utf-8', 'replace').strip()}")
        try:
            return base.decode(kind, data or b"{}")
        except errdefs.InvalidParameter as error:
            raise Failed(f"plugin {self.name} answered {method} with nonsense: {error}") from error

    def call_from_thread(
        self, method: str, arguments: Any, kind: type[T], *, timeout: float = TIMEOUT
    ) -> T:
        """:meth:`call` for code that runs in a worker thread; it blocks."""
        work = self.call(method, arguments, kind, timeout=timeout)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _post(self, method: str, body: bytes) -> tuple[int, bytes]:
        waits = iter(_RETRIES)
        while True:
            async with aiohttp.ClientSession(connector=self._connector()) as session:
                try:
                    async with session.post(
                        f"{self._base}/{method}",
                        data=body,
                        headers={"Accept": _MEDIA_TYPE, "Content-Type": _MEDIA_TYPE},
                        allow_redirects=False,
                    ) as answer:
                        return answer.status, await _bounded(answer.content)
                except aiohttp.ClientConnectorError:
                    wait = next(waits, None)
                    if wait is None:
                        raise
            await asyncio.sleep(wait)

    def _connector(self) -> aiohttp.BaseConnector:
        if self.address.url.startswith("unix://"):
            return aiohttp.UnixConnector(self.address.url.removeprefix("unix://"), force_close=True)
        return aiohttp.TCPConnector(force_close=True, ssl=self._tls())

    def _tls(self) -> ssl.SSLContext | bool:
        tls = self.address.tls
        if tls is None:
            return True
        context = ssl.create_default_context(cafile=tls.ca_file or None)
        if tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if tls.cert_file:
            context.load_cert_chain(tls.cert_file, tls.key_file or None)
        return context


async def _bounded(content: aiohttp.StreamReader) -> bytes:
    data = bytearray()
    async for part in content.iter_any():
        data += part
        if len(data) > MAX_ANSWER:
            raise aiohttp.ClientPayloadError(f"the answer is longer than {MAX_ANSWER} bytes")
    return bytes(data)


def _said(data: bytes) -> str:
    try:
        return msgspec.json.decode(data, type=_Error).err
    except (msgspec.DecodeError, RecursionError):
        return ""


class Registry:
    """The plug-ins that have been used, by name."""

    def __init__(
        self,
        *,
        sockets: Sequence[str] = discovery.SOCKETS,
        specs: Sequence[str] = discovery.SPECS,
    ) -> None:
        self._sockets = sockets
        self._specs = specs
        self._plugins: dict[str, Plugin] = {}

    async def get(self, name: str, subsystem: str) -> Plugin:
        """The plug-in ``name``, which must implement ``subsystem``.

        Its file is looked at each time, so that a plug-in that moves is found. Raises ``NotFound``
        when there is none or it does not implement it, ``InvalidParameter`` for an unusable file,
        and ``Unavailable`` or :class:`Failed` when the handshake fails.
        """
        address = discovery.find(name, sockets=self._sockets, specs=self._specs)
        plugin = self._plugins.get(name)
        if plugin is None or plugin.address != address:
            plugin = Plugin(name, address)
            await plugin.activate()
            self._plugins[name] = plugin
        if subsystem not in plugin.implements:
            del self._plugins[name]  # it may learn
            raise errdefs.NotFound(
                f"plugin {name!r} does not implement {subsystem}: it implements "
                f"{', '.join(sorted(plugin.implements)) or 'nothing'}"
            )
        return plugin

    async def all(self, subsystem: str) -> list[Plugin]:
        """Every plug-in that implements ``subsystem`` and answers now."""
        names = discovery.names(sockets=self._sockets, specs=self._specs)
        found = await asyncio.gather(
            *(self.get(name, subsystem) for name in names), return_exceptions=True
        )
        return [plugin for plugin in found if isinstance(plugin, Plugin)]
