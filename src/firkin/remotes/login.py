"""Logging in: are these credentials good, and is there a token to keep in their place?"""

from __future__ import annotations

from firkin import errdefs, reference
from firkin.remotes import auth, challenge, resolver, transport


def host_of(address: str) -> str:
    """The registry's name in what users and clients write for it: URLs, with or without a path."""
    text = address.strip()
    if text in ("", resolver.INDEX, "index.docker.io", resolver.HUB):
        return reference.DEFAULT_DOMAIN
    host = text.partition("://")[2] if "://" in text else text
    host = host.split("/", 1)[0]
    if host in ("index.docker.io", resolver.HUB, reference.DEFAULT_DOMAIN):
        return reference.DEFAULT_DOMAIN
    try:
        domain = reference.parse(f"{host}/name").domain
    except errdefs.InvalidParameter:
        domain = ""
    if not host or domain != host:
        raise errdefs.InvalidParameter(f"{address!r} is not a registry: write host[:port]")
    return host


async def login(
    carrier: transport.Transport, address: str, credentials: auth.Credentials
) -> auth.Token | None:
    """Check credentials at a registry; returns the token, which may carry an identity token.

    Raises ``Unauthorized`` when they are wrong, ``Unavailable`` when the registry is not there.
    """
    domain = host_of(address)
    endpoint = resolver.origin(carrier.settings, domain)
    talk = transport.Conversation(carrier, endpoint, credentials, domain)
    what = f"login to {domain}"
    async with talk.request(
        "GET", "/v2/", accept=(200, 401), what=what, authorize=False
    ) as response:
        offers = challenge.parse(response.headers.getall("WWW-Authenticate", []))
        if response.status == 200:
            return None
    token: auth.Token | None = None
    bearer = next((offer for offer in offers if offer.scheme == "bearer"), None)
    if bearer is not None:
        token = await talk.token(bearer, (), offline=True)
    try:
        async with talk.request("GET", "/v2/", accept=(200, 404), what=what):
            pass
    except errdefs.Unauthorized as error:
        if not credentials.username and not credentials.identity:
            raise
        if bearer is None:
            raise errdefs.Unauthorized(
                f"login attempt to {domain} failed with status: 401 Unauthorized: incorrect "
                "username or password"
            ) from error
        # The token is good for logging in and for nothing in particular.
    return token
