"""Secrets on the wire (API schemas Secret and SecretSpec)."""

from __future__ import annotations

from msgspec import field

from firkin.types.base import Wire


class Driver(Wire):
    """A plug-in that gives the value; not for secrets of one host."""

    name: str = ""


class Spec(Wire):
    """The body of SecretCreate and SecretUpdate; ``data`` is base64."""

    name: str = ""
    labels: dict[str, str] | None = None
    data: str = ""
    driver: Driver | None = None
    templating: Driver | None = None


class Version(Wire):
    index: int = 0


class ShownSpec(Wire):
    """A spec without the value, which is never shown."""

    name: str = ""
    labels: dict[str, str] = {}


class Secret(Wire, kw_only=True):
    """A secret as SecretInspect tells it."""

    id: str = field(name="ID")
    version: Version
    created_at: str = ""
    updated_at: str = ""
    spec: ShownSpec
