"""ContainerList and ContainerPrune: choosing containers."""

from __future__ import annotations

import contextlib
from typing import Any

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine import filters as filtering
from firkin.engine import rootfs, times
from firkin.engine.containers import inspect, links, model, netmode, remove, rows, sizes

FILTERS = frozenset(
    {
        "ancestor", "before", "expose", "exited", "health", "id", "isolation", "is-task", "label",
        "name", "network", "publish", "since", "status", "volume",
    }
)  # fmt: skip
PRUNE_FILTERS = frozenset({"label", "label!", "until"})
_STATUSES = frozenset(status.value for status in model.Status)


class _Chooser:
    def __init__(self, core: engine.Core, wanted: filtering.Filters) -> None:
        self._core = core
        self._wanted = wanted
        for status in wanted.get("status"):
            if status not in _STATUSES:
                raise errdefs.InvalidParameter(
                    f"invalid filter 'status={status}': use {', '.join(sorted(_STATUSES))}"
                )
        self._codes = set()
        for code in wanted.get("exited"):
            try:
                self._codes.add(int(code))
            except ValueError:
                raise errdefs.InvalidParameter(
                    f"invalid filter 'exited={code}': use an exit code"
                ) from None
        self._before = self._created("before", max)
        self._since = self._created("since", min)

    def _created(self, name: str, choose: Any) -> int | None:
        times = [self._core.containers.get(ref).created for ref in self._wanted.get(name)]
        return choose(times) if times else None

    def ancestors(self) -> set[str] | None:
        """Ids of the images named by ``ancestor`` and of those that are built on them."""
        if not self._wanted.has("ancestor"):
            return None
        found: set[str] = set()
        for name in self._wanted.get("ancestor"):
            with contextlib.suppress(errdefs.FirkinError):
                found |= rootfs.descendants(self._core, name)
        return found

    def accepts(self, subject: model.Container, ancestors: set[str] | None) -> bool:
        wanted, record = self._wanted, subject.record
        if ancestors is not None and record.image_id not in ancestors:
            return False
        if not wanted.exact("status", subject.state.status.value):
            return False
        if self._codes and (
            subject.state.status is not model.Status.EXITED
            or subject.state.exit_code not in self._codes
        ):
            return False
        if self._before is not None and subject.created >= self._before:
            return False
        if self._since is not None and subject.created <= self._since:
            return False
        if not wanted.prefix("id", subject.id):
            return False
        if not wanted.matches("name", subject.name, "/" + subject.name):
            return False
        if not wanted.labels(record.config.labels or {}):
            return False
        if not wanted.exact("health", inspect.health_of(subject)) or wanted.flag("is-task"):
            return False
        return self._places(subject)

    def _places(self, subject: model.Container) -> bool:
        """Networks, volumes and ports."""
        wanted, record = self._wanted, subject.record
        if wanted.has("network"):
            known = {n.name: n.id for n in self._core.network.networks()}
            names = list(record.networks)
            ids = [known[name] for name in names if name in known]
            if not any(
                value in names or any(i.startswith(value) for i in ids)
                for value in wanted.get("network")
            ):
                return False
        if wanted.has("volume"):
            used = {m.name or m.source for m in record.mounts}
            used |= {m.destination for m in record.mounts}
            if not used & set(wanted.get("volume")):
                return False
        for name in ("publish", "expose"):
            if not wanted.has(name):
                continue
            ports = inspect.ports(self._core, subject)
            have = {(p.public_port if name == "publish" else p.private_port, p.type) for p in ports}
            asked = set()
            for value in wanted.get(name):
                numbers, proto = netmode.parse_port(value)
                asked |= {(number, proto) for number in numbers}
            if not have & asked:
                return False
        return True


async def listing(
    core: engine.Core,
    *,
    everything: bool = False,
    limit: int = -1,
    size: bool = False,
    wanted: filtering.Filters,
    version: tuple[int, int] = (1, 56),
) -> list[Any]:
    """The answer of ContainerList, the newest first: values to be encoded as JSON."""
    chooser = _Chooser(core, wanted)
    ancestors = chooser.ancestors()
    every = everything or limit > 0 or wanted.has("status") or wanted.has("exited")
    chosen = [
        subject
        for subject in core.containers
        if (every or subject.running or subject.state.status is model.Status.RESTARTING)
        and (not wanted or chooser.accepts(subject, ancestors))
    ]
    chosen.sort(key=lambda c: c.created, reverse=True)
    if limit > 0:
        chosen = chosen[:limit]
    if not size:
        return rows.rows(core, chosen, version)
    own = await sizes.written(core, chosen)
    called = links.aliases(core)
    return [
        inspect.summary(
            core, one, own=own.get(one.id), version=version, aliases=called.get(one.id, ())
        )
        for one in chosen
    ]


async def prune(core: engine.Core, wanted: filtering.Filters) -> dict[str, Any]:
    """Remove the containers that do not run; the answer of ContainerPrune."""
    until = times.prune_limit(wanted)
    deleted, reclaimed = [], 0
    for subject in core.containers:
        if subject.running or subject.state.status is model.Status.RESTARTING:
            continue
        labels = subject.record.config.labels or {}
        if not wanted.labels(labels):
            continue
        if wanted.has("label!") and wanted.labels(labels, "label!"):
            continue
        if until is not None and subject.created > until:
            continue
        taken = (await sizes.disk(core, [subject]))[subject.id].value
        try:
            await remove.remove(core, subject)
        except (errdefs.Conflict, errdefs.NotFound):
            continue
        deleted.append(subject.id)
        reclaimed += taken.whole
    core.events.publish("container", "prune", "", {"reclaimed": str(reclaimed)})
    return {"ContainersDeleted": deleted or None, "SpaceReclaimed": reclaimed}
