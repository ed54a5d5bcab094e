"""The registry that is cached: requests to it, with the tokens that it wants."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from yarl import URL

import firkin
from firkin import errdefs
from firkin.registry import config, manifest

ACCEPT = ", ".join(
    (manifest.OCI_INDEX, manifest.OCI_MANIFEST, manifest.DOCKER_LIST, manifest.DOCKER_MANIFEST)
)
_PAIR = re.compile(r'(\w+)="([^"]*)"')
_TOKEN_LIMIT = 1 << 20


class Upstream:
    """Asks one registry. Raises ``Unavailable`` where it gives no usable answer."""

    def __init__(self, settings: config.Proxy) -> None:
        self._settings = settings
        self._base = URL(settings.upstream.rstrip("/"))
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=settings.timeout, sock_read=settings.timeout
        )
        self._session = aiohttp.ClientSession(
            timeout=timeout,
            headers={"User-Agent": f"firkin/{firkin.__version__}"},
            auto_decompress=False,
        )
        self._tokens: dict[str, tuple[float, str]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    @contextlib.asynccontextmanager
    async def ask(self, method: str, name: str, path: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """Request ``/v2/<name>/<path>``; the response may have any status but those of faults."""
        url = self._base.joinpath("v2", *name.split("/"), *path.split("/"))
        headers = {"Accept": ACCEPT}
        if (known := self._tokens.get(name)) and known[0] > time.monotonic():
            headers["Authorization"] = known[1]
        try:
            async with contextlib.AsyncExitStack() as stack:
                response = await stack.enter_async_context(
                    self._session.request(method, url, headers=headers)
                )
                if response.status == 401:
                    challenge = response.headers.get("WWW-Authenticate", "")
                    headers["Authorization"] = await self._authorize(challenge, name)
                    response = await stack.enter_async_context(
                        self._session.request(method, url, headers=headers)
                    )
                if response.status in (401, 403, 429) or response.status >= 500:
                    raise errdefs.Unavailable(
                        f"the upstream registry {self._base.host} answered {response.status} "
                        f"for {name}"
                    )
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            why = str(error) or type(error).__name__
            raise errdefs.Unavailable(
                f"the upstream registry {self._base.host} does not answer: {why}"
            ) from error

    async def _authorize(self, challenge: str, name: str) -> str:
        scheme, _, rest = challenge.partition(" ")
        basic = None
        if self._settings.username:
            basic = aiohttp.BasicAuth(self._settings.username, self._settings.password)
        if scheme.lower() == "basic" and basic is not None:
            return basic.encode()
        fields = dict(_PAIR.findall(rest))
        if scheme.lower() != "bearer" or not fields.get("realm"):
            raise errdefs.Unavailable(
                f"the upstream registry {self._base.host} wants a name and a password: "
                "set proxy.username and proxy.password"
            )
        query = {"scope": fields.get("scope") or f"repository:{name}:pull"}
        if fields.get("service"):
            query["service"] = fields["service"]
        async with self._session.get(fields["realm"], params=query, auth=basic) as response:
            body = await response.content.read(_TOKEN_LIMIT)
            if response.status != 200:
                raise errdefs.Unavailable(
                    f"the upstream's token service answered {response.status}: "
                    "check proxy.username and proxy.password"
                )
        return self._remember(name, body)

    def _remember(self, name: str, body: bytes) -> str:
        import msgspec

        try:
            answer: dict[str, Any] = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise errdefs.Unavailable(f"the upstream's token service: {error}") from error
        header = f"Bearer {answer.get('token') or answer.get('access_token') or ''}"
        lifetime = answer.get("expires_in")
        seconds = float(lifetime) if isinstance(lifetime, int | float) else 60.0
        if len(self._tokens) > 1000:
            self._tokens.clear()
        self._tokens[name] = (time.monotonic() + max(0.0, seconds - 10.0), header)
        return header
