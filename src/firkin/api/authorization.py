"""Authorization plug-ins: asked about each request before it is done, and about its answer.

The protocol is Docker's ("Create an authorization plugin"): ``/AuthZPlugin.AuthZReq`` gets who asks
for what, with the body where that is JSON; ``/AuthZPlugin.AuthZRes`` gets the answer as well.
Plug-ins are asked in the order of the configuration, and the first that does not allow it ends the
matter. One that is down, silent or talks nonsense allows nothing.

What they judge is what is done: a JSON body is read once, and the handler gets those bytes. A body
of any other type is not shown to them, and nothing that is read as JSON may have one
(``Call.json``).
"""

from __future__ import annotations

import base64
import ssl
from typing import Any

import msgspec
import yarl
from aiohttp import web

from firkin import errdefs
from firkin.api import call, versions
from firkin.engine import config as configuration
from firkin.engine import core as engine
from firkin.plugins import discovery

TIMEOUT = 10.0
SUBSYSTEM = "authz"

_SECRET = frozenset({"authorization", "x-registry-auth", "x-registry-config"})
_MAX_ANSWER = 64 << 10


class _Verdict(msgspec.Struct, rename="pascal"):
    allow: bool = False
    msg: str = ""


def wanted(core: engine.Core) -> bool:
    """Whether there is anybody to ask."""
    return bool(core.config.authorization_plugins)


def check(config: configuration.Config) -> None:
    """Raise ``InvalidParameter`` when a plug-in of the configuration has not registered itself."""
    for name in config.authorization_plugins:
        try:
            discovery.find(name)
        except errdefs.NotFound as error:
            raise errdefs.InvalidParameter(f"--authorization-plugin {name}: {error}") from None


async def request(one: call.Call) -> dict[str, Any]:
    """Ask about a request; returns what :func:`response` needs to know of it.

    Raises ``Forbidden`` when it is not allowed, and ``System`` when somebody can't be asked.
    """
    asked = one.request
    question: dict[str, Any] = {
        "RequestMethod": asked.method,
        "RequestUri": uri(asked.rel_url),
        "RequestHeaders": _headers(asked.headers.items()),
    }
    _identify(asked, question)
    shown = asked.can_read_body and asked.content_type.lower() == "application/json"
    if shown and versions.split(_path(asked.rel_url))[1] != "/auth":
        question["RequestBody"] = _bytes(await one.body())
    await _ask(one.core, "AuthZPlugin.AuthZReq", question)
    return question


def uri(url: yarl.URL) -> str:
    """What plug-ins see of a request's target: one spelling for what is routed to one operation.

    A target with a host, or with slashes at its end, would else get past rules about paths.
    """
    path = _path(url)
    return f"{path}?{url.raw_query_string}" if url.raw_query_string else path


def _path(url: yarl.URL) -> str:
    return url.raw_path.rstrip("/") or "/"


async def response(core: engine.Core, question: dict[str, Any], answer: web.StreamResponse) -> None:
    """Ask about the answer to a request that was allowed. Raises as :func:`request` does."""
    question["ResponseStatusCode"] = answer.status
    question["ResponseHeaders"] = _headers(answer.headers.items())
    if isinstance(answer, web.Response) and answer.content_type == "application/json":
        body = answer.body
        if isinstance(body, bytes) and len(body) <= _MAX_ANSWER:
            question["ResponseBody"] = _bytes(body)
    await _ask(core, "AuthZPlugin.AuthZRes", question)


async def _ask(core: engine.Core, method: str, question: dict[str, Any]) -> None:
    for name in core.config.authorization_plugins:
        try:
            plugin = await core.plugins.get(name, SUBSYSTEM)
            verdict = await plugin.call(method, question, _Verdict, timeout=TIMEOUT)
        except errdefs.FirkinError as error:
            raise errdefs.System(f"plugin {name} failed with error: {method}: {error}") from error
        if not verdict.allow:
            raise errdefs.Forbidden(f"authorization denied by plugin {name}: {verdict.msg}")


def _headers(items: Any) -> dict[str, str]:
    return {name: value for name, value in items if name.lower() not in _SECRET}


def _bytes(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _identify(asked: web.BaseRequest, question: dict[str, Any]) -> None:
    """Who asks: the common name of the client's certificate, as Docker has it."""
    transport = asked.transport
    tls = transport.get_extra_info("ssl_object") if transport is not None else None
    if tls is None or not (certificate := tls.getpeercert()):
        return
    names = dict(pair for group in certificate.get("subject", ()) for pair in group)
    question["User"] = names.get("commonName", "")
    question["UserAuthNMethod"] = "TLS"
    pem = ssl.DER_cert_to_PEM_cert(tls.getpeercert(binary_form=True))
    question["RequestPeerCertificates"] = [_bytes(pem.encode("ascii"))]
