"""The frontend's options (``dockerfile.v0``) as a request of our builder.

Options are strings under names such as ``filename``, ``target``, ``build-arg:NAME``,
``context:NAME``. Newer clients send some that nobody here knows, which is told; a few others only
concern how BuildKit itself works.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from firkin import errdefs
from firkin.builder import request
from firkin.types import container

_IGNORED = frozenset({
    "cmdline", "source", "multi-platform", "contextkey", "dockerfilekey", "contextsubdir",
    "cache-from", "cache-imports", "dockerfile-lint", "vcs:source", "vcs:revision",
    "vcs:localdir:context", "vcs:localdir:dockerfile", "context", "filename", "requestid",
    "frontend.caps", "source-policy",
})  # fmt: skip
_IGNORED_KINDS = ("build-arg:", "vcs:", "local-", "sharedkey:", "input:", "input-metadata:")
"""Read elsewhere, or without a meaning for this builder."""

_ANNOTATION = "annotation"

_NUMBERS = {
    "shm-size": "shm_size",
    "memory": "memory",
    "memswap": "memory_swap",
    "cpushares": "cpu_shares",
    "cpuperiod": "cpu_period",
    "cpuquota": "cpu_quota",
}
_TEXTS = {
    "cgroup-parent": "cgroup_parent",
    "cpusetcpus": "cpuset_cpus",
    "cpusetmems": "cpuset_mems",
}


class Parsed(msgspec.Struct, kw_only=True):
    """Options sorted by what they concern; contexts as their texts ("local:x", a URL, ...).

    With ``has_dockerfile`` the client has the Dockerfile, wherever the context is.
    """

    request: request.Request
    filename: str
    context: str
    contexts: dict[str, str]
    context_name: str
    dockerfile_name: str
    has_dockerfile: bool
    subrequest: str
    unknown: list[str]


def parse(options: Mapping[str, str], entitlements: frozenset[str]) -> Parsed:
    """Sort the options. Raises ``InvalidParameter`` naming the option."""
    host = container.HostConfig()
    wanted = request.Request(host=host, allow=sorted(entitlements))
    contexts: dict[str, str] = {}
    unknown: list[str] = []
    for name, value in options.items():
        kind, colon, rest = name.partition(":")
        if colon and kind == "build-arg":
            wanted.args[rest] = value
        elif colon and kind == "label":
            wanted.labels[rest] = value
        elif colon and kind == "context":
            contexts[rest] = value
        elif colon and kind == "attest":
            fields = value.split(",")
            # inline-only: asked for only where it costs nothing
            if "inline-only=true" not in fields and "disabled=true" not in fields:
                wanted.attests[rest] = value or "true"
        elif name.startswith(_ANNOTATION):
            wanted.annotations.update(annotated({name: value}))
        elif name in _NUMBERS:
            setattr(host, _NUMBERS[name], _number(name, value))
        elif name in _TEXTS:
            setattr(host, _TEXTS[name], value)
        elif (
            name not in _IGNORED
            and not name.startswith(_IGNORED_KINDS)
            and not _set(wanted, name, value)
        ):
            unknown.append(name)
    wanted.epoch = _epoch(wanted.args)
    return Parsed(
        request=wanted,
        filename=options.get("filename") or "Dockerfile",
        context=options.get("context", ""),
        contexts=contexts,
        context_name=options.get("contextkey") or "context",
        dockerfile_name=options.get("dockerfilekey") or "dockerfile",
        has_dockerfile="dockerfilekey" in options,
        subrequest=options.get("requestid", ""),
        unknown=unknown,
    )


def annotated(attrs: Mapping[str, str]) -> dict[str, str]:
    """Those of an exporter's attributes that are annotations, as the builder names them.

    ``annotation.KEY`` and ``annotation-KIND[PLATFORM].KEY`` are BuildKit's forms.
    """
    found: dict[str, str] = {}
    for name, value in attrs.items():
        kind, dot, key = name.removeprefix(_ANNOTATION).partition(".")
        if not name.startswith(_ANNOTATION) or not dot:
            continue
        found[f"{kind.removeprefix('-')}:{key}" if kind else key] = value
    return found


def _set(wanted: request.Request, name: str, value: str) -> bool:
    """Note an option; whether it is known."""
    host = wanted.host
    if name == "target":
        wanted.target = value
    elif name == "platform":
        wanted.platforms = [one.strip() for one in value.split(",") if one.strip()]
    elif name == "no-cache":
        wanted.no_cache = not value
        wanted.no_cache_filter = [one for one in value.split(",") if one]
    elif name == "image-resolve-mode":
        wanted.pull = value == "pull"
    elif name == "force-network-mode":
        wanted.network = "" if value == "sandbox" else value
    elif name == "add-hosts":
        pairs = (one.partition("=") for one in value.split(",") if one)
        host.extra_hosts = [f"{host_name}:{address}" for host_name, _, address in pairs]
    elif name == "ulimit":
        host.ulimits = [_ulimit(one) for one in value.split(",") if one]
    elif name == "hostname":
        wanted.args["BUILDKIT_SANDBOX_HOSTNAME"] = value
    else:
        return False
    return True


def _number(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise errdefs.InvalidParameter(f"{name}: {text[:80]!r} is not a number") from None


def _ulimit(text: str) -> container.Ulimit:
    name, _, limits = text.partition("=")
    soft, _, hard = limits.partition(":")
    try:
        return container.Ulimit(name=name, soft=int(soft), hard=int(hard or soft))
    except ValueError:
        raise errdefs.InvalidParameter(f"ulimit: {text[:80]!r} is not NAME=SOFT[:HARD]") from None


def _epoch(args: Mapping[str, str]) -> int | None:
    text = args.get("SOURCE_DATE_EPOCH", "")
    if text and not (text.isdigit() and len(text) < 13):
        raise errdefs.InvalidParameter(f"invalid SOURCE_DATE_EPOCH {text[:80]!r}: write seconds")
    return int(text) if text else None


def caches(entries: Sequence[tuple[str, Mapping[str, str]]]) -> list[request.CacheSource]:
    """Caches to import from or export to."""
    return [request.CacheSource(type=kind, options=dict(attrs)) for kind, attrs in entries]


def imports(options: Mapping[str, str]) -> list[request.CacheSource]:
    """Caches that a client names in an option. Raises ``InvalidParameter``."""
    text = options.get("cache-imports", "")
    if not text:
        return [
            request.CacheSource(type="registry", options={"ref": one})
            for one in options.get("cache-from", "").split(",")
            if one
        ]
    try:
        found: Any = json.loads(text)
        return [
            request.CacheSource(type=str(one["Type"]), options=dict(one.get("Attrs") or {}))
            for one in found
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise errdefs.InvalidParameter(f"cache-imports is malformed: {error}") from error
