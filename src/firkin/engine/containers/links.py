"""Links between containers on the default bridge, which has no names of its own.

``--link CHILD[:ALIAS]`` gives a container lines in /etc/hosts for the child, and variables that
tell its name, its exposed ports and its environment. When the child comes back with another
address, the lines follow; the variables of a process can't. On other networks links are names for
the resolver: see ``networking``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import etcfiles, model, netmode, networking
from firkin.types import container as wire

_NETWORK = "bridge"
_PRIVATE = frozenset({"HOME", "PATH"})


class Link(NamedTuple):
    """A linked container, and what it is called by the one that links to it."""

    child: model.Container
    alias: str


def check(core: engine.Core, host: wire.HostConfig) -> None:
    """Raise ``InvalidParameter`` for links that can't be made."""
    if host.links and host.network_mode == "host":
        raise errdefs.InvalidParameter(
            "conflicting options: host type networking can't be used with links. This would result "
            "in undefined behavior: leave --link or --network out"
        )
    if host.network_mode not in ("", "default", _NETWORK):
        return  # there they are names, and of containers that may come yet
    for text in host.links or ():
        name, _ = networking.split_link(text)
        child = core.containers.find(name)
        if child is None:
            raise errdefs.InvalidParameter(
                f"could not get container for {name}: No such container: {name}"
            )
        if child.record.host.network_mode == "host":
            raise errdefs.InvalidParameter(
                f"conflicting options: cannot link to {name}: it is on the host's network"
            )


def children(core: engine.Core, container: model.Container) -> Iterator[Link]:
    """The containers that ``container`` links to and that are there (still)."""
    for text in container.record.host.links or ():
        name, alias = networking.split_link(text)
        child = core.containers.find(name)
        if child is not None:
            yield Link(child, alias)


def _legacy(container: model.Container) -> bool:
    return bool(container.record.host.links) and set(container.record.networks) == {_NETWORK}


def require(core: engine.Core, container: model.Container) -> list[Link]:
    """The links that a container on the default bridge starts with.

    Raises ``Conflict`` when one of them does not run, ``NotFound`` when it is gone.
    """
    if not _legacy(container):
        return []
    found = list(children(core, container))
    if len(found) < len(container.record.host.links or ()):
        known = {link.child.name for link in found}
        gone = [
            name
            for name, _ in map(networking.split_link, container.record.host.links or ())
            if name not in known and core.containers.find(name) is None
        ]
        raise errdefs.NotFound(
            f"container {container.name} links to {', '.join(gone)}: No such container: create it "
            f"again, or this one without the link"
        )
    for link in found:
        if not link.child.running:
            raise errdefs.Conflict(
                f"Cannot link to a non running container: /{link.child.name} AS "
                f"/{container.name}/{link.alias}: start {link.child.name} first"
            )
    return found


def _address(core: engine.Core, child: model.Container) -> str:
    for endpoint in core.network.endpoints(child.id):
        if endpoint.network_name == _NETWORK:
            return endpoint.ipv4_address
    return ""


def hosts(core: engine.Core, links: Iterable[Link]) -> str:
    """The lines of /etc/hosts."""
    lines = []
    for link in links:
        if address := _address(core, link.child):
            names = (link.alias, link.child.record.config.hostname, link.child.name)
            lines.append(f"{address}\t{' '.join(dict.fromkeys(filter(None, names)))}\n")
    return "".join(lines)


def environment(core: engine.Core, container: model.Container) -> list[str]:
    """The variables."""
    found: list[str] = []
    for alias, child in ((link.alias, link.child) for link in require(core, container)):
        prefix = alias.upper().replace("-", "_").replace(".", "_")
        address = _address(core, child)
        found.append(f"{prefix}_NAME=/{container.name}/{alias}")
        ports = sorted(
            (number, proto)
            for text in child.record.config.exposed_ports or {}
            for numbers, proto in [netmode.parse_port(text)]
            for number in numbers
        )
        for index, (number, proto) in enumerate(ports):
            url = f"{proto}://{address}:{number}"
            name = f"{prefix}_PORT_{number}_{proto.upper()}"
            if index == 0:
                found.append(f"{prefix}_PORT={url}")
            found += [f"{name}={url}", f"{name}_ADDR={address}", f"{name}_PORT={number}",
                      f"{name}_PROTO={proto}"]  # fmt: skip
        for entry in child.record.config.env or ():
            if entry.partition("=")[0] not in _PRIVATE:
                found.append(f"{prefix}_ENV_{entry}")
    return found


def refresh(core: engine.Core, child: model.Container) -> None:
    """The child has started, perhaps with another address: tell those that link to it."""
    for parent in core.containers:
        if not (parent.running and _legacy(parent)):
            continue
        links = list(children(core, parent))
        mine = [link for link in links if link.child is child]
        if mine:
            _rewrite(core.home(parent.id), {link.alias for link in mine}, hosts(core, mine))


def _rewrite(home: str, aliases: set[str], lines: str) -> None:
    """Replace the lines whose first name is one of ``aliases``."""
    text = etcfiles.read(home, "hosts")
    kept = [
        line
        for line in text.splitlines(keepends=True)
        if not ((words := line.split())[1:] and words[1] in aliases)
    ]
    etcfiles.write(home, "hosts", "".join(kept) + lines)


async def unlink(core: engine.Core, parent: model.Container, alias: str) -> None:
    """Take a link away; variables of a running process stay. Raises ``NotFound``."""
    async with parent.lock:
        before = parent.record.host.links or []
        after = [text for text in before if networking.split_link(text)[1] != alias]
        if len(after) == len(before):
            raise errdefs.NotFound(f"No such link: /{parent.name}/{alias}")
        parent.record.host.links = after or None
        try:
            await core.containers.save_record(parent)
        except BaseException:
            parent.record.host.links = before
            raise
        if parent.running:
            _rewrite(core.home(parent.id), {alias}, "")


def shown(container: model.Container) -> list[str] | None:
    """HostConfig.Links as inspect shows it."""
    links = container.record.host.links
    if not links:
        return links
    pairs = map(networking.split_link, links)
    return [f"/{name}:/{container.name}/{alias}" for name, alias in pairs]


def aliases(core: engine.Core) -> dict[str, tuple[str, ...]]:
    """What containers are called by those that link to them, ``/PARENT/ALIAS``, by their ids."""
    found: dict[str, tuple[str, ...]] = {}
    for parent in core.containers:
        for link in children(core, parent) if parent.record.host.links else ():
            names = (*found.get(link.child.id, ()), f"/{parent.name}/{link.alias}")
            found[link.child.id] = names
    return found


def ordered(core: engine.Core, containers: Iterable[model.Container]) -> list[model.Container]:
    """``containers`` so that those come first that others need: links, shared namespaces."""
    wanted = {one.id: one for one in containers}
    done: dict[str, model.Container] = {}

    def visit(one: model.Container, above: frozenset[str]) -> None:
        if one.id in done or one.id in above:
            return
        for other in needs(core, one):
            visit(other, above | {one.id})
        done[one.id] = one

    for one in wanted.values():
        visit(one, frozenset())
    return [one for one in done.values() if one.id in wanted]


def needs(core: engine.Core, container: model.Container) -> list[model.Container]:
    """The containers without which this one can't start."""
    host = container.record.host
    found = [link.child for link in children(core, container)] if _legacy(container) else []
    for mode in (host.network_mode, host.ipc_mode, host.pid_mode):
        if name := netmode.shared_with(mode):
            other = core.containers.find(name)
            if other is not None and other is not container:
                found.append(other)
    return found
