"""All containers of the engine: in memory for reading, in the database for keeping."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator

import msgspec

from firkin import errdefs
from firkin.engine.containers import model
from firkin.linux import tasks
from firkin.store import containers

log = logging.getLogger(__name__)

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
_MAX_NAME = 255
_RETRY = 1.0


def check_name(name: str) -> str:
    """The name without its leading slash. Raises ``InvalidParameter`` for a bad one."""
    bare = name.removeprefix("/")
    if not NAME.fullmatch(bare) or len(bare) > _MAX_NAME:
        raise errdefs.InvalidParameter(
            f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed "
            f"(2 to {_MAX_NAME} characters)"
        )
    return bare


class Registry:
    """Containers by id, name and unambiguous prefix of an id."""

    def __init__(self, rows: containers.Containers) -> None:
        self._rows = rows
        self._by_id: dict[str, model.Container] = {}
        self._by_name: dict[str, str] = {}
        self._unsaved: set[str] = set()
        self._tasks = tasks.Tasks("containers")

    async def load(self) -> None:
        """Read all containers from the database."""
        for row in await self._rows.all():
            record = msgspec.json.decode(row.config, type=model.Record)
            state = msgspec.json.decode(row.state, type=model.State)
            self._by_id[row.id] = model.Container(row.id, row.name, row.created, record, state)
            self._by_name[row.name] = row.id

    def __iter__(self) -> Iterator[model.Container]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def find(self, reference: str) -> model.Container | None:
        """The container of that id or name, or of an id that alone begins so.

        Raises ``InvalidParameter`` when several ids begin so.
        """
        if (found := self._by_id.get(reference)) is not None:
            return found
        if (found_id := self._by_name.get(reference.removeprefix("/"))) is not None:
            return self._by_id.get(found_id)
        if not reference:
            return None
        matches = [cid for cid in self._by_id if cid.startswith(reference)]
        if len(matches) > 1:
            raise errdefs.InvalidParameter(
                f"Multiple IDs found with provided prefix: {reference}: give more digits"
            )
        return self._by_id[matches[0]] if matches else None

    def get(self, reference: str) -> model.Container:
        """As :meth:`find`, but raises ``NotFound`` when there is none."""
        found = self.find(reference)
        if found is None:
            raise errdefs.NotFound(f"No such container: {reference}")
        return found

    def reserve_name(self, name: str, container_id: str) -> None:
        """Take a name. Raises ``Conflict`` when it is taken."""
        owner = self._by_name.setdefault(name, container_id)
        if owner != container_id:
            raise errdefs.Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{owner}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )

    def name_taken(self, name: str) -> bool:
        """Whether a container has that name, one that is in the making too."""
        return name in self._by_name

    def release_name(self, name: str, container_id: str) -> None:
        """Give a name back."""
        if self._by_name.get(name) == container_id:
            del self._by_name[name]

    def has_id(self, container_id: str) -> bool:
        """Whether the id is taken."""
        return container_id in self._by_id

    async def add(self, container: model.Container, volumes: list[str]) -> None:
        """Keep a new container, whose name is reserved."""
        await self._rows.insert(
            containers.Row(
                container.id,
                container.name,
                container.record.image_id,
                container.created,
                msgspec.json.encode(container.record),
                msgspec.json.encode(container.state),
            ),
            volumes,
        )
        self._by_id[container.id] = container

    async def save(self, container: model.Container, state: model.State | None = None) -> None:
        """Keep the container's present state, or the one that it is about to have."""
        await self._rows.save_state(container.id, msgspec.json.encode(state or container.state))
        self._unsaved.discard(container.id)

    async def keep(self, container: model.Container) -> None:
        """The same for what has happened already, whether the database can be told or not.

        One that can't (its disk is full) is asked again until it can. An engine that is killed
        before that finds the older state, and what is really there.
        """
        try:
            await self.save(container)
        except errdefs.System as error:
            log.error("the state of container %s is not saved yet: %s", container.short, error)
            if not self._unsaved:
                self._tasks.spawn(self._save_later(), "saving of states")
            self._unsaved.add(container.id)

    async def _save_later(self) -> None:
        while self._unsaved:
            await asyncio.sleep(_RETRY)
            for container_id in list(self._unsaved):
                if (container := self._by_id.get(container_id)) is None:
                    self._unsaved.discard(container_id)
                    continue
                try:
                    await self.save(container)
                except errdefs.System:
                    break

    async def close(self) -> None:
        """Stop asking."""
        await self._tasks.close()

    async def save_record(
        self, container: model.Container, record: model.Record | None = None
    ) -> None:
        """Keep the container's present configuration, or the one that it is about to have."""
        await self._rows.save_config(container.id, msgspec.json.encode(record or container.record))

    async def rename(self, container: model.Container, name: str) -> None:
        """Change a container's name.

        Raises ``Conflict`` when it is taken, and ``NotFound`` when the container is gone.
        """
        self.get(container.id)
        self.reserve_name(name, container.id)
        old = container.name
        try:
            await self._rows.rename(container.id, name)
        except BaseException:
            self.release_name(name, container.id)
            raise
        container.name = name
        self.release_name(old, container.id)

    async def drop(self, container: model.Container) -> None:
        """Forget a container, and its anonymous volumes too if its removal asked for that."""
        await self._rows.delete(container.id, volumes=container.state.removes_volumes)
        self._by_id.pop(container.id, None)
        self.release_name(container.name, container.id)
