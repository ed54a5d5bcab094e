"""TLS to the engine: which files prove who is who, and a stream that can be half-closed.

Python's ``SSLSocket`` ends both directions at once, but the input of an attached container ends
while its output still flows. So the protocol runs in memory (``ssl.SSLObject``) beside a plain
socket: ending the input is sending the ``close_notify`` alert, which leaves the other direction
open (RFC 8446, section 6.1).

One thread may receive while another one sends. The lock of the TLS state is never held while
waiting for the network: an engine that takes no more input until its output is read would wait for
us, and we for it. A second lock keeps what goes out in order.
"""

from __future__ import annotations

import os
import ssl
import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

RECEIVE = 65536
_SHUT_WRITE = 1


class Identity:
    """What to show and what to expect: PEM files, "" where there is none.

    With ``verify`` the engine's certificate must be signed by ``ca`` (the system's authorities
    without one) and name the host that was dialled.
    """

    def __init__(
        self, *, ca: str = "", certificate: str = "", key: str = "", verify: bool = True
    ) -> None:
        self.ca = ca
        self.certificate = certificate
        self.key = key
        self.verify = verify

    def context(self) -> ssl.SSLContext:
        """Raises ``OSError`` naming the file that will not do."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif self.ca:
            try:
                context.load_verify_locations(self.ca)
            except (OSError, ssl.SSLError) as error:
                raise _bad("the CA certificate", self.ca, error) from None
        else:
            context.load_default_certs()
        if self.certificate or self.key:
            for what, path in (("certificate", self.certificate), ("key", self.key)):
                if not os.path.isfile(path):
                    raise OSError(f"could not load the client's TLS {what} {path!r}: no such file")
            try:
                context.load_cert_chain(self.certificate, self.key, password=_no_password)
            except (OSError, ssl.SSLError, ValueError) as error:
                raise _bad("the client's certificate or key", self.certificate, error) from None
        return context


_OTHER_KEY = "KEY_VALUES_MISMATCH"
"""OpenSSL's reason."""


def _no_password() -> str:
    raise ValueError("the key is protected by a password; give it in a file without one")


def _bad(what: str, path: str, error: Exception) -> OSError:
    if isinstance(error, ssl.SSLError):
        reason = (
            "the key is not that of the certificate"
            if error.reason == _OTHER_KEY
            else (_reason(error))
        )
    else:
        reason = getattr(error, "strerror", None) or str(error)
    return OSError(f"could not read {what} {path!r}: {reason}")


class Channel:
    """A TLS stream over a connected socket; see ``transport.Channel``."""

    def __init__(self, sock: socket.socket, identity: Identity, host: str) -> None:
        self._sock = sock
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._tls = identity.context().wrap_bio(self._in, self._out, server_hostname=host)
        self._ended = False
        self._ahead = b""
        self._gone = False
        try:
            self._shake_hands()
        except ssl.SSLCertVerificationError as error:
            raise OSError(
                f"the engine's certificate is not acceptable: {error.verify_message}; "
                "see --tlscacert"
            ) from None
        except ssl.SSLError as error:
            raise OSError(f"TLS: {_reason(error)}") from None

    def _shake_hands(self) -> None:
        while True:
            try:
                self._tls.do_handshake()
                self._flush()
                return
            except ssl.SSLWantReadError:
                self._flush()
                self._fill()
            except ssl.SSLError:
                self._flush()  # The alert tells the engine why.
                raise

    def _flush(self) -> None:
        with self._sending:
            self._send_out()

    def _send_out(self) -> None:
        while True:
            with self._lock:
                data = self._out.read()
            if not data:
                return
            self._sock.sendall(data)

    def _flush_unless_busy(self) -> None:
        """Send an answer to a change of keys; who sends at the moment takes it along."""
        if self._out.pending and self._sending.acquire(blocking=False):
            try:
                self._send_out()
            finally:
                self._sending.release()

    def _fill(self) -> None:
        data = self._sock.recv(RECEIVE)
        with self._lock:
            if data:
                self._in.write(data)
            else:
                self._gone = True
                self._in.write_eof()

    def recv(self, size: int, /) -> bytes:
        while not self._ended:
            try:
                with self._lock:
                    if self._ahead:
                        data, self._ahead = self._ahead[:size], self._ahead[size:]
                        return data
                    data = self._tls.read(size)
                self._flush_unless_busy()
                if not data:
                    self._ended = True
                return data
            except ssl.SSLWantReadError:
                self._flush_unless_busy()
            except ssl.SSLZeroReturnError:
                self._ended = True
                return b""
            except ssl.SSLError as error:
                self._ended = True
                raise OSError(f"TLS: {_reason(error)}") from None
            self._fill()
        return b""

    def sendall(self, data: bytes, /) -> None:
        with self._sending:
            try:
                with self._lock:
                    view = memoryview(data)
                    while view:
                        view = view[self._tls.write(view) :]
            except ssl.SSLError as error:
                raise OSError(f"TLS: {_reason(error)}") from None
            try:
                self._send_out()
            except ConnectionError as error:
                raise self._why_closed(error) from None

    def _why_closed(self, error: ConnectionError) -> OSError:
        """The engine's alert, if there is one: a better reason than that it closed."""
        try:
            self._fill()
            with self._lock:
                self._tls.read(1)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as alert:
            return OSError(f"TLS: {_reason(alert)}")
        except OSError:
            pass
        return error

    def shutdown(self, how: int, /) -> None:
        if how == _SHUT_WRITE:
            with self._lock:
                self._say_goodbye()
            self._flush()
            return
        self._sock.shutdown(how)

    def _say_goodbye(self) -> None:
        """Put a close_notify into what goes out.

        ``unwrap`` also looks for the other side's, and would lose the output that it finds in its
        place. So it finds nothing.
        """
        if self._gone:
            return
        if pending := self._tls.pending():
            self._ahead += self._tls.read(pending)
        arrived = self._in.read()
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # The engine's own close_notify comes with its end.
        self._in.write(arrived)

    def fileno(self) -> int:
        return self._sock.fileno()

    def close(self) -> None:
        self._sock.close()


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's reason in words: "tlsv13 alert certificate required"."""
    if isinstance(error, ssl.SSLEOFError):
        return "the engine closed the connection in the middle of the conversation"
    return (error.reason or str(error)).replace("_", " ").lower()
