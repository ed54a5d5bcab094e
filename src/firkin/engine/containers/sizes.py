"""What containers take on the disk.

Of each there are two figures: what its processes have written to its own layer (``SizeRw`` of
``ps --size`` and inspect), and all that there is because of it, which ``system df`` shows: the
layer's directories, its log, its files of /etc. How often they are measured:
``firkin.linux.sampler``. A container that does not run changes only when files are copied into it,
so the layer of one is measured once for each of its runs.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import model
from firkin.linux import sampler, treesize
from firkin.snapshots import snapshotter

NOTHING = snapshotter.Taken(0, 0)


async def disk(
    core: engine.Core, containers: Iterable[model.Container]
) -> dict[str, sampler.Figure[snapshotter.Taken]]:
    """What each container takes, by id."""
    meters = await core.images.snapshots.meters()
    trees = []
    for subject in containers:
        state = subject.state
        ended = state.status in (model.Status.CREATED, model.Status.EXITED, model.Status.DEAD)
        work = functools.partial(_measure, meters.get(subject.id), core.home(subject.id))
        version = (state.started_at, state.finished_at)
        live = not ended or subject.id in core.views
        trees.append(sampler.Tree(subject.id, work, live, version))
    figures = await core.sizes.all(trees)
    return {tree.key: figure for tree, figure in zip(trees, figures, strict=True)}


def _measure(meter: Callable[[], snapshotter.Taken] | None, home: str) -> snapshotter.Taken:
    layer = meter() if meter is not None else NOTHING
    return layer._replace(whole=layer.whole + treesize.measure(home).size)


async def written(core: engine.Core, containers: Iterable[model.Container]) -> dict[str, int]:
    """Bytes that each container has written to its own layer, by id."""
    return {key: figure.value.own for key, figure in (await disk(core, containers)).items()}


def whole(core: engine.Core, subject: model.Container, own: int) -> int:
    """Bytes of a container's root file system, of which ``own`` are its own."""
    try:
        return own + core.images.resolve(subject.record.image_id).size
    except errdefs.NotFound:
        return own
