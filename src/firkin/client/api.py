"""The engine as the client sees it: versioned paths, JSON bodies, errors as exceptions.

Versions. The client speaks ``VERSION`` and says so in every path. It does not ask first: that
would cost a round trip on each command. An older engine refuses with 400 and names the newest
version that it knows; then the request is repeated with that one, which stays for the life of the
client. A body that can be read only once (an archive) cannot be repeated, so before one of those
the engine is asked with ``/_ping``. ``DOCKER_API_VERSION`` fixes the version: no negotiation.
"""

from __future__ import annotations

from firkin.client import http, jsontext, transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    Query = Mapping[str, object]

VERSION = "1.56"
TOO_NEW = "Maximum supported API version is "


class APIError(Exception):
    """The engine answered with an error. ``str()`` is its message, in its own words."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class ConnectionFailed(Exception):
    """The engine could not be reached, or the connection broke. The message says where."""


_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def quote(text: str, safe: str = "") -> str:
    """Percent-encode ``text`` for a path segment or a query value."""
    allowed = _SAFE.union(safe.encode())
    raw = text.encode("utf-8", "surrogateescape")
    return "".join(chr(byte) if byte in allowed else f"%{byte:02X}" for byte in raw)


def encode_query(query: Query) -> str:
    """``?a=1&b=...``, or nothing.

    ``None`` is left out, booleans become ``1`` and ``0``, lists and tuples repeat the name, and
    dicts (filters) become JSON.
    """
    parts: list[str] = []
    for name, value in query.items():
        values = value if isinstance(value, list | tuple) else [value]
        for item in values:
            if item is None:
                continue
            if isinstance(item, bool):
                item = int(item)
            elif isinstance(item, dict):
                item = jsontext.dumps(item)
            parts.append(f"{quote(name)}={quote(str(item))}")
    return "?" + "&".join(parts) if parts else ""


class Client:
    """A connection to one engine. Not for use by several threads at once.

    At most one idle connection is kept for the next request; a request made while another
    response is still being read simply opens a connection of its own.
    """

    def __init__(
        self,
        way: transport.Transport,
        version: str | None = None,
        debug: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.transport = way
        self.version = version or VERSION
        self.negotiated = version is not None
        self.debug = debug
        self._headers = {**(headers or {}), "User-Agent": "Firkin-Client (python)"}
        self._idle: tuple[http.Response, transport.Channel] | None = None

    def version_at_least(self, major: int, minor: int) -> bool:
        """Whether the version in use is that or newer; true to the engine after any request."""
        return _key(self.version) >= (major, minor)

    def ping(self) -> dict[str, str]:
        """The headers of ``/_ping``: API-Version, OSType, ..., with lower-case names."""
        response = self._exchange("GET", "/_ping", {}, None)
        self._finish(response)
        return response.headers

    def negotiate(self) -> str:
        """Settle on the version with the engine and return it; asks at most once."""
        if not self.negotiated:
            theirs = self.ping().get("api-version", "")
            if theirs and _key(theirs) < _key(self.version):
                self.version = theirs
            self.negotiated = True
        return self.version

    def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> http.Response:
        """Send a request and return the response once its header is there.

        ``path`` has no version. ``body`` is ``bytes``, an iterator of ``bytes`` (sent as it comes,
        never held in memory) or anything else, which is sent as JSON; ``None`` is no body. Raises
        ``APIError`` for a status of 400 and more, ``ConnectionFailed`` when there is no engine.
        """
        return self._request(method, path, query, body, dict(headers or {}))

    def call(self, method: str, path: str, query: Query | None = None, body: object = None) -> Any:
        """A request whose whole answer is one JSON value; ``None`` when the answer is empty."""
        response = self.request(method, path, query, body)
        try:
            return response.json()
        except (OSError, http.ProtocolError) as error:
            raise ConnectionFailed(str(error)) from error
        finally:
            self.release(response)

    def hijack(self, path: str, query: Query | None = None, body: object = None) -> http.Stream:
        """POST, then turn the connection into a raw two-way stream."""
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        response = self._request("POST", path, query, body, headers)
        return response.take_stream()

    def release(self, response: http.Response) -> None:
        """Keep the response's connection for the next request, if it can be."""
        if response.reusable and self._idle is None:
            self._idle = (response, response._sock)
        else:
            response.close()

    def close(self) -> None:
        if self._idle:
            self._idle[1].close()
            self._idle = None

    def _request(
        self,
        method: str,
        path: str,
        query: Query | None,
        body: object,
        headers: dict[str, str],
    ) -> http.Response:
        payload: bytes | Iterable[bytes] | None
        if body is None or isinstance(body, bytes):
            payload = body
        elif hasattr(body, "__next__"):
            payload = body  # type: ignore[assignment]
            self.negotiate()
        else:
            payload = jsontext.dumps(body).encode()
            headers.setdefault("Content-Type", "application/json")
        tail = path + encode_query(query or {})
        while True:
            response = self._exchange(method, f"/v{self.version}{tail}", headers, payload)
            if response.status < 400:
                return response
            error = self._error(response)
            if not self._step_down(error):
                raise error

    def _step_down(self, error: APIError) -> bool:
        """Adopt the version that an older engine asks for; false if that is not what it said."""
        if self.negotiated or error.status != 400 or TOO_NEW not in error.message:
            return False
        theirs = error.message.partition(TOO_NEW)[2].strip().rstrip(".")
        if _key(theirs) == (0, 0) or _key(theirs) >= _key(self.version):
            return False
        self.version = theirs
        self.negotiated = True
        return True

    def _exchange(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        payload: bytes | Iterable[bytes] | None,
    ) -> http.Response:
        headers = {**self._headers, **headers}
        idle, self._idle = self._idle, None
        if idle and not _stale(idle[1]):
            sock = idle[1]
        else:
            if idle:
                idle[1].close()
            sock = self._connect()
        try:
            host = self.transport.host_header
            target = self.transport.base + target
            http.send_request(sock, method, target, host, headers, payload)
            return http.Response(sock, body=method != "HEAD")
        except OSError as error:
            sock.close()
            raise ConnectionFailed(self._unreachable(error)) from error
        except http.ProtocolError as error:
            sock.close()
            raise ConnectionFailed(f"{self.transport.address}: {error}") from error
        except BaseException:
            sock.close()
            raise

    def _connect(self) -> transport.Channel:
        try:
            return self.transport.connect()
        except OSError as error:
            raise ConnectionFailed(self._unreachable(error)) from error

    def _finish(self, response: http.Response) -> bytes:
        try:
            return response.read()
        except (OSError, http.ProtocolError) as error:
            raise ConnectionFailed(str(error)) from error
        finally:
            self.release(response)

    def _error(self, response: http.Response) -> APIError:
        body = self._finish(response)
        message = body.decode("utf-8", "replace").strip()
        try:
            decoded = jsontext.loads(body)
            message = decoded["message"]
        except (ValueError, KeyError, TypeError):
            pass
        return APIError(response.status, message or f"the engine answered {response.status}")

    def _unreachable(self, error: OSError) -> str:
        address = self.transport.address
        if isinstance(error, PermissionError):
            return (
                "permission denied while trying to connect to the Docker daemon socket at "
                f"{address}: use sudo, or join the group that owns the socket"
            )
        if isinstance(error, FileNotFoundError | ConnectionRefusedError):
            return (
                f"Cannot connect to the Docker daemon at {address}. Is the docker daemon running?"
                " (start firkind, or say with -H where it listens)"
            )
        return f"error during connect: {address}: {error.strerror or error}"


def _stale(sock: transport.Channel) -> bool:
    """True when an idle connection can no longer be used: the engine closed it, or babbled."""
    import select

    try:
        readable, _, _ = select.select([sock], [], [], 0)
    except (OSError, ValueError):
        return True
    return bool(readable)


def _key(version: str) -> tuple[int, int]:
    """``"1.41"`` as numbers, to compare; ``(0, 0)`` for anything else."""
    major, _, minor = version.partition(".")
    if major.isascii() and minor.isascii() and major.isdigit() and minor.isdigit():
        return int(major), int(minor)
    return 0, 0
