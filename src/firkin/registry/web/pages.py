"""The pages: repositories, a repository's tags, a manifest, and deleting one."""

from __future__ import annotations

import os
import sqlite3
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from aiohttp import web

from firkin.registry import call, errors, manifest, names, notify
from firkin.registry.index import manifests, overview, repositories, tags
from firkin.registry.web import images, render, secret

_PAGE = 50
_FORM_LIMIT = 16 * 1024


def _common(one: call.Call, title: str, **values: Any) -> dict[str, Any]:
    user = one.identity.user
    return {"title": title, "user": user, "login": not user and not one.access.open, **values}


def _host(one: call.Call) -> str:
    """How image names of this registry begin."""
    return urlsplit(one.access.url(one.request)).netloc


def _repository(one: call.Call, action: str = "pull") -> str:
    name = names.name(one.query("name"))
    if action not in one.allowed(name):
        raise errors.Failure("DENIED", f"you may not {action} {name}")
    return name


async def root(one: call.Call) -> web.StreamResponse:
    """GET /: all pages are below /ui/, because browsers send a password along by directory."""
    return web.Response(status=302, headers={"Location": "/ui/"})


async def home(one: call.Call) -> web.StreamResponse:
    """GET /ui/: the repositories that the caller may pull."""
    identity = await one.access.whole(one.identity)
    part, last = one.query("q").strip().lower()[:200], one.query("last")
    found: list[overview.Repository] = []
    more = True
    while len(found) <= _PAGE and more:
        rows = await one.registry.db.read(overview.listing, last, _PAGE + 1, part)
        found += [row for row in rows if "pull" in identity.allowed(row.name)]
        more = len(rows) > _PAGE
        last = rows[-1].name if rows else last
    more = more or len(found) > _PAGE
    found = found[:_PAGE]
    following = ""
    if more and found:
        following = "/ui/?" + urlencode({"q": part, "last": found[-1].name})
    return render.page(
        "home.html", **_common(one, "Repositories", found=found, q=part, following=following)
    )


async def login(one: call.Call) -> web.StreamResponse:
    """GET /ui/login: for who sees something without a name, and wants to do more."""
    return web.Response(status=303, headers={"Location": "/ui/"})


async def repository(one: call.Call) -> web.StreamResponse:
    """GET /ui/repository?name=: its tags, the newest first."""
    name = _repository(one)
    number = one.count(1_000_000, 0)

    def read(c: sqlite3.Connection) -> list[dict[str, Any]]:
        identity = repositories.require(c, name)
        rows = []
        for tag in tags.details(c, identity, _PAGE + 1, number * _PAGE):
            stored = manifests.find(c, name, tag.name)
            if stored is None:
                continue
            document = manifest.decode(stored.content)
            rows.append(
                {
                    "tag": tag, "size": images.content_size(document),
                    "platforms": [images.platform(m.platform) for m in document.manifests or ()],
                    "url": _manifest_url(name, tag.name),
                }
            )  # fmt: skip
        return rows

    rows = await one.registry.db.read(read)
    following = ""
    if len(rows) > _PAGE:
        following = "/ui/repository?" + urlencode({"name": name, "n": number + 1})
    return render.page(
        "repository.html",
        **_common(one, name, name=name, rows=rows[:_PAGE], following=following, host=_host(one)),
    )


def _manifest_url(name: str, reference: str) -> str:
    return "/ui/manifest?" + urlencode({"name": name, "reference": reference})


async def image(one: call.Call) -> web.StreamResponse:
    """GET /ui/manifest?name=&reference=: one manifest."""
    name = _repository(one)
    reference = names.reference(one.query("reference"))
    stored = await one.registry.db.read(manifests.get, name, reference)
    found = await images.describe(one.registry, stored)
    referring = await one.registry.db.read(manifests.referrers, name, stored.digest, "", "", _PAGE)
    separator = "@" if ":" in reference else ":"
    return render.page(
        "manifest.html",
        **_common(
            one, f"{name}{separator}{reference}", name=name, reference=reference, image=found,
            full=f"{_host(one)}/{name}{separator}{reference}", url=_manifest_url,
            referrers=referring, deletable="delete" in one.allowed(name),
            raw=stored.content.decode("utf-8", "replace")[:20_000], quote=quote,
        ),
    )  # fmt: skip


def _forms(one: call.Call) -> secret.Forms:
    return secret.Forms(os.path.join(one.registry.config.data, "keys", "web.key"))


async def confirm(one: call.Call) -> web.StreamResponse:
    """GET /ui/delete?name=&reference=: whether it is really meant."""
    name = _repository(one, "delete")
    reference = names.reference(one.query("reference"))
    stored = await one.registry.db.read(manifests.get, name, reference)
    mark = _forms(one).mark(one.identity.user, name, reference)
    return render.page(
        "delete.html",
        **_common(
            one, f"Delete {reference}?", name=name, reference=reference, mark=mark,
            digest=stored.digest, back=_manifest_url(name, reference),
        ),
    )  # fmt: skip


async def delete(one: call.Call) -> web.StreamResponse:
    """POST /ui/delete: it is."""
    data = bytearray()
    while part := await one.request.content.readany():
        data += part
        if len(data) > _FORM_LIMIT:
            raise errors.Failure("UNSUPPORTED", "the form is too long", status=413)
    form = dict(parse_qsl(data.decode("utf-8", "replace")))
    name, reference = names.name(form.get("name", "")), names.reference(form.get("reference", ""))
    if "delete" not in one.allowed(name):
        raise errors.Failure("DENIED", f"you may not delete from {name}")
    bound = (one.identity.user, name, reference)
    if not _forms(one).good(one.request, form.get("mark", ""), *bound):
        raise errors.Failure("DENIED", "this form is too old or came from elsewhere: try again")

    def remove(c: sqlite3.Connection) -> bool:
        if ":" in reference:
            manifests.delete(c, name, reference)
            notify.queue(c, one, notify.Event("delete", name, reference))
        else:
            tags.delete(c, name, reference)
            notify.queue(c, one, notify.Event("delete", name, "", reference))
        identity = repositories.require(c, name)
        return bool(tags.details(c, identity, 1))

    left = await one.registry.db.write(remove)
    where = "/ui/repository?" + urlencode({"name": name}) if left else "/ui/"
    return web.Response(status=303, headers={"Location": where})


async def file(one: call.Call) -> web.StreamResponse:
    """GET /ui/static/...: the style and the copy button."""
    return render.static_response(one.last)
