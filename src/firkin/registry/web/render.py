"""Templates, and the headers under which a browser shows them."""

from __future__ import annotations

import functools
import importlib.resources
import time
from typing import Any

import jinja2
from aiohttp import web

from firkin.registry import errors

HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


def size(count: int) -> str:
    """Bytes for people."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"


def ago(moment: float) -> str:
    """How long since ``moment``."""
    seconds = max(0, int(time.time() - moment))
    for length, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= length:
            count = seconds // length
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def short(digest: str) -> str:
    """The part of a digest that people compare."""
    return digest.partition(":")[2][:12]


@functools.cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("firkin.registry.web"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(size=size, ago=ago, short=short)
    return made


def page(template: str, status: int = 200, **values: Any) -> web.Response:
    """A page; everything in ``values`` is escaped."""
    text = _environment().get_template(template).render(**values)
    return web.Response(body=text.encode(), status=status, headers=HEADERS)


def failed(failure: errors.Failure) -> web.Response:
    """An error as a page."""
    values = {"title": "Error", "message": str(failure), "user": "", "login": False}
    response = page("error.html", failure.status, **values)
    response.headers.update(failure.headers)
    return response


_STATIC = {"style.css": "text/css; charset=utf-8", "copy.js": "text/javascript; charset=utf-8"}


@functools.cache
def static(name: str) -> bytes | None:
    """A file that pages refer to."""
    if name not in _STATIC:
        return None
    return importlib.resources.files("firkin.registry.web").joinpath("static", name).read_bytes()


def static_response(name: str) -> web.Response:
    """The answer for such a file."""
    data = static(name)
    if data is None:
        raise errors.Failure("UNSUPPORTED", "there is no such file", status=404)
    headers = {"Content-Type": _STATIC[name], "Cache-Control": "max-age=3600"}
    return web.Response(body=data, headers=headers)
