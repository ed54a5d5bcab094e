"""What a page shows of a manifest."""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import msgspec

from firkin import errdefs
from firkin.registry import core, manifest
from firkin.registry.index import manifests

_CONFIG_LIMIT = 1 << 20


class Layer(NamedTuple):
    """A layer and the step that made it."""

    digest: str
    size: int
    made_by: str


class Part(NamedTuple):
    """A manifest that an index holds."""

    digest: str
    size: int
    platform: str


class Image(NamedTuple):
    """A manifest for people."""

    stored: manifests.Stored
    size: int
    platform: str
    layers: list[Layer]
    parts: list[Part]
    facts: list[tuple[str, str]]


def platform(found: dict[str, Any] | None) -> str:
    """``os/architecture/variant``."""
    values = found or {}
    names = [values.get(key) for key in ("os", "architecture", "variant")]
    return "/".join(str(name)[:40] for name in names if name)


def content_size(document: manifest.Document) -> int:
    """Bytes of an image's configuration and layers."""
    layers = document.layers or []
    return sum(layer.size for layer in layers) + (document.config.size if document.config else 0)


async def describe(registry: core.Registry, stored: manifests.Stored) -> Image:
    """Read what there is to show; a configuration that is no JSON is left out."""
    document = manifest.decode(stored.content)
    config: dict[str, Any] = {}
    if document.config and document.config.size <= _CONFIG_LIMIT and document.layers:
        config = await registry.run(_read_config, registry, document.config.digest)
    history = config.get("history")
    steps = [
        str(step.get("created_by", ""))[:500]
        for step in (history if isinstance(history, list) else [])
        if isinstance(step, dict) and not step.get("empty_layer")
    ]
    layers = [
        Layer(layer.digest, layer.size, steps[n] if n < len(steps) else "")
        for n, layer in enumerate(document.layers or ())
    ]
    parts = [
        Part(child.digest, child.size, platform(child.platform) or child.media_type)
        for child in document.manifests or ()
    ]
    return Image(
        stored,
        content_size(document),
        platform(config),
        layers,
        parts,
        _facts(stored, document, config),
    )


def _read_config(registry: core.Registry, digest: str) -> dict[str, Any]:
    try:
        with contextlib.closing(registry.storage.open(digest)) as reader:
            found = msgspec.json.decode(reader.read(_CONFIG_LIMIT) or b"")
    except (errdefs.FirkinError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _facts(
    stored: manifests.Stored, document: manifest.Document, config: dict[str, Any]
) -> list[tuple[str, str]]:
    facts = [("Digest", stored.digest), ("Media type", stored.media_type)]
    if document.artifact_type:
        facts.append(("Artifact type", document.artifact_type))
    if stored.subject:
        facts.append(("Subject", stored.subject))
    if config.get("created"):
        facts.append(("Created", str(config["created"])[:40]))
    inner = config.get("config")
    settings: dict[str, Any] = inner if isinstance(inner, dict) else {}
    for key in ("Entrypoint", "Cmd", "WorkingDir", "User"):
        value = settings.get(key)
        if value:
            text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
            facts.append((key, text[:500]))
    return facts
