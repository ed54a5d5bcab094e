"""Container events."""

from __future__ import annotations

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import model


def container(core: engine.Core, subject: model.Container, action: str, **more: str) -> None:
    """Publish ``action`` with the container's labels, image and name."""
    attributes = dict(subject.record.config.labels or {})
    attributes.update(more)
    attributes["image"] = subject.record.config.image
    attributes["name"] = subject.name
    core.events.publish("container", action, subject.id, attributes)


def network(core: engine.Core, subject: model.Container, action: str, name: str) -> None:
    """Publish that the container joined or left the network of that name."""
    for known in core.network.networks():
        if known.name == name:
            core.events.publish(
                "network",
                action,
                known.id,
                {"container": subject.id, "name": known.name, "type": known.driver},
            )


def volume(core: engine.Core, name: str, action: str, **more: str) -> None:
    """Publish something about a volume."""
    try:
        driver = core.volumes.get(name).driver
    except errdefs.NotFound:  # it has just been removed
        driver = more.pop("driver", "local")
    core.events.publish("volume", action, name, {"driver": driver, **more})
