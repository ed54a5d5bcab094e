"""Builds."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any

from aiohttp import web

from firkin import errdefs, reference
from firkin.api import call, routes, status
from firkin.builder import cachefilter, contextstore, layouts, prune, request, service, solver
from firkin.engine import buildrequests, buildstream, filters, times
from firkin.linux import tasks
from firkin.types import base, container

ROUTES = routes.Routes()
RICH = "application/vnd.firkin.build.v1+json"
"""The answer that tells all about a build's steps; a body of this type carries secrets."""

_PRUNE = frozenset({
    "until", "unused-for", "id", "parent", "type", "description", "inuse", "shared", "private",
    "label", "label!",
})  # fmt: skip


def _decoded(one: call.Call, name: str, kind: type) -> Any:
    """A JSON query parameter. Raises ``InvalidParameter``."""
    text = one.text(name)
    if not text or text == "null":
        return kind()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise errdefs.InvalidParameter(f"the parameter {name} is not JSON: {error}") from error
    if not isinstance(value, kind):
        raise errdefs.InvalidParameter(f"the parameter {name} is not a JSON {kind.__name__}")
    return value


def _strings(one: call.Call, name: str) -> dict[str, Any]:
    found = _decoded(one, name, dict)
    for key, value in found.items():
        if value is not None and not isinstance(value, str):
            raise errdefs.InvalidParameter(f"{name}: the value of {key!r} is not a string")
    return dict(found)


def _host(one: call.Call) -> container.HostConfig:
    host = container.HostConfig(
        memory=one.number("memory", 0) or 0,
        memory_swap=one.number("memswap", 0) or 0,
        cpu_shares=one.number("cpushares", 0) or 0,
        cpuset_cpus=one.text("cpusetcpus"),
        cpuset_mems=one.text("cpusetmems"),
        cpu_period=one.number("cpuperiod", 0) or 0,
        cpu_quota=one.number("cpuquota", 0) or 0,
        shm_size=one.number("shmsize", 0) or 0,
        cgroup_parent=one.text("cgroupparent"),
    )
    extra: list[str] = []
    for text in one.texts("extrahosts"):
        extra += [part for part in text.split(",") if part]
    host.extra_hosts = extra or None
    limits = _decoded(one, "ulimits", list)
    try:
        host.ulimits = buildrequests.ulimits(limits)
    except (TypeError, ValueError, AttributeError) as error:
        raise errdefs.InvalidParameter(f"invalid ulimits: {error}") from error
    options = _decoded(one, "securityopt", list) if one.text("securityopt") else []
    host.security_opt = [str(option) for option in options] or None
    return host


def _parameters(one: call.Call) -> buildrequests.Parameters:
    if one.flag("squash"):
        raise errdefs.NotImplemented(
            "squash: not supported: layers are shared and cached one by one; use a stage of its "
            "own and COPY --from for a single layer"
        )
    if one.text("remote") == "client-session":
        raise errdefs.NotImplemented(
            "a context from a session: /build takes an archive or a URL: build by /grpc, as buildx "
            "does, or by 'firkin build'"
        )
    names = [name for name in one.texts("t") if name]
    for name in names:
        reference.combine(name)
    network = one.text("networkmode")
    outputs = [
        request.Output(
            type=str(item.get("Type") or item.get("type") or "image"), names=names,
            options={str(k): str(v) for k, v in (item.get("Attrs") or {}).items()},
        )
        for item in _decoded(one, "outputs", list) if isinstance(item, dict)
    ]  # fmt: skip
    return buildrequests.Parameters(
        dockerfile=one.text("dockerfile") or "Dockerfile", names=names, remote=one.text("remote"),
        args=_strings(one, "buildargs"), labels=_strings(one, "labels"), target=one.text("target"),
        platform=one.text("platform"), no_cache=one.flag("nocache"),
        no_cache_filter=one.texts("nocachefilter"), pull=one.flag("pull"),
        network=network, host=_host(one), allow=one.texts("allow"), outputs=outputs,
        cache_from=_caches(one, "cachefrom"), cache_to=_caches(one, "cacheto"),
        annotations=_strings(one, "annotations"), attests=_strings(one, "attests"),
    )  # fmt: skip


def _caches(one: call.Call, name: str) -> list[request.CacheSource]:
    """Docker's form is a list of images; ours says where a cache is."""
    found: list[request.CacheSource] = []
    for item in _decoded(one, name, list):
        if isinstance(item, str):
            found.append(request.CacheSource(type="registry", options={"ref": item}))
        elif isinstance(item, dict):
            options = {str(k): str(v) for k, v in item.items()}
            found.append(request.CacheSource(type=options.pop("type", ""), options=options))
    return found


@ROUTES.add("POST", "/build", stream=True)
async def build(one: call.Call) -> web.StreamResponse:
    """ImageBuild."""
    given = _parameters(one)
    rich = RICH in one.request.headers.get("Accept", "")
    builder = one.core.builder
    more: dict[str, Any] = {}
    held: list[request.Context] = []
    context: Any
    if token := one.text("context"):
        context = builder.contexts.context(token)
        more = await _own(one, held)
        more["ignore"] = isinstance(context, contextstore.TarContext)
    elif given.remote:
        more = await _own(one, held) if one.flag("own") else {}
        context = buildrequests.remote(one.core, given, more.get("secrets"), more.get("agents"))
        more["ignore"] = True
    elif one.request.content_type == "application/json":
        context = None  # a Dockerfile alone
        more = await _own(one, held)
    else:
        context = builder.contexts.archive(one.stream())
        more["sent"] = True
    known = buildrequests.credentials(one.request.headers.get("X-Registry-Config", ""))
    more["keys"] = request.GivenKeys(known)
    for other in more.get("contexts", {}).values():
        if isinstance(other, request.Nested):
            other.request.keys = more["keys"]
    wanted = buildrequests.make(one.core, given, context, **more)
    await _local_caches(one, wanted, held)
    stream = buildstream.Stream()
    watcher = (
        buildstream.Rich(stream) if rich
        else buildstream.Classic(stream, quiet=one.flag("q"))
    )  # fmt: skip
    owner = tasks.Tasks("build")
    work = owner.spawn_quiet(_work(one, builder, wanted, watcher, stream, rich), "build")
    try:
        return await _send(one, stream, work)
    finally:
        work.cancel()
        await asyncio.wait([work])
        for cached in held:
            await cached.close()


async def _local_caches(
    one: call.Call, wanted: request.Request, held: list[request.Context]
) -> None:
    """Caches that the client has sent as contexts; where they are is the engine's to say."""
    for at, source in enumerate(wanted.cache_from):
        if source.type != "local":
            continue
        context = one.core.builder.contexts.context(source.options.get("token", ""))
        held.append(context)
        path = (await context.open()).root
        wanted.cache_from[at] = request.CacheSource(type="local", options={"path": path})


async def _work(
    one: call.Call, builder: service.Builder, wanted: request.Request, watcher: Any,
    stream: buildstream.Stream, rich: bool,
) -> None:  # fmt: skip
    try:
        done = await builder.build(wanted, watcher, build_id=one.text("buildid"))
        image = done.image.id if done.image is not None else ""
        names = [reference.combine(n).familiar for out in wanted.outputs if out.stored
                 for n in out.names]  # fmt: skip
        if image:
            one.core.events.publish("image", "create", image, {"name": image})
        for name in names if image else ():
            one.core.events.publish("image", "tag", image, {"name": name})
        if image:
            stream.put({"aux": {"ID": image}})
        if rich:
            stream.put({"result": done.metadata})
        elif one.flag("q"):
            stream.put({"stream": image + "\n"})
        elif image:
            stream.put({"stream": f"Successfully built {image[7:19]}\n"})
            for name in names:
                stream.put({"stream": f"Successfully tagged {name}\n"})
    finally:
        stream.end()


async def _send(
    one: call.Call, stream: buildstream.Stream, work: asyncio.Task[None]
) -> web.StreamResponse:
    """Send messages as they come; an error before the first one is a status of its own."""
    response: web.StreamResponse | None = None
    while (message := await stream.get()) is not None:
        if response is None:
            response = await call.begin(one)
        await response.write(base.encode(message) + b"\r\n")
    await asyncio.wait([work])
    error = None if work.cancelled() else work.exception()
    if work.cancelled():
        error = errdefs.Cancelled("the build was cancelled")
    if response is None:
        if error is not None:
            raise error
        response = await call.begin(one)
    if error is not None:
        text = status.of(error)[1]
        detail: dict[str, Any] = {"message": text}
        if isinstance(error, solver.StepFailed) and error.code:
            detail["code"] = error.code
        await response.write(base.encode({"errorDetail": detail, "error": text}) + b"\r\n")
    await response.write_eof()
    return response


async def _own(one: call.Call, held: list[request.Context]) -> dict[str, Any]:
    """The body of our own client: secrets, agents and other contexts.

    Contexts that are open already go to ``held``, for the caller to close.
    """
    data = await one.body()
    if not data.strip():
        return {}
    value = base.decode(dict[str, Any], data)
    secrets = {
        str(name): base64.b64decode(str(text))
        for name, text in (value.get("secrets") or {}).items()
    }
    agents = {str(name): str(path) for name, path in (value.get("ssh") or {}).items()}
    more: dict[str, Any] = {
        "secrets": buildrequests.GivenSecrets(secrets),
        "agents": buildrequests.GivenAgents(agents),
    }
    if (text := value.get("dockerfile")) is not None:
        more["dockerfile"] = str(text).encode()
    contexts: dict[str, Any] = {}
    for name, item in (value.get("contexts") or {}).items():
        if "token" in item:
            contexts[name] = one.core.builder.contexts.context(str(item["token"]))
        elif "image" in item:
            contexts[name] = request.ImageContext(str(item["image"]))
        elif "layout" in item:
            contexts[name] = await _layout(one, item["layout"], held)
        elif "build" in item:
            contexts[name] = _nested(one, item["build"], more)
        else:
            given = buildrequests.Parameters(remote=str(item.get("remote", "")))
            contexts[name] = buildrequests.remote(one.core, given, more["secrets"], more["agents"])
    more["contexts"] = contexts
    return more


async def _layout(
    one: call.Call, item: dict[str, Any], held: list[request.Context]
) -> request.Layout:
    """An image of an OCI layout that the client has sent."""
    context = one.core.builder.contexts.context(str(item.get("token", "")))
    held.append(context)
    root = (await context.open()).root
    tag, digest = str(item.get("tag", "")), str(item.get("digest", ""))
    return await layouts.in_directory(one.core.images, root, tag, digest)


def _nested(one: call.Call, item: dict[str, Any], more: dict[str, Any]) -> request.Nested:
    """Another build of the same client, with its secrets and agents."""
    text = item.get("dockerfile")
    return request.Nested(
        request.Request(
            context=one.core.builder.contexts.context(str(item.get("token", ""))),
            dockerfile=str(text).encode() if text is not None else None,
            filename=str(item.get("filename") or "Dockerfile"),
            target=str(item.get("target", "")),
            args={str(name): str(value) for name, value in (item.get("args") or {}).items()},
            secrets=more["secrets"], agents=more["agents"],
        )
    )  # fmt: skip


@ROUTES.add("POST", "/build/context", stream=True)
async def sync_context(one: call.Call) -> web.StreamResponse:
    """Our own: a manifest of a client's directory; the answer is what is wanted of it."""
    slot = await one.core.builder.contexts.sync(one.text("key"), one.stream())
    response = await call.begin(one)
    await response.write(base.encode({"token": slot.token, "missing": slot.missing}) + b"\n")
    if slot.missing:
        with contextstore.missing(slot) as file:
            while data := await asyncio.to_thread(file.read, 1 << 18):
                await response.write(data)
    await response.write_eof()
    return response


@ROUTES.add("POST", "/build/archive", stream=True)
async def upload_context(one: call.Call) -> web.StreamResponse:
    """Our own: a context in an archive, for a build that says more than fits beside it."""
    return call.reply({"token": await one.core.builder.contexts.upload(one.stream())})


@ROUTES.add("PUT", "/build/context/{token}", stream=True)
async def receive_context(one: call.Call) -> web.StreamResponse:
    """Our own: the files that were wanted, as a tar."""
    await one.core.builder.contexts.receive(one.var("token"), one.stream())
    return call.empty()


@ROUTES.add("POST", "/build/prune")
async def prune_cache(one: call.Call) -> web.StreamResponse:
    """BuildPrune."""
    wanted = filters.Filters.parse(one.text("filters"), _PRUNE)
    if wanted.has("label"):  # of a prune of everything: no record of the cache has a label
        return call.reply({"CachesDeleted": None, "SpaceReclaimed": 0})
    until = None
    for text in [*wanted.get("until"), *wanted.get("unused-for")]:
        until = times.parse(text, "until") / 1e9
    options = prune.Options(
        all=one.flag("all"),
        reserved=one.number("reserved-space", 0) or one.number("keep-storage", 0) or 0,
        max_used=one.number("max-used-space", 0) or 0,
        min_free=one.number("min-free-space", 0) or 0, until=until,
        match=cachefilter.parse([",".join(_selectors(wanted))]),
    )  # fmt: skip
    ids, freed = await one.core.builder.prune(options)
    one.core.events.publish("builder", "prune", "", {"reclaimed": str(freed)})
    return call.reply({"CachesDeleted": ids or None, "SpaceReclaimed": freed})


def _selectors(wanted: filters.Filters) -> list[str]:
    """The API's filters as ``cachefilter`` writes them. Raises ``InvalidParameter``."""
    found: list[str] = []
    for name in _PRUNE - {"until", "unused-for", "label", "label!"}:
        for value in wanted.get(name):
            if name in ("inuse", "shared", "private"):
                found.append(f"{name}=={value or 'true'}")
            elif '"' in value:
                raise errdefs.InvalidParameter(f"the filter {name} can't have quotes: {value!r}")
            else:
                value = f"^{re.escape(value)}" if name == "id" else value
                found.append(f'{name}{"~=" if name == "id" else "=="}"{value}"')
    return found


@ROUTES.add("POST", "/build/cancel")
async def cancel(one: call.Call) -> web.StreamResponse:
    """BuildCancel."""
    identity = one.text("id")
    if not identity:
        raise errdefs.InvalidParameter("build ID not provided")
    await one.core.builder.cancel(identity)
    return call.empty()


@ROUTES.add("GET", "/build/output/{token}", stream=True)
async def output(one: call.Call) -> web.StreamResponse:
    """Our own: a result that is to be written on the client's machine."""
    pieces = await one.core.builder.shelf.read(one.var("token"))
    response = await call.begin(one, "application/x-tar")
    async for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response


@ROUTES.add("POST", "/build/check")
async def check(one: call.Call) -> web.StreamResponse:
    """Our own: the build checks, the stages and the arguments of a Dockerfile."""
    given = _parameters(one)
    held: list[request.Context] = []
    more = await _own(one, held)
    context: Any = None
    if token := one.text("context"):
        context = one.core.builder.contexts.context(token)
        more["ignore"] = isinstance(context, contextstore.TarContext)
    elif given.remote:
        context = buildrequests.remote(one.core, given, more["secrets"], more["agents"])
        more["ignore"] = True
    wanted = buildrequests.make(one.core, given, context, **more)
    try:
        return call.reply(await one.core.builder.check(wanted))
    finally:
        for opened in held:
            await opened.close()
