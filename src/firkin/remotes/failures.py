"""What goes wrong with registries, in words that say what to do."""

from __future__ import annotations

import asyncio
import ssl
from typing import TypeVar

import aiohttp
import msgspec

from firkin import errdefs
from firkin.remotes import guard

E = TypeVar("E", bound=BaseException)

_MAX_TEXT = 500


class TryAgain(Exception):
    """A failure that may be gone in a moment; ``after`` is how long the registry asks to wait."""

    def __init__(self, error: errdefs.FirkinError, after: float = 0.0) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after


class _Detail(msgspec.Struct):
    code: str = ""
    message: str = ""


class _Body(msgspec.Struct):
    errors: list[_Detail] = []
    details: str = ""
    error: str = ""


def _clean(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text[:_MAX_TEXT]).strip()


def code_and_text(body: bytes) -> tuple[str, str]:
    """The distribution-spec's error code and message in an error's body; "" where there is none."""
    try:
        found = msgspec.json.decode(body, type=_Body, strict=False)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "", ""
    if found.errors:
        return _clean(found.errors[0].code), _clean(found.errors[0].message)
    return "", _clean(found.details or found.error)


def from_response(status: int, body: bytes, registry: str, what: str) -> errdefs.FirkinError:
    """The error for an answer of 400 and more to a request for ``what``."""
    code, text = code_and_text(body)
    said = f"{code.lower().replace('_', ' ')}: {text}" if code else text or f"status {status}"
    if status == 429:
        return errdefs.Unavailable(
            f"toomanyrequests: the registry {registry} limits how often it is asked ({said}): "
            "wait, log in with an account that may ask more often, or configure a mirror"
        )
    if status in (401, 403):
        return errdefs.Unauthorized(
            f"{what}: access denied by {registry} ({said}): log in with an account that may do "
            f"this: login {registry}"
        )
    if status == 404:
        return errdefs.NotFound(f"{what}: not found at {registry} ({said})")
    if status == 413:
        return errdefs.System(
            f"{what}: too large for the registry {registry}, or a proxy before it ({said}): "
            "raise its limit"
        )
    if status >= 500:
        return errdefs.Unavailable(
            f"{what}: the registry {registry} failed with status {status} ({said}): try again later"
        )
    return errdefs.System(f"{what}: the registry {registry} refused with status {status}: {said}")


def from_exception(error: BaseException, registry: str, what: str) -> errdefs.FirkinError:
    """The error for a request that got no answer."""
    start = f"{what}: cannot talk to the registry {registry}"
    if isinstance(error, errdefs.FirkinError):
        return error
    refused = caused(error, guard.Refused)
    if refused is not None:
        return guard.refusal(registry, str(refused).partition(" ")[0], str(refused))
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        inner = error.certificate_error
        reason = getattr(inner, "verify_message", "") or str(inner)
        return errdefs.Unavailable(
            f"{start}: tls: failed to verify certificate: {reason}: put the certificate of its "
            f"authority into /etc/firkin/certs.d/{registry}/ca.crt, or, at your own risk, add "
            f"{registry} to insecure-registries in daemon.json"
        )
    # aiohttp's own errors of TLS are an SSLError too, without its members.
    failed = caused(getattr(error, "os_error", error), ssl.SSLError)
    if failed is not None:
        reason = str(getattr(failed, "reason", "") or failed)
        if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
            return errdefs.Unavailable(
                f"{start}: http: server gave HTTP response to HTTPS client: if it is meant to be "
                f"used without TLS, add {registry} to insecure-registries in daemon.json"
            )
        if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason:
            return errdefs.Unavailable(
                f"{start}: tls: {reason.lower().replace('_', ' ')}: it may want a certificate of "
                f"this client: put client.cert and client.key into /etc/firkin/certs.d/{registry}/"
            )
        return errdefs.Unavailable(f"{start}: tls: {reason.lower().replace('_', ' ')}")
    if isinstance(error, UnicodeError):
        return errdefs.InvalidParameter(f"{start}: {registry[:100]!r} is no name of a host")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return errdefs.Unavailable(
            f"{start}: no such host: check the name and this host's DNS servers"
        )
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return errdefs.Unavailable(
            f"{start}: the proxy answered {error.status} {_clean(error.message)}: check proxies in "
            "daemon.json and the engine's HTTPS_PROXY"
        )
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return errdefs.Unavailable(
            f"{start}: cannot connect to the proxy: {_reason(error)}: check proxies in daemon.json "
            "and the engine's HTTPS_PROXY"
        )
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return errdefs.Unavailable(f"{start}: it does not answer in time: check the network")
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return errdefs.Unavailable(
            f"{start}: it closed the connection without an answer: if it wants a certificate of "
            f"this client, put client.cert and client.key into /etc/firkin/certs.d/{registry}/"
        )
    if isinstance(error, aiohttp.ClientError | OSError):
        return errdefs.Unavailable(f"{start}: {_reason(error)}")
    raise error


def caused(error: BaseException, kind: type[E]) -> E | None:
    """``error`` or the exception under it that is a ``kind``."""
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        if isinstance(at, kind):
            return at
        seen.add(id(at))
        inner = getattr(at, "os_error", None)
        at = inner if isinstance(inner, BaseException) and inner is not at else at.__cause__
    return None


def _reason(error: BaseException) -> str:
    inner = getattr(error, "os_error", None)
    if isinstance(inner, OSError) and inner.errno:
        words = {111: "connection refused", 113: "no route to host", 101: "network is unreachable",
                 104: "connection reset by peer"}  # fmt: skip
        return words.get(inner.errno, inner.strerror or str(inner))
    return _clean(str(error)) or type(error).__name__
