"""Searching a registry for repositories.

Docker's index has a search of its own (``/v1/search``), and so have registries that take after it.
Others list their repositories (``/v2/_catalog``), which are then matched by name.
"""

from __future__ import annotations

import msgspec

from firkin import errdefs, reference
from firkin.remotes import auth, resolver, transport

INDEX_HOST = "index.docker.io"
_MAX_PAGES = 100
_PAGE = 1000


class Result(msgspec.Struct, omit_defaults=False):
    """One repository, with the names that the Engine API has."""

    name: str = ""
    description: str = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Answer(msgspec.Struct):
    results: list[Result] | None = None


class _Catalog(msgspec.Struct):
    repositories: list[str] | None = None


async def search(
    carrier: transport.Transport, term: str, limit: int, credentials: auth.Credentials
) -> list[Result]:
    """Repositories that match ``term``, which may begin with a registry's host.

    Raises ``Unavailable`` when the registry does not answer, ``NotImplemented`` when it can't
    search.
    """
    first, slash, rest = term.partition("/")
    domain = reference.DEFAULT_DOMAIN
    if slash and ("." in first or ":" in first or first == "localhost"):
        domain, term = first, rest
        if not reference.is_domain(domain):
            raise errdefs.InvalidParameter(
                f"search {domain[:100]!r}: this is not a registry's host[:port]"
            )
    endpoint = resolver.origin(carrier.settings, domain)
    if domain == reference.DEFAULT_DOMAIN:
        endpoint = msgspec.structs.replace(endpoint, host=INDEX_HOST)
    talk = transport.Conversation(carrier, endpoint, credentials, domain)
    what = f"searching {domain}"
    path = f"/v1/search?q={transport.quote(term)}&n={limit}"
    async with talk.request("GET", path, accept=(200, 404), what=what) as response:
        if response.status == 200:
            data = await transport.whole(response, transport.MAX_ANSWER, what)
            try:
                return (msgspec.json.decode(data, type=_Answer, strict=False).results or [])[:limit]
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise errdefs.System(
                    f"{what}: the registry's answer is not a result list"
                ) from None
    return await _by_name(talk, term, limit, what)


async def _by_name(talk: transport.Conversation, term: str, limit: int, what: str) -> list[Result]:
    url: str | None = f"/v2/_catalog?n={_PAGE}"
    found: list[Result] = []
    scopes = ("registry:catalog:*",)
    for _ in range(_MAX_PAGES):
        async with talk.request(
            "GET", url or "", scopes=scopes, accept=(200, 404, 405), what=what
        ) as response:
            if response.status != 200:
                raise errdefs.NotImplemented(f"{what}: this registry can neither search nor list")
            data = await transport.whole(response, transport.MAX_ANSWER, what)
            url = transport.next_page(talk, response)
        try:
            page = msgspec.json.decode(data, type=_Catalog).repositories or []
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise errdefs.System(f"{what}: the registry's answer is not a list") from None
        found += [Result(name=name) for name in page if term.lower() in name]
        if url is None or not page or len(found) >= limit:
            break
    return found[:limit]
