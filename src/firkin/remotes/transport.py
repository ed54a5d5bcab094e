"""Requests to registries.

A :class:`Transport` belongs to the engine: connections and what is known about hosts. A
:class:`Conversation` is one operation's talk with one endpoint: it proves who asks, follows
redirects as far as :mod:`firkin.remotes.guard` lets it, and repeats what failed for a moment.

An answer is never decompressed on the way: blobs are the bytes that their digest is of, and a small
answer cannot grow.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import urllib.parse
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import yarl
from aiohttp import abc, resolver

import firkin
from firkin import errdefs
from firkin.remotes import auth, challenge, config, failures, guard, tls
from firkin.remotes import resolver as endpoints

log = logging.getLogger(__name__)

MAX_ANSWER = 4 << 20
"""Bytes of a manifest, and of any other answer that is read whole."""

_MAX_ERROR = 64 << 10
_MAX_HOPS = 5
_LONGEST_WAIT = 30.0
_BUFFER = 1 << 20
_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_TROUBLE = (aiohttp.ClientError, OSError, asyncio.TimeoutError, UnicodeError)
"""``UnicodeError`` is what a name that can be no host's comes to when it is looked up."""


class _Recorder(abc.AbstractResolver):
    """Looks names up, and remembers the farthest reach that a name's addresses ever had."""

    def __init__(self, known: dict[str, guard.Reach]) -> None:
        self._known = known
        self._inner = resolver.ThreadedResolver()

    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[abc.ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        for item in found:
            seen = guard.reach(item["host"])
            self._known[host] = min(seen, self._known.get(host, seen))
        return found

    async def close(self) -> None:
        await self._inner.close()


class Transport:
    """Connections to registries. ``settings`` may be replaced at any time."""

    def __init__(self, settings: config.Settings) -> None:
        self.settings = settings
        self._sessions: dict[guard.Reach | None, aiohttp.ClientSession] = {}
        self._reach: dict[str, guard.Reach] = {}
        self.schemes: dict[str, str] = {}

    def session(self, origin: guard.Reach | None) -> aiohttp.ClientSession:
        """The session for places that a registry at ``origin`` named; None for the registry's."""
        found = self._sessions.get(origin)
        if found is None:
            names = _Recorder(self._reach) if origin is None else guard.Resolver(origin)
            found = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, resolver=names, keepalive_timeout=10),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=20, sock_read=60),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "User-Agent": f"firkin/{firkin.__version__}",
                    "Accept-Encoding": "identity",
                },
                skip_auto_headers=("Content-Type",),
                read_bufsize=_BUFFER,
            )
            self._sessions[origin] = found
        return found

    def reach(self, host: str) -> guard.Reach:
        """How far away a registry is, by the addresses that were used to reach it."""
        name = config.bare(host)
        if name == "localhost":
            return guard.Reach.LOOPBACK
        return self._reach.get(name, guard.reach(name))

    async def close(self) -> None:
        """End all connections."""
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            await session.close()


class Conversation:
    """See the module's description. ``domain`` is the registry's name in messages."""

    def __init__(
        self,
        transport: Transport,
        endpoint: endpoints.Endpoint,
        credentials: auth.Credentials,
        domain: str,
    ) -> None:
        self.endpoint = endpoint
        self.domain = domain if not endpoint.mirror else endpoint.host
        self._transport = transport
        self._credentials = credentials
        if endpoint.mirror:
            self._credentials = auth.Credentials(
                username=endpoint.username, password=endpoint.password
            )
        self._challenge: challenge.Challenge | None = None
        self._tokens: dict[tuple[str, ...], auth.Token] = {}
        self._lock = asyncio.Lock()

    async def base(self) -> str:
        """The URL of the endpoint, "https://host:port", with the scheme that it understands."""
        schemes, host = self.endpoint.schemes, self.endpoint.host
        if len(schemes) == 1:
            return f"{schemes[0]}://{host}"
        known = self._transport.schemes
        if host not in known:
            async with self._lock:
                if host not in known:
                    known[host] = await self._probe()
        return f"{known[host]}://{host}"

    async def _probe(self) -> str:
        """Which scheme an insecure registry speaks. Raises when it speaks none."""
        last: BaseException | None = None
        for scheme in self.endpoint.schemes:
            try:
                url = f"{scheme}://{self.endpoint.host}/v2/"
                response = await self._hop("GET", url, {}, None, "")
                response.close()
            except _TROUBLE as error:
                last = error
            else:
                return scheme
        assert last is not None
        raise failures.from_exception(last, self.domain, f"Get {self.endpoint.host}/v2/") from last

    async def _hop(
        self, method: str, url: str, headers: Mapping[str, str], data: Any, authorization: str
    ) -> aiohttp.ClientResponse:
        """One request, one answer. The redirect target's checks are the caller's."""
        settings = self._transport.settings
        parts = urllib.parse.urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        ours = host == self.endpoint.host
        sent = {**headers, "Authorization": authorization} if authorization and ours else headers
        secure: Any = True
        if parts.scheme == "https":
            insecure = self.endpoint.insecure if ours else settings.is_insecure(host)
            secure = await asyncio.to_thread(
                tls.context, settings.certificates, host, insecure=insecure
            )
        trusted = ours or settings.names(host)
        origin = None if trusted else self._transport.reach(self.endpoint.host)
        if origin is not None and not guard.allowed(origin, guard.reach(config.bare(host))):
            raise guard.refusal(self.domain, host, "by its address")
        return await self._transport.session(origin).request(
            method,
            yarl.URL(url, encoded=True),
            headers=sent,
            data=data,
            allow_redirects=False,
            ssl=secure,
            proxy=settings.proxy(url) or None,
        )

    def joined(self, url: str, location: str) -> str:
        """Where ``location`` of an answer from ``url`` leads. Raises when it must not be used."""
        target = urllib.parse.urljoin(url, location)
        parts = urllib.parse.urlsplit(target)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise errdefs.System(
                f"the registry {self.domain} redirects to {location[:200]!r}, "
                "which is no web address"
            )
        if parts.scheme == "http" and url.startswith("https:"):
            host = parts.netloc.rpartition("@")[2]
            if host == self.endpoint.host:  # a proxy that ends TLS before the registry
                return urllib.parse.urlunsplit(parts._replace(scheme="https"))
            if not self._transport.settings.is_insecure(host):
                raise errdefs.Forbidden(
                    f"the registry {self.domain} redirects from https to http://{host}, where "
                    f"anybody could read along: add {host} to insecure-registries in daemon.json "
                    "if that is acceptable"
                )
        return target

    async def _followed(
        self, method: str, url: str, headers: Mapping[str, str], data: Any, scopes: tuple[str, ...]
    ) -> aiohttp.ClientResponse:
        rejected = ""
        authorization = await self._authorization(scopes)
        for _ in range(_MAX_HOPS + 3):
            response = await self._hop(method, url, headers, data, authorization)
            host = urllib.parse.urlsplit(url).netloc.rpartition("@")[2]
            if response.status == 401 and host == self.endpoint.host:
                offers = challenge.parse(response.headers.getall("WWW-Authenticate", []))
                body = await _short(response)
                if data is not None and not isinstance(data, bytes) and offers:
                    # The data has been read: only who has it can begin again.
                    await self._answer(offers, scopes, authorization)
                    failure = failures.from_response(401, body, self.domain, _asked(method, url))
                    raise failures.TryAgain(failure)
                if (rejected and rejected == authorization) or not offers:
                    raise failures.from_response(401, body, self.domain, _asked(method, url))
                rejected = authorization or "none"
                authorization = await self._answer(offers, scopes, authorization)
                if authorization == rejected:
                    raise failures.from_response(401, body, self.domain, _asked(method, url))
                continue
            if response.status in _REDIRECTS and method in ("GET", "HEAD"):
                location = response.headers.get("Location", "")
                await _short(response)
                url = self.joined(url, location)
                continue
            return response
        raise errdefs.System(
            f"the registry {self.domain} redirects too often, from {_asked(method, url)} on"
        )

    @contextlib.asynccontextmanager
    async def request(
        self,
        method: str,
        url: str,
        *,
        scopes: tuple[str, ...] = (),
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        accept: tuple[int, ...] = (200,),
        what: str = "",
        retry: bool = True,
        authorize: bool = True,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; the answer is read, if at all, inside of the context.

        ``url`` may be a path at this endpoint. Raises what :mod:`firkin.remotes.failures` makes of
        a status that is not in ``accept``. With ``retry`` a failure that may pass is repeated, so
        ``data`` must be bytes then; without, it is raised as ``TryAgain``. Without ``authorize``
        the request goes out once, and says nothing of who asks.
        """
        what = what or url
        if url.startswith("/"):
            url = await self.base() + url
        tries = self._transport.settings.attempts if retry else 1
        for attempt in range(1, tries + 1):
            try:
                response = await self._checked(
                    method, url, headers or {}, data, scopes, accept, what, authorize
                )
                break
            except failures.TryAgain as trouble:
                if not retry:
                    raise
                if attempt == tries or trouble.after > _LONGEST_WAIT:
                    raise trouble.error from trouble.__cause__
                await pause(attempt, trouble.after)
        try:
            yield response
        finally:
            if response.content.is_eof():
                response.release()
            else:
                response.close()  # what the caller did not read may be endless

    async def _checked(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        data: Any,
        scopes: tuple[str, ...],
        accept: tuple[int, ...],
        what: str,
        authorize: bool,
    ) -> aiohttp.ClientResponse:
        try:
            if authorize:
                response = await self._followed(method, url, headers, data, scopes)
            else:
                response = await self._hop(method, url, headers, data, "")
            if response.status in accept:
                return response
            body = await _short(response)
        except _TROUBLE as error:
            found = failures.from_exception(error, self.domain, what)
            lasting = isinstance(
                error,
                aiohttp.ClientConnectorCertificateError
                | aiohttp.ClientConnectorSSLError
                | aiohttp.ClientConnectorDNSError,
            )
            if lasting or not isinstance(found, errdefs.Unavailable):
                raise found from error
            raise failures.TryAgain(found) from error
        failure = failures.from_response(response.status, body, self.domain, what)
        if response.status in _AGAIN:
            raise failures.TryAgain(failure, _seconds(response.headers.get("Retry-After", "")))
        raise failure

    async def _authorization(self, scopes: tuple[str, ...]) -> str:
        """What to send without being asked, from what is known by now."""
        if self._credentials.token:
            return f"Bearer {self._credentials.token}"
        if self._challenge is None:
            return ""
        return await self._answer([self._challenge], scopes, "")

    async def _answer(
        self, offers: list[challenge.Challenge], scopes: tuple[str, ...], rejected: str
    ) -> str:
        by_scheme = {offer.scheme: offer for offer in offers}
        if (bearer := by_scheme.get("bearer")) is not None:
            self._challenge = bearer
            if self._credentials.token:
                return f"Bearer {self._credentials.token}"
            async with self._lock:
                token = self._tokens.get(scopes)
                if token is None or not token.fresh or f"Bearer {token.value}" == rejected:
                    token = await self.token(bearer, scopes)
                    self._tokens[scopes] = token
            return f"Bearer {token.value}"
        if "basic" in by_scheme:
            if not self._credentials.username:
                raise errdefs.Unauthorized(
                    f"no basic auth credentials for {self.domain}: log in with: login {self.domain}"
                )
            self._challenge = by_scheme["basic"]
            return self._credentials.basic
        names = ", ".join(by_scheme) or "none"
        raise errdefs.NotImplemented(
            f"the registry {self.domain} wants an authentication that is not supported: {names}"
        )

    async def token(
        self, bearer: challenge.Challenge, scopes: tuple[str, ...], *, offline: bool = False
    ) -> auth.Token:
        """Ask the token service that a challenge names."""
        base = await self.base()
        realm = self.joined(base + "/v2/", bearer.parameters.get("realm", ""))
        asked = bearer.parameters.get("scope", "").split() if not scopes else list(scopes)
        wanted = auth.token_request(
            realm, bearer.parameters.get("service", ""), asked, self._credentials, offline=offline
        )
        host = urllib.parse.urlsplit(realm).netloc
        headers, data = dict(wanted.headers), None
        if wanted.form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            data = urllib.parse.urlencode(wanted.form).encode()
        method = "GET" if data is None else "POST"
        for attempt in range(1, self._transport.settings.attempts + 1):
            try:
                response = await self._hop(method, wanted.url, headers, data, "")
                body = await _short(response, MAX_ANSWER)
            except _TROUBLE as error:
                raise failures.from_exception(error, host, "the token service") from error
            if response.status not in _AGAIN or attempt == self._transport.settings.attempts:
                break
            await pause(attempt, _seconds(response.headers.get("Retry-After", "")))
        if response.status == 404 and wanted.form is not None:
            raise errdefs.Unauthorized(
                f"the token service {host} does not know identity tokens: log in again"
            )
        if response.status in (400, 401, 403):
            _, text = failures.code_and_text(body)
            raise errdefs.Unauthorized(
                f"unauthorized: {text or 'incorrect username or password'} (by {host}): log in "
                f"again with: login {self.domain}"
            )
        if response.status != 200:
            raise failures.from_response(response.status, body, host, "a token")
        return auth.token_answer(body, host)


def quote(text: str) -> str:
    """``text`` as a value of a query."""
    return urllib.parse.quote(text, safe="")


def next_page(talk: Conversation, response: aiohttp.ClientResponse) -> str | None:
    """Where a list goes on (RFC 5988), None at its end."""
    links: Mapping[str, Any] = response.links.get("next") or {}
    more = links.get("url")
    return talk.joined(str(response.url), str(more)) if more is not None else None


async def pause(attempt: int, after: float = 0.0) -> None:
    """Wait before trying again: longer each time, and not all at the same moment."""
    backoff = min(10.0, 0.2 * 2.0**attempt) * random.uniform(0.6, 1.0)
    await asyncio.sleep(max(backoff, after))


async def whole(response: aiohttp.ClientResponse, limit: int, what: str) -> bytes:
    """The body of an answer. Raises ``InvalidParameter`` beyond ``limit`` bytes."""
    data = bytearray()
    async for chunk in response.content.iter_any():
        data += chunk
        if len(data) > limit:
            raise errdefs.InvalidParameter(
                f"{what}: the registry's answer has more than {limit} bytes, which is the limit"
            )
    return bytes(data)


async def _short(response: aiohttp.ClientResponse, limit: int = _MAX_ERROR) -> bytes:
    """The beginning of a body that matters little; the connection is given back or closed."""
    data = bytearray()
    try:
        async with asyncio.timeout(20):
            async for chunk in response.content.iter_any():
                data += chunk
                if len(data) > limit:
                    break
    finally:
        if response.content.is_eof():
            response.release()
        else:
            response.close()
    return bytes(data[:limit])


def _asked(method: str, url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return f"{method.title()} {parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _seconds(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0.0
