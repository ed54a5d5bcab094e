"""A small registry that does as a test tells it: right, wrong, or by halves."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from aiohttp import web

from firkin.remotes import config

Handler = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

SETTINGS = config.Settings(attempts=3, certificates=())

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Fake:
    """Blobs and manifests in memory. ``before`` may answer any request in the registry's place."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.tags: dict[str, list[str]] = {}
        self.asked: list[str] = []
        self.served = 0
        self.before: Handler | None = None
        self.chunk = 1 << 16
        self.delay = 0.0
        self.ranges = True
        self.users: dict[str, str] = {}
        self.tokens: dict[str, list[str]] = {}
        self.token_life = 300
        self.uploads: dict[str, bytearray] = {}
        self.mounts = True
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    # What it has.

    def blob(self, data: bytes) -> dict[str, Any]:
        """Add a blob; returns its descriptor without a media type."""
        self.blobs[digest(data)] = data
        return {"digest": digest(data), "size": len(data)}

    def manifest(self, name: str, value: dict[str, Any] | bytes, media: str = "") -> dict[str, Any]:
        """Add a manifest under ``repository:tag``; returns its descriptor."""
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        media = media or (value["mediaType"] if isinstance(value, dict) else OCI_MANIFEST)
        repository, _, tag = name.partition(":")
        for target in filter(None, (tag, digest(data))):
            self.manifests[f"{repository}@{target}"] = (media, data)
        if tag:
            self.tags.setdefault(repository, []).append(tag)
        return {"mediaType": media, "digest": digest(data), "size": len(data)}

    def image(
        self,
        name: str,
        *stored: bytes,
        plain: tuple[bytes, ...] = (),
        docker: bool = False,
        suffix: str = "",
        **members: Any,
    ) -> dict[str, Any]:
        """Add an image of layers ``stored``, whose tars are ``plain`` (the same by default)."""
        tars = plain or stored
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["/bin/sh"]},
                "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in tars]},
                **members,
            }
        ).encode()
        layer = DOCKER_LAYER if docker else OCI_LAYER + suffix
        value = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
            "config": {
                "mediaType": DOCKER_CONFIG if docker else OCI_CONFIG,
                **self.blob(config),
            },
            "layers": [{"mediaType": layer, **self.blob(data)} for data in stored],
        }
        return self.manifest(name, value)

    # How it answers.

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        if self.before is not None and (answer := await self.before(request)) is not None:
            return answer
        if request.path == "/token":
            return await self._token(request)
        if (refusal := self._refused(request)) is not None:
            return refusal
        path = request.path.removeprefix("/v2/")
        if not path:
            return web.json_response({})
        for part, handler in (("/manifests/", self._manifest), ("/blobs/uploads/", self._upload),
                              ("/blobs/", self._blob), ("/tags/", self._tags)):  # fmt: skip
            if part in f"/{path}":
                repository, _, target = path.partition(part)
                return await handler(request, repository, target)
        return web.Response(status=404)

    def _refused(self, request: web.Request) -> web.Response | None:
        if not self.users:
            return None
        kind, _, value = request.headers.get("Authorization", "").partition(" ")
        if kind == "Bearer" and value in self.tokens:
            path = request.path.removeprefix("/v2/").rpartition("/blobs/")[0]
            path = path or request.path.removeprefix("/v2/").rpartition("/manifests/")[0]
            granted = self.tokens[value]
            if not path or any(scope.split(":")[1] == path for scope in granted):
                return None
        realm = f"http://{self.host}/token"
        name = request.path.removeprefix("/v2/").split("/blobs/")[0].split("/manifests/")[0]
        scope = f',scope="repository:{name}:pull"' if name else ""
        return web.json_response(
            {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]},
            status=401,
            headers={"WWW-Authenticate": f'Bearer realm="{realm}",service="fake"{scope}'},
        )

    async def _token(self, request: web.Request) -> web.Response:
        if request.method == "POST":
            form = await request.post()
            good = str(form["refresh_token"]) in self.users.values()
            scopes = str(form.get("scope", "")).split()
        else:
            kind, _, value = request.headers.get("Authorization", "").partition(" ")
            name, _, password = base64.b64decode(value).decode().partition(":")
            good = kind == "Basic" and self.users.get(name) == password
            scopes = request.query.getall("scope", [])
        if not good:
            return web.json_response({"details": "incorrect username or password"}, status=401)
        token = f"token-{len(self.tokens)}"
        self.tokens[token] = scopes
        answer = {"token": token, "expires_in": self.token_life}
        if request.query.get("offline_token"):
            answer["refresh_token"] = next(iter(self.users.values()))
        return web.json_response(answer)

    async def _manifest(
        self, request: web.Request, repository: str, target: str
    ) -> web.StreamResponse:
        if request.method == "PUT":
            data = await request.read()
            self.manifest(f"{repository}:{target}", data, request.headers["Content-Type"])
            return web.Response(status=201, headers={"Docker-Content-Digest": digest(data)})
        found = self.manifests.get(f"{repository}@{target}")
        if found is None:
            body = {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}
            return web.json_response(body, status=404)
        headers = {"Docker-Content-Digest": digest(found[1]), "Content-Type": found[0]}
        return web.Response(body=found[1], headers=headers)

    async def _tags(self, request: web.Request, repository: str, target: str) -> web.Response:
        return web.json_response({"name": repository, "tags": self.tags.get(repository, [])})

    async def _blob(self, request: web.Request, repository: str, target: str) -> web.StreamResponse:
        data = self.blobs.get(target)
        if data is None:
            body = {"errors": [{"code": "BLOB_UNKNOWN", "message": "blob unknown"}]}
            return web.json_response(body, status=404)
        start = 0
        wanted = request.headers.get("Range", "")
        if wanted and self.ranges:
            start = int(wanted.removeprefix("bytes=").split("-")[0])
        status = 206 if start else 200
        response = web.StreamResponse(status=status)
        response.content_length = len(data) - start
        if start:
            response.headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        await response.prepare(request)
        if request.method == "GET":
            await self.send(response, data[start:])
        return response

    async def send(self, response: web.StreamResponse, data: bytes) -> None:
        """Write a body at the pace that the test wants."""
        for at in range(0, len(data), self.chunk):
            piece = data[at : at + self.chunk]
            await response.write(piece)
            self.served += len(piece)
            if self.delay:
                await asyncio.sleep(self.delay)

    async def _upload(
        self, request: web.Request, repository: str, target: str
    ) -> web.StreamResponse:
        if request.method == "POST":
            mounted = request.query.get("mount", "")
            if mounted and self.mounts and mounted in self.blobs:
                return web.Response(status=201)
            target = f"u{len(self.uploads)}"
            self.uploads[target] = bytearray()
        upload = self.uploads.get(target)
        if upload is None:
            return web.Response(status=404)
        status = 202
        if request.method == "PATCH":
            async for chunk in request.content.iter_any():
                upload += chunk
        elif request.method == "PUT":
            upload += await request.read()
            data = bytes(upload)
            if request.query["digest"] != digest(data):
                return web.Response(status=400)
            self.blobs[digest(data)] = data
            status = 201
        elif request.method == "GET":
            status = 204
        elif request.method == "DELETE":
            del self.uploads[target]
            return web.Response(status=204)
        return web.Response(
            status=status,
            headers={
                "Location": f"/v2/{repository}/blobs/uploads/{target}?state=x",
                "Range": f"0-{max(0, len(upload) - 1)}",
            },
        )

    # Where it runs.

    async def start(self, ssl_context: Any = None) -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, "127.0.0.1", self.port, ssl_context=ssl_context, shutdown_timeout=0.1
        )
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()


@contextlib.asynccontextmanager
async def serving(fake: Fake, ssl_context: Any = None) -> AsyncIterator[Fake]:
    """Run it on this event loop."""
    await fake.start(ssl_context)
    try:
        yield fake
    finally:
        await fake.stop()


@contextlib.contextmanager
def in_thread(fake: Fake) -> Iterator[Fake]:
    """Run it on an event loop of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(fake.start(), loop).result(30)
    try:
        yield fake
    finally:
        asyncio.run_coroutine_threadsafe(fake.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
