"""What the image operations of the Engine API need to know of containers, and commit."""

from __future__ import annotations

import contextlib

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import create, emit, model, stop
from firkin.images import commit as committing
from firkin.images import remove as removal
from firkin.types import container, image


def in_use(core: engine.Core) -> removal.InUse:
    """Tells which containers were made from an image."""

    def users(image_id: str) -> list[removal.User]:
        return [
            removal.User(id=subject.id, running=subject.running)
            for subject in core.containers
            if subject.record.image_id == image_id
            or any(m.type == "image" and m.source == image_id for m in subject.record.mounts)
        ]

    return users


def users(core: engine.Core) -> dict[str, list[str]]:
    """The ids of the containers that were made from each image, by the image's id."""
    found: dict[str, list[str]] = {}
    for subject in core.containers:
        found.setdefault(subject.record.image_id, []).append(subject.id)
    return found


async def commit(
    core: engine.Core,
    subject: model.Container,
    config: container.Config | None,
    *,
    repository: str,
    tag: str,
    comment: str,
    author: str,
    changes: list[str],
    pause: bool,
) -> image.Image:
    """A new image from a container's writable layer, frozen meanwhile unless told otherwise.

    Raises ``Conflict`` when the container is being removed.
    """
    if subject.state.status in (model.Status.REMOVING, model.Status.DEAD):
        raise errdefs.Conflict(
            f"You cannot commit container {subject.id} which is {subject.state.status}"
        )
    own = subject.record.config
    config = create.merge(config, committing.run_config(own)) if config is not None else own
    parent = subject.record.image_id
    try:
        core.images.resolve(parent)
    except errdefs.NotFound:
        parent = ""
    async with stop.frozen(core, subject) if pause else contextlib.nullcontext():
        made = await core.images.commit(
            subject.id,
            parent,
            config,
            author=author,
            comment=comment,
            changes=changes,
            repository=repository,
            tag=tag,
            created_by=" ".join(subject.record.args),
        )
    core.events.publish("image", "create", made.id, {"name": made.id})
    emit.container(core, subject, "commit", comment=comment, imageID=made.id, imageRef=tag)
    return made
