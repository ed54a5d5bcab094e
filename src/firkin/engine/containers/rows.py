"""The rows of ContainerList as JSON, remembered for as long as what they are made of is the same.

A listing is asked for more often than anything in it changes, and making a thousand rows takes
longer than all else in the answer. A row is remembered in two halves, what is before and what is
after its ``Status``, which goes with the time. It is made anew when one of its sources is another:
the record, the name, the state, the health, the networks there are, those that the container wants
and is on, and where its mounts come from. Records and endpoints are replaced, not changed in place.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from firkin.engine import core as engine
from firkin.engine.containers import inspect, links, model
from firkin.types import base, container, network


class _Sources(NamedTuple):
    name: str
    status: model.Status
    health: tuple[str, int] | None
    wanted: dict[str, container.EndpointSettings]
    endpoints: tuple[network.Endpoint, ...]
    mounts: tuple[str, ...]
    networks: tuple[tuple[str, str], ...]
    aliases: tuple[str, ...]
    manifest: dict[str, Any] | None


class Row(NamedTuple):
    """A remembered row."""

    record: model.Record
    sources: _Sources
    head: bytes
    tail: bytes


def rows(
    core: engine.Core, chosen: list[model.Container], version: tuple[int, int]
) -> list[msgspec.Raw]:
    """A row for each container."""
    networks = tuple((driver.stored.name, driver.stored.id) for driver in core.network.every())
    called = links.aliases(core)
    form = (version >= (1, 48)) + (version >= (1, 52))
    return [_row(core, one, form, version, networks, called.get(one.id, ())) for one in chosen]


def _row(
    core: engine.Core,
    subject: model.Container,
    form: int,
    version: tuple[int, int],
    networks: tuple[tuple[str, str], ...],
    aliases: tuple[str, ...],
) -> msgspec.Raw:
    record, state = subject.record, subject.state
    health = state.health
    sources = _Sources(
        subject.name,
        state.status,
        None if health is None else (health.status, health.streak),
        record.networks,
        core.network.endpoints(subject.id) if subject.running else (),
        tuple(inspect.source_of(core, one) for one in record.mounts) if record.mounts else (),
        networks,
        aliases,
        core.images.manifest_of(record.image_id),
    )
    known = subject.rows.get(form)
    if known is None or known.record is not record or known.sources != sources:
        whole = inspect.summary(core, subject, version=version, aliases=aliases)
        at = list(whole).index("Status")
        head = base.encode(dict(list(whole.items())[:at]))[:-1] + b',"Status":'
        tail = b"," + base.encode(dict(list(whole.items())[at + 1 :]))[1:]
        kept = sources._replace(wanted=dict(record.networks))
        known = subject.rows[form] = Row(record, kept, head, tail)
    return msgspec.Raw(known.head + base.encode(inspect.status_text(subject)) + known.tail)
