"""ContainerTop: the host's ps(1), shown for the container's processes alone."""

from __future__ import annotations

import asyncio
import re

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, model, specs
from firkin.linux import cgroup, process

_FIELD = re.compile(r"(?:^|\s)-?o\s*(\S+)")


def _check(arguments: str) -> None:
    """Refuse a heading of the PID column by which it would not be found."""
    for match in _FIELD.finditer(arguments):
        for column in match[1].split(","):
            name, equals, heading = column.partition("=")
            if name.lower() == "pid" and equals and heading != "PID":
                raise errdefs.InvalidParameter(
                    f'specifying "{column}" is not allowed: the column of process ids must be '
                    "named PID"
                )


async def top(core: engine.Core, container: model.Container, arguments: str) -> dict[str, object]:
    """The answer of ContainerTop for options of ps(1).

    Raises ``Conflict`` when the container does not run and ``InvalidParameter`` with what ps says
    of options that it has not.
    """
    _check(arguments)
    container.require_settled()
    if not container.running:
        raise errdefs.Conflict(f"container {container.id} is not running")
    group = specs.cgroup_path(core, container)
    pids = {str(pid) for pid in await asyncio.to_thread(cgroup.pids, core.host.cgroup, group)}
    words = arguments.split()
    done = await process.run(["ps", *words, "-q", ",".join(sorted(pids))], timeout=30)
    if done.code:  # some options choose processes themselves, and go with no -q
        done = await process.run(["ps", *words], timeout=30)
    if done.code:
        raise errdefs.InvalidParameter(f"ps {arguments}: {process.complaint(done)}")
    shown = parse(done.stdout.decode(errors="replace"), pids)
    emit.container(core, container, "top")
    return shown


def parse(text: str, pids: set[str]) -> dict[str, object]:
    """Titles and rows of the processes ``pids`` in what ps has printed.

    Lines that begin no process (threads, shown with the PID "-") belong to the one before. Raises
    ``InvalidParameter`` when there is no PID column.
    """
    lines = text.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise errdefs.InvalidParameter("Couldn't find PID field in ps output: choose it too")
    at = titles.index("PID")
    rows: list[list[str]] = []
    before = False
    for line in lines[1:]:
        fields = line.split(None, len(titles) - 1)
        if len(fields) <= at:
            continue
        if fields[at] != "-":
            before = fields[at] in pids
        if before:
            rows.append([field.rstrip() for field in fields])
    return {"Titles": titles, "Processes": rows}
