"""BuildKit's side of an engine: what its two doors lead to, put together."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from firkin.builder import cachefilter, prune
from firkin.buildkit import (
    bridge,
    builds,
    control,
    dockerfile,
    history,
    records,
    session,
    transport,
)
from firkin.buildkit.pb import control_pb2
from firkin.engine import build
from firkin.engine import core as engine
from firkin.images import platforms

_FOREIGN = (
    "linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le",
    "linux/s390x", "linux/riscv64",
)  # fmt: skip

_HISTORY = ("build", "history")


class Doors(Protocol):
    """``server`` is behind ``/grpc``, ``sessions`` behind ``/session``."""

    server: transport.Server
    sessions: session.Sessions


class Service:
    """The :class:`Doors` of an engine."""

    def __init__(self, core: engine.Core) -> None:
        self.sessions = session.Sessions()
        frontend = dockerfile.Dockerfile(core, self.sessions)
        known = builds.Builds()
        past = history.History(records.Records(os.path.join(core.config.data_root, *_HISTORY)))
        controls = control.Control(
            frontend, known, self.sessions, _Cache(core), _Worker(core), past
        )
        self.server = transport.Server([controls, bridge.Bridge(frontend, known, controls)])


class _Worker:
    """A :class:`firkin.buildkit.control.Worker`: this host.

    The label of a snapshotter tells buildx that results may be of several platforms, go to
    registries and archives, and that caches can be exported.
    """

    def __init__(self, core: engine.Core) -> None:
        self._core = core
        self._executor = build.Executor(core)

    def labels(self) -> Mapping[str, str]:
        return {
            "org.mobyproject.buildkit.worker.executor": "firkin",
            "org.mobyproject.buildkit.worker.hostname": self._core.host.hostname,
            "org.mobyproject.buildkit.worker.snapshotter": self._core.images.snapshots.name,
        }

    def platforms(self) -> Sequence[str]:
        here = platforms.show(platforms.host())
        return [here, *(one for one in _FOREIGN if one != here and self._executor.can_run(one))]


class _Cache:
    """A :class:`firkin.buildkit.control.Cache`: the builder's."""

    def __init__(self, core: engine.Core) -> None:
        self._core = core

    async def records(self, filters: Sequence[str]) -> Sequence[control_pb2.UsageRecord]:
        return [_record(one) for one in await self._core.builder.usage(filters)]

    async def prune(self, request: control_pb2.PruneRequest) -> Sequence[control_pb2.UsageRecord]:
        before = {one["ID"]: one for one in await self._core.builder.usage()}
        age = request.keep_duration / 1e9
        ids, _ = await self._core.builder.prune(
            prune.Options(
                all=request.all,
                reserved=request.reserved_space,
                max_used=request.max_used_space,
                min_free=request.min_free_space,
                until=time.time() - age if age else None,
                match=cachefilter.parse(request.filter),
            )
        )
        return [_record(before[identity]) for identity in ids if identity in before]


def _record(one: Mapping[str, Any]) -> control_pb2.UsageRecord:
    record = control_pb2.UsageRecord(
        id=one["ID"],
        in_use=one["InUse"],
        size=one["Size"],
        usage_count=one["UsageCount"],
        description=one["Description"],
        record_type=one["Type"],
        shared=one["Shared"],
        parents=one["Parents"] or [],
    )
    record.created_at.FromDatetime(datetime.datetime.fromisoformat(one["CreatedAt"]))
    if one["LastUsedAt"]:
        record.last_used_at.FromDatetime(datetime.datetime.fromisoformat(one["LastUsedAt"]))
    return record
