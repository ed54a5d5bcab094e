"""A file from a web server, for imports from a URL."""

from __future__ import annotations

import urllib.parse
from collections.abc import AsyncIterator

import aiohttp
import yarl

from firkin import errdefs
from firkin.remotes import failures, transport


def fetch(carrier: transport.Transport, url: str) -> AsyncIterator[bytes]:
    """The bytes at ``url``, through the engine's proxies. Redirects are followed.

    Raises ``InvalidParameter`` at once for what is no web address; what the server does wrong
    raises from the iterator.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("no scheme or no host")
        address = yarl.URL(url)
    except ValueError as error:
        raise errdefs.InvalidParameter(
            f"cannot import from {url!r}: it is neither '-' nor an http or https URL: {error}"
        ) from error
    return _stream(carrier, address, url, parts.netloc.rpartition("@")[2])


async def _stream(
    carrier: transport.Transport, address: yarl.URL, url: str, host: str
) -> AsyncIterator[bytes]:
    what = f"downloading {url}"
    try:
        async with carrier.session(None).get(
            address, proxy=carrier.settings.proxy(url) or None, max_redirects=5
        ) as response:
            if response.status != 200:
                kind = errdefs.NotFound if response.status == 404 else errdefs.System
                raise kind(f"{what}: the server answered with status {response.status}")
            async for chunk in response.content.iter_any():
                yield chunk
    except (TimeoutError, aiohttp.ClientError, OSError, UnicodeError) as error:
        raise failures.from_exception(error, host, what) from error
