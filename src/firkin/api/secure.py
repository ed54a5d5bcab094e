"""TLS between a connection's bytes and its protocol.

The loop's own TLS has no half-close: it takes the client's close_notify for the end of everything.
But the clients of attach and exec end their input so (Go's ``tls.Conn.CloseWrite``) and go on
reading, and TLS allows that (RFC 8446, section 6.1: close_notify ends one direction only). So
OpenSSL is driven here, over memory buffers:

* close_notify from the client is its ``eof_received``; what is written afterwards is still sent;
* the end of the TCP connection is the end of the client, whether announced or not.

Nothing is buffered for writing here: what is written is encrypted at once and handed on, so the
transport's own limits hold. Of what arrives only a piece that came in while reading was paused is
kept.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable, Iterable
from typing import Any, cast

from firkin import errdefs
from firkin.api import connection
from firkin.engine import config as configuration

log = logging.getLogger(__name__)

HANDSHAKE = 10.0
"""Seconds in which the handshake has to be complete."""

_PIECE = 1 << 18


class Certificates:
    """The certificates that TLS is spoken with; connections that are open keep theirs."""

    def __init__(self, config: configuration.Config) -> None:
        """Read them. Raises ``InvalidParameter`` naming the file that can't be used."""
        self.context = _context(config)

    def reload(self, config: configuration.Config) -> None:
        """Read them again, for new connections. Raises as above; then nothing changes."""
        self.context = _context(config)


def _context(config: configuration.Config) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    cert, key = config.certificate("cert"), config.certificate("key")
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise errdefs.InvalidParameter(
            f"cannot use the certificate {cert} with the key {key} (--tlscert, --tlskey): "
            f"{_why(error)}"
        ) from None
    if config.policy.verify:
        authority = config.certificate("ca")
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_verify_locations(authority)
        except OSError as error:
            raise errdefs.InvalidParameter(
                f"cannot use the authority {authority} (--tlscacert): {_why(error)}"
            ) from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted: decrypt it, for nobody is there to type its password")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error)


class Layer(asyncio.Protocol):
    """The protocol of a TCP connection; gives the protocol that ``inner`` makes plain bytes."""

    def __init__(
        self,
        context: ssl.SSLContext,
        inner: Callable[[], asyncio.Protocol],
        census: connection.Census | None = None,
    ) -> None:
        self._make = inner
        self._census = census
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._open = False
        self._closing = False
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._raw: asyncio.Transport | None = None
        self._outer: Transport | None = None
        self.inner: asyncio.Protocol | None = None
        self.paused = False

    @property
    def raw(self) -> asyncio.Transport:
        """The transport below."""
        assert self._raw is not None
        return self._raw

    @property
    def tls(self) -> ssl.SSLObject:
        """OpenSSL's view of the connection."""
        return self._tls

    @property
    def closing(self) -> bool:
        """Whether :meth:`close` was called or the connection is lost."""
        return self._closing

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client has come."""
        self._raw = cast(asyncio.Transport, transport)  # uvloop's are not its subclasses
        if self._census is not None and not self._census.admit():
            self._census = None
            self._closing = True
            self._raw.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(HANDSHAKE, self._too_slow)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: it is over."""
        self._closing = True
        self._settle()
        if self._census is not None:
            self._census.leave()
            self._census = None
        inner, self.inner = self.inner, None
        if inner is not None:
            inner.connection_lost(error)

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes arrived."""
        if self._closing or self._ended:
            return
        self._incoming.write(data)
        if not self._open:
            self._shake_hands()
        if self._open:
            self.deliver()

    def eof_received(self) -> bool:
        """asyncio: the client has closed the connection."""
        return False

    def pause_writing(self) -> None:
        """asyncio: the client is behind."""
        if self.inner is not None:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        """asyncio: it has caught up."""
        if self.inner is not None:
            self.inner.resume_writing()

    def _settle(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        log.debug("TLS handshake with %s is not complete in time", self._peer())
        self.raw.abort()

    def _peer(self) -> object:
        return self.raw.get_extra_info("peername")

    def _shake_hands(self) -> None:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except ssl.SSLError as error:
            log.info("TLS handshake error from %s: %s", self._peer(), _why(error))
            self._flush()  # the alert tells the client
            self._closing = True
            self.raw.close()
            return
        self._settle()
        self._flush()
        self._open = True
        self._outer = Transport(self)
        self.inner = self._make()
        self.inner.connection_made(self._outer)

    def deliver(self) -> None:
        """Give the protocol what has arrived, unless reading is paused."""
        while self.inner is not None and not (self.paused or self._ended or self._closing):
            data, more = self._read()
            if data:
                self.inner.data_received(data)
            if not more:
                break
        if not self._closing:
            self._flush()  # an answer to a change of keys

    def _read(self) -> tuple[bytes, bool]:
        """A piece of plain bytes, and whether there may be more now."""
        parts: list[bytes] = []
        length = 0
        while length < _PIECE:
            try:
                part = self._tls.read(_PIECE)
            except ssl.SSLWantReadError:
                return b"".join(parts), False
            except ssl.SSLZeroReturnError:
                part = b""
            except ssl.SSLError as error:
                log.info("TLS error from %s: %s", self._peer(), _why(error))
                self._ended = True
                self.raw.abort()
                return b"", False
            if not part:
                asyncio.get_running_loop().call_soon(self._input_ended)
                return b"".join(parts), False
            parts.append(part)
            length += len(part)
        return b"".join(parts), True

    def _input_ended(self) -> None:
        if self._ended or self._closing or self.inner is None:
            return
        self._ended = True
        if not self.inner.eof_received():
            self.close()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send. Nothing is sent any more after :meth:`close`."""
        if self._closing or not data:
            return
        rest = memoryview(data).cast("B")
        try:
            while rest:
                rest = rest[self._tls.write(rest) :]
        except ssl.SSLError as error:
            log.info("TLS error to %s: %s", self._peer(), _why(error))
            self.raw.abort()
            return
        self._flush()

    def _flush(self) -> None:
        data = self._outgoing.read()
        if data and not self.raw.is_closing():
            self.raw.write(data)

    def close(self) -> None:
        """Send what is written, say goodbye and close."""
        if self._closing:
            return
        self._closing = True
        self._incoming.read()  # unwrap looks for an answer, and must find nothing else
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass
        self._flush()
        self.raw.close()


class Transport(asyncio.Transport):
    """What the protocol above sees of a :class:`Layer`."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._layer = layer

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """As of asyncio's TLS transports."""
        if name == "ssl_object":
            return self._layer.tls
        if name == "sslcontext":
            return self._layer.tls.context
        if name == "peercert":
            return self._layer.tls.getpeercert()
        return self._layer.raw.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """See ``asyncio.WriteTransport``."""
        self._layer.write(data)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """See ``asyncio.WriteTransport``."""
        self._layer.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Not needed by what is above."""
        return False

    def pause_reading(self) -> None:
        """See ``asyncio.ReadTransport``."""
        if not self._layer.paused and not self._layer.closing:
            self._layer.paused = True
            self._layer.raw.pause_reading()

    def resume_reading(self) -> None:
        """See ``asyncio.ReadTransport``; what is already here comes first."""
        if self._layer.paused and not self._layer.closing:
            self._layer.paused = False
            self._layer.raw.resume_reading()
            asyncio.get_running_loop().call_soon(self._layer.deliver)

    def is_reading(self) -> bool:
        """See ``asyncio.ReadTransport``."""
        return not self._layer.paused and not self._layer.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See ``asyncio.WriteTransport``."""
        self._layer.raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """See ``asyncio.WriteTransport``; in encrypted bytes."""
        return self._layer.raw.get_write_buffer_size()

    def is_closing(self) -> bool:
        """See ``asyncio.BaseTransport``."""
        return self._layer.closing or self._layer.raw.is_closing()

    def close(self) -> None:
        """See ``asyncio.BaseTransport``."""
        self._layer.close()

    def abort(self) -> None:
        """See ``asyncio.WriteTransport``."""
        self._layer.raw.abort()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See ``asyncio.BaseTransport``."""
        self._layer.inner = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See ``asyncio.BaseTransport``."""
        assert self._layer.inner is not None
        return self._layer.inner
