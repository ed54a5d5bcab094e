"""Does what the engine believes agree with what is really there? (``POST /system/check``)

An engine that starts makes the two agree (``engine/restore.py``). This is for afterwards: somebody
removed a directory, unmounted something, restored an old copy of the disk. Each auditor compares
one kind of thing and names every difference; where mending it can lose nothing, the difference
says how (``mend``), and a check with repair does that.

Auditors run beside everything else the engine does. So they look at a container under its lock, and
take nothing that is younger than :data:`difference.SETTLED` for left over: it may be in the making.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.check import (
    containers,
    database,
    difference,
    images,
    leftovers,
    networks,
    storage,
    volumes,
)

log = logging.getLogger(__name__)

Auditor = Callable[[engine.Core, bool], AsyncIterator[difference.Difference]]

AUDITORS: tuple[Auditor, ...] = (
    database.audit,
    containers.audit,
    leftovers.audit,
    images.audit,
    storage.audit,
    volumes.audit,
    networks.audit,
)


async def check(
    core: engine.Core, *, repair: bool = False, deep: bool = False
) -> list[difference.Difference]:
    """Run all auditors; with ``repair`` mend what is safe, with ``deep`` also read every blob.

    Never raises for what it finds, nor for a repair that fails: that difference is not repaired
    and says why.
    """
    found: list[difference.Difference] = []
    for audit in AUDITORS:
        async for one in audit(core, deep):
            if repair and one.mend is not None:
                await _mend(one)
            found.append(one)
    return found


async def _mend(one: difference.Difference) -> None:
    assert one.mend is not None
    try:
        await one.mend()
    except (errdefs.FirkinError, OSError) as error:
        one.problem += f"; the repair failed: {error}"
        log.warning("%s %s: %s", one.area, one.subject, one.problem)
    else:
        one.repaired = True
        log.info("%s %s: %s; repaired", one.area, one.subject, one.problem)
