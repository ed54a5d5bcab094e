"""Volume drivers in other processes, by Docker's volume plug-in protocol (VolumeDriver 1.0).

A plug-in that is down makes its volumes unusable, not the engine: every call has a time limit.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import msgspec

from firkin import errdefs
from firkin.plugins import plugin
from firkin.types import base

SUBSYSTEM = "VolumeDriver"
_MOUNT_TIMEOUT = 120.0
_USER = "firkin"
"""The id that pairs a Mount with its Unmount: the engine is one user for all its containers."""


class Volume(base.Wire):
    """A volume as a plug-in tells of it."""

    name: str = ""
    mountpoint: str = ""
    created_at: str = ""
    status: dict[str, Any] = {}


class _Answer(base.Wire):
    mountpoint: str = ""
    volume: Volume | None = None
    volumes: list[Volume] = []


class _Capability(base.Wire):
    scope: str = "local"


class _Capabilities(base.Wire):
    capabilities: _Capability = msgspec.field(default_factory=_Capability)


class PluginDriver:
    """A :class:`firkin.volumes.driver.Driver` that asks a plug-in."""

    exclusive = False

    def __init__(self, name: str, found: plugin.Plugin, scope: str) -> None:
        self.name = name
        self.scope = scope
        self._plugin = found
        self._paths: dict[str, str] = {}

    @classmethod
    async def connect(cls, registry: plugin.Registry, name: str) -> PluginDriver:
        """The driver of the plug-in ``name``. Raises as ``registry.get`` does."""
        found = await registry.get(name, SUBSYSTEM)
        try:
            answer = await found.call(f"{SUBSYSTEM}.Capabilities", {}, _Capabilities)
            scope = answer.capabilities.scope
        except plugin.Failed:  # from before there were capabilities
            scope = "local"
        return cls(name, found, scope if scope in ("local", "global") else "local")

    async def refresh(self, registry: plugin.Registry) -> None:
        """Look again where the plug-in is: it may have been restarted elsewhere."""
        try:
            self._plugin = await registry.get(self.name, SUBSYSTEM)
        except errdefs.NotFound as error:
            raise errdefs.Unavailable(f"volume driver {self.name}: {error}") from error

    def _call(self, method: str, timeout: float = plugin.TIMEOUT, **arguments: Any) -> _Answer:
        return self._plugin.call_from_thread(
            f"{SUBSYSTEM}.{method}", arguments, _Answer, timeout=timeout
        )

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """See ``Driver.create``."""
        try:
            self._call("Create", Name=name, Opts=dict(options))
        except plugin.Failed as error:
            raise errdefs.InvalidParameter(f"create {name}: {self.name}: {error}") from error

    def mount(self, name: str, options: Mapping[str, str]) -> str:
        """See ``Driver.mount``."""
        path = self._call("Mount", _MOUNT_TIMEOUT, Name=name, ID=_USER).mountpoint
        if not path.startswith("/") or not os.path.isdir(path):
            why = (
                "there is no such directory" if path.startswith("/") else "that is no absolute path"
            )
            raise errdefs.System(
                f"the plugin {self.name} says that it mounted {name} at {path[:200]!r}: {why}"
            )
        self._paths[name] = path
        return path

    def unmount(self, name: str) -> None:
        """See ``Driver.unmount``."""
        self._call("Unmount", Name=name, ID=_USER)
        self._paths.pop(name, None)

    def path(self, name: str) -> str:
        """See ``Driver.path``."""
        return self._paths.get(name, "")

    def get(self, name: str) -> Volume:
        """What the plug-in tells of a volume. Raises ``NotFound``."""
        try:
            found = self._call("Get", Name=name).volume
        except plugin.Failed as error:
            raise errdefs.NotFound(f"get {name}: {self.name}: {error}") from error
        found = found or Volume(name=name)
        if found.mountpoint:
            self._paths.setdefault(name, found.mountpoint)
        return found

    def remove(self, name: str) -> None:
        """See ``Driver.remove``."""
        try:
            self._call("Remove", Name=name)
        except plugin.Failed:
            if name in self.list():
                raise
        self._paths.pop(name, None)

    def list(self) -> list[str]:
        """See ``Driver.list``."""
        return [volume.name for volume in self._call("List").volumes]
